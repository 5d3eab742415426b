//! Bytes of a file: which ones a request moved, and the union of several requests.
//!
//! Positions past [`REACH`] are taken as [`REACH`]: it also stands for the end of a file
//! whose size nobody knows.

use std::collections::BTreeMap;

use castback_schemas::edge::ByteRange;

/// The farthest byte position that is told apart, just under 1 TiB (40 bits, so that a touch
/// packs into 32 bytes); no podcast file comes near it.
pub const REACH: u64 = (1 << 40) - 1;

/// A set of byte positions, kept as sorted, disjoint, half-open intervals that never touch.
///
/// One interval, the usual case, takes no allocation; inserting is O(log n) amortised, so a
/// hostile client gains nothing from a hundred thousand separate pieces.
#[derive(Debug, Clone)]
pub struct ByteSet(Shape);

#[derive(Debug, Clone)]
enum Shape {
    /// `[start, end)`; empty when they are equal.
    One(u64, u64),
    /// Start to end.
    Many(BTreeMap<u64, u64>),
}

impl Default for ByteSet {
    fn default() -> Self {
        Self(Shape::One(0, 0))
    }
}

impl PartialEq for ByteSet {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for ByteSet {}

impl ByteSet {
    /// Adds the bytes `[start, end)`.
    pub fn insert(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        match &mut self.0 {
            Shape::One(from, to) if from == to => self.0 = Shape::One(start, end),
            Shape::One(from, to) if start <= *to && *from <= end => {
                self.0 = Shape::One(start.min(*from), end.max(*to));
            }
            Shape::One(from, to) => self.0 = Shape::Many(BTreeMap::from([(*from, *to), (start, end)])),
            Shape::Many(pieces) => merge(pieces, start, end),
        }
    }

    /// The number of bytes in the set.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.iter().map(|(start, end)| end - start).sum()
    }

    /// Whether no byte is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Whether every byte of `[from, to)` is in the set; an empty range never is.
    #[must_use]
    pub fn covers(&self, from: u64, to: u64) -> bool {
        let piece = match &self.0 {
            Shape::One(start, end) => Some((start, end)),
            Shape::Many(pieces) => pieces.range(..=from).next_back(),
        };
        from < to && piece.is_some_and(|(start, end)| *start <= from && to <= *end)
    }

    /// The intervals in order, as `(start, end)`.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let (one, many) = match &self.0 {
            Shape::One(start, end) => (Some((*start, *end)).filter(|_| start < end), None),
            Shape::Many(pieces) => (None, Some(pieces.iter().map(|(start, end)| (*start, *end)))),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

/// Swallows every piece that overlaps or touches `[start, end)`, then puts the sum in.
fn merge(pieces: &mut BTreeMap<u64, u64>, mut start: u64, mut end: u64) {
    while let Some((&from, &to)) = pieces.range(..=end).next_back()
        && start <= to
    {
        pieces.remove(&from);
        start = start.min(from);
        end = end.max(to);
    }
    pieces.insert(start, end);
}

/// The bytes that one request moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bytes {
    /// `[start, end)` of the file.
    Range {
        /// The first byte.
        start: u64,
        /// One past the last byte.
        end: u64,
    },
    /// So many bytes, of which the place is unknown: they are summed.
    Unplaced(u64),
}

impl Bytes {
    /// How many bytes.
    #[must_use]
    pub fn len(self) -> u64 {
        match self {
            Self::Range { start, end } => end.saturating_sub(start),
            Self::Unplaced(bytes) => bytes,
        }
    }

    /// Whether not even one byte moved.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// What a request's log line says about its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent<'a> {
    /// The HTTP status; callers pass 200 or 206, the filters refuse the rest.
    pub status: u16,
    /// The `Range` header as sent.
    pub range: Option<&'a str>,
    /// Bytes of the body that went out.
    pub bytes_sent: Option<u64>,
    /// The file's size: the record's `file_bytes`, else the feed's length above 0.
    pub file_bytes: Option<u64>,
}

