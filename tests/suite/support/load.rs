//! The load client: sends batch after batch, each again and again until it is acknowledged, and keeps the journal.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::PAUSE;
use super::client::Client;
use super::journal::Journal;
use super::traffic::{Traffic, to_json};
use crate::oracle::Request;

/// Records of one post.
const BATCH: usize = 20;

/// Sends traffic through kills and restarts.
#[derive(Debug)]
pub(crate) struct Load {
    traffic: Traffic,
    pub(crate) journal: Journal,
    /// Each record once, in the order of the first sending.
    pub(crate) requests: Vec<Request>,
    known: BTreeSet<String>,
    /// Posts that were acknowledged.
    pub(crate) batches: usize,
    /// Answers that told the client to come again: 429, 503, 507.
    pub(crate) refusals: usize,
}

impl Load {
    pub(crate) fn new(traffic: Traffic, journal: &Path) -> Self {
        let journal = Journal::create(journal);
        Self { traffic, journal, requests: Vec::new(), known: BTreeSet::new(), batches: 0, refusals: 0 }
    }

    /// Sends one batch until it is acknowledged; `client` says where the server is now.
    pub(crate) async fn send(&mut self, client: &Mutex<Client>) {
        let batch = self.prepare();
        while !self.attempt(client, &batch).await {
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Sends one batch once; true when it was acknowledged. Without an answer nobody knows.
    pub(crate) async fn send_once(&mut self, client: &Mutex<Client>) -> bool {
        let batch = self.prepare();
        self.attempt(client, &batch).await
    }

    /// Sends everything again whose acknowledgement never came.
    pub(crate) async fn send_the_rest(&mut self, client: &Mutex<Client>) {
        let acked = self.journal.read_back().acked;
        let rest: Vec<Request> = self.requests.iter().filter(|r| !acked.contains(&r.id)).cloned().collect();
        for batch in rest.chunks(BATCH) {
            while !self.attempt(client, batch).await {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    fn prepare(&mut self) -> Vec<Request> {
        let batch = self.traffic.batch(BATCH);
        for request in &batch {
            if self.known.insert(request.id.clone()) {
                self.requests.push(request.clone());
            }
        }
        batch
    }

    async fn attempt(&mut self, client: &Mutex<Client>, batch: &[Request]) -> bool {
        let body = json!(batch.iter().map(to_json).collect::<Vec<_>>()).to_string();
        let client = client.lock().expect("no poison").clone();
        self.journal.sent(batch.iter().map(|request| request.id.as_str()));
        let Some(answer) = client.try_post_raw("/v1/listener-requests", "application/json", body).await else {
            return false;
        };
        if matches!(answer.status, 429 | 503 | 507) {
            assert!(answer.headers.contains_key("retry-after"), "{}: {}", answer.status, answer.text());
            self.refusals += 1;
            return false;
        }
        let answer: Value = answer.is(202).json();
        assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(batch.len()), &json!([])), "{answer}");
        self.journal.acked(batch.iter().map(|request| request.id.as_str()));
        self.batches += 1;
        true
    }
}
