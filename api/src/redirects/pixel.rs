//! `GET /p.gif`: a conversion that a page tells of by loading an image. Always the image.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::IntoResponse;
use castback_schemas::campaign::PixelUse;
use castback_schemas::{CampaignId, Currency};
use http::HeaderMap;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, REFERER};
use serde::Deserialize;
use utoipa::IntoParams;

use super::queue::{Sighting, Visit};
use crate::App;
use crate::peer::Client;

/// A transparent image of one pixel.
const GIF: &[u8] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\
    \x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;";

/// Longest id, type or data set.
const MAX_TEXT: usize = 256;

/// The parameters of a pixel.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Parameters {
    /// The campaign.
    c: Option<String>,
    /// The type of event, such as `purchase`.
    e: Option<String>,
    /// The id of the event; the same one again is a repeat.
    id: Option<String>,
    /// The value in major units.
    v: Option<String>,
    /// The value's currency; the campaign's if not given.
    cur: Option<String>,
    /// The data set; the campaign's first if not given.
    ds: Option<String>,
}

/// Takes note of a conversion that nobody has signed, and answers an image whatever happens.
#[utoipa::path(get, path = "/p.gif", tag = "redirects", params(Parameters),
    responses((status = 200, description = "an image of one pixel", content_type = "image/gif")))]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    client: Client,
    headers: HeaderMap,
    parameters: Result<Query<Parameters>, axum::extract::rejection::QueryRejection>,
) -> impl IntoResponse {
    if let Ok(Query(parameters)) = parameters
        && let Some(mut visit) = visit(&app, parameters)
    {
        visit.address = client.0;
        visit.referrer = headers.get(REFERER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        app.sightings.put(&app.metrics, Sighting::Visit(visit));
    }
    ([(CONTENT_TYPE, "image/gif"), (CACHE_CONTROL, "no-store")], GIF)
}

/// What the parameters say; nothing if they make no sense or the campaign takes no pixels.
fn visit(app: &App, parameters: Parameters) -> Option<Visit> {
    let Parameters { c, e, id, v, cur, ds } = parameters;
    let campaign = app.edges.campaign(c?.parse::<CampaignId>().ok()?)?;
    if campaign.pixel == PixelUse::Off {
        return None;
    }
    let currency = cur.map_or(Some(campaign.currency), |code| code.parse::<Currency>().ok())?;
    let value = match v {
        Some(text) => Some((currency.parse_major(text.trim()).ok()?, currency)),
        None => None,
    };
    if value.is_some_and(|(minor, _)| minor < 0) && e.as_deref() != Some("refund") {
        return None;
    }
    let texts = [e.as_ref()?, id.as_ref().unwrap_or(&campaign.data_set), ds.as_ref().unwrap_or(&campaign.data_set)];
    if texts.iter().any(|text| text.is_empty() || text.len() > MAX_TEXT)
        || ds.as_ref().is_some_and(|ds| ds.contains('/'))
    {
        return None;
    }
    let now = app.clock.now();
    Some(Visit {
        account: campaign.account,
        campaign: campaign.id,
        data_set: ds.unwrap_or_else(|| campaign.data_set.clone()),
        id: id.unwrap_or_else(|| app.ids.next(now).to_string()),
        event_type: e?,
        value,
        slug: None,
        referrer: None,
        address: None,
        at: now,
    })
}
