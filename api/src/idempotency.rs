//! `Idempotency-Key`: a POST that makes something in the catalogue and is sent again answers what it
//! answered, and does nothing.
//!
//! The answer is kept for a day. A key on another request (route or body) is a mismatch (422); the same
//! request while the first is being done is told to wait (409). What failed on our side is not kept, so
//! it can be tried again. Posts of records need no key: they are known by the records' ids. Calls that
//! answer a secret once (sign-up, API keys) have none either: it must not lie in the catalogue.

use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use castback_catalogue::idempotency::{KeyedRequest, Reservation};
use castback_schemas::AccountId;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use sha2::{Digest, Sha256};

use crate::App;
use crate::identity::Caller;
use crate::problem::{Code, Problem, Result};
use crate::router::MAX_DOCUMENT;

/// Longest key.
const MAX_KEY: usize = 255;

/// Largest answer that is kept; ours are far smaller.
const MAX_ANSWER: usize = 256 * 1024;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The middleware around routes that make something in the catalogue.
pub(crate) async fn middleware(
    State(app): State<Arc<App>>,
    caller: Caller,
    request: Request,
    next: Next,
) -> Result<Response> {
    let (Method::POST, Some(key)) = (request.method().clone(), request.headers().get(IDEMPOTENCY_KEY)) else {
        return Ok(next.run(request).await);
    };
    let key = key.to_str().ok().filter(|key| !key.is_empty() && key.len() <= MAX_KEY);
    let key = key.ok_or_else(|| Problem::field("Idempotency-Key", "expected 1 to 255 visible characters"))?.to_owned();
    let account = caller.account;
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, MAX_DOCUMENT).await;
    let body = body.map_err(|error| Problem::new(Code::TooLarge, "the body is too large").because(error))?;
    let keyed = KeyedRequest {
        account,
        key: key.clone(),
        route: format!("{} {}", parts.method, parts.uri.path()),
        request_hash: hash(&body),
    };
    match app.catalogue.reserve_request(keyed).await? {
        Reservation::New => {}
        Reservation::Replay { status, body } => return Ok(replay(status, body)),
        Reservation::Mismatch => {
            return Err(Problem::new(Code::IdempotencyMismatch, "the key came with another route or body before"));
        }
        Reservation::InProgress => {
            return Err(Problem::new(Code::InUse, "the same request is being done now").retry_after(1));
        }
    }
    let request = Request::from_parts(parts, Body::from(body));
    // The caller may hang up; what was begun is ended and kept all the same.
    let done = tokio::spawn(async move { keep(&app, (account, &key), next.run(request).await).await });
    done.await.map_err(Problem::internal)?
}

fn hash(body: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(Sha256::digest(body))
}

async fn keep(app: &App, (account, key): (AccountId, &str), response: Response) -> Result<Response> {
    let status = response.status();
    let (parts, body) = response.into_parts();
    let body: Bytes = match to_bytes(body, MAX_ANSWER).await {
        Ok(body) => body,
        Err(error) => {
            app.catalogue.abandon_request(account, key).await?;
            return Err(Problem::internal(error));
        }
    };
    let later = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
    match std::str::from_utf8(&body) {
        Ok(text) if !later => app.catalogue.complete_request(account, key, status.as_u16(), text).await?,
        _ => app.catalogue.abandon_request(account, key).await?,
    }
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn replay(status: u16, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = if status.is_success() { "application/json" } else { "application/problem+json" };
    let headers = [(CONTENT_TYPE, HeaderValue::from_static(kind)), (REPLAYED, HeaderValue::from_static("true"))];
    (status, headers, body).into_response()
}
