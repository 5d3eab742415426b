//! Reading: a consumer that stands at a position of one slot.
//!
//! It is assigned its partition and never subscribes: who reads what is settled by leases. It is assigned once:
//! librdkafka (2.12) aborts the process when a consumer is closed that was assigned anew and still waits for its former
//! fetches to stop, as it does while a broker is down.

use std::time::Duration;

use bytes::Bytes;
use castback_schemas::id::AccountId;
use castback_schemas::time::Micros;
use castback_schemas::topic::{Slot, Topic};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _};
use rdkafka::{Message as _, Offset, Timestamp, TopicPartitionList};
use tokio::time::Instant;

use super::admin::PATIENCE;
use super::fault::Fault;
use super::kept::{Kept, size};
use super::listener::Listener;
use super::{ACCOUNT_HEADER, Consumer, KafkaOptions};
use crate::log::{Ends, ReadError, ReadLimits, Record};

/// Between two questions to a partition whose leader is changing.
const PAUSE: Duration = Duration::from_millis(100);

/// A consumer of one slot.
pub(super) struct Reader {
    consumer: Consumer,
    topic: String,
    partition: i32,
    /// The offset it will deliver next; `None` before its first position.
    next: Option<i64>,
    /// Whether it has seen the end of the slot, and nothing since.
    at_end: bool,
    /// What it has delivered last.
    kept: Kept,
}

impl Reader {
    pub(super) fn new(options: &KafkaOptions, topic: Topic, slot: Slot) -> Result<Self, Fault> {
        let consumer = options.reader().create_with_context(Listener::default()).map_err(Fault::Client)?;
        let partition = i32::from(slot.0);
        Ok(Self { consumer, topic: options.topic(topic), partition, next: None, at_end: false, kept: Kept::default() })
    }

    /// The offset it will deliver next; `None` if it can't go on.
    pub(super) fn next(&self) -> Option<i64> {
        self.next
    }

    /// Whether it can read from `from`: where it stands, or somewhere in what it has delivered last.
    pub(super) fn serves(&self, from: i64) -> bool {
        self.next.is_some_and(|next| (self.kept.from()..=next).contains(&from))
    }

    /// Reads from `from`, which it serves or, new, has yet to go to; blocks until there are records or the wait is over.
    pub(super) fn read(&mut self, from: i64, limits: ReadLimits) -> Result<Vec<Record>, ReadError> {
        if !self.serves(from) {
            self.begin(from)?;
        }
        self.kept.forget_before(from);
        let (mut records, bytes) = self.kept.first(limits.max_bytes.max(1));
        let again = records.len();
        self.poll((&mut records, bytes), limits)?;
        if let Some(next) = self.next {
            self.kept.add(&records[again..], next);
        }
        Ok(records)
    }

    /// Adds what the consumer has to what was there already.
    fn poll(&mut self, (records, mut bytes): (&mut Vec<Record>, usize), limits: ReadLimits) -> Result<(), ReadError> {
        let deadline = Instant::now() + limits.wait;
        while bytes < limits.max_bytes.max(1) {
            // What has been fetched already is taken without waiting.
            let wait = if records.is_empty() { self.wait(deadline) } else { Duration::ZERO };
            match self.consumer.poll(wait) {
                None if !records.is_empty() || self.at_end => break,
                None => return Err(Fault::Silent.into()),
                Some(Ok(message)) => {
                    let record = record(&message);
                    bytes += size(&record);
                    (self.next, self.at_end) = (Some(record.offset + 1), false);
                    records.push(record);
                }
                Some(Err(KafkaError::PartitionEOF(_))) if !records.is_empty() => {
                    self.at_end = true;
                    break;
                }
                // The end is known now; whatever comes within the wait is still to be read.
                Some(Err(KafkaError::PartitionEOF(_))) => self.at_end = true,
                Some(Err(error)) if records.is_empty() => return Err(self.explain(error)),
                // What came before the error is good; the next read meets it again.
                Some(Err(_)) => {
                    self.next = None;
                    break;
                }
            }
        }
        Ok(())
    }

    /// At the end as long as the caller wants; else until the cluster must have answered.
    fn wait(&self, deadline: Instant) -> Duration {
        if self.at_end { deadline.saturating_duration_since(Instant::now()) } else { PATIENCE }
    }

