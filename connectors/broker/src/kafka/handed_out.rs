//! What a reader has handed out and may be asked for again: whoever took less of it, or only looked, comes back to the
//! same place, where a consumer that has gone on can't go.

use std::collections::VecDeque;

use super::taken::Taken;
use crate::log::Record;

/// Bytes of it that stay: what the pipeline reads at once, with the record that reaches it. Of more, nothing does.
const MAX_BYTES: usize = 2 << 20;

/// All records of a slot from a position on, up to where its reader stands.
#[derive(Debug, Default)]
pub(super) struct HandedOut {
    from: i64,
    taken: VecDeque<Taken>,
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

    /// Lets go of what lies before `from`, with those that were taken together once none of them is needed.
    pub(super) fn forget_before(&mut self, from: i64) {
        while let Some(taken) = self.taken.front().filter(|taken| taken.last().is_none_or(|last| last < from)) {
            self.bytes -= taken.bytes();
            self.taken.pop_front();
        }
        self.from = from;
    }

    /// Its first records and their bytes: up to the record that reaches `max_bytes`, or all.
    pub(super) fn first(&self, max_bytes: usize) -> (Vec<Record>, usize) {
        let (mut records, mut bytes) = (Vec::new(), 0);
        for taken in &self.taken {
            if bytes >= max_bytes {
                break;
            }
            bytes += taken.add_to(&mut records, self.from, max_bytes - bytes);
        }
        (records, bytes)
    }

    /// Adds what came after; the reader stands at `next` now.
    pub(super) fn add(&mut self, taken: Taken, next: i64) {
        if taken.is_empty() {
            return;
        }
        self.bytes += taken.bytes();
        self.taken.push_back(taken);
        if self.bytes > MAX_BYTES {
            *self = Self::at(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::taken::taken;

    fn offsets(records: &[Record]) -> Vec<i64> {
        records.iter().map(|record| record.offset).collect()
    }

    #[test]
    fn what_was_read_is_there_again_from_any_place_in_it() {
        let mut handed_out = HandedOut::at(3);
        // The log has no record 4.
        handed_out.add(taken(&[(3, 10), (5, 10)]), 6);
        handed_out.add(taken(&[(6, 10)]), 7);
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
        handed_out.add(taken(&[(0, MAX_BYTES)]), 1);
        assert_eq!((handed_out.from(), handed_out.first(1).0.len()), (0, 1));
        handed_out.add(taken(&[(1, 1)]), 2);
        assert_eq!((handed_out.from(), handed_out.first(1).0.len()), (2, 0));
    }
}
