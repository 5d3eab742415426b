//! The columns of a batch of listener requests, in the ledger's shape.

use arrow::array::{
    Array, AsArray, BooleanArray, FixedSizeBinaryArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use castback_schemas::Micros;

use crate::ledger::RULE_VERSION;
use crate::ledger::judged::Judged;

/// The columns of ledger rows that rows put back need: all but those that only the filters look at, and those
/// that nobody judges by.
pub const KEPT: &[&str] = &[
    "account_id",
    "offset",
    "event_id",
    "occurred_at",
    "recorded_at",
    "podcast_id",
    "episode_id",
    "enclosure_url",
    "status",
    "range",
    "bytes_sent",
    "file_bytes",
    "listener",
    "listener_previous",
    "household",
    "safe_listed",
    "ads",
    "reason",
    "duplicate_of",
    "counted_utc_day",
    "counted_first_touch",
    "counted_last_touch",
    "rule_version",
];

/// Borrowed columns of a batch; the verdict columns only of rows read back from the ledger.
#[derive(Debug)]
pub(super) struct Requests<'a> {
    pub(super) account: &'a StringArray,
    pub(super) offset: &'a Int64Array,
    pub(super) event_id: &'a StringArray,
    occurred_at: &'a TimestampMicrosecondArray,
    recorded_at: &'a TimestampMicrosecondArray,
    pub(super) podcast: &'a StringArray,
    pub(super) enclosure: &'a StringArray,
    status: &'a Int64Array,
    range: &'a StringArray,
    bytes_sent: &'a Int64Array,
    file_bytes: &'a Int64Array,
    listener: &'a FixedSizeBinaryArray,
    listener_previous: &'a FixedSizeBinaryArray,
    household: &'a FixedSizeBinaryArray,
    safe_listed: &'a BooleanArray,
    ads: &'a StringArray,
    filtered_by: Option<FilteredBy<'a>>,
    committed: Option<Committed<'a>>,
}

/// What only the filters look at.
#[derive(Debug)]
struct FilteredBy<'a> {
    method: &'a StringArray,
    user_agent: &'a StringArray,
    network: &'a StringArray,
    referer: &'a StringArray,
    source: &'a StringArray,
}

#[derive(Debug)]
struct Committed<'a> {
    episode: &'a StringArray,
    rule_version: &'a Int64Array,
    reason: &'a StringArray,
    duplicate_of: &'a Int64Array,
    counted: [&'a BooleanArray; 3],
}

fn missing(name: &str) -> ArrowError {
    ArrowError::SchemaError(format!("the batch has no column {name} of the ledger's type"))
}

fn text<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray, ArrowError> {
    batch.column_by_name(name).and_then(|c| c.as_string_opt::<i32>()).ok_or_else(|| missing(name))
}

fn int<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a Int64Array, ArrowError> {
    batch.column_by_name(name).and_then(|c| c.as_primitive_opt::<Int64Type>()).ok_or_else(|| missing(name))
}

fn time<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a TimestampMicrosecondArray, ArrowError> {
    batch
        .column_by_name(name)
        .and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>())
        .ok_or_else(|| missing(name))
}

fn truth<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a BooleanArray, ArrowError> {
    batch.column_by_name(name).and_then(|c| c.as_boolean_opt()).ok_or_else(|| missing(name))
}

fn hash<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a FixedSizeBinaryArray, ArrowError> {
    batch.column_by_name(name).and_then(|c| c.as_fixed_size_binary_opt()).ok_or_else(|| missing(name))
}

fn optional<T>(array: &impl Array, row: usize, value: impl FnOnce() -> T) -> Option<T> {
    (!array.is_null(row)).then(value)
}

fn sixteen(bytes: &[u8]) -> [u8; 16] {
    bytes.try_into().unwrap_or_default()
}

impl<'a> Requests<'a> {
    /// The columns of `batch`.
    pub(super) fn of(batch: &'a RecordBatch) -> Result<Self, ArrowError> {
        let filtered_by = FilteredBy {
            method: text(batch, "method")?,
            user_agent: text(batch, "user_agent")?,
            network: text(batch, "network")?,
            referer: text(batch, "referer")?,
            source: text(batch, "source")?,
        };
        Ok(Self { filtered_by: Some(filtered_by), ..Self::kept(batch)? })
    }

