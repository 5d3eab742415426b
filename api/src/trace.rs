//! Around every call: an id, a span, and the two numbers that everybody looks at.
//!
//! The span has method and route, never the address with its query: keys and listeners stand there.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderName, HeaderValue, Method};
use tokio::time::Instant;
use tracing::Instrument;

use crate::App;

/// The id of a call: the caller's own, or a new one.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id of a caller's own.
const MAX_ID: usize = 64;

/// What stands for the route of a call that has none.
const NO_ROUTE: &str = "none";

/// The middleware.
pub(crate) async fn middleware(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = own_id(&request).unwrap_or_else(|| new_id(&app));
    let route = request.extensions().get::<MatchedPath>().map_or(NO_ROUTE, MatchedPath::as_str).to_owned();
    let method = method_label(request.method());
    let span = tracing::info_span!(
        "call",
        http.method = method,
        http.route = route,
        request.id = id.to_str().unwrap_or_default(),
    );
    let mut response = next.run(request).instrument(span.clone()).await;
    let (status, elapsed) = (response.status(), started.elapsed());
    let class = ["0xx", "1xx", "2xx", "3xx", "4xx", "5xx"][usize::from(status.as_u16() / 100).min(5)];
    app.metrics.http_requests.with_label_values(&[route.as_str(), method, class]).inc();
    app.metrics.http_duration.with_label_values(&[route.as_str()]).observe(elapsed.as_secs_f64());
    span.in_scope(|| tracing::debug!(http.status = status.as_u16(), duration_ms = elapsed.as_millis(), "answered"));
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

fn own_id(request: &Request) -> Option<HeaderValue> {
    let id = request.headers().get(REQUEST_ID)?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-' || *byte == b'_';
    (!id.is_empty() && id.len() <= MAX_ID && id.as_bytes().iter().all(plain)).then(|| id.clone())
}

fn new_id(app: &App) -> HeaderValue {
    let id = app.ids.next(app.clock.now()).to_string();
    HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static(NO_ROUTE))
}

/// A closed list: a caller can invent methods.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}
