//! Intervals of 95 %, and when a figure is too thin to lean on.

/// The 97.5th percentile of the standard normal distribution.
pub const Z: f64 = 1.959_964;

/// Conversions below which a figure is `thin`.
pub const THIN_CONVERSIONS: i64 = 10;

/// Answers below which a score is `thin`.
pub const THIN_ANSWERS: u64 = 30;

/// A confidence interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The lower bound.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
}

/// Wilson's score interval of a proportion [Wilson 1927]. `None` for `of` = 0, or where `hits` is larger:
/// then the numerator is no subset of the denominator, and there is no proportion.
#[must_use]
pub fn wilson(hits: u64, of: u64) -> Option<Interval> {
    if of == 0 || hits > of {
        return None;
    }
    let n = count(of);
    let p = count(hits) / n;
    let scale = 1.0 + Z * Z / n;
    let center = p + Z * Z / (2.0 * n);
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    // At the edges the formula gives 0 and 1 exactly; floating point need not.
    let low = if hits == 0 { 0.0 } else { (center - half) / scale };
    let high = if hits == of { 1.0 } else { (center + half) / scale };
    Some(Interval { low, high })
}

/// The interval of revenue / spend: `max(0, R ± z·√Σ(creditᵢ·valueᵢ)²) / spend`, amounts in minor units.
/// `None` for a spend that is not above 0, and for a revenue below 0 (more was refunded than bought): bounds that are
/// cut at 0 don't hold it.
#[must_use]
pub fn roas(revenue: i64, sum_of_squares: f64, spend: i64) -> Option<Interval> {
    if spend <= 0 || revenue < 0 {
        return None;
    }
    let half = Z * sum_of_squares.max(0.0).sqrt();
    let bound = |amount: f64| amount.max(0.0) / real(spend);
    Some(Interval { low: bound(real(revenue) - half), high: bound(real(revenue) + half) })
}

/// A net promoter score, −100 to 100.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nps {
    /// `100 × (promoters − detractors) / N`.
    pub score: f64,
    /// What to add and subtract for 95 %.
    pub margin: f64,
    /// Fewer than [`THIN_ANSWERS`] answers.
    pub thin: bool,
}

/// NPS with its margin: `100(p−d) ± 100z·√((p+d−(p−d)²)/N)`. `None` without answers, or if promoters
/// (9–10) and detractors (0–6) are more than the answers.
#[must_use]
pub fn nps(promoters: u64, detractors: u64, answers: u64) -> Option<Nps> {
    if answers == 0 || promoters.checked_add(detractors)? > answers {
        return None;
    }
    let n = count(answers);
    let (p, d) = (count(promoters) / n, count(detractors) / n);
    let variance = (p + d - (p - d) * (p - d)).max(0.0);
    Some(Nps { score: 100.0 * (p - d), margin: 100.0 * Z * (variance / n).sqrt(), thin: answers < THIN_ANSWERS })
}

/// Whether so many conversions, in millionths, are too few to lean on.
#[must_use]
pub fn is_thin(conversions_micro: i64) -> bool {
    conversions_micro < crate::credit::ONE * THIN_CONVERSIONS
}

/// An amount as a real number, for a rate.
#[expect(clippy::cast_precision_loss, reason = "rates are approximate; below 2^53 nothing is lost")]
pub(crate) fn real(amount: i64) -> f64 {
    amount as f64
}

/// A count as a real number, for a rate.
#[expect(clippy::cast_precision_loss, reason = "rates are approximate; below 2^53 nothing is lost")]
pub(crate) fn count(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn near(value: f64, expected: f64, tolerance: f64) {
        assert!((value - expected).abs() <= tolerance, "{value} is not {expected}");
    }

    #[test]
    fn wilson_gives_the_published_values() {
        for (hits, of, low, high, tolerance) in
            [(5, 10, 0.2366, 0.7634, 5e-5), (0, 10, 0.0, 0.2775, 5e-5), (23, 1000, 0.01537, 0.03428, 5e-6)]
        {
            let interval = wilson(hits, of).unwrap();
            near(interval.low, low, tolerance);
            near(interval.high, high, tolerance);
        }
        assert_eq!(wilson(0, 0), None);
        assert_eq!(wilson(11, 10), None);
    }

    #[test]
    fn nps_gives_the_published_values() {
        let nps = nps(50, 20, 100).unwrap();
        near(nps.score, 30.0, 1e-9);
        near(nps.margin, 15.3, 0.05);
        assert!(!nps.thin);
        assert!(super::nps(1, 0, 29).unwrap().thin);
        assert_eq!(super::nps(0, 0, 0), None);
        assert_eq!(super::nps(6, 5, 10), None);
        near(super::nps(0, 10, 10).unwrap().margin, 0.0, 1e-9);
    }

    #[test]
    fn the_return_on_spend_has_the_spread_of_its_conversions() {
        // Four conversions of 25.00 on a spend of 50.00: R = 2, half = z·√4·25/50.
        let interval = roas(10_000, 4.0 * 2_500.0 * 2_500.0, 5_000).unwrap();
        near(interval.low, 2.0 - Z, 1e-9);
        near(interval.high, 2.0 + Z, 1e-9);
        near(roas(100, 1e12, 5_000).unwrap().low, 0.0, 0.0);
        assert_eq!(roas(100, 0.0, 0), None);
        // 20.00 refunded and nothing bought in the range, on a spend of 50.00: R = -0.4.
        assert_eq!(roas(-2_000, 2_000.0 * 2_000.0, 5_000), None);
        assert_eq!(roas(0, 0.0, 5_000), Some(Interval { low: 0.0, high: 0.0 }));
    }

    #[test]
    fn under_ten_conversions_a_figure_is_thin() {
        assert!(is_thin(9_999_999) && !is_thin(10_000_000));
    }

    proptest! {
        #[test]
        fn the_interval_of_the_return_holds_it(
            values in proptest::collection::vec(-100_000_i64..100_000, 0..20), spend in 1_i64..1_000_000
        ) {
            let revenue: i64 = values.iter().sum();
            let squares: f64 = values.iter().map(|value| real(*value) * real(*value)).sum();
            let value = real(revenue) / real(spend);
            match roas(revenue, squares, spend) {
                Some(Interval { low, high }) => prop_assert!(0.0 <= low && low <= value && value <= high),
                None => prop_assert!(value < 0.0),
            }
        }

        #[test]
        fn wilson_holds_the_proportion(hits in 0_u64..1_000_000, misses in 1_u64..1_000_000) {
            let of = hits + misses;
            let Interval { low, high } = wilson(hits, of).unwrap();
            let p = count(hits) / count(of);
            prop_assert!(0.0 <= low && low <= p && p <= high && high <= 1.0);
        }
    }
}
