//! What a reader has handed out and may be asked for again: whoever took less of it, or only looked, comes back to the
//! same place, where a consumer that has gone on can't go.

use std::collections::VecDeque;

use crate::log::Record;

/// Bytes of it that stay: what the pipeline reads at once, with the record that reaches it. Of more, nothing does.
const MAX_BYTES: usize = 2 << 20;

/// All records of a slot from a position on, up to where its reader stands.
#[derive(Debug, Default)]
pub(super) struct HandedOut {
    from: i64,
    records: VecDeque<Record>,
    bytes: usize,
}

impl HandedOut {
    /// Nothing yet, at `from`.
    pub(super) fn at(from: i64) -> Self {
        Self { from, ..Self::default() }
    }

    /// Where it begins.
    pub(super) fn from(&self) -> i64 {
        self.from
    }

    /// Lets go of what lies before `from`.
    pub(super) fn forget_before(&mut self, from: i64) {
        while let Some(record) = self.records.front().filter(|record| record.offset < from) {
            self.bytes -= size(record);
            self.records.pop_front();
        }
        self.from = from;
    }

    /// Its first records and their bytes: up to the record that reaches `max_bytes`, or all.
    pub(super) fn first(&self, max_bytes: usize) -> (Vec<Record>, usize) {
        let (mut records, mut bytes) = (Vec::new(), 0);
        for record in &self.records {
            if bytes >= max_bytes {
                break;
            }
            bytes += size(record);
            records.push(record.clone());
        }
        (records, bytes)
    }

    /// Adds what came after; the reader stands at `next` now.
    pub(super) fn add(&mut self, records: &[Record], next: i64) {
        self.bytes += records.iter().map(size).sum::<usize>();
        self.records.extend(records.iter().cloned());
        if self.bytes > MAX_BYTES {
            *self = Self::at(next);
        }
    }
}

/// A record's key and value, in bytes.
pub(super) fn size(record: &Record) -> usize {
    record.key.len() + record.value.len()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use castback_schemas::time::Micros;

    use super::*;

    fn record(offset: i64, bytes: usize) -> Record {
        let value = Bytes::from(vec![0; bytes]);
        Record { offset, appended_at: Micros(0), account: None, key: Bytes::new(), value }
    }

    fn offsets(records: &[Record]) -> Vec<i64> {
        records.iter().map(|record| record.offset).collect()
    }

    #[test]
    fn what_was_read_is_there_again_from_any_place_in_it() {
        let mut handed_out = HandedOut::at(3);
        // The log has no record 4.
        handed_out.add(&[record(3, 10), record(5, 10), record(6, 10)], 7);
        let (records, bytes) = handed_out.first(11);
        assert_eq!((offsets(&records), bytes), (vec![3, 5], 20));
        handed_out.forget_before(4);
        let (records, bytes) = handed_out.first(usize::MAX);
        assert_eq!((handed_out.from(), offsets(&records), bytes), (4, vec![5, 6], 20));
        handed_out.forget_before(7);
        assert_eq!((handed_out.from(), handed_out.first(1)), (7, (Vec::new(), 0)));
    }

    #[test]
    fn of_too_much_nothing_stays() {
        let mut handed_out = HandedOut::at(0);
        handed_out.add(&[record(0, MAX_BYTES)], 1);
        assert_eq!((handed_out.from(), handed_out.first(1).0.len()), (0, 1));
        handed_out.add(&[record(1, 1)], 2);
        assert_eq!((handed_out.from(), handed_out.first(1).0.len()), (2, 0));
    }
}
