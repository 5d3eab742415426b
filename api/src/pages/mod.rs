//! `GET /`: one live page, made on the server, that works without JavaScript.

mod figures;
mod layout;
mod verdicts;

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use castback_catalogue::Paging;
use castback_catalogue::campaigns::{Campaign, CampaignFilter};
use castback_schemas::campaign::CampaignState;
use castback_schemas::time::DAY;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use maud::{Markup, html};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::App;
use crate::extract::Query;
use crate::figures::{Figures, Question};
use crate::identity::{Caller, Scope};
use crate::ledger::balance;
use crate::performance::series::{self, Sums};
use crate::problem::Result;
use crate::query::Ask;

/// The style sheet of every page.
const STYLE: &str = include_str!("style.css");

/// Nothing but our own style sheet is loaded, and nothing runs.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Campaigns to pick from, newest first.
const PICKED_FROM: u16 = 50;

/// Days of the charts: the flight's last. That of the return goes on as long as conversions are taken.
const CHART_DAYS: i64 = 30;

/// The parameters.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Parameters {
    /// The campaign to show; the newest that runs if not given.
    campaign: Option<String>,
}

/// The live page of the signed-in caller; else how to sign in.
#[utoipa::path(get, path = "/", tag = "pages", params(Parameters),
    responses((status = 200, description = "a page", content_type = "text/html")))]
pub(crate) async fn home(
    State(app): State<Arc<App>>,
    caller: Option<Caller>,
    Query(parameters): Query<Parameters>,
) -> Result<Response> {
    let Some(caller) = caller else { return Ok(page(layout::signed_out())) };
    let paging = Paging { limit: PICKED_FROM, cursor: None };
    let campaigns = app.catalogue.campaigns(caller.account, &CampaignFilter::default(), &paging).await?.items;
    let picked = picked(&campaigns, parameters.campaign.as_deref());
    let ask = Ask::newest(&app, Scope::Account(caller.account)).await?.keeping();
    let now = app.clock.now();
    let shown = match picked {
        None => html! {
            section.card { h2 { "No campaign yet" } p { "Create one with " code { "POST /v1/campaigns" } "; see " a href="/docs" { "the API" } "." } }
        },
        Some(campaign) => campaign_section(&ask, campaign, now).await?,
    };
    let balance = balance::now(&app, Scope::Account(caller.account)).await?;
    let filtered = verdicts::filtered(&ask, now).await?;
    let parts = layout::Parts {
        campaigns: &campaigns,
        picked: picked.map(|campaign| campaign.id),
        revision: ask.revision(),
        now,
    };
    let body = html! {
        (shown)
        (verdicts::bar(&balance))
        (filtered)
    };
    Ok(page(layout::signed_in(&parts, &body)))
}

/// The style sheet.
#[utoipa::path(get, path = "/style.css", tag = "pages", responses((status = 200, content_type = "text/css")))]
pub(crate) async fn style() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/css; charset=utf-8"), (CACHE_CONTROL, "public, max-age=3600")], STYLE)
}

/// What a one-time link shows that signs nobody in any more.
pub(crate) fn used_link() -> Response {
    page(layout::used_link())
}

fn page(markup: Markup) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "same-origin"),
    ];
    (headers, markup.into_string()).into_response()
}

/// The campaign asked for, else the newest that runs, else the newest.
fn picked<'a>(campaigns: &'a [Campaign], wanted: Option<&str>) -> Option<&'a Campaign> {
    let asked = wanted.and_then(|wanted| campaigns.iter().find(|campaign| campaign.id.to_string() == wanted));
    let runs = || campaigns.iter().find(|campaign| campaign.state == CampaignState::Active);
    asked.or_else(runs).or_else(|| campaigns.first())
}

async fn campaign_section(ask: &Ask, campaign: &Campaign, now: castback_schemas::Micros) -> Result<Markup> {
    let question = Question::flight((campaign.id, &campaign.terms), now);
    let figures = Figures::read(ask, &question).await?;
    let windows = ask.one(&question.in_windows()).await?;
    let days: Vec<Sums> = series::read(ask, &charted(&question), DAY).await?;
    Ok(figures::section((campaign, &question, &figures), &windows, &days))
}

/// What the charts are of: the flight's last days, and those in which conversions still came.
fn charted(question: &Question) -> Question {
    let last = question.to.plus(-1).day().start();
    let from = question.from.max(last.plus((1 - CHART_DAYS) * DAY));
    let to = question.to.max(question.conversions_to).max(from.plus(1));
    Question { from, to, conversions_to: to, ..question.clone() }
}

#[cfg(test)]
mod tests {
    use castback_schemas::{CampaignId, Micros};
    use serde_json::json;

    use super::*;

    /// What a campaign's charts are of, its look-back being 14 days.
    fn of_flight(starts_on: Option<&str>, ends_on: Option<&str>, now: Micros) -> Question {
        let terms = json!({
            "name": "Autumn", "currency": "USD", "starts_on": starts_on, "ends_on": ends_on, "lookback_days": 14,
        });
        let terms = serde_json::from_value(terms).unwrap();
        charted(&Question::flight((CampaignId::from_uuid(uuid::Uuid::nil()), &terms), now))
    }

    #[test]
    fn charts_are_of_the_flights_last_days() {
        for (flight, expected) in [
            // It runs: today is the last of thirty days.
            (("2026-01-01", "2026-12-31", "2026-11-24T10:00:00Z"), ("2026-10-26T00:00:00Z", "2026-11-24")),
            (("2026-11-20", "2026-12-31", "2026-11-24T10:00:00Z"), ("2026-11-20T00:00:00Z", "2026-11-24")),
            // It ended: its own last days, and the look-back after them.
            (("2026-01-01", "2026-03-31", "2026-11-24T10:00:00Z"), ("2026-03-02T00:00:00Z", "2026-04-14")),
            (("2026-11-01", "2026-11-20", "2026-11-24T10:00:00Z"), ("2026-11-01T00:00:00Z", "2026-11-24")),
            // It has not begun.
            (("2026-12-01", "2026-12-31", "2026-11-24T10:00:00Z"), ("2026-12-01T00:00:00Z", "2026-12-01")),
        ] {
            let charted = of_flight(Some(flight.0), Some(flight.1), flight.2.parse().unwrap());
            let days = (charted.from.to_string(), charted.to.plus(-1).day().to_string());
            assert_eq!(days, (expected.0.to_owned(), expected.1.to_owned()), "{flight:?}");
        }
        assert_eq!(of_flight(None, None, Micros(DAY)).from, Micros(0), "without a flight");
    }

    #[test]
    fn nothing_of_a_page_runs_or_comes_from_elsewhere() {
        let markup = layout::signed_out().into_string();
        assert!(!markup.contains("<script") && !markup.contains("style=") && !markup.contains("http://"));
        assert!(!STYLE.contains("@import") && !STYLE.contains("url("));
        insta::assert_snapshot!(markup);
    }
}
