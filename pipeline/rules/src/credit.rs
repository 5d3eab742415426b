//! Credit: to whom a conversion is due.
//!
//! A touch that names its campaign (promo code > survey > vanity > pixel) wins all of the credit;
//! otherwise credit is divided over the exposures of all campaigns inside each campaign's own look-back.
//! Credits are whole millionths that add up to exactly [`ONE`] for an attributed conversion and to
//! nothing for an unattributed one. Everything is integer arithmetic in a fixed order, so that the same
//! touches give the same credits on every machine.

use castback_schemas::time::DAY;
use castback_schemas::{CampaignId, Micros};

/// The longest look-back that a campaign may have, in days.
pub const MAX_LOOKBACK_DAYS: u16 = 60;

/// The whole credit of one conversion, in millionths.
pub const ONE: i64 = 1_000_000;

/// What halves an exposure's weight under [`Model::TimeDecay`]: 7 days.
const HALF_LIFE: i64 = 7 * DAY;

/// How credit is divided over exposures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Model {
    /// All to the first exposure.
    First,
    /// All to the last.
    Last,
    /// The same to each.
    Equal,
    /// `2^(−age / 7 d)` to each.
    TimeDecay,
}

impl Model {
    /// Every model.
    pub const ALL: [Self; 4] = [Self::First, Self::Last, Self::Equal, Self::TimeDecay];

    /// The name in the API and the tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Last => "last",
            Self::Equal => "equal",
            Self::TimeDecay => "time_decay",
        }
    }

    /// The model of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|model| model.name() == name)
    }
}

/// What connects a conversion to a campaign, the strongest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TouchKind {
    /// A promo code of the campaign.
    PromoCode,
    /// A survey answer of the campaign.
    Survey,
    /// Its vanity address.
    Vanity,
    /// Its pixel.
    Pixel,
    /// An ad delivered to the household.
    Exposure,
}

impl TouchKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::PromoCode, Self::Survey, Self::Vanity, Self::Pixel, Self::Exposure];

    /// The name in the API and the tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PromoCode => "promo_code",
            Self::Survey => "survey",
            Self::Vanity => "vanity",
            Self::Pixel => "pixel",
            Self::Exposure => "exposure",
        }
    }
}

/// A touch of a campaign that reaches a conversion. The fields' order is the order of judgement: of two
/// touches of one kind the earlier goes first, ties by event id, then by campaign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CampaignTouch<'a> {
    /// How it connects.
    pub kind: TouchKind,
    /// When it was.
    pub at: Micros,
    /// Id of the event that made it.
    pub event_id: &'a str,
    /// The campaign.
    pub campaign: CampaignId,
}

/// A part of a conversion's credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credit {
    /// Index of the touch.
    pub touch: usize,
    /// Millionths of the conversion.
    pub micro: i64,
    /// Its part of the money, in minor units.
    pub money: i64,
}

/// Whether an exposure lies inside a look-back of `days` before the conversion: `[t − look-back, t]`,
/// both ends included.
#[must_use]
pub fn is_within_lookback(exposure: Micros, conversion: Micros, days: u16) -> bool {
    conversion.plus(-i64::from(days) * DAY) <= exposure && exposure <= conversion
}

