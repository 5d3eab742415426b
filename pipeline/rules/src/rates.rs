//! The rates of a campaign: quotients of what adds up, with an interval where there is one.
//!
//! A rate is never stored or summed: it is made from its sums when it is read. A denominator of zero
//! gives null. Rates of money are minor units per unit; the currency stands beside them.

use serde::{Deserialize, Serialize};

use crate::credit::ONE;
use crate::interval::{self, Interval, count, real};

/// A rate and its interval of 95 %, each null where it does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Rate {
    /// The rate.
    pub value: Option<f64>,
    /// The lower bound.
    pub low: Option<f64>,
    /// The upper bound.
    pub high: Option<f64>,
}

impl Rate {
    /// A rate without an interval.
    #[must_use]
    pub fn plain(value: Option<f64>) -> Self {
        Self { value, low: None, high: None }
    }

    fn with(value: Option<f64>, interval: Option<Interval>) -> Self {
        Self { value, low: interval.map(|i| i.low), high: interval.map(|i| i.high) }
    }
}

/// `numerator / denominator`; `None` for a denominator of zero.
#[must_use]
pub fn ratio(numerator: f64, denominator: f64) -> Option<f64> {
    Some(numerator / denominator).filter(|value| value.is_finite())
}

/// What a campaign's rates are made of, over one period.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sums {
    /// Minor units spent.
    pub spend: i64,
    /// Minor units of credited revenue, refunds subtracted.
    pub revenue: i64,
    /// Σ (creditᵢ·valueᵢ)² over the conversions, in minor units squared.
    pub revenue_squares: f64,
    /// Ads delivered.
    pub impressions: u64,
    /// Credited visits, in millionths.
    pub visits_micro: i64,
    /// Credited leads, in millionths.
    pub leads_micro: i64,
    /// Credited conversions, in millionths.
    pub conversions_micro: i64,
    /// Credited conversions that bring money (`purchase subscribe donate`), in millionths.
    pub orders_micro: i64,
    /// Households that converted, among those reached.
    pub converting_households: u64,
    /// Households reached.
    pub households: u64,
}

impl Sums {
    /// Cost per thousand impressions.
    #[must_use]
    pub fn cpm(&self) -> Rate {
        Rate::plain(ratio(real(self.spend) * 1000.0, count(self.impressions)))
    }

    /// Cost per visit.
    #[must_use]
    pub fn cpv(&self) -> Rate {
        per_credited(self.spend, self.visits_micro)
    }

    /// Cost per lead.
    #[must_use]
    pub fn cpl(&self) -> Rate {
        per_credited(self.spend, self.leads_micro)
    }

    /// Cost per conversion (acquisition).
    #[must_use]
    pub fn cpa(&self) -> Rate {
        per_credited(self.spend, self.conversions_micro)
    }

    /// Average order value: revenue per order.
    #[must_use]
    pub fn aov(&self) -> Rate {
        per_credited(self.revenue, self.orders_micro)
    }

    /// Converting households / household reach, with Wilson's interval where the former are a subset.
    #[must_use]
    pub fn conversion_rate(&self) -> Rate {
        let value = ratio(count(self.converting_households), count(self.households));
        Rate::with(value, interval::wilson(self.converting_households, self.households))
    }

    /// Return on ad spend: revenue / spend.
    #[must_use]
    pub fn roas(&self) -> Rate {
        Rate::with(ratio(real(self.revenue), real(self.spend)), self.roas_interval())
    }

    /// Return on investment: (revenue − spend) / spend, so 1 below the return on ad spend.
    #[must_use]
    pub fn roi(&self) -> Rate {
        let value = ratio(real(self.revenue.saturating_sub(self.spend)), real(self.spend));
        Rate::with(value, self.roas_interval().map(|i| Interval { low: i.low - 1.0, high: i.high - 1.0 }))
    }

    fn roas_interval(&self) -> Option<Interval> {
        interval::roas(self.revenue, self.revenue_squares, self.spend)
    }
}

fn per_credited(amount: i64, micro: i64) -> Rate {
    Rate::plain(ratio(real(amount) * real(ONE), real(micro)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums() -> Sums {
        Sums {
            spend: 5_000,
            revenue: 10_000,
            revenue_squares: 4.0 * 2_500.0 * 2_500.0,
            impressions: 2_000,
            visits_micro: 20 * ONE,
            leads_micro: 5 * ONE,
            conversions_micro: 4 * ONE,
            orders_micro: 4 * ONE,
            converting_households: 5,
            households: 10,
        }
    }

    #[test]
    fn rates_are_quotients_of_the_sums() {
        let sums = sums();
        let values = [sums.cpm(), sums.cpv(), sums.cpl(), sums.cpa(), sums.aov(), sums.roas(), sums.roi()];
        let expected = [2_500.0, 250.0, 1_000.0, 1_250.0, 2_500.0, 2.0, 1.0];
        assert_eq!(values.map(|rate| rate.value), expected.map(Some));
    }

    #[test]
    fn intervals_stand_where_there_is_one() {
        let rate = sums().conversion_rate();
        assert_eq!(rate.value, Some(0.5));
        assert!((rate.low.unwrap() - 0.2366).abs() < 5e-5 && (rate.high.unwrap() - 0.7634).abs() < 5e-5);
        let more = Sums { converting_households: 11, ..sums() }.conversion_rate();
        assert_eq!((more.value, more.low, more.high), (Some(1.1), None, None));
        let (roas, roi) = (sums().roas(), sums().roi());
        assert!((roas.low.unwrap() - roi.low.unwrap() - 1.0).abs() < 1e-12);
        assert!((roas.high.unwrap() - roi.high.unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(sums().cpm().low, None);
        let refunded = Sums { revenue: -2_000, revenue_squares: 2_000.0 * 2_000.0, ..sums() };
        assert_eq!(refunded.roas(), Rate::plain(Some(-0.4)), "no interval holds it");
        assert_eq!(refunded.roi(), Rate::plain(Some(-1.4)));
    }

    #[test]
    fn a_denominator_of_zero_gives_null() {
        let none = Sums { spend: 0, revenue: 5, ..Sums::default() };
        for rate in [
            none.cpm(),
            none.cpv(),
            none.cpl(),
            none.cpa(),
            none.aov(),
            none.conversion_rate(),
            none.roas(),
            none.roi(),
        ] {
            assert_eq!(rate, Rate::default());
        }
        assert_eq!(serde_json::to_string(&none.roas()).unwrap(), r#"{"value":null,"low":null,"high":null}"#);
    }
}
