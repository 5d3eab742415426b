//! The server's three calls: write, query, and what is said about itself.
//!
//! Reading goes through `influxdb2`, which panics where an answer has an empty cell, has no
//! timeouts, and of a refusal keeps status and text only. So its calls run in a task of their own
//! against the clock, and a panic is an answer that can't be read. Writing needs `Retry-After`,
//! which is in a header: those requests are ours, over the object store's HTTP client.

use std::fmt;
use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use influxdb2::api::query::FluxRecord;
use influxdb2::models::Query;
use influxdb2::{Client, RequestError};
use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector, HttpRequest, HttpRequestBody, HttpResponse, ReqwestConnector};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{Bucket, MirrorError, MirrorOptions};

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// Longest wait for an answer; with the connection it is below the relay's lease.
const ANSWER: Duration = Duration::from_secs(20);

/// Letters of an answer that are kept for people.
const DETAIL: usize = 300;

/// A client of the server.
pub(super) struct Influx {
    pub(super) options: MirrorOptions,
    reading: Client,
    writing: HttpClient,
}

impl fmt::Debug for Influx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Influx").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Influx {
    pub(super) fn new(options: MirrorOptions) -> Result<Self, MirrorError> {
        let client = ClientOptions::new().with_allow_http(true).with_connect_timeout(CONNECT).with_timeout(ANSWER);
        let writing = ReqwestConnector::default().connect(&client).map_err(of_client)?;
        let reading = reader(&options, options.organization.as_deref().unwrap_or_default())?;
        Ok(Self { options, reading, writing })
    }

    /// What to read with.
    pub(super) fn reading(&self) -> Client {
        self.reading.clone()
    }

    /// Writes lines, all or none; where the server takes some of them, it says so.
    pub(super) async fn write(&self, bucket: &Bucket, lines: Bytes) -> Result<(), MirrorError> {
        let request = self.request(bucket, &lines)?;
        let answered = self.writing.execute(request).await;
        let response = answered.map_err(|error| MirrorError::Unreachable(chain(&error)))?;
        let status = response.status().as_u16();
        let retry_after = seconds(&response);
        if (200..300).contains(&status) {
            return Ok(());
        }
        let body = response.into_body().bytes().await.unwrap_or_default();
        Err(refusal(status, &String::from_utf8_lossy(&body), retry_after))
    }

    fn request(&self, bucket: &Bucket, lines: &Bytes) -> Result<HttpRequest, MirrorError> {
        let mut url = self.options.server.clone();
        url.set_path("/api/v2/write");
        url.query_pairs_mut()
            .append_pair("bucket", &self.options.bucket)
            .append_pair("org", &bucket.organization)
            .append_pair("precision", "s");
        let mut request = HttpRequest::new(HttpRequestBody::from(packed(lines).map_err(of_client)?));
        *request.method_mut() = "POST".parse().map_err(of_client)?;
        *request.uri_mut() = url.as_str().parse().map_err(of_client)?;
        let headers = request.headers_mut();
        headers.insert("content-type", "text/plain; charset=utf-8".parse().map_err(of_client)?);
        headers.insert("content-encoding", "gzip".parse().map_err(of_client)?);
        if let Some(token) = &self.options.token {
            let unsendable = |_| MirrorError::Client("INFLUX_TOKEN has letters that no token has".to_owned());
            headers.insert("authorization", format!("Token {}", token.expose_secret()).parse().map_err(unsendable)?);
        }
        Ok(request)
    }

    /// The records that a Flux query answers.
    pub(super) async fn query(&self, organization: &str, flux: String) -> Result<Vec<FluxRecord>, MirrorError> {
        let client = reader(&self.options, organization)?;
        within(async move { client.query_raw(Some(Query::new(flux))).await }).await
    }

    /// The server's name and version, if it says them.
    pub(super) async fn version(&self) -> Result<String, MirrorError> {
        let client = self.reading();
        let health = within(async move { client.health().await }).await?;
        Ok(format!("{} {}", health.name, health.version.as_deref().unwrap_or("of unknown version")))
    }
}

fn reader(options: &MirrorOptions, organization: &str) -> Result<Client, MirrorError> {
    let token = options.token.as_ref().map_or("", SecretString::expose_secret);
    // The builder panics at what is no address; this one was parsed.
    let builder = influxdb2::ClientBuilder::new(options.server.as_str(), organization, token);
    builder.build().map_err(of_client)
}

