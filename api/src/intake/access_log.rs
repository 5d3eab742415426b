//! Access logs: every line a record whose id is the line's own, so a log may be posted again.

use std::borrow::Cow;
use std::sync::Arc;

use castback_schemas::edge::{HashKey, LineNumbers, LogLine, line_id};
use castback_schemas::{AccountId, PodcastId, Topic};

use super::MAX_RECORDS;
use super::batch::{Batch, Refusal};
use super::body::Payload;
use super::edge::{Edge, Failure, Seen};
use super::requests::{PodcastKeys, one};
use crate::App;
use crate::problem::{Code, Problem, Result};

/// A posted log: whose it is and of which podcast.
pub(super) struct Log {
    pub(super) app: Arc<App>,
    pub(super) account: AccountId,
    pub(super) podcast: PodcastId,
    pub(super) key: HashKey,
}

impl Log {
    /// Reads every line that says something.
    pub(super) fn read(self, mut edge: Edge, payload: Payload) -> Result<Batch> {
        let (bytes, _room) = payload.decode()?;
        let mut batch = Batch::new(Topic::ListenerRequests, self.account);
        let (mut numbers, mut keys) = (LineNumbers::default(), PodcastKeys::default());
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
        for (index, line) in lines.enumerate() {
            if index == MAX_RECORDS {
                return Err(Problem::new(Code::TooLarge, format!("at most {MAX_RECORDS} lines at once")));
            }
            // Bytes that are no characters become U+FFFD, which no honest client sends.
            let line = String::from_utf8_lossy(line);
            let seen = self.seen(&line, &mut numbers).map_err(Failure::One);
            let record = seen.and_then(|seen| edge.request(self.account, seen));
            batch.add(&self.app.encoders, one(record.map(|request| (keys.of(self.podcast), request)))?)?;
        }
        batch.months = edge.into_months();
        Ok(batch)
    }

    fn seen(&self, line: &str, numbers: &mut LineNumbers) -> Result<Seen, Refusal> {
        let read = LogLine::parse(line).map_err(|error| Refusal::malformed(&error))?;
        Edge::check_time("time", read.occurred_at)?;
        Ok(Seen {
            id: line_id(&self.key, self.podcast, line, numbers.number(line)),
            podcast: self.podcast,
            enclosure_url: read.target.into_owned(),
            occurred_at: read.occurred_at,
            method: read.method.to_owned(),
            status: i32::from(read.status),
            range: None,
            bytes_sent: Some(i64::try_from(read.bytes_sent).map_err(|_| Refusal::invalid("bytes", "too large"))?),
            file_bytes: None,
            user_agent: read.user_agent.map(Cow::into_owned),
            address: read.address,
            referer: read.referer.map(Cow::into_owned),
            country: None,
            ads: Vec::new(),
            source: "log",
        })
    }
}
