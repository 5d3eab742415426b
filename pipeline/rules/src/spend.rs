//! Spend: what a campaign has cost until an instant, and whether it keeps pace.
//!
//! Spend is rounded half-even once, on the cumulated amount, when it is read; what a bucket cost is the
//! difference of two cumulates, so buckets always add up to the whole.

use castback_schemas::campaign::PriceModel;
use castback_schemas::time::SECOND;
use castback_schemas::{Day, Micros};

use crate::interval::real;
use crate::rates::ratio;

/// A campaign's flight, in UTC days, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flight {
    /// The first day.
    pub starts_on: Day,
    /// The last day.
    pub ends_on: Day,
}

impl Flight {
    /// The length in seconds; 0 if it ends before it starts.
    #[must_use]
    pub fn seconds(&self) -> i64 {
        self.elapsed(self.ends_on.next().start())
    }

    /// Whole seconds of the flight that have passed at `at`.
    #[must_use]
    pub fn elapsed(&self, at: Micros) -> i64 {
        let (start, end) = (self.starts_on.start(), self.ends_on.next().start());
        at.min(end).0.saturating_sub(start.0).max(0) / SECOND
    }
}

/// What a campaign's spend depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// The price.
    pub price: PriceModel,
    /// The budget in minor units: no more is ever spent.
    pub budget: Option<i64>,
    /// The flight; without one a flat price earns nothing.
    pub flight: Option<Flight>,
}

impl Terms {
    /// Minor units spent until `at`, with so many impressions until then.
    ///
    /// CPM: `impressions × CPM / 1000`, capped at the budget. Flat: `budget × elapsed / flight` by seconds,
    /// where a price below the budget is what the flight costs.
    #[must_use]
    pub fn spent(&self, impressions: u64, at: Micros) -> i64 {
        let budget = self.budget.unwrap_or(i64::MAX);
        match self.price {
            PriceModel::Cpm(cpm) => round_half_even(i128::from(impressions) * i128::from(cpm), 1000).min(budget),
            PriceModel::Flat(price) => self.flight.map_or(0, |flight| {
                let earned = i128::from(price.min(budget)) * i128::from(flight.elapsed(at));
                round_half_even(earned, i128::from(flight.seconds()))
            }),
        }
    }

    /// `(spend / budget) / (elapsed / flight)`: 1 is on time, less is behind. `None` without a budget or
    /// a flight, and before the flight.
    #[must_use]
    pub fn pacing(&self, spent: i64, at: Micros) -> Option<f64> {
        let flight = self.flight?;
        let budget_used = ratio(real(spent), real(self.budget?))?;
        ratio(budget_used, ratio(real(flight.elapsed(at)), real(flight.seconds()))?)
    }
}

/// `numerator / denominator` to the nearest whole number, halves to the even one; 0 for a denominator that
/// is not above 0; saturating at 64 bits.
#[must_use]
pub fn round_half_even(numerator: i128, denominator: i128) -> i64 {
    if denominator <= 0 {
        return 0;
    }
    let (whole, rest) = (numerator.div_euclid(denominator), numerator.rem_euclid(denominator));
    let up = match rest.cmp(&(denominator - rest)) {
        std::cmp::Ordering::Less => 0,
        std::cmp::Ordering::Equal => whole & 1,
        std::cmp::Ordering::Greater => 1,
    };
    i64::try_from(whole + up).unwrap_or(if whole < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use castback_schemas::time::DAY;
    use proptest::prelude::*;

    use super::*;

    /// Ten days, budget 1,000.00.
    fn terms(price: PriceModel) -> Terms {
        let flight = Flight { starts_on: Day(100), ends_on: Day(109) };
        Terms { price, budget: Some(100_000), flight: Some(flight) }
    }

    #[test]
    fn cpm_spend_is_rounded_once_and_capped() {
        let cpm = terms(PriceModel::Cpm(2_500));
        let spent = |impressions| cpm.spent(impressions, Micros(0));
        assert_eq!([spent(0), spent(1), spent(3), spent(1000)], [0, 2, 8, 2_500], "2.5 → 2, 7.5 → 8");
        assert_eq!([spent(40_000), spent(40_001), spent(u64::MAX)], [100_000; 3]);
    }

    #[test]
    fn a_flat_price_is_earned_by_the_second() {
        let flat = terms(PriceModel::Flat(100_000));
        let spent = |at: i64| flat.spent(7, Micros(at));
        let start = 100 * DAY;
        assert_eq!([spent(0), spent(start), spent(start + DAY), spent(start + DAY / 2)], [0, 0, 10_000, 5_000]);
        assert_eq!([spent(start + 10 * DAY), spent(start + 11 * DAY)], [100_000, 100_000], "both ends included");
        assert_eq!(terms(PriceModel::Flat(50_000)).spent(0, Micros(start + 10 * DAY)), 50_000);
        assert_eq!(terms(PriceModel::Flat(500_000)).spent(0, Micros(start + 10 * DAY)), 100_000);
        assert_eq!(Terms { flight: None, ..flat }.spent(0, Micros(start + DAY)), 0);
    }

    #[test]
    fn pacing_is_spend_over_time() {
        let cpm = terms(PriceModel::Cpm(1));
        let at = Micros(105 * DAY);
        assert_eq!(cpm.pacing(50_000, at), Some(1.0));
        assert_eq!(cpm.pacing(25_000, at), Some(0.5));
        assert_eq!(cpm.pacing(0, Micros(100 * DAY)), None, "nothing has elapsed");
        assert_eq!(Terms { budget: None, ..cpm }.pacing(50_000, at), None);
        assert_eq!(Terms { flight: None, ..cpm }.pacing(50_000, at), None);
    }

    #[test]
    fn halves_go_to_the_even_neighbor() {
        let rounded: Vec<i64> = [-5, -3, -1, 1, 3, 5].iter().map(|n| round_half_even(*n, 2)).collect();
        assert_eq!(rounded, [-2, -2, 0, 0, 2, 2]);
        assert_eq!([round_half_even(1, 3), round_half_even(2, 3), round_half_even(-2, 3)], [0, 1, -1]);
        assert_eq!(round_half_even(7, 0), 0);
    }

    proptest! {
        #[test]
        fn spend_never_falls_and_never_passes_the_budget(
            cpm in 0_i64..1_000_000, counts in prop::collection::vec(0_u64..100_000, 1..20), flat: bool,
        ) {
            let terms = terms(if flat { PriceModel::Flat(cpm) } else { PriceModel::Cpm(cpm) });
            let (mut impressions, mut at, mut spent) = (0, Micros(99 * DAY), 0);
            for count in counts {
                impressions += count;
                at = at.plus(DAY / 3);
                let now = terms.spent(impressions, at);
                prop_assert!(spent <= now && now <= 100_000);
                spent = now;
            }
        }
    }
}