    fn begin(&mut self, from: i64) -> Result<(), ReadError> {
        // Asked first, since librdkafka gives meanings of its own to odd offsets.
        let ends = ends(&self.consumer, &self.topic, self.partition)?;
        if !ends.admits(from) {
            return Err(ReadError::outside(ends));
        }
        let mut position = TopicPartitionList::with_capacity(1);
        position.add_partition_offset(&self.topic, self.partition, Offset::Offset(from)).map_err(Fault::Assign)?;
        self.consumer.assign(&position).map_err(Fault::Assign)?;
        (self.next, self.at_end, self.kept) = (Some(from), false, Kept::at(from));
        Ok(())
    }

    fn explain(&self, error: KafkaError) -> ReadError {
        let lost = [RDKafkaErrorCode::AutoOffsetReset, RDKafkaErrorCode::OffsetOutOfRange];
        if error.rdkafka_error_code().is_some_and(|code| lost.contains(&code)) {
            match ends(&self.consumer, &self.topic, self.partition) {
                Ok(ends) if !self.next.is_some_and(|next| ends.admits(next)) => {
                    return ReadError::outside(ends);
                }
                Ok(_) => {}
                Err(fault) => return fault.into(),
            }
        }
        Fault::Fetch(error).into()
    }
}

/// Asks the cluster for the ends of a slot; blocks.
///
/// Not by librdkafka's query for watermarks: when one of its two requests fails and the other does
/// not, it answers with the one twice, and a good position would seem to lie outside the log.
pub(super) fn ends(consumer: &Consumer, topic: &str, partition: i32) -> Result<Ends, Fault> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask_ends(consumer, topic, partition) {
            // Meanwhile the client serves what the cluster tells it. No record is lost by that: it reads nothing, or is
            // dropped after this.
            Err(Fault::Ends(error)) if passes(&error) && Instant::now() < deadline => drop(consumer.poll(PAUSE)),
            answer => return answer,
        }
    }
}

/// Whether an error is one of a partition whose leader is just changing, or has just been made.
fn passes(error: &KafkaError) -> bool {
    let codes = [
        RDKafkaErrorCode::NotLeaderForPartition,
        RDKafkaErrorCode::LeaderNotAvailable,
        RDKafkaErrorCode::UnknownTopicOrPartition,
        RDKafkaErrorCode::UnknownPartition,
        RDKafkaErrorCode::UnknownTopic,
    ];
    error.rdkafka_error_code().is_some_and(|code| codes.contains(&code))
}

fn ask_ends(consumer: &Consumer, topic: &str, partition: i32) -> Result<Ends, Fault> {
    let ask = |end: Offset| {
        let mut question = TopicPartitionList::with_capacity(1);
        question.add_partition_offset(topic, partition, end).map_err(Fault::Ends)?;
        let answer = consumer.offsets_for_times(question, PATIENCE).map_err(Fault::Ends)?;
        let answer = answer.find_partition(topic, partition).ok_or(Fault::Silent)?;
        answer.error().map_err(Fault::Ends)?;
        match answer.offset() {
            Offset::Offset(offset) => Ok(offset),
            _ => Err(Fault::Silent),
        }
    };
    Ok(Ends { start: ask(Offset::Beginning)?, end: ask(Offset::End)? })
}

fn record(message: &BorrowedMessage<'_>) -> Record {
    let copy = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice).unwrap_or_default();
    Record {
        offset: message.offset(),
        appended_at: appended_at(message.timestamp()),
        account: account(message),
        key: copy(message.key()),
        value: copy(message.payload()),
    }
}

/// The brokers' append time. A topic that somebody else created may carry the producers' own
/// times instead; then those have to do.
fn appended_at(timestamp: Timestamp) -> Micros {
    Micros(timestamp.to_millis().unwrap_or(0).saturating_mul(1000))
}

fn account(message: &BorrowedMessage<'_>) -> Option<AccountId> {
    let headers = message.headers()?;
    let header = headers.iter().find(|header| header.key == ACCOUNT_HEADER)?;
    std::str::from_utf8(header.value?).ok()?.parse().ok()
}
