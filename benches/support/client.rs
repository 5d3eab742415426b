//! A caller of the server, over HTTP as anybody else.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::time::Instant;

use super::meter::Outcome;

/// Longest wait for a condition: more than it takes to judge what a bench has sent.
const PATIENCE: Duration = Duration::from_mins(20);

/// One connection pool under one key.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
}

impl Client {
    pub(crate) fn new(base: &str, key: Option<&str>) -> Outcome<Self> {
        let timeout = Duration::from_mins(5);
        let http = reqwest::Client::builder().no_proxy().timeout(timeout).build()?;
        Ok(Self { http, base: base.to_owned(), key: key.map(str::to_owned) })
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Outcome<reqwest::Response> {
        let request = match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        };
        Ok(request.send().await?)
    }

    async fn text(answer: reqwest::Response) -> Outcome<String> {
        let status = answer.status();
        let text = answer.text().await?;
        if status.is_success() { Ok(text) } else { Err(format!("{status}: {text}").into()) }
    }

    /// What is at a path.
    pub(crate) async fn get(&self, path: &str) -> Outcome<String> {
        Self::text(self.send(self.http.get(format!("{}{path}", self.base))).await?).await
    }

    /// What is at a path, as JSON.
    pub(crate) async fn json(&self, path: &str) -> Outcome<Value> {
        Ok(serde_json::from_str(&self.get(path).await?)?)
    }

    /// Posts JSON.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Outcome<Value> {
        let answer = self.send(self.http.post(format!("{}{path}", self.base)).json(body)).await?;
        Ok(serde_json::from_str(&Self::text(answer).await?)?)
    }

    /// Sets what is at a path.
    pub(crate) async fn put(&self, path: &str, body: &Value) -> Outcome<()> {
        let answer = self.send(self.http.put(format!("{}{path}", self.base)).json(body)).await?;
        Self::text(answer).await.map(|_| ())
    }

    /// Posts NDJSON until it is accepted, every line of it; comes again when it is told to.
    pub(crate) async fn post_lines(&self, path: &str, (lines, count): (String, u64)) -> Outcome<()> {
        let lines = Bytes::from(lines);
        loop {
            let request = self.http.post(format!("{}{path}", self.base));
            let request = request.header("content-type", "application/x-ndjson").body(lines.clone());
            let answer = self.send(request).await?;
            if matches!(answer.status().as_u16(), 429 | 503) {
                let after = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
                tokio::time::sleep(Duration::from_secs(after.unwrap_or(1))).await;
                continue;
            }
            let answer: Value = serde_json::from_str(&Self::text(answer).await?)?;
            if answer["accepted"] != count {
                return Err(
                    format!("{} of {count} records accepted: {}", answer["accepted"], answer["rejected"]).into()
                );
            }
            return Ok(());
        }
    }
}

/// Asks again after each `pause` until there is an answer.
pub(crate) async fn until<T>(
    (what, pause): (&str, Duration),
    mut ask: impl AsyncFnMut() -> Outcome<Option<T>>,
) -> Outcome<T> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        tokio::time::sleep(pause).await;
    }
    Err(format!("waited in vain until {what}").into())
}
