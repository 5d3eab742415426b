//! `GET /r/{slug}`: on to a campaign's landing page, counted as a visit.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, LOCATION, REFERER};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::queue::{Sighting, Visit};
use crate::App;
use crate::peer::Client;
use crate::problem::{Problem, Result};

/// On to the landing page of the campaign that has this slug.
#[utoipa::path(get, path = "/r/{slug}", tag = "redirects", params(("slug" = String, Path)),
    responses((status = 302, description = "to the landing page"), (status = 404, description = "no such address")))]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Path(slug): Path<String>,
    client: Client,
    headers: HeaderMap,
) -> Result<Response> {
    let campaign = app.edges.slug(&slug).ok_or_else(|| Problem::not_found("address"))?;
    let landing = campaign.landing_url.as_deref().and_then(|url| HeaderValue::try_from(url).ok());
    let landing = landing.ok_or_else(|| Problem::not_found("address"))?;
    let now = app.clock.now();
    app.sightings.put(
        &app.metrics,
        Sighting::Visit(Visit {
            account: campaign.account,
            campaign: campaign.id,
            data_set: campaign.data_set.clone(),
            id: app.ids.next(now).to_string(),
            event_type: "visit".to_owned(),
            value: None,
            slug: campaign.slug.clone(),
            referrer: headers.get(REFERER).and_then(|value| value.to_str().ok()).map(str::to_owned),
            address: client.0,
            at: now,
        }),
    );
    let headers = [(LOCATION, landing), (CACHE_CONTROL, HeaderValue::from_static("private, no-store"))];
    Ok((StatusCode::FOUND, headers).into_response())
}
