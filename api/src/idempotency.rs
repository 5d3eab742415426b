//! `Idempotency-Key`: a POST that makes something in the catalogue and is sent again answers what it
//! answered, and does nothing.
//!
//! The answer is kept for a day. A key on another request (route or body) is a mismatch (422); the same
//! request while the first is being done is told to wait (409). What failed on our side is not kept, so
//! it can be tried again. An answer that shows a secret (sign-up, API keys) is kept sealed under the
//! installation's secret, which does not lie in the catalogue. Posts of records need no key: they are
//! known by the records' ids.

use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use castback_catalogue::idempotency::{KeyedRequest, Reservation};
use castback_schemas::edge::seal::{open, seal};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
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

/// How an answer lies in the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// As it was answered.
    Plain,
    /// Sealed, for it shows a secret. Refusals are not kept: they show none, and are the same again.
    Sealed,
}

/// The middleware around routes that make something in the catalogue.
pub(crate) async fn middleware(
    State(app): State<Arc<App>>,
    caller: Caller,
    request: Request,
    next: Next,
) -> Result<Response> {
    keyed(app, &caller, request, next, Kept::Plain).await
}

/// The same around routes that answer a secret.
pub(crate) async fn sealing(
    State(app): State<Arc<App>>,
    caller: Caller,
    request: Request,
    next: Next,
) -> Result<Response> {
    keyed(app, &caller, request, next, Kept::Sealed).await
}

async fn keyed(app: Arc<App>, caller: &Caller, request: Request, next: Next, kept: Kept) -> Result<Response> {
    if request.method() != Method::POST {
        return Ok(next.run(request).await);
    }
    let Some(key) = key(request.headers())? else { return Ok(next.run(request).await) };
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, MAX_DOCUMENT).await;
    let body = body.map_err(|error| Problem::new(Code::TooLarge, "the body is too large").because(error))?;
    let keyed = KeyedRequest {
        account: caller.account,
        key,
        route: format!("{} {}", parts.method, parts.uri.path()),
        request_hash: hash(&body),
    };
    once(app, keyed, kept, next.run(Request::from_parts(parts, Body::from(body)))).await
}

/// The key that a request carries.
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<String>> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = key.to_str().ok().filter(|key| !key.is_empty() && key.len() <= MAX_KEY);
    let key = key.ok_or_else(|| Problem::field("Idempotency-Key", "expected 1 to 255 visible characters"))?;
    Ok(Some(key.to_owned()))
}

/// Does a request once, or answers what it answered.
pub(crate) async fn once(
    app: Arc<App>,
    request: KeyedRequest,
    kept: Kept,
    work: impl Future<Output = Response> + Send + 'static,
) -> Result<Response> {
    match app.catalogue.reserve_request(request.clone()).await? {
        Reservation::New => {}
        Reservation::Replay { status, body } => return Ok(replay(status, kept.opened(&app, &request, body)?)),
        Reservation::Mismatch => {
            return Err(Problem::new(Code::IdempotencyMismatch, "the key came with another route or body before"));
        }
        Reservation::InProgress => {
            return Err(Problem::new(Code::InUse, "the same request is being done now").retry_after(1));
        }
    }
    // The caller may hang up; what was begun is ended and kept all the same.
    let done = tokio::spawn(async move { keep(&app, &request, kept, work.await).await });
    done.await.map_err(Problem::internal)?
}

/// A body by its hash.
pub(crate) fn hash(body: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(body))
}

impl Kept {
    fn closed(self, app: &App, request: &KeyedRequest, body: &str) -> Result<String> {
        match self {
            Self::Plain => Ok(body.to_owned()),
            Self::Sealed => {
                let sealed = seal(&app.settings.secret, context(request).as_bytes(), body.as_bytes());
                Ok(URL_SAFE_NO_PAD.encode(sealed.map_err(Problem::internal)?))
            }
        }
    }

    fn opened(self, app: &App, request: &KeyedRequest, body: String) -> Result<String> {
        match self {
            Self::Plain => Ok(body),
            Self::Sealed => {
                let sealed = URL_SAFE_NO_PAD.decode(body).map_err(Problem::internal)?;
                let body = open(&app.settings.secret, context(request).as_bytes(), &sealed);
                String::from_utf8(body.map_err(Problem::internal)?).map_err(Problem::internal)
            }
        }
    }
}

/// What an answer is sealed with beside the secret: it opens nowhere else.
fn context(request: &KeyedRequest) -> String {
    format!("idempotency\0{}\0{}\0{}\0{}", request.account, request.route, request.request_hash, request.key)
}

async fn keep(app: &App, request: &KeyedRequest, kept: Kept, response: Response) -> Result<Response> {
    let (account, key) = (request.account, request.key.as_str());
    let status = response.status();
    let (parts, body) = response.into_parts();
    let body: Bytes = match to_bytes(body, MAX_ANSWER).await {
        Ok(body) => body,
        Err(error) => {
            app.catalogue.abandon_request(account, key).await?;
            return Err(Problem::internal(error));
        }
    };
    let again = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
    let again = again || (kept == Kept::Sealed && !status.is_success());
    match std::str::from_utf8(&body) {
        Ok(text) if !again => {
            let text = kept.closed(app, request, text)?;
            app.catalogue.complete_request(account, key, status.as_u16(), &text).await?;
        }
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
