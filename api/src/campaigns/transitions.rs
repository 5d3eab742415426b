//! `POST /v1/campaigns/{id}/launch|pause|resume|complete|cancel`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use castback_catalogue::campaigns::Campaign;
use castback_catalogue::transitions::Transition;
use castback_schemas::CampaignId;
use http::StatusCode;

use super::{ShownCampaign, answer};
use crate::App;
use crate::extract::{Path, id};
use crate::identity::Caller;
use crate::limits::{Limit, allowed, checked};
use crate::problem::Result;
use crate::recount::recount;

/// Launches a draft; a flight that has begun already is counted from its first day.
#[utoipa::path(post, path = "/v1/campaigns/{id}/launch", tag = "campaigns", params(("id" = String, Path)),
    responses((status = 200, body = ShownCampaign), (status = 409, description = "with what is missing")))]
pub(crate) async fn launch(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(campaign): Path<String>,
) -> Result<Response> {
    let launched = launched(&app, &caller, &campaign).await;
    let outcome = if launched.is_ok() { "launched" } else { "refused" };
    app.metrics.campaign_launches.with_label_values(&[outcome]).inc();
    let campaign = launched?;
    count_from_the_first_day(&app, &campaign).await?;
    app.refresh_edges().await;
    Ok(answer(StatusCode::OK, campaign))
}

async fn launched(app: &App, caller: &Caller, campaign: &str) -> Result<Campaign> {
    let campaign: CampaignId = id(campaign, "campaign")?;
    let allowed = allowed(app, caller.account, Limit::ActiveCampaigns).await?;
    let outcome = app.catalogue.transition(caller.account, campaign, Transition::Launch, allowed).await;
    checked(app, Limit::ActiveCampaigns, outcome)
}

async fn count_from_the_first_day(app: &App, campaign: &Campaign) -> Result<()> {
    let today = app.clock.now().day();
    let Some(first) = campaign.terms.starts_on.filter(|first| *first <= today) else { return Ok(()) };
    let last = campaign.terms.ends_on.map_or(today, |last| last.min(today));
    if campaign.terms.podcast_ids.is_empty() {
        return recount(app, campaign.account, None, (first, last)).await;
    }
    for podcast in &campaign.terms.podcast_ids {
        recount(app, campaign.account, Some(*podcast), (first, last)).await?;
    }
    Ok(())
}

async fn moved(app: &App, caller: &Caller, campaign: &str, transition: Transition) -> Result<Response> {
    let campaign: CampaignId = id(campaign, "campaign")?;
    let campaign = app.catalogue.transition(caller.account, campaign, transition, None).await?;
    app.refresh_edges().await;
    Ok(answer(StatusCode::OK, campaign))
}

/// Stops delivering for a while.
#[utoipa::path(post, path = "/v1/campaigns/{id}/pause", tag = "campaigns", params(("id" = String, Path)),
    responses((status = 200, body = ShownCampaign), (status = 409)))]
pub(crate) async fn pause(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(campaign): Path<String>,
) -> Result<Response> {
    moved(&app, &caller, &campaign, Transition::Pause).await
}

/// Delivers again.
#[utoipa::path(post, path = "/v1/campaigns/{id}/resume", tag = "campaigns", params(("id" = String, Path)),
    responses((status = 200, body = ShownCampaign), (status = 409)))]
pub(crate) async fn resume(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(campaign): Path<String>,
) -> Result<Response> {
    moved(&app, &caller, &campaign, Transition::Resume).await
}

/// Ends as planned.
#[utoipa::path(post, path = "/v1/campaigns/{id}/complete", tag = "campaigns", params(("id" = String, Path)),
    responses((status = 200, body = ShownCampaign), (status = 409)))]
pub(crate) async fn complete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(campaign): Path<String>,
) -> Result<Response> {
    moved(&app, &caller, &campaign, Transition::Complete).await
}

/// Ends before its time.
#[utoipa::path(post, path = "/v1/campaigns/{id}/cancel", tag = "campaigns", params(("id" = String, Path)),
    responses((status = 200, body = ShownCampaign), (status = 409)))]
pub(crate) async fn cancel(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(campaign): Path<String>,
) -> Result<Response> {
    moved(&app, &caller, &campaign, Transition::Cancel).await
}