    /// Those of [`KEPT`].
    pub(super) fn kept(batch: &'a RecordBatch) -> Result<Self, ArrowError> {
        let committed = match batch.column_by_name("reason") {
            None => None,
            Some(_) => Some(Committed {
                episode: text(batch, "episode_id")?,
                rule_version: int(batch, "rule_version")?,
                reason: text(batch, "reason")?,
                duplicate_of: int(batch, "duplicate_of")?,
                counted: [
                    truth(batch, "counted_utc_day")?,
                    truth(batch, "counted_first_touch")?,
                    truth(batch, "counted_last_touch")?,
                ],
            }),
        };
        Ok(Self {
            account: text(batch, "account_id")?,
            offset: int(batch, "offset")?,
            event_id: text(batch, "event_id")?,
            occurred_at: time(batch, "occurred_at")?,
            recorded_at: time(batch, "recorded_at")?,
            podcast: text(batch, "podcast_id")?,
            enclosure: text(batch, "enclosure_url")?,
            status: int(batch, "status")?,
            range: text(batch, "range")?,
            bytes_sent: int(batch, "bytes_sent")?,
            file_bytes: int(batch, "file_bytes")?,
            listener: hash(batch, "listener")?,
            listener_previous: hash(batch, "listener_previous")?,
            household: hash(batch, "household")?,
            safe_listed: truth(batch, "safe_listed")?,
            ads: text(batch, "ads")?,
            filtered_by: None,
            committed,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.offset.len()
    }

    pub(super) fn occurred_at(&self, row: usize) -> Micros {
        Micros(self.occurred_at.value(row))
    }

    pub(super) fn recorded_at(&self, row: usize) -> Micros {
        Micros(self.recorded_at.value(row))
    }

    /// What the filters look at, where it was read.
    pub(super) fn method(&self, row: usize) -> &'a str {
        self.filtered_by.as_ref().map_or("", |by| by.method.value(row))
    }

    /// The status; 0 where there was none or it is no status.
    pub(super) fn status(&self, row: usize) -> u16 {
        u16::try_from(self.status.value(row)).unwrap_or(0)
    }

    pub(super) fn range(&self, row: usize) -> Option<&'a str> {
        optional(self.range, row, || self.range.value(row))
    }

    pub(super) fn bytes_sent(&self, row: usize) -> Option<u64> {
        optional(self.bytes_sent, row, || u64::try_from(self.bytes_sent.value(row)).unwrap_or(0))
    }

    pub(super) fn file_bytes(&self, row: usize) -> Option<u64> {
        optional(self.file_bytes, row, || self.file_bytes.value(row)).and_then(|bytes| u64::try_from(bytes).ok())
    }

    pub(super) fn user_agent(&self, row: usize) -> Option<&'a str> {
        let user_agent = self.filtered_by.as_ref()?.user_agent;
        optional(user_agent, row, || user_agent.value(row))
    }

    pub(super) fn network(&self, row: usize) -> &'a str {
        self.filtered_by.as_ref().map_or("", |by| by.network.value(row))
    }

    pub(super) fn referer(&self, row: usize) -> Option<&'a str> {
        let referer = self.filtered_by.as_ref()?.referer;
        optional(referer, row, || referer.value(row))
    }

    pub(super) fn listener(&self, row: usize) -> [u8; 16] {
        sixteen(self.listener.value(row))
    }

    pub(super) fn listener_previous(&self, row: usize) -> Option<[u8; 16]> {
        optional(self.listener_previous, row, || sixteen(self.listener_previous.value(row)))
    }

    pub(super) fn household(&self, row: usize) -> [u8; 16] {
        sixteen(self.household.value(row))
    }

    pub(super) fn safe_listed(&self, row: usize) -> bool {
        self.safe_listed.value(row)
    }

    /// Whether a prefix redirect saw the request: it knows no bytes.
    pub(super) fn by_prefix(&self, row: usize) -> bool {
        self.filtered_by.as_ref().is_some_and(|by| by.source.value(row) == "prefix")
    }

    pub(super) fn ads(&self, row: usize) -> Option<&'a str> {
        optional(self.ads, row, || self.ads.value(row))
    }

    /// The verdict that the ledger holds for a row read back.
    pub(super) fn committed(&self, row: usize) -> Option<Judged> {
        let committed = self.committed.as_ref()?;
        Judged::read(
            optional(committed.reason, row, || committed.reason.value(row)),
            optional(committed.duplicate_of, row, || committed.duplicate_of.value(row)),
            committed.counted.map(|column| column.value(row)),
        )
    }

    /// The episode that the ledger holds for a row read back.
    pub(super) fn episode(&self, row: usize) -> Option<&'a str> {
        let episode = self.committed.as_ref()?.episode;
        optional(episode, row, || episode.value(row))
    }

    /// Whether these rules gave the verdict that the ledger holds.
    pub(super) fn is_ours(&self, row: usize) -> bool {
        self.committed.as_ref().is_some_and(|committed| committed.rule_version.value(row) == RULE_VERSION)
    }

    /// The end of the rows from `row` on that have its account, podcast and day.
    pub(super) fn run(&self, row: usize) -> usize {
        let day = self.occurred_at(row).day();
        let (account, podcast) = (self.account.value(row), self.podcast.value(row));
        let same = |other: &usize| {
            self.occurred_at(*other).day() == day
                && self.podcast.value(*other) == podcast
                && self.account.value(*other) == account
        };
        (row + 1..self.len()).find(|other| !same(other)).unwrap_or(self.len())
    }
}
