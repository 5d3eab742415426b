//! The contract of the log: what both logs promise, in one trait.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use castback_schemas::id::AccountId;
use castback_schemas::time::Micros;
use castback_schemas::topic::{Slot, Topic};

/// Why the log beneath could not do what it was asked.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// The largest record (key and value together), in bytes: Kafka's default of `message.max.bytes`
/// less its framing, so that either log takes what the other took.
pub const MAX_RECORD_BYTES: usize = 1_000_000;

/// The largest append (keys and values together), in bytes. It bounds what one caller can make
/// all others wait for; a larger one is refused and the caller splits it.
pub const MAX_APPEND_BYTES: usize = 16 << 20;

/// A record to be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// Where it goes.
    pub topic: Topic,
    /// The slot of its account.
    pub slot: Slot,
    /// Who owns it; kept beside the record, so that even one that cannot be read has an owner.
    pub account: AccountId,
    /// The natural key (podcast, campaign, user); decides nothing.
    pub key: Bytes,
    /// The record itself, as its codec wrote it.
    pub value: Bytes,
}

/// A record as read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in its slot of the topic.
    pub offset: i64,
    /// When the log took it. Never goes backwards within a slot of the embedded log; on Kafka as
    /// far as the brokers' clocks agree.
    pub appended_at: Micros,
    /// The owner as its header says; `None` if the header is absent or is no id, as outside
    /// producers may leave it.
    pub account: Option<AccountId>,
    /// The natural key.
    pub key: Bytes,
    /// The record itself.
    pub value: Bytes,
}

/// The readable offsets of a slot, half-open: `start` is the oldest kept, `end` is one above the
/// newest that is durable. What lies at `end` or above does not exist yet for anyone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ends {
    /// The oldest offset kept.
    pub start: i64,
    /// One above the newest durable offset.
    pub end: i64,
}

impl Ends {
    /// Whether a reader may stand at `position`: at a record, or right behind the last.
    #[must_use]
    pub fn admits(self, position: i64) -> bool {
        (self.start..=self.end).contains(&position)
    }
}

/// How much to read, and how long to wait for the first record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimits {
    /// Stop once keys and values reach this many bytes; the record that reaches it is included,
    /// so a read makes progress however small the limit.
    pub max_bytes: usize,
    /// How long to wait when nothing lies at the position yet. What is there is returned at once.
    pub wait: Duration,
}

/// Why an append was not acknowledged.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The disk is nearly full. Nothing was written.
    #[error("the log's disk is full")]
    StorageFull,
    /// Too much is waiting to be written. Nothing was written.
    #[error("too many appends are waiting for the log")]
    Overloaded,
    /// The write failed or its outcome is unknown: some or all of the records may be on the log.
    /// Appending them again may write them twice, which readers must bear (they know event ids).
    #[error("the log cannot be written")]
    Unavailable {
        /// What failed.
        source: Cause,
    },
    /// The record at `index` exceeds [`MAX_RECORD_BYTES`], or the append exceeds
    /// [`MAX_APPEND_BYTES`] there. Nothing was written.
    #[error("the append is too large at record {index}")]
    TooLarge {
        /// Its place in the append.
        index: usize,
    },
    /// The record at `index` names a slot that no topic has. Nothing was written.
    #[error("record {index} names no slot")]
    NoSuchSlot {
        /// Its place in the append.
        index: usize,
    },
    /// The log was closed. Nothing was written.
    #[error("the log is closed")]
    Closed,
}

impl AppendError {
    /// Whether the same append may succeed later.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(self, Self::StorageFull | Self::Overloaded | Self::Unavailable { .. })
    }
}

/// Why nothing could be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The position lies outside what the log holds: records were lost to retention, or the log
    /// is not the one the position was taken from. Never repaired in silence.
    #[error("the position is outside the log, which holds {start} to {end}")]
    OutOfRange {
        /// The oldest offset kept.
        start: i64,
        /// One above the newest.
        end: i64,
    },
    /// The log cannot be read at present; the position is still good.
    #[error("the log cannot be read")]
    Unavailable {
        /// What failed.
        source: Cause,
    },
    /// No topic has that slot.
    #[error("no such slot")]
    NoSuchSlot,
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

impl ReadError {
    /// Whether the same read may succeed later.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }

    /// [`ReadError::OutOfRange`] of a slot that holds `ends`.
    #[must_use]
    pub fn outside(ends: Ends) -> Self {
        Self::OutOfRange { start: ends.start, end: ends.end }
    }
}

/// A log of topics, each divided into slots. Records of a slot have an order; offsets grow.
#[async_trait]
pub trait Log: Send + Sync + Debug {
    /// Appends `records` in order; all are durable when this returns their offsets, in the order
    /// given. Dropping the future does not take the append back.
    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<i64>, AppendError>;

    /// Reads what lies at `from` and above, in order; empty if nothing came within the wait.
    async fn read(&self, topic: Topic, slot: Slot, from: i64, limits: ReadLimits) -> Result<Vec<Record>, ReadError>;

    /// What the slot holds now.
    async fn ends(&self, topic: Topic, slot: Slot) -> Result<Ends, ReadError>;

    /// Tells the log how far `group` has come (the offset to be read next), so that lag tools
    /// can show it. Advice only: positions live with the commit, nothing is ever read from here.
    async fn advise(&self, group: &str, positions: &[(Topic, Slot, i64)]) -> Result<(), ReadError>;
}

/// Checks an append against the limits that hold for every log.
pub(crate) fn check_append(records: &[NewRecord]) -> Result<(), AppendError> {
    let mut total = 0;
    for (index, record) in records.iter().enumerate() {
        let size = record.key.len() + record.value.len();
        total += size;
        if size > MAX_RECORD_BYTES || total > MAX_APPEND_BYTES {
            return Err(AppendError::TooLarge { index });
        }
        if record.slot.0 >= castback_schemas::topic::SLOTS {
            return Err(AppendError::NoSuchSlot { index });
        }
    }
    Ok(())
}
