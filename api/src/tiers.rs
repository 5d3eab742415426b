//! Subscription tiers: what each allows. The table is configuration; this is its default.

use std::sync::Arc;

use castback_schemas::Money;
use castback_schemas::money::Currency;
use serde::{Deserialize, Serialize};

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tier {
    /// Its name.
    pub name: String,
    /// Price of a month.
    pub price: Money,
    /// Podcasts; none: as many as one likes.
    pub podcasts: Option<i64>,
    /// Campaigns that are scheduled, active or paused; none: as many as one likes.
    pub active_campaigns: Option<i64>,
    /// Reports a month; none: as many as one likes.
    pub reports: Option<i64>,
    /// Days that the ledger is kept.
    pub ledger_days: i64,
}

/// The tiers, cheapest first.
#[derive(Debug, Clone)]
pub struct Tiers(Arc<[Tier]>);

impl Tiers {
    /// Tiers in order of price.
    #[must_use]
    pub fn new(tiers: Vec<Tier>) -> Self {
        Self(tiers.into())
    }

    /// A tier by name; an unknown one allows what the first does.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Tier> {
        self.0.iter().find(|tier| tier.name == name).or_else(|| self.0.first())
    }

    /// Every tier, cheapest first.
    #[must_use]
    pub fn all(&self) -> &[Tier] {
        &self.0
    }

    /// The cheapest tier that allows more than `allowed` by this limit.
    #[must_use]
    pub fn above(&self, limit: impl Fn(&Tier) -> Option<i64>, allowed: i64) -> Option<&Tier> {
        self.0.iter().find(|tier| limit(tier).is_none_or(|more| more > allowed))
    }
}

impl Default for Tiers {
    fn default() -> Self {
        let tier = |name: &str, price, limits: [Option<i64>; 3], ledger_days| Tier {
            name: name.to_owned(),
            price: Money { amount: price, currency: Currency::USD },
            podcasts: limits[0],
            active_campaigns: limits[1],
            reports: limits[2],
            ledger_days,
        };
        Self::new(vec![
            tier("free", 0, [Some(1), Some(1), Some(2)], 30),
            tier("starter", 2_900, [Some(3), Some(5), Some(20)], 180),
            tier("professional", 9_900, [Some(10), Some(50), Some(200)], 730),
            tier("enterprise", 49_900, [None, None, None], 1_826),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_tier_up_allows_more() {
        let tiers = Tiers::default();
        assert_eq!(tiers.above(|tier| tier.active_campaigns, 1).unwrap().name, "starter");
        assert_eq!(tiers.above(|tier| tier.podcasts, 3).unwrap().name, "professional");
        assert_eq!(tiers.above(|tier| tier.reports, 10_000).unwrap().name, "enterprise");
        assert_eq!(tiers.get("no such").unwrap().name, "free");
    }
}
