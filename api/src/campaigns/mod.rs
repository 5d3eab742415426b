//! `/v1/campaigns`: what was sold, its states, how it is attributed.
//!
//! [`shape`] is the JSON of a campaign, [`check`] what its fields may be; states and what leads from one
//! to another are the catalogue's.

mod check;
mod shape;
mod transitions;

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use castback_catalogue::CatalogueError;
use castback_catalogue::campaigns::{Campaign, CampaignFilter};
use castback_schemas::campaign::{CampaignState, CampaignTerms};
use castback_schemas::id::{CampaignId, PodcastId};
use http::header::{ETAG, IF_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;
use utoipa::IntoParams;

pub(crate) use self::shape::{AttributionBody, ShownCampaign, TermsBody};
pub(crate) use self::transitions::{
    __path_cancel, __path_complete, __path_launch, __path_pause, __path_resume, cancel, complete, launch, pause, resume,
};
use crate::App;
use crate::extract::{Checks, Json, List, ListParameters, Listed, Path, id};
use crate::identity::{Caller, Scope};
use crate::problem::{Code, Problem, Result};

/// Attempts of a change without `If-Match` while others change the same campaign.
const ATTEMPTS: usize = 5;

/// A campaign as an answer, with its entity tag.
fn answer(status: StatusCode, campaign: Campaign) -> Response {
    let tag = HeaderValue::try_from(format!("\"{}\"", campaign.version));
    let tag = tag.unwrap_or_else(|_| HeaderValue::from_static("\"\""));
    (status, [(ETAG, tag)], Answer(ShownCampaign::from(campaign))).into_response()
}

/// The version that the caller has seen; none if any will do.
fn expected_version(headers: &HeaderMap) -> Result<Option<i64>> {
    let Some(tag) = headers.get(IF_MATCH) else { return Ok(None) };
    match tag.to_str().unwrap_or_default().trim() {
        "*" => Ok(None),
        tag => {
            let version = tag.trim_start_matches("W/").trim_matches('"').parse();
            version.map(Some).map_err(|_| Problem::new(Code::PreconditionFailed, "no entity tag of a campaign"))
        }
    }
}

/// A podcast that is not the account's is a field that does not fit.
fn named(error: CatalogueError) -> Problem {
    match error {
        CatalogueError::NotFound("podcast") => Problem::field("podcast_ids", "no such podcast"),
        other => other.into(),
    }
}

fn checked(body: TermsBody) -> Result<CampaignTerms> {
    let mut checks = Checks::default();
    check::terms(&body, &mut checks);
    let terms = body.into_terms(&mut checks);
    checks.done()?;
    Ok(terms)
}

/// Makes a draft.
#[utoipa::path(post, path = "/v1/campaigns", tag = "campaigns", request_body = TermsBody,
    responses((status = 201, body = ShownCampaign)))]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Json(body): Json<TermsBody>,
) -> Result<Response> {
    let started = Instant::now();
    let campaign = app.catalogue.create_campaign(caller.account, checked(body)?).await.map_err(named)?;
    app.refresh_edges().await;
    app.metrics.campaign_created.inc();
    app.metrics.campaign_creation.observe(started.elapsed().as_secs_f64());
    Ok(answer(StatusCode::CREATED, campaign))
}

/// What narrows a list of campaigns.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// In this state.
    state: Option<String>,
    /// On this podcast.
    podcast_id: Option<String>,
    /// With this in the name.
    q: Option<String>,
}

/// The account's campaigns, newest first.
#[utoipa::path(get, path = "/v1/campaigns", tag = "campaigns", params(ListParameters, Filter),
    responses((status = 200, body = Listed<ShownCampaign>)))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    scope: Scope,
    List(page, filter): List<Filter>,
) -> Result<Answer<Listed<ShownCampaign>>> {
    let state = filter.state.map(|word| serde_json::from_value::<CampaignState>(Value::String(word)));
    let state = state.transpose().map_err(|_| Problem::field("state", "expected a state such as active"))?;
    let podcast = filter.podcast_id.map(|text| id::<PodcastId>(&text, "podcast")).transpose()?;
    let filter = CampaignFilter { state, podcast, q: filter.q };
    let campaigns = app.catalogue.campaigns(scope.account(), &filter, &page).await?;
    Ok(Answer(Listed::of(campaigns, ShownCampaign::from)))
}

/// A campaign.
#[utoipa::path(get, path = "/v1/campaigns/{id}", tag = "campaigns", params(("id" = String, Path)),
    responses((status = 200, body = ShownCampaign)))]
