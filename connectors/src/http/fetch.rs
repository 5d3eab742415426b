//! Requests: guarded at every hop, under one deadline, with a capped body.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response, StatusCode};
use rustls::ClientConfig;
use url::Url;

use super::body;
use super::guard::{Guard, Refusal};
use super::host::Hosts;
use super::names::{Names, SystemNames};
use super::pinned;

/// Decoded bytes of a body; more than this is cut off and the fetch fails.
pub const MAX_BODY_BYTES: usize = 15 * 1024 * 1024;

/// Time from the first name lookup to the last byte, redirects included; then the fetch fails.
pub const TOTAL_DEADLINE: Duration = Duration::from_secs(20);

/// Redirects followed; the next one fails the fetch.
const MAX_REDIRECTS: usize = 3;

/// What we can read.
const ACCEPT: HeaderValue = HeaderValue::from_static(
    "application/rss+xml, application/atom+xml, application/feed+json, application/xml;q=0.9, */*;q=0.8",
);

/// What we can decode.
const ACCEPT_ENCODING: HeaderValue = HeaderValue::from_static("gzip");

/// Why a fetch failed. All that could tell a private network's shape reads the same.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The guard refused an address.
    #[error("the address could not be reached")]
    Refused(#[source] Refusal),
    /// No connection, or no answer.
    #[error("the address could not be reached")]
    Unreachable(#[source] reqwest::Error),
    /// The deadline passed.
    #[error("the address could not be reached")]
    TimedOut,
    /// The body broke off or was not what its headers say.
    #[error("the answer could not be read")]
    Unreadable(#[source] io::Error),
    /// The decoded body is larger than allowed.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The TLS settings of this process are unusable.
    #[error("TLS is not available")]
    Tls(#[source] rustls::Error),
}

/// A conditional GET.
#[derive(Debug, Clone)]
pub struct FetchRequest {
    /// Where to start.
    pub url: Url,
    /// `ETag` of the copy held.
    pub etag: Option<String>,
    /// `Last-Modified` of the copy held.
    pub last_modified: Option<String>,
    /// Most decoded bytes of the body.
    pub max_bytes: usize,
    /// Time for everything, redirects included.
    pub deadline: Duration,
}

impl FetchRequest {
    /// An unconditional GET with the usual limits.
    #[must_use]
    pub fn new(url: Url) -> Self {
        Self { url, etag: None, last_modified: None, max_bytes: MAX_BODY_BYTES, deadline: TOTAL_DEADLINE }
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::from_iter([(header::ACCEPT, ACCEPT), (header::ACCEPT_ENCODING, ACCEPT_ENCODING)]);
        let conditions = [(header::IF_NONE_MATCH, &self.etag), (header::IF_MODIFIED_SINCE, &self.last_modified)];
        for (name, value) in conditions {
            if let Some(value) = value.as_deref().and_then(|value| HeaderValue::from_str(value).ok()) {
                headers.insert(name, value);
            }
        }
        headers
    }
}

/// A POST. Its redirects are not followed: the answer is the 3xx.
#[derive(Debug, Clone)]
pub struct PostRequest {
    /// Where to.
    pub url: Url,
    /// Headers besides those of the transport.
    pub headers: HeaderMap,
    /// The body as sent.
    pub body: Bytes,
    /// Most decoded bytes of the answer's body.
    pub max_bytes: usize,
    /// Time for everything.
    pub deadline: Duration,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `ETag`.
    pub etag: Option<String>,
    /// `Last-Modified`.
    pub last_modified: Option<String>,
    /// `Cache-Control`.
    pub cache_control: Option<String>,
    /// `Retry-After`.
    pub retry_after: Option<String>,
    /// The decoded body; of a GET only if the status is a success.
    pub body: Bytes,
    /// The address that answered.
    pub final_url: Url,
    /// The address to use from now on: the end of the unbroken chain of 301 and 308 from the start.
    pub permanent_url: Option<Url>,
}

/// The guarded client. Cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct Fetcher {
    guard: Guard,
    names: Arc<dyn Names>,
    hosts: Hosts,
    tls: ClientConfig,
}

impl Fetcher {
    /// A client that dials what `guard` lets through.
    pub fn new(guard: Guard) -> Result<Self, FetchError> {
        let tls = pinned::tls().map_err(FetchError::Tls)?;
        Ok(Self { guard, names: Arc::new(SystemNames), hosts: Hosts::default(), tls })
    }

    /// Fetches, following at most three redirects, with one request per host at a time. The wait for
    /// the first host's turn is not part of the deadline.
    pub async fn get(&self, request: FetchRequest) -> Result<Fetched, FetchError> {
        let turn = self.hosts.turn(request.url.host_str().unwrap_or_default()).await;
        let deadline = request.deadline;
        let follow = self.follow(request, turn);
        logged(tokio::time::timeout(deadline, follow).await.unwrap_or(Err(FetchError::TimedOut)))
    }

    /// Posts and reads the answer, whatever its status.
    pub async fn post(&self, request: PostRequest) -> Result<Fetched, FetchError> {
        let PostRequest { url, headers, body, max_bytes, deadline } = request;
        let exchange = async {
            let sent = Outgoing { method: Method::POST, headers, body };
            let response = self.send(&url, &sent).await?;
            finish(response, Some(max_bytes), None).await
        };
        logged(tokio::time::timeout(deadline, exchange).await.unwrap_or(Err(FetchError::TimedOut)))
    }

    async fn follow(
        &self,
        request: FetchRequest,
        mut turn: tokio::sync::OwnedMutexGuard<()>,
    ) -> Result<Fetched, FetchError> {
        let sent = Outgoing { method: Method::GET, headers: request.headers(), body: Bytes::new() };
        let mut url = request.url;
        let mut only_permanent = true;
        let mut permanent_url = None;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(&url, &sent).await?;
            let status = response.status();
            let Some(target) = redirect_target(&response, &url) else {
                let limit = status.is_success().then_some(request.max_bytes);
                return finish(response, limit, permanent_url).await;
            };
            let next = target?;
            only_permanent &= matches!(status, StatusCode::MOVED_PERMANENTLY | StatusCode::PERMANENT_REDIRECT);
            if only_permanent {
                permanent_url = Some(next.clone());
            }
            if next.host_str() != url.host_str() {
                drop(turn);
                turn = self.hosts.turn(next.host_str().unwrap_or_default()).await;
            }
            url = next;
        }
        Err(FetchError::Refused(Refusal::Redirects))
    }

    async fn send(&self, url: &Url, sent: &Outgoing) -> Result<Response, FetchError> {
        let addresses = self.guard.addresses(url, &*self.names).await.map_err(FetchError::Refused)?;
        let client = pinned::client(url, &addresses, &self.tls).map_err(FetchError::Unreachable)?;
        let request = client.request(sent.method.clone(), url.clone()).headers(sent.headers.clone());
        request.body(sent.body.clone()).send().await.map_err(FetchError::Unreachable)
    }
}

/// What is sent, the same at every hop.
struct Outgoing {
    method: Method,
    headers: HeaderMap,
    body: Bytes,
}

/// Where a redirect leads; `None` if the answer is no redirect.
fn redirect_target(response: &Response, from: &Url) -> Option<Result<Url, FetchError>> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = response.headers().get(header::LOCATION)?;
    let target = std::str::from_utf8(location.as_bytes()).ok().and_then(|location| from.join(location).ok());
    Some(target.ok_or(FetchError::Refused(Refusal::RedirectTarget)))
}

