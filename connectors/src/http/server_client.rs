//! A client of one server: of a Castback, for the command line and the demo, or of a schema registry.
//!
//! Not guarded: its address comes from the person at the keyboard or the operator, who may well mean this machine.
//! It follows no redirect, so that the key is shown to nobody else.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Response};
use url::Url;

use super::pinned;

/// Time for one TCP connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Time for one call: above the server's own limit for a query.
const CALL_DEADLINE: Duration = Duration::from_mins(1);

/// Largest answer that is read: a report or the rows of a query are far smaller.
const MAX_ANSWER: usize = 512 * 1024 * 1024;

const TRUNCATED: HeaderName = HeaderName::from_static("castback-truncated");

/// Why a call got no answer.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The key can't be sent: it has letters that no key has.
    #[error("the key is not one of ours")]
    Key,
    /// The TLS settings of this process are unusable.
    #[error("TLS is not available")]
    Tls(#[source] rustls::Error),
    /// The client can't be made.
    #[error("the HTTP client can't be made")]
    Client(#[source] reqwest::Error),
    /// Nobody answered at the address, or the connection broke.
    #[error("no answer from {base}")]
    Unreachable {
        /// The server's address.
        base: Url,
        /// What happened.
        source: reqwest::Error,
    },
    /// The answer is larger than any that is expected.
    #[error("the answer is larger than {MAX_ANSWER} bytes")]
    TooLarge,
}

/// What a server said.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// `Content-Type`, or nothing.
    pub content_type: String,
    /// `Retry-After` in seconds, if it was given so.
    pub retry_after: Option<u64>,
    /// Whether there are more rows than were answered (`Castback-Truncated`).
    pub truncated: bool,
    /// The whole body.
    pub body: Bytes,
}

impl Answer {
    /// Whether the status is 2xx.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// A body and its content type.
pub type Body = (&'static str, Bytes);

/// A client of one server. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct ServerClient {
    http: Client,
    base: Url,
    authorization: Option<HeaderValue>,
}

impl ServerClient {
    /// A client of the server at `base`, calling with `key` if there is one.
    pub fn new(base: Url, key: Option<&str>) -> Result<Self, ServerError> {
        let authorization = key.map(|key| {
            let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| ServerError::Key)?;
            value.set_sensitive(true);
            Ok(value)
        });
        let http = Client::builder()
            .tls_backend_preconfigured(pinned::tls().map_err(ServerError::Tls)?)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(ServerError::Client)?;
        Ok(Self { http, base, authorization: authorization.transpose()? })
    }

    /// A client of the server at `base`, calling as `user` by Basic.
    pub fn with_password(base: Url, user: &str, password: &str) -> Result<Self, ServerError> {
        let client = Self::new(base, None)?;
        // How such a header is written is known below.
        let request = client.http.get(client.base.clone()).basic_auth(user, Some(password)).build();
        let authorization = request.map_err(ServerError::Client)?.headers().get(AUTHORIZATION).cloned();
        Ok(Self { authorization, ..client })
    }

    /// The server's address.
    #[must_use]
    pub fn base(&self) -> &Url {
        &self.base
    }

    /// Reads `path` (with its query), wanting `accept`.
    pub async fn get(&self, path: &str, accept: &str) -> Result<Answer, ServerError> {
        self.whole(self.request(&Method::GET, path).header(ACCEPT, accept)).await
    }

    /// Posts `body` to `path`, wanting `accept`.
    pub async fn post(&self, path: &str, body: Body, accept: &str) -> Result<Answer, ServerError> {
        self.whole(sending(self.request(&Method::POST, path), body).header(ACCEPT, accept)).await
    }

    /// Puts `body` at `path`.
    pub async fn put(&self, path: &str, body: Body) -> Result<Answer, ServerError> {
        self.whole(sending(self.request(&Method::PUT, path), body)).await
    }

    /// Reads `path` without end: an event stream.
    pub async fn stream(&self, path: &str) -> Result<Streamed, ServerError> {
        let request = self.request(&Method::GET, path).header(ACCEPT, "text/event-stream");
        let response = request.send().await.map_err(|source| self.unreachable(source))?;
        Ok(Streamed { response, base: self.base.clone() })
    }