pub(crate) async fn get(State(app): State<Arc<App>>, scope: Scope, Path(campaign): Path<String>) -> Result<Response> {
    Ok(answer(StatusCode::OK, find(&app, scope, &campaign).await?))
}

/// A campaign in the caller's scope.
pub(crate) async fn find(app: &App, scope: Scope, text: &str) -> Result<Campaign> {
    let campaign: CampaignId = id(text, "campaign")?;
    let account = match scope {
        Scope::Account(account) => account,
        Scope::All => app.catalogue.campaign_owner(campaign).await?.ok_or_else(|| Problem::not_found("campaign"))?,
    };
    Ok(app.catalogue.campaign(account, campaign).await?)
}

/// Changes terms by a merge patch (RFC 7396); `If-Match` guards against lost changes.
#[utoipa::path(patch, path = "/v1/campaigns/{id}", tag = "campaigns", params(("id" = String, Path)),
    request_body = TermsBody, responses((status = 200, body = ShownCampaign)))]
pub(crate) async fn change(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(campaign): Path<String>,
    headers: HeaderMap,
    Json(patch): Json<Value>,
) -> Result<Response> {
    let campaign: CampaignId = id(&campaign, "campaign")?;
    if !patch.is_object() {
        return Err(Problem::new(Code::MalformedBody, "expected an object"));
    }
    let expected = expected_version(&headers)?;
    for attempt in 1.. {
        let before = app.catalogue.campaign(caller.account, campaign).await?;
        let mut document = serde_json::to_value(TermsBody::from(before.terms)).map_err(Problem::internal)?;
        merge(&mut document, &patch);
        let body = serde_json::from_value(document);
        let terms = checked(body.map_err(|error| Problem::new(Code::InvalidFields, error.to_string()))?)?;
        let version = expected.unwrap_or(before.version);
        match app.catalogue.set_terms(caller.account, campaign, terms, version).await {
            Err(CatalogueError::PreconditionFailed { .. }) if expected.is_none() && attempt < ATTEMPTS => {}
            done => {
                let changed = done.map_err(named)?;
                app.refresh_edges().await;
                return Ok(answer(StatusCode::OK, changed));
            }
        }
    }
    Err(Problem::new(Code::Overloaded, "others change it all the time"))
}

/// A merge patch as RFC 7396 has it; its depth is bounded by the reader of JSON.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(members) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Some(object) = target.as_object_mut() else { return };
    for (name, value) in members {
        if value.is_null() {
            object.remove(name);
        } else {
            merge(object.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Deletes a draft.
#[utoipa::path(delete, path = "/v1/campaigns/{id}", tag = "campaigns", params(("id" = String, Path)),
    responses((status = 204)))]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(campaign): Path<String>,
) -> Result<StatusCode> {
    app.catalogue.delete_campaign(caller.account, id(&campaign, "campaign")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sets how conversions are connected to the campaign.
#[utoipa::path(put, path = "/v1/campaigns/{id}/attribution", tag = "campaigns", params(("id" = String, Path)),
    request_body = AttributionBody, responses((status = 200, body = ShownCampaign)))]
pub(crate) async fn put_attribution(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(campaign): Path<String>,
    headers: HeaderMap,
    Json(body): Json<AttributionBody>,
) -> Result<Response> {
    let campaign: CampaignId = id(&campaign, "campaign")?;
    let mut checks = Checks::default();
    check::attribution(&body, "", &mut checks);
    checks.done()?;
    let expected = expected_version(&headers)?;
    let changed = app.catalogue.put_attribution(caller.account, campaign, body.into(), expected).await?;
    app.refresh_edges().await;
    Ok(answer(StatusCode::OK, changed))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn patches_merge_as_the_rfc_says() {
        for (mut target, patch, merged) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            merge(&mut target, &patch);
            assert_eq!(target, merged);
        }
    }

    #[test]
    fn entity_tags_are_versions() {
        let tag =
            |text: &'static str| expected_version(&HeaderMap::from_iter([(IF_MATCH, HeaderValue::from_static(text))]));
        assert_eq!(tag("\"7\"").unwrap(), Some(7));
        assert_eq!(tag("W/\"7\"").unwrap(), Some(7));
        assert_eq!(tag("*").unwrap(), None);
        assert_eq!(tag("\"seven\"").unwrap_err().code(), Code::PreconditionFailed);
        assert_eq!(expected_version(&HeaderMap::new()).unwrap(), None);
    }
}
