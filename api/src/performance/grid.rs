//! `GET /v1/campaigns/{id}/attribution`: what the campaign is credited, model by look-back.
//!
//! Stored credits know one look-back, the campaign's own. Here each conversion is divided again, by
//! the same rules, over the exposures inside another one; the other campaigns keep theirs.

mod evidence;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use castback_catalogue::campaigns::{Campaign, CampaignFilter};
use castback_catalogue::{Page, Paging};
use castback_rules::credit::{CampaignTouch, Model, TouchKind, by_campaign, divide, is_within_lookback};
use castback_schemas::campaign::CampaignState;
use castback_schemas::time::DAY;
use castback_schemas::{AccountId, CampaignId, Micros, Money};
use serde::Serialize;
use utoipa::ToSchema;

use crate::App;
use crate::extract::{Path, id};
use crate::figures::credited;
use crate::identity::Scope;
use crate::problem::{Problem, Result};
use crate::query::Ask;

use evidence::{Conversion, Evidence};

/// Look-backs shown besides the campaign's own, in days.
const LOOKBACKS: [u16; 5] = [1, 7, 14, 30, 60];

/// One model over one look-back.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Cell {
    /// The model.
    pub(crate) model: &'static str,
    /// The look-back in days.
    pub(crate) lookback_days: u16,
    /// Credited conversions.
    #[schema(value_type = f64)]
    pub(crate) conversions: serde_json::Value,
    /// Credited revenue, refunds subtracted.
    #[schema(value_type = Object)]
    pub(crate) revenue: Money,
}

/// Every model over every look-back.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Grid {
    campaign_id: String,
    /// The campaign's own look-back, by which all other figures are made.
    lookback_days: u16,
    pub(crate) items: Vec<Cell>,
    as_of: String,
    revision: i64,
}

/// A campaign's credit by model and look-back.
#[utoipa::path(get, path = "/v1/campaigns/{id}/attribution", tag = "performance", params(("id" = String, Path)),
    responses((status = 200, body = Grid)))]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    scope: Scope,
    Path(campaign): Path<String>,
) -> Result<Answer<Grid>> {
    let account = scope.one()?;
    let campaign = app.catalogue.campaign(account, id(&campaign, "campaign")?).await?;
    let now = app.clock.now();
    let ask = Ask::newest(&app, Scope::Account(account)).await?;
    let items = read(&app, &ask, (account, &campaign), now).await?;
    Ok(Answer(Grid {
        campaign_id: campaign.id.to_string(),
        lookback_days: campaign.terms.lookback_days,
        items,
        as_of: now.to_string(),
        revision: ask.revision().0,
    }))
}

/// The cells, by look-back, then model.
pub(crate) async fn read(
    app: &App,
    ask: &Ask,
    (account, campaign): (AccountId, &Campaign),
    now: Micros,
) -> Result<Vec<Cell>> {
    if campaign.terms.starts_on.is_none() || campaign.terms.ends_on.is_none() {
        return Ok(Vec::new());
    }
    let rivals = campaigns(app, account).await?;
    let evidence = Evidence::read(ask, &rivals, now).await?;
    let mut lookbacks: Vec<u16> = LOOKBACKS.into_iter().chain([campaign.terms.lookback_days]).collect();
    lookbacks.sort_unstable();
    lookbacks.dedup();
    let (id, currency) = (campaign.id, campaign.terms.currency);
    // Every conversion is divided again some dozen times.
    let cells = tokio::task::spawn_blocking(move || {
        let mut cells = Vec::new();
        for lookback in lookbacks {
            let sums = Bench { rivals: &rivals, evidence: &evidence, campaign: id, lookback }.sums();
            for model in Model::ALL {
                let (micro, amount) = sums.get(&model).copied().unwrap_or_default();
                let revenue = Money { amount, currency };
                cells.push(Cell {
                    model: model.name(),
                    lookback_days: lookback,
                    conversions: credited(micro),
                    revenue,
                });
            }
        }
        cells
    });
    cells.await.map_err(Problem::internal)
}

