//! The HTTP `Range` header of a request (RFC 9110, section 14.2).

use std::ops::Range;
use std::str::FromStr;

/// What a `Range` header asks for, in bytes of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// `bytes=a-b`: both ends included.
    Bounded {
        /// First byte.
        first: u64,
        /// Last byte, included; not below `first`.
        last: u64,
    },
    /// `bytes=a-`: from `first` to the end.
    From {
        /// First byte.
        first: u64,
    },
    /// `bytes=-n`: the last `length` bytes.
    Suffix {
        /// How many bytes; at least 1.
        length: u64,
    },
    /// Several ranges in one request (`bytes=0-9,20-29`). Which bytes the answer sent can't
    /// be told from their number, so the range counts as unknown ([`ByteRange::resolve`] is
    /// `None`) and only the number of bytes is used.
    Several,
}

/// A text that is no range of bytes. A server ignores such a header and sends the whole file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a range of bytes: expected bytes=a-b, bytes=a- or bytes=-n")]
pub struct InvalidRange;

impl ByteRange {
    /// Whether this is a probe: a client that asks for the first byte or two (`0-0`, `0-1`)
    /// only learns whether ranges are served and how long the file is.
    #[must_use]
    pub fn is_probe(self) -> bool {
        matches!(self, Self::Bounded { first: 0, last: 0 | 1 })
    }

    /// The bytes asked for, half-open, cut to a file of `file_bytes` where that is known.
    ///
    /// `None` if they can't be told: several ranges, an open or suffix range of a file of
    /// unknown size, or a start behind the end of the file.
    #[must_use]
    pub fn resolve(self, file_bytes: Option<u64>) -> Option<Range<u64>> {
        let end = file_bytes.unwrap_or(u64::MAX);
        let range = match self {
            Self::Bounded { first, last } => first..last.saturating_add(1).min(end),
            Self::From { first } => first..file_bytes?,
            Self::Suffix { length } => file_bytes?.saturating_sub(length)..end,
            Self::Several => return None,
        };
        (range.start < range.end).then_some(range)
    }

    /// The first byte asked for; `None` where [`ByteRange::resolve`] could not tell it either.
    #[must_use]
    pub fn start(self, file_bytes: Option<u64>) -> Option<u64> {
        match self {
            Self::From { first } if file_bytes.is_none() => Some(first),
            other => other.resolve(file_bytes).map(|range| range.start),
        }
    }
}

impl FromStr for ByteRange {
    type Err = InvalidRange;

    fn from_str(header: &str) -> Result<Self, InvalidRange> {
        let (unit, ranges) = header.trim().split_once('=').ok_or(InvalidRange)?;
        if !unit.trim_end().eq_ignore_ascii_case("bytes") {
            return Err(InvalidRange);
        }
        // A list may hold empty elements (RFC 9110, section 5.6.1.2).
        let mut ranges = ranges.split(',').map(str::trim).filter(|range| !range.is_empty()).map(one);
        let first = ranges.next().ok_or(InvalidRange)??;
        match ranges.next() {
            None => Ok(first),
            Some(second) => ranges.try_fold(second.map(|_| Self::Several)?, |several, range| range.map(|_| several)),
        }
    }
}

fn one(text: &str) -> Result<ByteRange, InvalidRange> {
    let (first, last) = text.split_once('-').ok_or(InvalidRange)?;
    match (first, last) {
        ("", length) => match number(length)? {
            0 => Err(InvalidRange),
            length => Ok(ByteRange::Suffix { length }),
        },
        (first, "") => Ok(ByteRange::From { first: number(first)? }),
        (first, last) => match (number(first)?, number(last)?) {
            (first, last) if first <= last => Ok(ByteRange::Bounded { first, last }),
            _ => Err(InvalidRange),
        },
    }
}

fn number(text: &str) -> Result<u64, InvalidRange> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().map_err(|_| InvalidRange) } else { Err(InvalidRange) }
}

#[cfg(test)]
mod tests {
    use super::ByteRange::{Bounded, From, Several, Suffix};
    use super::*;

    #[test]
    fn headers_of_every_form() {
        for (text, range) in [
            ("bytes=0-1", Ok(Bounded { first: 0, last: 1 })),
            ("Bytes = 5-9 ,", Ok(Bounded { first: 5, last: 9 })),
            ("bytes=100-", Ok(From { first: 100 })),
            ("bytes=-500", Ok(Suffix { length: 500 })),
            ("bytes=0-0,-1", Ok(Several)),
            ("bytes=0-1, 5-6, 9-", Ok(Several)),
            ("bytes=0-1, 5-6, x", Err(InvalidRange)),
            ("bytes=9-5", Err(InvalidRange)),
            ("bytes=-0", Err(InvalidRange)),
            ("bytes=-", Err(InvalidRange)),
            ("bytes=", Err(InvalidRange)),
            ("bytes=+1-2", Err(InvalidRange)),
            ("bytes=0-99999999999999999999", Err(InvalidRange)),
            ("items=0-1", Err(InvalidRange)),
            ("0-1", Err(InvalidRange)),
        ] {
            assert_eq!(text.parse::<ByteRange>(), range, "{text}");
        }
    }

    #[test]
    fn probes_are_the_first_byte_or_two() {
        let probes = ["bytes=0-0", "bytes=0-1"];
        let others = ["bytes=0-2", "bytes=1-1", "bytes=0-", "bytes=-1", "bytes=0-0,0-1"];
        assert!(probes.iter().all(|text| text.parse::<ByteRange>().unwrap().is_probe()));
        assert!(!others.iter().any(|text| text.parse::<ByteRange>().unwrap().is_probe()));
    }

    #[test]
    fn ranges_are_cut_to_the_file() {
        for (range, file, expected) in [
            (Bounded { first: 0, last: 9 }, None, Some(0..10)),
            (Bounded { first: 5, last: 99 }, Some(10), Some(5..10)),
            (Bounded { first: 10, last: 99 }, Some(10), None),
            (Bounded { first: 0, last: u64::MAX }, None, Some(0..u64::MAX)),
            (From { first: 4 }, Some(10), Some(4..10)),
            (From { first: 4 }, None, None),
            (Suffix { length: 3 }, Some(10), Some(7..10)),
            (Suffix { length: 30 }, Some(10), Some(0..10)),
            (Suffix { length: 3 }, None, None),
            (Several, Some(10), None),
        ] {
            assert_eq!(range.resolve(file), expected, "{range:?} of {file:?}");
        }
        assert_eq!(From { first: 4 }.start(None), Some(4));
        assert_eq!(Suffix { length: 4 }.start(Some(10)), Some(6));
        assert_eq!(From { first: 10 }.start(Some(10)), None);
    }
}