/// Divides a conversion of `money` minor units (negative for a refund) over the touches that reach it
/// (exposures only inside their look-back). No touch: no credit. Parts of nothing are left out; the rest
/// comes in order of (kind, time, event id, campaign).
#[must_use]
pub fn divide(model: Model, touches: &[CampaignTouch<'_>], money: i64) -> Vec<Credit> {
    let mut order: Vec<usize> = (0..touches.len()).collect();
    order.sort_by_key(|i| touches[*i]);
    let Some(strongest) = order.first().map(|i| touches[*i].kind) else {
        return Vec::new();
    };
    if strongest == TouchKind::Exposure {
        let times: Vec<Micros> = order.iter().map(|i| touches[*i].at).collect();
        let weights = weights(model, &times);
        let parts = split(ONE, &weights).into_iter().zip(split(money, &weights));
        let credits = order.into_iter().zip(parts).map(|(touch, (micro, money))| Credit { touch, micro, money });
        credits.filter(|credit| credit.micro != 0 || credit.money != 0).collect()
    } else {
        order.truncate(1);
        order.into_iter().map(|touch| Credit { touch, micro: ONE, money }).collect()
    }
}

/// The credits of one conversion by campaign, in order of campaign.
#[must_use]
pub fn by_campaign(credits: &[Credit], touches: &[CampaignTouch<'_>]) -> Vec<(CampaignId, i64, i64)> {
    let mut parts: Vec<_> = credits.iter().map(|part| (touches[part.touch].campaign, part.micro, part.money)).collect();
    parts.sort_unstable_by_key(|part| part.0);
    parts.dedup_by(|later, kept| {
        let same = later.0 == kept.0;
        if same {
            kept.1 += later.1;
            kept.2 += later.2;
        }
        same
    });
    parts
}

/// Divides an amount in proportion to the weights, exactly: what rounding leaves goes to the largest
/// remainders, of equal ones to the first. A negative amount is the mirror of the positive one, so that
/// a refund takes back what its purchase gave. All weights 0: nothing is divided.
#[must_use]
pub fn split(amount: i64, weights: &[u64]) -> Vec<i64> {
    let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    if total == 0 {
        return vec![0; weights.len()];
    }
    let magnitude = u128::from(amount.unsigned_abs());
    let exact = |i: usize| magnitude * u128::from(weights[i]);
    let mut parts: Vec<u128> = (0..weights.len()).map(|i| exact(i) / total).collect();
    let mut left = magnitude - parts.iter().sum::<u128>();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|i| std::cmp::Reverse(exact(*i) % total));
    for i in order {
        if left == 0 {
            break;
        }
        parts[i] += 1;
        left -= 1;
    }
    let signed = |part: u128| i64::try_from(part).unwrap_or(i64::MAX) * amount.signum();
    parts.into_iter().map(signed).collect()
}

/// Weights of exposures given in order of time. Only ratios matter: under time decay the age is taken
/// from the newest exposure, the conversion's distance cancels.
fn weights(model: Model, times: &[Micros]) -> Vec<u64> {
    let newest = times.len().saturating_sub(1);
    let only = |chosen: usize| (0..times.len()).map(|i| u64::from(i == chosen)).collect();
    match model {
        Model::First => only(0),
        Model::Last => only(newest),
        Model::Equal => vec![1; times.len()],
        Model::TimeDecay => times.iter().map(|at| decay(times[newest].0.saturating_sub(at.0))).collect(),
    }
}

/// `2^62 · 2^(−age / 7 d)`, rounded down at each step; by square roots of whole numbers, so that no
/// machine's floating point has a say.
fn decay(age: i64) -> u64 {
    const UNIT: u32 = 62;
    let (age, half_life) = (age.max(0).cast_unsigned(), HALF_LIFE.cast_unsigned());
    let halvings = u32::try_from(age / half_life).unwrap_or(u32::MAX);
    // The rest as a binary fraction of the half-life: each bit is a factor 2^(−1/2), 2^(−1/4), …
    let fraction = (u128::from(age % half_life) << 32) / u128::from(half_life);
    let (mut weight, mut root) = (1_u128 << UNIT, 1_u128 << (UNIT - 1));
    for bit in (0..32).rev() {
        root = (root << UNIT).isqrt();
        if fraction >> bit & 1 == 1 {
            weight = (weight * root) >> UNIT;
        }
    }
    u64::try_from(weight).unwrap_or(0).checked_shr(halvings).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use castback_schemas::time::HOUR;
    use proptest::prelude::*;

    use super::*;

    fn campaign(n: u128) -> CampaignId {
        format!("00000000-0000-4000-8000-{n:012}").parse().unwrap()
    }

    fn touch(kind: TouchKind, day: i64, event_id: &str, n: u128) -> CampaignTouch<'_> {
        CampaignTouch { kind, at: Micros(day * DAY), event_id, campaign: campaign(n) }
    }

    fn exposure(day: i64, event_id: &str, n: u128) -> CampaignTouch<'_> {
        touch(TouchKind::Exposure, day, event_id, n)
    }

    fn micros(model: Model, touches: &[CampaignTouch<'_>]) -> Vec<(usize, i64)> {
        divide(model, touches, 0).iter().map(|credit| (credit.touch, credit.micro)).collect()
    }

    #[test]
    fn the_four_models() {
        let touches = [exposure(14, "c", 1), exposure(0, "a", 2), exposure(7, "b", 3)];
        assert_eq!(micros(Model::First, &touches), [(1, ONE)]);
        assert_eq!(micros(Model::Last, &touches), [(0, ONE)]);
        assert_eq!(micros(Model::Equal, &touches), [(1, 333_334), (2, 333_333), (0, 333_333)]);
        assert_eq!(micros(Model::TimeDecay, &touches), [(1, 142_857), (2, 285_714), (0, 571_429)]);
        assert_eq!(micros(Model::Equal, &[]), []);
    }

    #[test]
    fn exposures_of_one_instant_go_by_event_id() {
        let touches = [exposure(3, "b", 1), exposure(3, "a", 2)];
        assert_eq!(micros(Model::First, &touches), [(1, ONE)]);
        assert_eq!(micros(Model::Last, &touches), [(0, ONE)]);
    }

    #[test]
    fn a_touch_that_names_its_campaign_wins_over_exposures() {
        let all = TouchKind::ALL.map(|kind| touch(kind, 5, kind.name(), kind as u128));
        for skip in 0..4 {
            let touches: Vec<_> = all[skip..].iter().rev().copied().collect();
            for model in Model::ALL {
                let winner = [Credit { touch: touches.len() - 1, micro: ONE, money: 250 }];
                assert_eq!(divide(model, &touches, 250), winner, "{model:?} {skip}");
            }
        }
    }

    #[test]
    fn money_is_split_by_largest_remainder_and_refunded_the_same_way() {
        let touches = [exposure(0, "a", 1), exposure(1, "b", 2), exposure(2, "c", 1)];
        let money = |amount| divide(Model::Equal, &touches, amount).iter().map(|part| part.money).collect::<Vec<_>>();
        assert_eq!(money(100), [34, 33, 33]);
        assert_eq!(money(-100), [-34, -33, -33]);
        assert_eq!(money(1), [1, 0, 0]);
        let credits = divide(Model::Equal, &touches, 100);
        assert_eq!(by_campaign(&credits, &touches), [(campaign(1), 666_667, 67), (campaign(2), 333_333, 33)]);
    }

    #[test]
    fn both_ends_of_the_look_back_are_inside() {
        let conversion = Micros(40 * DAY);
        assert!(is_within_lookback(conversion, conversion, 1));
        assert!(is_within_lookback(Micros(10 * DAY), conversion, 30));
        assert!(!is_within_lookback(Micros(10 * DAY - 1), conversion, 30));
        assert!(!is_within_lookback(conversion.plus(1), conversion, 30));
    }

    #[test]
    fn decay_is_exp2_to_nine_digits() {
        for hours in 0..60 * 24 {
            let expected = (-f64::from(hours) / (7.0 * 24.0)).exp2();
            let weight = u32::try_from(decay(i64::from(hours) * HOUR) >> 31).unwrap();
            assert!((f64::from(weight) / 2_f64.powi(31) - expected).abs() < 1e-9, "{hours} h");
        }
        assert_eq!(decay(i64::MAX), 0);
    }

    proptest! {
        #[test]
        fn credit_adds_up_whatever_the_order(
            raw in prop::collection::vec((0_usize..5, 0_i64..60 * DAY, 0_u8..4, 0_u128..4), 0..9),
            money: i64,
            turn in 0_usize..9,
        ) {
            let ids = ["a", "b", "c", "d"];
            let mut touches: Vec<_> = raw.iter().map(|(kind, at, id, n)| CampaignTouch {
                kind: TouchKind::ALL[*kind], at: Micros(*at), event_id: ids[usize::from(*id)], campaign: campaign(*n),
            }).collect();
            for model in Model::ALL {
                let credits = divide(model, &touches, money);
                let attributed = i64::from(!touches.is_empty());
                prop_assert_eq!(credits.iter().map(|credit| credit.micro).sum::<i64>(), ONE * attributed);
                prop_assert_eq!(credits.iter().map(|credit| i128::from(credit.money)).sum::<i128>(), i128::from(money * attributed));
                let before = by_campaign(&credits, &touches);
                let by = turn % touches.len().max(1);
                touches.rotate_left(by);
                prop_assert_eq!(before, by_campaign(&divide(model, &touches, money), &touches));
            }
        }

        #[test]
        fn a_split_is_within_one_unit_of_the_exact_part(amount: i64, weights in prop::collection::vec(0_u64..1_000_000, 1..9)) {
            let parts = split(amount, &weights);
            let total: u64 = weights.iter().sum();
            prop_assert_eq!(parts.iter().map(|part| i128::from(*part)).sum::<i128>(), i128::from(amount) * i128::from(total > 0));
            for (part, weight) in parts.iter().zip(&weights) {
                let off = i128::from(*part) * i128::from(total) - i128::from(amount) * i128::from(*weight);
                prop_assert!(total == 0 || off.abs() < i128::from(total));
            }
        }
    }
}