/// A call of `influxdb2`, at most so long, a panic being an answer that can't be read.
pub(super) async fn within<T: Send + 'static>(
    call: impl Future<Output = Result<T, RequestError>> + Send + 'static,
) -> Result<T, MirrorError> {
    let mut task = tokio::spawn(call);
    match tokio::time::timeout(ANSWER, &mut task).await {
        Ok(Ok(answer)) => answer.map_err(of_request),
        Ok(Err(_)) => Err(MirrorError::Answer("it has an empty cell or ends in the middle".to_owned())),
        Err(_) => {
            task.abort();
            Err(MirrorError::Unreachable(format!("no answer within {ANSWER:?}")))
        }
    }
}

fn of_client(error: impl std::error::Error) -> MirrorError {
    MirrorError::Client(chain(&error))
}

fn of_request(error: RequestError) -> MirrorError {
    match error {
        RequestError::Http { status, text } => refusal(status.as_u16(), &text, None),
        RequestError::ReqwestProcessing { source } if source.is_decode() => MirrorError::Answer(chain(&source)),
        RequestError::ReqwestProcessing { source } => MirrorError::Unreachable(chain(&source)),
        RequestError::Serializing { source } => MirrorError::Client(source.to_string()),
        RequestError::Deserializing { text } => MirrorError::Answer(shortened(&text)),
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    // Some errors say their causes themselves.
    causes
        .map(ToString::to_string)
        .fold(error.to_string(), |text, cause| if text.contains(&cause) { text } else { format!("{text}: {cause}") })
}

/// What a status that is not 2xx means.
fn refusal(status: u16, text: &str, retry_after: Option<Duration>) -> MirrorError {
    let detail = shortened(text);
    match status {
        401 | 403 => MirrorError::Forbidden { status, detail },
        404 => MirrorError::Missing(detail),
        413 => MirrorError::TooLarge,
        429 | 500.. => MirrorError::Busy { status, detail, retry_after },
        // The only ones that are about the points themselves.
        400 | 422 => match rejected(text) {
            Some(rejected) => MirrorError::Partly { rejected, detail },
            None => MirrorError::Rejected { status, detail },
        },
        _ => MirrorError::Unexpected { status, detail },
    }
}

/// How many points of a partial write were dropped: `partial write: … dropped=3`.
fn rejected(text: &str) -> Option<usize> {
    let rest = text.split_once("partial write")?.1;
    let digits = rest.split_once("dropped=")?.1;
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn shortened(text: &str) -> String {
    text.trim().chars().take(DETAIL).collect()
}

/// `Retry-After` in seconds; a date in it is not understood and taken for nothing.
fn seconds(response: &HttpResponse) -> Option<Duration> {
    let text = response.headers().get("retry-after")?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

fn packed(lines: &Bytes) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(lines.len() / 4), Compression::fast());
    encoder.write_all(lines)?;
    encoder.finish()
}

/// The server's address, for messages.
pub(super) fn shown(server: &Url) -> &str {
    server.as_str().trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_apart() {
        let busy = refusal(429, "slow down", Some(Duration::from_secs(7)));
        assert!(busy.passes() && busy.retry_after() == Some(Duration::from_secs(7)));
        assert!(refusal(503, "", None).passes());
        for status in [302, 400, 401, 403, 404, 405, 408, 413, 422] {
            assert!(!refusal(status, "", None).passes(), "{status}");
        }
        for status in [302, 402, 405, 408, 411, 415, 426] {
            let refusal = refusal(status, "partial write: dropped=1", None);
            assert!(matches!(refusal, MirrorError::Unexpected { .. }), "{status} says nothing about points");
        }
    }

    #[test]
    fn a_partial_write_says_how_much_of_it_was_dropped() {
        let text = r#"{"code":"unprocessable entity","message":"failure writing points to database: partial write: points beyond retention policy dropped=12"}"#;
        assert!(matches!(refusal(422, text, None), MirrorError::Partly { rejected: 12, .. }));
        let whole = r#"{"code":"invalid","message":"unable to parse 'x': missing fields"}"#;
        assert!(matches!(refusal(400, whole, None), MirrorError::Rejected { status: 400, .. }));
    }

    #[tokio::test]
    async fn a_panic_of_the_client_is_an_answer_that_can_not_be_read() {
        let call = async { Ok(str::parse::<i64>("").unwrap()) };
        assert!(matches!(within(call).await, Err(MirrorError::Answer(_))));
    }
}
