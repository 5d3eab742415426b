//! `POST /v1/listener-requests`: what a server saw of downloads.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::response::Response;
use bytes::Bytes;
use castback_schemas::event::AdBytes;
use castback_schemas::{AccountId, Micros, PodcastId, Topic};
use http::HeaderMap;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::batch::{Accepted, Batch, Refusal, deliver};
use super::body::{Format, Payload, read};
use super::edge::{Edge, Failure, Seen};
use super::elements::split;
use super::{access_log, off_the_runtime};
use crate::App;
use crate::identity::Caller;
use crate::problem::{Code, Problem, Result};

/// Longest id, in bytes.
const MAX_ID: usize = 256;
/// Longest address or user agent, in bytes: eight times what players send.
const MAX_TEXT: usize = 8 * 1024;
/// Longest method, range or country, in bytes.
const MAX_WORD: usize = 1024;
/// Ads of one answer.
const MAX_ADS: usize = 100;

/// A listener request as it is posted.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct RawRequest {
    /// The sender's id; the same one again is a repeat.
    id: String,
    /// The podcast; the parameter's if not given.
    #[schema(value_type = Option<String>)]
    podcast_id: Option<PodcastId>,
    /// The file asked for, a URL or a path.
    enclosure_url: String,
    /// When, RFC 3339.
    #[schema(value_type = String)]
    occurred_at: Micros,
    /// The method.
    method: String,
    /// The status of the answer.
    status: u16,
    /// The Range header as sent.
    range: Option<String>,
    /// Bytes of the body that were sent.
    bytes_sent: Option<u64>,
    /// Size of the whole file.
    file_bytes: Option<u64>,
    /// The User-Agent header as sent.
    user_agent: Option<String>,
    /// The client's address; it is hashed and forgotten.
    #[schema(value_type = Option<String>)]
    ip: Option<IpAddr>,
    /// The Referer header as sent.
    referer: Option<String>,
    /// The client's country, if the sender knows it.
    country: Option<String>,
    /// Where ads were in the bytes of the answer.
    #[serde(default)]
    ads: Vec<RawAd>,
}

/// The bytes of an ad, half-open.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct RawAd {
    placement_id: String,
    from_byte: u64,
    to_byte: u64,
}

/// The parameters.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Parameters {
    /// The podcast of records that name none; required for an access log.
    podcast_id: Option<String>,
}

/// Takes listener requests: a JSON array, NDJSON, or an access log as text/plain.
#[utoipa::path(post, path = "/v1/listener-requests", tag = "intake", params(Parameters),
    request_body(content = Vec<RawRequest>, description = "JSON array, NDJSON or a combined-format access log"),
    responses((status = 202, body = Accepted)))]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    caller: Caller,
    parameters: Result<Query<Parameters>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let format = Format::of(&headers)?;
    let Query(parameters) = parameters?;
    let podcast = podcast(&app, caller.account, parameters.podcast_id.as_deref()).await?;
    let payload = read(&app, &headers, body).await?;
    let edge = Edge::new(Arc::clone(&app));
    let account = caller.account;
    let batch = if format == Format::Text {
        let podcast = podcast.ok_or_else(|| Problem::field("podcast_id", "an access log needs the podcast's id"))?;
        let key = app.keys.account(&app.catalogue, account).await?;
        let log = access_log::Log { app: Arc::clone(&app), account, podcast, key };
        off_the_runtime(&app, move || log.read(edge, payload)).await?
    } else {
        let here = Arc::clone(&app);
        let post = Post { account, podcast, format };
        off_the_runtime(&app, move || post.read(&here, edge, payload)).await?
    };
    deliver(&app, batch).await
}

/// The podcast that the parameter names, if it is the account's.
async fn podcast(app: &App, account: AccountId, text: Option<&str>) -> Result<Option<PodcastId>> {
    let Some(text) = text else { return Ok(None) };
    let id: PodcastId = text.parse().map_err(|_| Problem::not_found("podcast"))?;
    let is_ours = || app.edges.podcast(id).is_some_and(|podcast| podcast.account == account);
    if !is_ours() {
        // Another process may have connected it a moment ago.
        app.refresh_edges().await;
    }
    if is_ours() { Ok(Some(id)) } else { Err(Problem::not_found("podcast")) }
}

struct Post {
    account: AccountId,
    podcast: Option<PodcastId>,
    format: Format,
}

