//! Sending: in batches, again and again until the server says that it has them.

use std::time::Duration;

use anyhow::bail;
use castback_connectors::http::{Answer, ServerClient};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::cast::CAMPAIGNS;
use super::sent::{Request, Sent, dollars};
use super::stage::Stage;
use crate::client::{encoded, problem};

/// Records of one post.
const BATCH: usize = 1_000;

/// How long a post is tried; a restarted server is there within seconds.
const PATIENCE: Duration = Duration::from_mins(2);

/// Pause before a post that was not taken is sent again.
const AGAIN: Duration = Duration::from_millis(300);

/// Sends to one server as one account.
#[derive(Debug)]
pub(crate) struct Sender {
    client: ServerClient,
    stage: Stage,
    /// Records that the server said it has.
    pub(crate) acknowledged: u64,
    /// Pixels and visits that it answered; they are recorded after the answer.
    pub(crate) glances: u64,
    /// Posts that had to be sent again.
    pub(crate) repeated: u64,
}

impl Sender {
    /// Nothing sent yet.
    pub(crate) fn new(client: ServerClient, stage: Stage) -> Self {
        Self { client, stage, acknowledged: 0, glances: 0, repeated: 0 }
    }

    /// Sends everything, each kind in its order.
    pub(crate) async fn send(&mut self, all: &[Sent]) -> anyhow::Result<()> {
        let (mut requests, mut conversions, mut events) = (Vec::new(), Vec::new(), Vec::new());
        for sent in all {
            match sent {
                Sent::Request(request) => requests.push(request.json(&self.stage.podcasts)),
                Sent::Conversion(conversion) => conversions.push(conversion.json()),
                Sent::Event(event) => events.push(event.json()),
                Sent::Pixel { .. } | Sent::Visit { .. } => self.glance(sent).await,
            }
        }
        self.records("/v1/listener-requests", &requests, |batch| json!(batch)).await?;
        self.records("/v1/conversions", &conversions, |batch| json!(batch)).await?;
        self.records("/v1/events", &events, |batch| json!({ "events": batch })).await
    }

    /// Sends requests of one podcast as its server's access log.
    pub(crate) async fn send_log(&mut self, podcast: usize, requests: &[&Request]) -> anyhow::Result<()> {
        let id = self.stage.podcasts.get(podcast).map(|id| encoded(id)).unwrap_or_default();
        for lines in requests.chunks(BATCH) {
            let text: String = lines.iter().map(|request| request.log_line()).collect();
            self.until_taken(&format!("/v1/listener-requests?podcast_id={id}"), ("text/plain", text)).await?;
        }
        Ok(())
    }

    async fn records(&mut self, path: &str, all: &[Value], body: fn(&[Value]) -> Value) -> anyhow::Result<()> {
        for batch in all.chunks(BATCH) {
            self.until_taken(path, ("application/json", body(batch).to_string())).await?;
        }
        Ok(())
    }

    async fn until_taken(&mut self, path: &str, (kind, body): (&'static str, String)) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.client.post(path, (kind, body.clone().into()), "application/json").await {
                Ok(answer) if answer.is_success() => return self.take(&answer),
                Ok(answer) if !matches!(answer.status, 429 | 503 | 507) => bail!("{path}: {}", problem(&answer)),
                answer if Instant::now() > deadline => bail!("{path}: not taken within {PATIENCE:?}: {answer:?}"),
                _ => self.repeated += 1,
            }
            sleep(AGAIN).await;
        }
    }

    fn take(&mut self, answer: &Answer) -> anyhow::Result<()> {
        let taken: Value = serde_json::from_slice(&answer.body)?;
        if taken["rejected"].as_array().is_some_and(|rejected| !rejected.is_empty()) {
            bail!("the server rejects what the demo sends: {}", taken["rejected"]);
        }
        self.acknowledged += taken["accepted"].as_u64().unwrap_or(0);
        Ok(())
    }

    /// A pixel or a visit: no acceptance, so nobody waits for it or sends it again.
    async fn glance(&mut self, sent: &Sent) {
        let path = match sent {
            Sent::Pixel { campaign, id, cents } => {
                let campaign = self.stage.campaigns.get(*campaign).map(|id| encoded(id)).unwrap_or_default();
                format!("/p.gif?c={campaign}&e=purchase&id={}&v={}&cur=USD", encoded(id), dollars(*cents))
            }
            Sent::Visit { campaign } => format!("/r/{}", CAMPAIGNS[*campaign].vanity_slug),
            _ => return,
        };
        match self.client.get(&path, "*/*").await {
            Ok(answer) => self.glances += u64::from(matches!(answer.status, 200 | 302)),
            Err(error) => tracing::debug!(error = %error, "a glance was not seen"),
        }
    }
}
