//! Records on their way from librdkafka's queue to whoever reads.
//!
//! Those taken out together have their keys and values one after the other in one piece of memory, which all of them
//! share: one allocation for thousands of records.

use bytes::Bytes;
use castback_schemas::id::AccountId;
use castback_schemas::time::Micros;
use rdkafka::message::{BorrowedMessage, Headers as _};
use rdkafka::{Message as _, Timestamp};

use super::ACCOUNT_HEADER;
use crate::log::Record;

/// Records that are just being taken out.
#[derive(Debug, Default)]
pub(super) struct Taking {
    bytes: Vec<u8>,
    heads: Vec<Head>,
}

/// Records that were taken out together.
#[derive(Debug, Default)]
pub(super) struct Taken {
    bytes: Bytes,
    heads: Vec<Head>,
}

/// A record without its bytes, but with where they lie: the key up to the value, and that up to its end.
#[derive(Debug)]
struct Head {
    offset: i64,
    appended_at: Micros,
    account: Option<AccountId>,
    key: usize,
    value: usize,
    end: usize,
}

impl Taking {
    /// Nothing yet; as many bytes as this are expected.
    pub(super) fn expecting(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), heads: Vec::new() }
    }

    /// Bytes of keys and values so far.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Copies a record, whose account is this one.
    pub(super) fn push(&mut self, message: &BorrowedMessage<'_>, account: Option<AccountId>) {
        let (offset, appended_at) = (message.offset(), appended_at(message.timestamp()));
        let (key, value) = (message.key().unwrap_or_default(), message.payload().unwrap_or_default());
        self.add((offset, appended_at, account), key, value);
    }

    fn add(&mut self, (offset, appended_at, account): (i64, Micros, Option<AccountId>), key: &[u8], value: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        let (value, end) = (start + key.len(), self.bytes.len());
        self.heads.push(Head { offset, appended_at, account, key: start, value, end });
    }

    /// All that was copied, without the room that was not needed.
    pub(super) fn finish(self) -> Taken {
        let Self { mut bytes, heads } = self;
        if bytes.len() < bytes.capacity() / 2 {
            bytes.shrink_to_fit();
        }
        Taken { bytes: bytes.into(), heads }
    }
}

impl Taken {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Bytes of all keys and values.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The last one's offset.
    pub(super) fn last(&self) -> Option<i64> {
        self.heads.last().map(|head| head.offset)
    }

    /// Adds those from an offset on to `records`, up to the one with which they reach `max_bytes`. Returns their bytes.
    pub(super) fn add_to(&self, records: &mut Vec<Record>, from: i64, max_bytes: usize) -> usize {
        let first = self.heads.partition_point(|head| head.offset < from);
        let heads = self.heads.get(first..).unwrap_or_default();
        let Some(start) = heads.first().map(|head| head.key) else { return 0 };
        // Each ends after the one before: the first that reaches it is the last one.
        let count = heads.partition_point(|head| head.end - start < max_bytes).saturating_add(1).min(heads.len());
        let heads = heads.get(..count).unwrap_or_default();
        records.extend(heads.iter().map(|head| self.record(head)));
        heads.last().map_or(0, |last| last.end - start)
    }

    fn record(&self, head: &Head) -> Record {
        Record {
            offset: head.offset,
            appended_at: head.appended_at,
            account: head.account,
            key: self.bytes.slice(head.key..head.value),
            value: self.bytes.slice(head.value..head.end),
        }
    }
}

/// The brokers' append time. A topic that somebody else created may carry the producers' own
/// times instead; then those have to do.
fn appended_at(timestamp: Timestamp) -> Micros {
    Micros(timestamp.to_millis().unwrap_or(0).saturating_mul(1000))
}

/// The account of the last record, which mostly is that of the next.
#[derive(Debug, Default)]
pub(super) struct Owner {
    text: Vec<u8>,
    account: Option<AccountId>,
}

impl Owner {
    /// Whose a record is, as its header says.
    pub(super) fn of(&mut self, message: &BorrowedMessage<'_>) -> Option<AccountId> {
        let headers = message.headers()?;
        let text = headers.iter().find(|header| header.key == ACCOUNT_HEADER)?.value?;
        if self.text != text {
            self.account = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
            text.clone_into(&mut self.text);
        }
        self.account
    }
}

/// Records with values of as many bytes, for tests.
#[cfg(test)]
pub(super) fn taken(records: &[(i64, usize)]) -> Taken {
    let mut taking = Taking::default();
    for (offset, bytes) in records {
        taking.add((*offset, Micros(0), None), b"", &vec![0; *bytes]);
    }
    taking.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_have_their_own_bytes_of_those_they_share() {
        let mut taking = Taking::expecting(1);
        for (offset, key, value) in [(3, "a", "one"), (5, "", "two"), (6, "b", ""), (7, "", ""), (8, "c", "five")] {
            taking.add((offset, Micros(offset), None), key.as_bytes(), value.as_bytes());
        }
        let taken = taking.finish();
        let texts = |from, max_bytes| {
            let mut records = Vec::new();
            let bytes = taken.add_to(&mut records, from, max_bytes);
            let text = |record: Record| {
                let (key, value) = (String::from_utf8_lossy(&record.key), String::from_utf8_lossy(&record.value));
                format!("{}{key}={value}", record.appended_at.0)
            };
            (records.into_iter().map(text).collect::<Vec<_>>().join(" "), bytes)
        };
        assert_eq!(texts(0, usize::MAX), ("3a=one 5=two 6b= 7= 8c=five".to_owned(), 13));
        assert_eq!(texts(4, 4), ("5=two 6b=".to_owned(), 4));
        assert_eq!(texts(5, 1), ("5=two".to_owned(), 3));
        assert_eq!(texts(9, 1), (String::new(), 0));
        assert_eq!((taken.bytes(), taken.last()), (13, Some(8)));
    }
}