    fn request(&self, method: &Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.base.as_str().trim_end_matches('/'));
        let request = self.http.request(method.clone(), url);
        match &self.authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization.clone()),
            None => request,
        }
    }

    async fn whole(&self, request: RequestBuilder) -> Result<Answer, ServerError> {
        let response = request.timeout(CALL_DEADLINE).send().await.map_err(|source| self.unreachable(source))?;
        let mut streamed = Streamed { response, base: self.base.clone() };
        let mut body = Vec::new();
        while let Some(chunk) = streamed.next().await? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(ServerError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { body: body.into(), ..streamed.head() })
    }

    fn unreachable(&self, source: reqwest::Error) -> ServerError {
        ServerError::Unreachable { base: self.base.clone(), source }
    }
}

fn sending(request: RequestBuilder, (kind, body): Body) -> RequestBuilder {
    request.header(CONTENT_TYPE, kind).body(body)
}

/// An answer whose body comes piece by piece.
#[derive(Debug)]
pub struct Streamed {
    response: Response,
    base: Url,
}

impl Streamed {
    /// Status and headers, without the body.
    #[must_use]
    pub fn head(&self) -> Answer {
        let text = |name: HeaderName| self.response.headers().get(name).and_then(|value| value.to_str().ok());
        Answer {
            status: self.response.status().as_u16(),
            content_type: text(CONTENT_TYPE).unwrap_or_default().to_owned(),
            retry_after: text(RETRY_AFTER).and_then(|seconds| seconds.parse().ok()),
            truncated: text(TRUNCATED) == Some("true"),
            body: Bytes::new(),
        }
    }

    /// The next piece of the body; none at its end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ServerError> {
        let chunk = self.response.chunk().await;
        chunk.map_err(|source| ServerError::Unreachable { base: self.base.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers one call with `response`; gives back what was asked.
    async fn once(response: &'static str) -> (Url, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = Url::parse(&format!("http://{}/under/", listener.local_addr().unwrap())).unwrap();
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = vec![0; 4096];
            let length = stream.read(&mut asked).await.unwrap();
            stream.write_all(response.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&asked[..length]).into_owned()
        });
        (base, task)
    }

    #[tokio::test]
    async fn a_call_shows_its_key_and_reads_the_whole_answer() {
        let (base, asked) = once("HTTP/1.1 429 Slow\r\ncontent-type: text/plain\r\nretry-after: 7\r\ncontent-length: 4\r\nconnection: close\r\n\r\nwait").await;
        let client = ServerClient::new(base, Some("cb_key")).unwrap();
        let answer =
            client.post("/v1/x?y=z", ("application/json", Bytes::from_static(b"{}")), "text/csv").await.unwrap();
        assert_eq!((answer.status, answer.retry_after, &answer.body[..]), (429, Some(7), &b"wait"[..]));
        assert!(!answer.is_success());
        let asked = asked.await.unwrap().to_lowercase();
        assert!(asked.starts_with("post /under/v1/x?y=z http/1.1"), "{asked}");
        assert!(asked.contains("authorization: bearer cb_key") && asked.contains("accept: text/csv"), "{asked}");
    }

    #[tokio::test]
    async fn a_redirect_is_the_answer_and_the_key_goes_nowhere_else() {
        let (base, _) = once(
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        )
        .await;
        let answer = ServerClient::new(base, Some("cb_key")).unwrap().get("/", "*/*").await.unwrap();
        assert_eq!(answer.status, 302);
    }

    #[test]
    fn a_key_that_is_no_header_is_refused_and_none_is_shown() {
        let base = Url::parse("http://localhost/").unwrap();
        assert!(matches!(ServerClient::new(base.clone(), Some("a\nb")), Err(ServerError::Key)));
        assert!(!format!("{:?}", ServerClient::new(base, Some("cb_secret")).unwrap()).contains("cb_secret"));
    }
}