impl Post {
    fn read(self, app: &App, mut edge: Edge, payload: Payload) -> Result<Batch> {
        let (bytes, _room) = payload.decode()?;
        let text = std::str::from_utf8(&bytes).map_err(not_utf8)?;
        let mut batch = Batch::new(Topic::ListenerRequests, self.account);
        let mut keys = PodcastKeys::default();
        for record in split(text, self.format, &[])? {
            let read = serde_json::from_str(record).map_err(|error| Refusal::unread(&error));
            let seen = read.and_then(|raw| check(raw, self.podcast));
            let record = seen.map_err(Failure::One).and_then(|seen| {
                let key = keys.of(seen.podcast);
                edge.request(self.account, seen).map(|request| (key, request))
            });
            batch.add(&app.encoders, one(record)?)?;
        }
        batch.months = edge.into_months();
        Ok(batch)
    }
}

/// Tells what ends the whole batch from what ends one record.
pub(crate) fn one<T>(result: Result<T, Failure>) -> Result<Result<T, Refusal>> {
    match result {
        Ok(record) => Ok(Ok(record)),
        Err(Failure::One(refusal)) => Ok(Err(refusal)),
        Err(Failure::All(problem)) => Err(problem),
    }
}

pub(super) fn not_utf8(error: std::str::Utf8Error) -> Problem {
    Problem::new(Code::MalformedBody, format!("not UTF-8 from byte {} on", error.valid_up_to()))
}

/// The key of a record is its podcast's id; mostly the one before.
#[derive(Default)]
pub(super) struct PodcastKeys(Option<(PodcastId, Bytes)>);

impl PodcastKeys {
    pub(super) fn of(&mut self, podcast: PodcastId) -> Bytes {
        match &self.0 {
            Some((known, key)) if *known == podcast => key.clone(),
            _ => {
                let key = Bytes::from(podcast.to_string());
                self.0 = Some((podcast, key.clone()));
                key
            }
        }
    }
}

fn check(raw: RawRequest, default: Option<PodcastId>) -> Result<Seen, Refusal> {
    let podcast = raw.podcast_id.or(default).ok_or_else(|| Refusal::invalid("podcast_id", "which podcast is it?"))?;
    let texts = [
        ("id", Some(&raw.id), 1, MAX_ID),
        ("enclosure_url", Some(&raw.enclosure_url), 1, MAX_TEXT),
        ("method", Some(&raw.method), 1, MAX_WORD),
        ("range", raw.range.as_ref(), 0, MAX_WORD),
        ("user_agent", raw.user_agent.as_ref(), 0, MAX_TEXT),
        ("referer", raw.referer.as_ref(), 0, MAX_TEXT),
        ("country", raw.country.as_ref(), 0, MAX_WORD),
    ];
    for (field, text, least, most) in texts {
        if text.is_some_and(|text| text.len() < least || text.len() > most) {
            return Err(Refusal::invalid(field, &format!("expected {least} to {most} bytes")));
        }
    }
    if !(100..=599).contains(&raw.status) {
        return Err(Refusal::invalid("status", "expected an HTTP status"));
    }
    Edge::check_time("occurred_at", raw.occurred_at)?;
    let ads = ads(raw.ads)?;
    let user_agent = raw.user_agent.filter(|text| !text.is_empty());
    Ok(Seen {
        id: raw.id,
        podcast,
        enclosure_url: raw.enclosure_url,
        occurred_at: raw.occurred_at,
        method: raw.method,
        status: i32::from(raw.status),
        range: raw.range,
        bytes_sent: size("bytes_sent", raw.bytes_sent)?,
        file_bytes: size("file_bytes", raw.file_bytes)?,
        user_agent,
        address: raw.ip,
        referer: raw.referer,
        country: raw.country,
        ads,
        source: "api",
    })
}

fn size(field: &str, bytes: Option<u64>) -> Result<Option<i64>, Refusal> {
    bytes.map(i64::try_from).transpose().map_err(|_| Refusal::invalid(field, "too large"))
}

fn ads(raw: Vec<RawAd>) -> Result<Vec<AdBytes>, Refusal> {
    if raw.len() > MAX_ADS {
        return Err(Refusal::invalid("ads", &format!("at most {MAX_ADS}")));
    }
    let ad = |RawAd { placement_id, from_byte, to_byte }| match (i64::try_from(from_byte), i64::try_from(to_byte)) {
        (Ok(from_byte), Ok(to_byte)) if from_byte < to_byte && placement_id.len() <= MAX_ID => {
            Ok(AdBytes { placement_id, from_byte, to_byte })
        }
        _ => Err(Refusal::invalid("ads", "expected placement_id, from_byte and a greater to_byte")),
    };
    raw.into_iter().map(ad).collect()
}
