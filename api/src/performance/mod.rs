//! `GET /v1/campaigns/{id}/performance`: rolling figures, once or as a stream.

pub(crate) mod estimate;
pub(crate) mod grid;
pub(crate) mod series;
mod stream;

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use castback_catalogue::campaigns::Campaign;
use castback_rules::credit::Model;
use castback_rules::rates::Rate;
use castback_rules::window::Window;
use castback_schemas::time::{DAY, HOUR, MINUTE};
use castback_schemas::{AccountId, Micros, Money};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::IntoParams;

use crate::App;
use crate::accept::preferred;
use crate::extract::{Path, Query, id};
use crate::figures::{Figures, Heard, Question, credited};
use crate::identity::Scope;
use crate::problem::Result;
use crate::query::Ask;
use crate::query::range::word;

use estimate::Sighted;

/// Lateness of conversions: behind it a flight's figures move by recounts only.
const LATENESS: i64 = 30 * DAY;

/// Rolling periods in microseconds; a flight has none.
const PERIODS: [(&str, Option<i64>); 5] =
    [("flight", None), ("5m", Some(5 * MINUTE)), ("1h", Some(HOUR)), ("24h", Some(DAY)), ("7d", Some(7 * DAY))];

/// The models' words, the usual one first.
pub(crate) const MODELS: [(&str, Model); 4] =
    [("last", Model::Last), ("first", Model::First), ("equal", Model::Equal), ("time_decay", Model::TimeDecay)];

/// The windows' words, the podcasts' own first.
pub(crate) const HEARD: [(&str, Heard); 4] = [
    ("chosen", Heard::Chosen),
    ("utc_day", Heard::Window(Window::UtcDay)),
    ("first_touch_24h", Heard::Window(Window::FirstTouch)),
    ("last_touch_24h", Heard::Window(Window::LastTouch)),
];

/// The parameters.
#[derive(Debug, Default, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Parameters {
    /// `5m`, `1h`, `24h`, `7d` or `flight`.
    period: Option<String>,
    /// `utc_day`, `first_touch_24h` or `last_touch_24h`; each podcast's own if not given.
    window: Option<String>,
    /// `first`, `last`, `equal` or `time_decay`; `last` if not given.
    model: Option<String>,
}

/// What is asked, read from the parameters.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    account: AccountId,
    campaign: Campaign,
    period: (&'static str, Option<i64>),
    heard: Heard,
    window: String,
    model: Model,
}

/// A campaign's performance.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Performance {
    campaign_id: String,
    period: &'static str,
    from: Micros,
    to: Micros,
    window: String,
    model: &'static str,
    as_of: Micros,
    revision: i64,
    #[serde(rename = "final")]
    is_final: bool,
    #[serde(flatten)]
    figures: Shape,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Shape {
    impressions: u64,
    impressions_prefix_estimated: u64,
    downloads: u64,
    reach_device: u64,
    reach_household: u64,
    reach_months: i64,
    frequency: Rate,
    visits: Value,
    leads: Value,
    conversions: Value,
    unattributed_conversions: u64,
    revenue: Money,
    other_currency_revenue: Vec<Money>,
    unverified_revenue: Money,
    spend: Money,
    cpm: Rate,
    cpv: Rate,
    cpl: Rate,
    cpa: Rate,
    aov: Rate,
    conversion_rate: Rate,
    roas: Rate,
    roi: Rate,
    pacing: Rate,
    usable_address_share: Rate,
    thin: bool,
    warnings: Vec<String>,
}

/// A campaign's rolling figures; with `Accept: text/event-stream`, again whenever they change.
#[utoipa::path(get, path = "/v1/campaigns/{id}/performance", tag = "performance", params(("id" = String, Path), Parameters),
    responses((status = 200, description = "figures with intervals; a stream of them on demand")))]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    scope: Scope,
    Path(campaign): Path<String>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Result<Response> {
    let asked = Asked::of(&app, scope.one()?, (&campaign, &parameters)).await?;
    if preferred(&headers, "application/json", &["text/event-stream"]) == "text/event-stream" {
        return stream::stream(app, asked);
    }
    Ok(Answer(asked.read(&app).await?).into_response())
}