/// Campaigns of an account that were launched.
async fn campaigns(app: &App, account: AccountId) -> Result<Vec<Campaign>> {
    let mut all = Vec::new();
    let mut paging = Paging { limit: castback_catalogue::page::MAX_LIMIT, cursor: None };
    loop {
        let Page { items, next_cursor } = app.catalogue.campaigns(account, &CampaignFilter::default(), &paging).await?;
        all.extend(items.into_iter().filter(|campaign| campaign.state != CampaignState::Draft));
        match next_cursor {
            Some(next) => paging.cursor = Some(next),
            None => return Ok(all),
        }
    }
}

/// One campaign under one look-back among its rivals.
struct Bench<'a> {
    rivals: &'a [Campaign],
    evidence: &'a Evidence,
    campaign: CampaignId,
    lookback: u16,
}

impl Bench<'_> {
    /// Millionths and minor units credited to the campaign, by model.
    fn sums(&self) -> BTreeMap<Model, (i64, i64)> {
        let mut sums: BTreeMap<Model, (i64, i64)> = BTreeMap::new();
        let Some(campaign) = self.rivals.iter().find(|rival| rival.id == self.campaign) else { return sums };
        for conversion in self.evidence.conversions() {
            if !self.is_open(campaign, conversion.at) {
                continue;
            }
            let named = self.evidence.named(conversion.offset);
            let touches = if named.is_empty() { self.exposures(conversion) } else { named.to_vec() };
            let touches: Vec<CampaignTouch<'_>> = touches.iter().map(evidence::Touch::as_credited).collect();
            for model in Model::ALL {
                let parts = divide(model, &touches, conversion.money());
                for (to, micro, money) in by_campaign(&parts, &touches) {
                    if to == self.campaign {
                        let sum = sums.entry(model).or_default();
                        sum.0 += if conversion.is_conversion() { micro } else { 0 };
                        sum.1 += if conversion.currency == Some(campaign.terms.currency) { money } else { 0 };
                    }
                }
            }
        }
        sums
    }

    fn lookback(&self, rival: &Campaign) -> u16 {
        if rival.id == self.campaign { self.lookback } else { rival.terms.lookback_days }
    }

    /// Whether the campaign takes conversions of that time.
    fn is_open(&self, rival: &Campaign, at: Micros) -> bool {
        let Some((first, last)) = rival.terms.starts_on.zip(rival.terms.ends_on) else { return false };
        let until = last.next().start().plus(i64::from(self.lookback(rival)) * DAY);
        first.start() <= at && at < until
    }

    fn exposures(&self, conversion: &Conversion) -> Vec<evidence::Touch> {
        // A refund follows the credit of the purchase it takes back.
        let source = self.evidence.refunded(conversion).unwrap_or(conversion);
        if source.pixel {
            return Vec::new();
        }
        let mut touches = Vec::new();
        for rival in self.rivals {
            if !rival.terms.data_set_ids.contains(&source.data_set) || !self.is_open(rival, source.at) {
                continue;
            }
            let lookback = self.lookback(rival);
            let own: Vec<_> = self
                .evidence
                .exposures(source)
                .filter(|touch| touch.campaign == rival.id && is_within_lookback(touch.at, source.at, lookback))
                .collect();
            let first = own.iter().map(|touch| touch.at).min();
            if !self.is_excluded(source, rival, first) {
                touches.extend(own);
            }
        }
        touches
    }

    fn is_excluded(&self, conversion: &Conversion, rival: &Campaign, first: Option<Micros>) -> bool {
        let holds = |text: &Option<String>, parts: &[String]| {
            let text = text.as_deref().unwrap_or_default().to_lowercase();
            parts.iter().any(|part| !part.is_empty() && text.contains(&part.to_lowercase()))
        };
        let exclusions = &rival.terms.exclusions;
        holds(&conversion.referrer, &exclusions.referrers)
            || holds(&conversion.utm, &exclusions.utm_sources)
            || exclusions.prior_customers && self.evidence.ordered_before(conversion, rival, first)
    }
}

/// A stored kind of touch.
fn kind(name: &str) -> Option<TouchKind> {
    TouchKind::ALL.into_iter().find(|kind| kind.name() == name)
}
