//! `POST /v1/events`: what users did in an app.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use castback_schemas::edge::seal::seal;
use castback_schemas::edge::{HashKey, fingerprint};
use castback_schemas::event::AppEvent;
use castback_schemas::{AccountId, Micros, Topic};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::batch::{Accepted, Batch, Refusal, deliver};
use super::body::{Format, Payload, read};
use super::edge::Edge;
use super::elements::split;
use super::off_the_runtime;
use super::requests::not_utf8;
use crate::app::{App, Part};
use crate::identity::EventSender;
use crate::problem::{Code, Problem, Result};

/// Events of one JSON document; NDJSON may have as many as any body.
const MAX_EVENTS: usize = 1_000;
/// Longest id, type, feature or element, in bytes.
const MAX_WORD: usize = 256;
/// Longest page, in bytes.
const MAX_PAGE: usize = 2_048;
/// Longest properties, in bytes of JSON.
const MAX_PROPERTIES: usize = 16 * 1024;

/// An app event as it is posted.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct RawEvent<'a> {
    /// The sender's id; the same one again is a repeat.
    id: String,
    /// `page_view`, `feature_used`, `click`, … or another.
    #[serde(rename = "type")]
    event_type: String,
    /// When, RFC 3339.
    #[schema(value_type = String)]
    occurred_at: Micros,
    /// The user; hashed under the account's key.
    user_id: Option<String>,
    /// The session, which stands for the user where none is known; hashed too.
    session_id: Option<String>,
    /// The page.
    page: Option<String>,
    /// The feature.
    feature: Option<String>,
    /// The element.
    element: Option<String>,
    /// Anything else; encrypted.
    #[serde(borrow)]
    #[schema(value_type = Option<Object>)]
    properties: Option<&'a RawValue>,
}

/// Takes app events: `{"events": […]}` with at most 1,000, or NDJSON.
#[utoipa::path(post, path = "/v1/events", tag = "intake",
    request_body(content = Vec<RawEvent>, description = "an object with events, an array, or NDJSON"),
    responses((status = 202, body = Accepted)))]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    sender: EventSender,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    if !app.settings.has(Part::Events) {
        return Err(Problem::new(Code::Disabled, "events are switched off (EVENTS_ENABLED)"));
    }
    let format = Format::of(&headers)?;
    if format == Format::Text {
        return Err(Problem::new(Code::UnsupportedMediaType, "expected application/json or application/x-ndjson"));
    }
    let payload = read(&app, &headers, body).await?;
    let key = app.keys.account(&app.catalogue, sender.account).await?;
    let post = Post { account: sender.account, key, format, now: app.clock.now() };
    let here = Arc::clone(&app);
    let batch = off_the_runtime(&app, move || post.read(&here, payload)).await?;
    if sender.publishable {
        app.quotas.publishable.take(sender.account, batch.len(), app.clock.now())?;
    }
    deliver(&app, batch).await
}

struct Post {
    account: AccountId,
    key: HashKey,
    format: Format,
    now: Micros,
}

impl Post {
    fn read(self, app: &App, payload: Payload) -> Result<Batch> {
        let (bytes, _room) = payload.decode()?;
        let text = std::str::from_utf8(&bytes).map_err(not_utf8)?;
        let records = split(text, self.format, &["events"])?;
        if self.format == Format::Json && records.len() > MAX_EVENTS {
            return Err(Problem::new(Code::TooLarge, format!("at most {MAX_EVENTS} events in one document")));
        }
        let mut batch = Batch::new(Topic::AppEvents, self.account);
        for record in records {
            let read = serde_json::from_str(record).map_err(|error| Refusal::unread(&error));
            let event = read.and_then(|raw| self.event(raw));
            batch.add(&app.encoders, event.map(|event| (Bytes::from(event.user.clone()), event)))?;
        }
        Ok(batch)
    }

    fn event(&self, raw: RawEvent<'_>) -> Result<AppEvent, Refusal> {
        let words = [
            ("id", Some(&raw.id), 1, MAX_WORD),
            ("type", Some(&raw.event_type), 1, MAX_WORD),
            ("user_id", raw.user_id.as_ref(), 1, MAX_WORD),
            ("session_id", raw.session_id.as_ref(), 1, MAX_WORD),
            ("page", raw.page.as_ref(), 0, MAX_PAGE),
            ("feature", raw.feature.as_ref(), 0, MAX_WORD),
            ("element", raw.element.as_ref(), 0, MAX_WORD),
        ];
        for (field, text, least, most) in words {
            if text.is_some_and(|text| text.len() < least || text.len() > most) {
                return Err(Refusal::invalid(field, &format!("expected {least} to {most} bytes")));
            }
        }
        Edge::check_time("occurred_at", raw.occurred_at)?;
        let session_id = raw.session_id.map(|session| self.hash("session", &session));
        let user = raw.user_id.map(|user| self.hash("user", &user)).or_else(|| session_id.clone());
        let user = user.ok_or_else(|| Refusal::invalid("user_id", "expected user_id or session_id"))?;
        let properties = raw.properties.map(|properties| self.properties(&raw.id, properties.get())).transpose()?;
        Ok(AppEvent {
            event_id: raw.id,
            account_id: self.account,
            occurred_at: raw.occurred_at,
            recorded_at: self.now,
            revision: 0,
            event_type: raw.event_type,
            user,
            session_id,
            page: raw.page,
            feature: raw.feature,
            element: raw.element,
            properties,
        })
    }

    /// An end user's id under the account's key: one of its own for each kind of id.
    fn hash(&self, kind: &str, id: &str) -> String {
        fingerprint(&self.key, format!("{kind}\0{id}").as_bytes()).to_string()
    }

    fn properties(&self, id: &str, json: &str) -> Result<Vec<u8>, Refusal> {
        if !json.starts_with('{') || json.len() > MAX_PROPERTIES {
            return Err(Refusal::invalid(
                "properties",
                &format!("expected an object of at most {MAX_PROPERTIES} bytes"),
            ));
        }
        seal(&self.key, id.as_bytes(), json.as_bytes()).map_err(|error| Refusal::malformed(&error))
    }
}