impl Asked {
    /// Reads the parameters; another account's campaign is not found.
    pub(crate) async fn of(app: &App, account: AccountId, (campaign, parameters): (&str, &Parameters)) -> Result<Self> {
        let campaign = app.catalogue.campaign(account, id(campaign, "campaign")?).await?;
        let periods = PERIODS.map(|period| (period.0, period));
        let period = word(parameters.period.as_deref(), "period", &periods)?;
        let model = word(parameters.model.as_deref(), "model", &MODELS)?;
        let heard = word(parameters.window.as_deref(), "window", &HEARD)?;
        let window = window(app, (account, &campaign), heard).await?;
        Ok(Self { account, campaign, period, heard, window, model })
    }

    fn question(&self, now: Micros) -> Question {
        let campaign = (self.campaign.id, &self.campaign.terms);
        let question = match self.period.1 {
            None => Question::flight(campaign, now),
            Some(length) => Question::range(campaign, (now.floor(MINUTE).plus(-length), now.plus(1)), now),
        };
        question.by(self.heard, self.model)
    }

    /// The figures as of the newest commit.
    pub(crate) async fn read(&self, app: &App) -> Result<Performance> {
        let now = app.clock.now();
        let question = self.question(now);
        let ask = Ask::newest(app, Scope::Account(self.account)).await?.keeping();
        let figures = Figures::read(&ask, &question).await?;
        let estimated = match Sighted::of(app, self.account, &self.campaign.terms).await? {
            Some(sighted) => sighted.read(&ask, &question).await?,
            None => 0,
        };
        let end = self.campaign.terms.ends_on.map(|day| day.next().start());
        let lookback = i64::from(self.campaign.terms.lookback_days) * DAY;
        let closed = end.is_some_and(|end| end.plus(lookback).plus(LATENESS) <= now);
        if figures.downloads > 0 {
            app.valued(self.account).await;
        }
        Ok(Performance {
            campaign_id: self.campaign.id.to_string(),
            period: self.period.0,
            from: question.from,
            to: now,
            window: self.window.clone(),
            model: self.model.name(),
            as_of: now,
            revision: ask.revision().0,
            is_final: self.period.1.is_none() && closed,
            figures: shape(&figures, &question, estimated),
        })
    }
}

/// The window's word: where each podcast has its own and they differ, `chosen`.
async fn window(app: &App, (account, campaign): (AccountId, &Campaign), heard: Heard) -> Result<String> {
    if let Heard::Window(window) = heard {
        return Ok(window.name().to_owned());
    }
    let mut windows = Vec::new();
    for podcast in &campaign.terms.podcast_ids {
        match app.catalogue.podcast(account, *podcast).await {
            Ok(podcast) => windows.push(podcast.window.as_str()),
            // A podcast that was disconnected since says nothing of windows.
            Err(castback_catalogue::CatalogueError::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    windows.dedup();
    Ok(match windows[..] {
        [only] => only.to_owned(),
        _ => "chosen".to_owned(),
    })
}

fn shape(figures: &Figures, question: &Question, estimated: u64) -> Shape {
    let sums = &figures.sums;
    let money = |amount| Money { amount, currency: question.currency };
    Shape {
        impressions: sums.impressions,
        impressions_prefix_estimated: estimated,
        downloads: figures.downloads,
        reach_device: figures.reach_device,
        reach_household: sums.households,
        reach_months: figures.reach_months,
        frequency: figures.frequency(),
        visits: credited(sums.visits_micro),
        leads: credited(sums.leads_micro),
        conversions: credited(sums.conversions_micro),
        unattributed_conversions: figures.unattributed,
        revenue: money(sums.revenue),
        other_currency_revenue: figures.other.clone(),
        unverified_revenue: money(figures.unverified + figures.shown_only),
        spend: money(sums.spend),
        cpm: sums.cpm(),
        cpv: sums.cpv(),
        cpl: sums.cpl(),
        cpa: sums.cpa(),
        aov: sums.aov(),
        conversion_rate: sums.conversion_rate(),
        roas: sums.roas(),
        roi: sums.roi(),
        pacing: Rate::plain(figures.pacing),
        usable_address_share: figures.usable_share(),
        thin: figures.thin(),
        warnings: figures.warnings(),
    }
}