async fn finish(
    response: Response,
    max_bytes: Option<usize>,
    permanent_url: Option<Url>,
) -> Result<Fetched, FetchError> {
    let text = |name: HeaderName| {
        let value = response.headers().get(name)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let mut fetched = Fetched {
        status: response.status().as_u16(),
        content_type: text(header::CONTENT_TYPE),
        etag: text(header::ETAG),
        last_modified: text(header::LAST_MODIFIED),
        cache_control: text(header::CACHE_CONTROL),
        retry_after: text(header::RETRY_AFTER),
        body: Bytes::new(),
        final_url: response.url().clone(),
        permanent_url,
    };
    if let Some(limit) = max_bytes {
        fetched.body = body::read(response, limit).await?;
    }
    Ok(fetched)
}

/// The cause goes to the log only; the caller shows the error's own text.
fn logged(result: Result<Fetched, FetchError>) -> Result<Fetched, FetchError> {
    match &result {
        Err(FetchError::Refused(refusal)) => tracing::info!(fetch.refusal = %refusal, "fetch refused"),
        Err(FetchError::Unreachable(error)) => tracing::info!(fetch.connect = error.is_connect(), "fetch failed"),
        Err(error) => tracing::info!(fetch.error = %error, "fetch failed"),
        Ok(_) => {}
    }
    result
}
