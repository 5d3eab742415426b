//! A touch: a listener request that passed every filter, as the windows see it.

use castback_schemas::Micros;

use super::need::Need;
use crate::ranges::{Bytes, REACH};

/// A request of one listener for one episode that passed every filter but `below_threshold`.
/// 48 bytes; state keeps [`PackedTouch`]es.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Touch {
    /// The event time.
    pub at: Micros,
    /// The row's identity: its offset on the slot's log. Breaks ties of time, the smaller first.
    pub row: u64,
    /// The bytes that it moved.
    pub bytes: Bytes,
    /// The bytes that make a download, as this request knows them.
    pub need: Need,
}

/// A [`Touch`] in 32 bytes, lossless for files under 1 TiB ([`REACH`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedTouch {
    at: i64,
    row: u64,
    first: [u8; 5],
    second: [u8; 5],
    need: [u8; 5],
    placed: bool,
}

impl From<&Touch> for PackedTouch {
    fn from(touch: &Touch) -> Self {
        let (first, second, placed) = match touch.bytes {
            Bytes::Range { start, end } => (start, end, true),
            Bytes::Unplaced(bytes) => (bytes, 0, false),
        };
        Self {
            at: touch.at.0,
            row: touch.row,
            first: five(first),
            second: five(second),
            need: five(touch.need.code()),
            placed,
        }
    }
}

impl From<&PackedTouch> for Touch {
    fn from(packed: &PackedTouch) -> Self {
        let (first, second) = (eight(packed.first), eight(packed.second));
        let bytes = if packed.placed { Bytes::Range { start: first, end: second } } else { Bytes::Unplaced(first) };
        Self { at: Micros(packed.at), row: packed.row, bytes, need: Need::from_code(eight(packed.need)) }
    }
}

impl PackedTouch {
    /// What the touches of a day are sorted by.
    #[must_use]
    pub fn order(&self) -> (i64, u64) {
        (self.at, self.row)
    }
}

fn five(value: u64) -> [u8; 5] {
    let mut low = [0; 5];
    low.copy_from_slice(&value.min(REACH).to_le_bytes()[..5]);
    low
}

fn eight(low: [u8; 5]) -> u64 {
    let mut all = [0; 8];
    all[..5].copy_from_slice(&low);
    u64::from_le_bytes(all)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn needs() -> impl Strategy<Value = Need> {
        prop_oneof![Just(Need::NEVER), Just(Need::WHOLE), (0_u64..REACH).prop_map(Need::bytes)]
    }

    proptest! {
        #[test]
        fn packing_loses_nothing(at: i64, row: u64, start in 0..=REACH, end in 0..=REACH, placed: bool, need in needs()) {
            let bytes = if placed { Bytes::Range { start, end } } else { Bytes::Unplaced(start) };
            let touch = Touch { at: Micros(at), row, bytes, need };
            prop_assert_eq!(Touch::from(&PackedTouch::from(&touch)), touch);
        }
    }

    #[test]
    fn sizes_are_as_documented() {
        assert_eq!(size_of::<Touch>(), 48);
        assert_eq!(size_of::<PackedTouch>(), 32);
    }
}