impl Sent<'_> {
    /// The bytes of the file that moved.
    ///
    /// 206 with a range: `[start, start + bytes_sent)`; 200: `[0, bytes_sent)`, whatever range was
    /// asked; `bytes_sent` absent: the whole range or file. A 206 whose range is unknown, is a list,
    /// or counts from the end of a file of unknown size is [`Bytes::Unplaced`] (0 bytes if
    /// `bytes_sent` is absent too).
    #[must_use]
    pub fn bytes(self) -> Bytes {
        let asked = match self.status {
            200 => Some(ByteRange::From { first: 0 }),
            _ => self.range.and_then(|text| text.parse().ok()),
        };
        let size = self.file_bytes.unwrap_or(REACH).min(REACH);
        let (start, end) = match asked {
            Some(ByteRange::Bounded { first, last }) => (first, last.saturating_add(1)),
            Some(ByteRange::From { first }) => (first, size),
            Some(ByteRange::Suffix { length }) if self.file_bytes.is_some() => (size.saturating_sub(length), size),
            Some(ByteRange::Suffix { length }) => return Bytes::Unplaced(self.bytes_sent.unwrap_or(length).min(REACH)),
            Some(ByteRange::Several) | None => return Bytes::Unplaced(self.bytes_sent.unwrap_or(0).min(REACH)),
        };
        let end = self.bytes_sent.map_or(end, |sent| start.saturating_add(sent)).min(size);
        Bytes::Range { start: start.min(end), end }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_set_is_the_set_of_its_bytes(ranges in prop::collection::vec((0_u64..60, 0_u64..20), 0..12), from in 0_u64..70, long in 0_u64..10) {
            let mut set = ByteSet::default();
            let mut bits = 0_u128;
            for (start, length) in ranges {
                set.insert(start, start + length);
                bits |= ((1 << length) - 1) << start;
            }
            prop_assert_eq!(set.len(), u64::from(bits.count_ones()));
            prop_assert_eq!(set.is_empty(), bits == 0);
            let asked = ((1_u128 << long) - 1) << from;
            prop_assert_eq!(set.covers(from, from + long), long > 0 && bits & asked == asked);
            let pieces: Vec<_> = set.iter().collect();
            prop_assert!(pieces.windows(2).all(|pair| pair[0].1 < pair[1].0), "sorted, apart: {pieces:?}");
        }

        #[test]
        fn the_order_of_inserts_is_of_no_account(ranges in prop::collection::vec((0_u64..60, 0_u64..20), 0..12)) {
            let mut forth = ByteSet::default();
            let mut back = ByteSet::default();
            for (start, length) in &ranges {
                forth.insert(*start, start + length);
            }
            for (start, length) in ranges.iter().rev() {
                back.insert(*start, start + length);
            }
            prop_assert_eq!(forth, back);
        }
    }

    fn sent(status: u16, range: Option<&str>, bytes_sent: Option<u64>, file_bytes: Option<u64>) -> Bytes {
        Sent { status, range, bytes_sent, file_bytes }.bytes()
    }

    #[test]
    fn a_request_moves_what_was_sent_of_what_was_asked() {
        let range = |start, end| Bytes::Range { start, end };
        assert_eq!(sent(206, Some("bytes=100-199"), Some(50), None), range(100, 150));
        assert_eq!(sent(206, Some("bytes=100-199"), None, None), range(100, 200));
        assert_eq!(sent(206, Some("bytes=100-"), None, Some(1000)), range(100, 1000));
        assert_eq!(sent(206, Some("bytes=100-"), None, None), range(100, REACH));
        assert_eq!(sent(206, Some("bytes=-100"), None, Some(1000)), range(900, 1000));
        assert_eq!(sent(206, Some("bytes=-100"), Some(60), Some(1000)), range(900, 960));
        assert_eq!(sent(206, Some("bytes=-100"), None, None), Bytes::Unplaced(100));
        assert_eq!(sent(206, Some("bytes=0-1,5-9"), Some(7), None), Bytes::Unplaced(7));
        assert_eq!(sent(206, None, Some(7), None), Bytes::Unplaced(7));
        assert_eq!(sent(206, None, None, Some(9)), Bytes::Unplaced(0));
        assert_eq!(sent(200, Some("bytes=5-"), Some(7), None), range(0, 7));
        assert_eq!(sent(200, None, None, Some(1000)), range(0, 1000));
        assert_eq!(sent(200, None, None, None), range(0, REACH));
        assert_eq!(sent(200, None, Some(5000), Some(1000)), range(0, 1000), "never past the file's end");
        assert_eq!(sent(206, Some("bytes=2000-"), Some(9), Some(1000)).len(), 0, "nothing lies past the end");
        assert_eq!(sent(200, None, Some(0), Some(1000)).len(), 0);
    }
}
