//! Limits of the subscription: what an account may have, and the problem that says how to get more.

use castback_catalogue::CatalogueError;
use castback_schemas::AccountId;
use serde_json::json;

use crate::app::{App, Part};
use crate::problem::{Problem, Result};
use crate::tiers::Tier;

/// A limit that a tier sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    Podcasts,
    ActiveCampaigns,
}

impl Limit {
    fn as_str(self) -> &'static str {
        match self {
            Self::Podcasts => "podcasts",
            Self::ActiveCampaigns => "active_campaigns",
        }
    }

    fn of(self, tier: &Tier) -> Option<i64> {
        match self {
            Self::Podcasts => tier.podcasts,
            Self::ActiveCampaigns => tier.active_campaigns,
        }
    }
}

/// How many an account may have; none: as many as it likes.
pub(crate) async fn allowed(app: &App, account: AccountId, limit: Limit) -> Result<Option<i64>> {
    if !app.settings.has(Part::Pricing) {
        return Ok(None);
    }
    let tier = app.catalogue.account(account).await?.tier;
    Ok(app.settings.tiers.get(&tier).and_then(|tier| limit.of(tier)))
}

/// Counts the outcome of something that a limit holds for; a refusal names the tier that allows more.
pub(crate) fn checked<T>(app: &App, limit: Limit, outcome: Result<T, CatalogueError>) -> Result<T> {
    let refused = matches!(outcome, Err(CatalogueError::LimitReached { .. }));
    if refused || outcome.is_ok() {
        let label = if refused { "refused" } else { "admitted" };
        app.metrics.limit_checks.with_label_values(&[limit.as_str(), label]).inc();
    }
    outcome.map_err(|error| match error {
        CatalogueError::LimitReached { allowed, .. } => {
            let above = app.settings.tiers.above(|tier| limit.of(tier), allowed).map(|tier| tier.name.clone());
            Problem::from(error).with("upgrade_to", json!(above))
        }
        other => other.into(),
    })
}
