//! The columns of a batch of listener requests, in the ledger's shape.

use arrow::array::{
    Array, AsArray, BooleanArray, FixedSizeBinaryArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use castback_schemas::Micros;

use crate::ledger::judged::Judged;

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
    method: &'a StringArray,
    status: &'a Int64Array,
    range: &'a StringArray,
    bytes_sent: &'a Int64Array,
    file_bytes: &'a Int64Array,
    user_agent: &'a StringArray,
    network: &'a StringArray,
    referer: &'a StringArray,
    listener: &'a FixedSizeBinaryArray,
    listener_previous: &'a FixedSizeBinaryArray,
    household: &'a FixedSizeBinaryArray,
    safe_listed: &'a BooleanArray,
    source: &'a StringArray,
    ads: &'a StringArray,
    committed: Option<Committed<'a>>,
}

#[derive(Debug)]
struct Committed<'a> {
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
        let committed = match batch.column_by_name("verdict") {
            None => None,
            Some(_) => Some(Committed {
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
            method: text(batch, "method")?,
            status: int(batch, "status")?,
            range: text(batch, "range")?,
            bytes_sent: int(batch, "bytes_sent")?,
            file_bytes: int(batch, "file_bytes")?,
            user_agent: text(batch, "user_agent")?,
            network: text(batch, "network")?,
            referer: text(batch, "referer")?,
            listener: hash(batch, "listener")?,
            listener_previous: hash(batch, "listener_previous")?,
            household: hash(batch, "household")?,
            safe_listed: truth(batch, "safe_listed")?,
            source: text(batch, "source")?,
            ads: text(batch, "ads")?,
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

    pub(super) fn method(&self, row: usize) -> &'a str {
        self.method.value(row)
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
        optional(self.user_agent, row, || self.user_agent.value(row))
    }

    pub(super) fn network(&self, row: usize) -> &'a str {
        self.network.value(row)
    }

    pub(super) fn referer(&self, row: usize) -> Option<&'a str> {
        optional(self.referer, row, || self.referer.value(row))
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
        self.source.value(row) == "prefix"
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
}
