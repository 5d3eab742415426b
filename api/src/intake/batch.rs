//! A batch: accepted records, encoded one after the other, and what was rejected.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use castback_broker::NewRecord;
use castback_schemas::event::Event;
use castback_schemas::{AccountId, Month, Slot, Topic};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::App;
use crate::encoders::Encoders;
use crate::problem::{Code, Result};

/// Bytes of one append: several of them leave room for others in between, and the log takes four times as many.
const APPEND_BYTES: usize = 4 << 20;

/// Longest text of a rejection, in characters.
const MAX_DETAIL: usize = 200;

/// A record that was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Rejected {
    /// Its place in the body, from 0; lines that are blank don't count.
    pub(crate) index: usize,
    /// `malformed_body`, `invalid_fields` or `month_closed`.
    pub(crate) code: &'static str,
    /// What is expected.
    pub(crate) detail: String,
}

/// What is answered to a batch.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Accepted {
    /// Records that are durable now.
    pub(crate) accepted: usize,
    /// Records that are not.
    pub(crate) rejected: Vec<Rejected>,
}

/// Why one record is not accepted.
#[derive(Debug)]
pub(crate) struct Refusal {
    code: &'static str,
    detail: String,
}

impl Refusal {
    /// A record that can't be read.
    pub(crate) fn malformed(error: &impl ToString) -> Self {
        Self { code: Code::MalformedBody.as_str(), detail: error.to_string() }
    }

    /// A record that is no JSON, or whose fields are of other types or missing.
    pub(crate) fn unread(error: &serde_json::Error) -> Self {
        let code = if error.is_data() { Code::InvalidFields } else { Code::MalformedBody };
        Self { code: code.as_str(), detail: error.to_string() }
    }

    /// A field that does not fit.
    pub(crate) fn invalid(field: &str, expected: &str) -> Self {
        Self { code: Code::InvalidFields.as_str(), detail: format!("{field}: {expected}") }
    }

    /// The key of the record's month has been destroyed, so its listener can't be told any more: the
    /// record could only be late, for good. It is refused, so that nobody waits for a verdict.
    pub(crate) fn month_closed(month: Month) -> Self {
        Self {
            code: "month_closed",
            detail: format!("the listeners of {month} are forgotten; it is too late for good"),
        }
    }
}

/// Records of one account on their way to one topic.
#[derive(Debug)]
pub(crate) struct Batch {
    topic: Topic,
    account: AccountId,
    values: Vec<u8>,
    /// For each record its key and where its value ends.
    records: Vec<(Bytes, usize)>,
    rejected: Vec<Rejected>,
    next: usize,
    /// Months whose keys were used.
    pub(crate) months: BTreeSet<Month>,
}

impl Batch {
    pub(crate) fn new(topic: Topic, account: AccountId) -> Self {
        Self {
            topic,
            account,
            values: Vec::new(),
            records: Vec::new(),
            rejected: Vec::new(),
            next: 0,
            months: BTreeSet::new(),
        }
    }

    /// Adds the next record of the body, good or bad.
    pub(crate) fn add<E: Event>(&mut self, encoders: &Encoders, record: Result<(Bytes, E), Refusal>) -> Result<()> {
        let index = self.next;
        self.next += 1;
        match record {
            Ok((key, event)) => {
                encoders.encode_into(&event, &mut self.values)?;
                self.records.push((key, self.values.len()));
            }
            Err(Refusal { code, detail }) => {
                let detail = if detail.len() > MAX_DETAIL { detail.chars().take(MAX_DETAIL).collect() } else { detail };
                self.rejected.push(Rejected { index, code, detail });
            }
        }
        Ok(())
    }

    /// Records of the body so far, good and bad.
    pub(crate) fn len(&self) -> i64 {
        i64::try_from(self.next).unwrap_or(i64::MAX)
    }

    /// The records in appends of a moderate size.
    fn into_appends(self) -> (Vec<Vec<NewRecord>>, Vec<Rejected>) {
        let values = Bytes::from(self.values);
        let slot = Slot::of(self.account);
        let (mut appends, mut append) = (Vec::new(), Vec::new());
        let (mut start, mut size) = (0, 0);
        for (key, end) in self.records {
            let value = values.slice(start..end);
            start = end;
            size += key.len() + value.len();
            append.push(NewRecord { topic: self.topic, slot, account: self.account, key, value });
            if size >= APPEND_BYTES {
                appends.push(std::mem::take(&mut append));
                size = 0;
            }
        }
        if !append.is_empty() {
            appends.push(append);
        }
        (appends, self.rejected)
    }
}

/// Makes a batch durable; when this returns well, all of it is.
pub(crate) async fn append(app: &App, batch: Batch) -> Result<Accepted> {
    let (topic, months) = (batch.topic, batch.months.clone());
    let (appends, rejected) = batch.into_appends();
    let mut accepted = 0;
    for records in appends {
        accepted += records.len();
        app.log.append(records).await?;
    }
    if let Err(problem) = app.keys.touch(&app.catalogue, &months, app.clock.now()).await {
        // It is tried again with the next batch; keys live for months.
        tracing::warn!(error = %problem, "the use of a month's key was not noted");
    }
    let metrics = &app.metrics;
    metrics.accepted.with_label_values(&[topic.name()]).inc_by(accepted as u64);
    for one in &rejected {
        metrics.rejected.with_label_values(&[topic.name(), one.code]).inc();
    }
    Ok(Accepted { accepted, rejected })
}

/// Takes a posted batch from the account's quota, makes it durable and says so.
pub(crate) async fn deliver(app: &Arc<App>, batch: Batch) -> Result<Response> {
    let left = app.quotas.records.take(batch.account, batch.len(), app.clock.now())?;
    let accepted = append(app, batch).await?;
    Ok((StatusCode::ACCEPTED, app.quotas.records.headers(left), Json(accepted)).into_response())
}
