//! A campaign as JSON: money with its currency, the terms without what nobody may set.

use castback_catalogue::campaigns::Campaign;
use castback_schemas::campaign::{Attribution, CampaignTerms, Exclusions, Goals, PixelUse, Placement, PriceModel};
use castback_schemas::{Currency, Day, Money, PodcastId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::extract::Checks;

/// What a person sets. Only the name has to be there; a launch needs more.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct TermsBody {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) advertiser: String,
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub(crate) podcast_ids: Vec<PodcastId>,
    #[serde(default)]
    pub(crate) data_set_ids: Vec<String>,
    /// Where the vanity address leads.
    pub(crate) landing_url: Option<String>,
    /// First day of the flight (UTC).
    #[schema(value_type = Option<String>)]
    pub(crate) starts_on: Option<Day>,
    /// Last day of the flight, included.
    #[schema(value_type = Option<String>)]
    pub(crate) ends_on: Option<Day>,
    /// Of budget, price and revenue; the budget's if not given.
    #[schema(value_type = Option<String>)]
    pub(crate) currency: Option<Currency>,
    #[schema(value_type = Option<Object>)]
    pub(crate) budget: Option<Money>,
    #[schema(value_type = Option<Object>)]
    pub(crate) price_model: Option<PriceBody>,
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    pub(crate) placements: Vec<Placement>,
    #[serde(default)]
    #[schema(value_type = Object)]
    pub(crate) goals: Goals,
    /// Days from 1 to 60; 30 if not given.
    pub(crate) lookback_days: Option<u16>,
    #[serde(default)]
    pub(crate) attribution: AttributionBody,
    #[serde(default)]
    #[schema(value_type = Object)]
    pub(crate) exclusions: Exclusions,
}

/// What an advertiser pays.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PriceBody {
    /// For a thousand impressions.
    Cpm(Money),
    /// For the whole flight.
    Flat(Money),
}

impl PriceBody {
    pub(crate) fn money(self) -> Money {
        match self {
            Self::Cpm(money) | Self::Flat(money) => money,
        }
    }
}

/// How conversions are connected to the campaign.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct AttributionBody {
    #[serde(default)]
    pub(crate) promo_codes: Vec<String>,
    pub(crate) vanity_slug: Option<String>,
    /// `off`, `shown` or `counted`.
    #[serde(default)]
    #[schema(value_type = String)]
    pub(crate) pixel: PixelUse,
    pub(crate) survey: Option<Vec<String>>,
    /// Whether at least one method is set; derived.
    #[serde(default, skip_deserializing)]
    pub(crate) complete: bool,
}

impl From<AttributionBody> for Attribution {
    fn from(body: AttributionBody) -> Self {
        let AttributionBody { promo_codes, vanity_slug, pixel, survey, .. } = body;
        Self { promo_codes, vanity_slug, pixel, survey }
    }
}

impl From<Attribution> for AttributionBody {
    fn from(attribution: Attribution) -> Self {
        let complete = attribution.complete();
        let Attribution { promo_codes, vanity_slug, pixel, survey } = attribution;
        Self { promo_codes, vanity_slug, pixel, survey, complete }
    }
}

impl TermsBody {
    /// The terms, with money in the campaign's one currency.
    pub(crate) fn into_terms(self, checks: &mut Checks) -> CampaignTerms {
        let currency = self.currency.or_else(|| self.budget.map(|budget| budget.currency));
        if currency.is_none() {
            checks.refuse("currency", "expected an ISO 4217 code");
        }
        let currency = currency.unwrap_or(Currency::USD);
        for (field, money) in [("budget", self.budget), ("price_model", self.price_model.map(PriceBody::money))] {
            if money.is_some_and(|money| money.currency != currency) {
                checks.refuse(field, format!("expected {currency}, the campaign's currency"));
            }
        }
        CampaignTerms {
            name: self.name,
            advertiser: self.advertiser,
            podcast_ids: self.podcast_ids,
            data_set_ids: self.data_set_ids,
            landing_url: self.landing_url,
            starts_on: self.starts_on,
            ends_on: self.ends_on,
            currency,
            budget: self.budget.map(|budget| budget.amount),
            price_model: self.price_model.map(|price| match price {
                PriceBody::Cpm(money) => PriceModel::Cpm(money.amount),
                PriceBody::Flat(money) => PriceModel::Flat(money.amount),
            }),
            placements: self.placements,
            goals: self.goals,
            lookback_days: self.lookback_days.unwrap_or(30),
            attribution: self.attribution.into(),
            exclusions: self.exclusions,
        }
    }
}

impl From<CampaignTerms> for TermsBody {
    fn from(terms: CampaignTerms) -> Self {
        let money = |amount| Money { amount, currency: terms.currency };
        Self {
            budget: terms.budget.map(money),
            price_model: terms.price_model.map(|price| match price {
                PriceModel::Cpm(amount) => PriceBody::Cpm(money(amount)),
                PriceModel::Flat(amount) => PriceBody::Flat(money(amount)),
            }),
            name: terms.name,
            advertiser: terms.advertiser,
            podcast_ids: terms.podcast_ids,
            data_set_ids: terms.data_set_ids,
            landing_url: terms.landing_url,
            starts_on: terms.starts_on,
            ends_on: terms.ends_on,
            currency: Some(terms.currency),
            placements: terms.placements,
            goals: terms.goals,
            lookback_days: Some(terms.lookback_days),
            attribution: terms.attribution.into(),
            exclusions: terms.exclusions,
        }
    }
}

/// A campaign.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ShownCampaign {
    id: String,
    account_id: String,
    /// `draft`, `scheduled`, `active`, `paused`, `completed` or `cancelled`.
    state: &'static str,
    #[serde(flatten)]
    terms: TermsBody,
    /// The entity tag.
    version: i64,
    created_at: String,
    updated_at: String,
}

impl From<Campaign> for ShownCampaign {
    fn from(campaign: Campaign) -> Self {
        Self {
            id: campaign.id.to_string(),
            account_id: campaign.account.to_string(),
            state: campaign.state.as_str(),
            terms: campaign.terms.into(),
            version: campaign.version,
            created_at: campaign.created_at.to_string(),
            updated_at: campaign.updated_at.to_string(),
        }
    }
}
