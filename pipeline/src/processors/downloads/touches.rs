//! The requests of one group, packed: about 18 bytes for the first and 8 to 16 for each further.
//!
//! ```text
//! flags │ time since the one before │ row since the one before │ start │ length │ need │ file
//! ```
//! Each is written against the one before it (the first against the day's first instant), what is
//! the same is left out, and numbers take as many bytes as they need.

use castback_rules::ranges::Bytes;
use castback_rules::window::{Need, Touch};
use castback_schemas::time::SECOND;
use castback_schemas::{Day, Micros};

/// Its bytes are of known place.
const PLACED: u8 = 1;
/// The time is in whole seconds.
const SECONDS: u8 = 2;
/// It starts at the file's first byte.
const AT_START: u8 = 4;
/// It starts where the one before ended.
const GOES_ON: u8 = 8;
/// It is as long as the one before.
const SAME_LENGTH: u8 = 16;
/// It needs what the one before needs.
const SAME_NEED: u8 = 32;
/// It knows the size that the one before knows.
const SAME_FILE: u8 = 64;
/// Its bytes end where the file does.
const TO_THE_END: u8 = 128;

/// Bytes of a packed request, at least: flags, time and row.
const LEAST: usize = 3;

/// Packed requests, sorted by (time, row).
#[derive(Debug, Default)]
pub(super) struct Touches(Box<[u8]>);

/// What the next one is written against.
struct Before {
    at: i64,
    row: u64,
    end: u64,
    length: u64,
    need: u64,
    file: u64,
}

impl Before {
    fn first(day: Day) -> Self {
        Self { at: day.start().0, row: 0, end: 0, length: 0, need: 0, file: 0 }
    }

    fn of(touch: &Touch) -> Self {
        let (start, length, _) = parts(touch);
        let end = start.wrapping_add(length);
        Self { at: touch.at.0, row: touch.row, end, length, need: touch.need.code(), file: touch.file }
    }
}

/// First byte, how many, and whether their place is known.
fn parts(touch: &Touch) -> (u64, u64, bool) {
    match touch.bytes {
        Bytes::Range { start, end } => (start, end.wrapping_sub(start), true),
        Bytes::Unplaced(bytes) => (0, bytes, false),
    }
}

impl Touches {
    /// Packs sorted requests of `day`; `room` is emptied and used to write in.
    pub(super) fn pack(day: Day, touches: &[Touch], room: &mut Vec<u8>) -> Self {
        let mut packed = Self::default();
        packed.append((day, None), touches, room);
        packed
    }

    /// Packs requests after the last of those that are packed.
    pub(super) fn append(&mut self, (day, last): (Day, Option<&Touch>), touches: &[Touch], room: &mut Vec<u8>) {
        room.clear();
        let mut before = last.map_or_else(|| Before::first(day), Before::of);
        for touch in touches {
            write_touch(touch, &mut before, room);
        }
        let mut bytes = std::mem::take(&mut self.0).into_vec();
        bytes.reserve_exact(room.len());
        bytes.extend_from_slice(room);
        self.0 = bytes.into_boxed_slice();
    }

    /// How many requests there may be, at most but for a few.
    pub(super) fn estimate(&self) -> usize {
        self.0.len() / LEAST + 1
    }

    /// Appends the requests to `out`.
    pub(super) fn unpack(&self, day: Day, out: &mut Vec<Touch>) {
        let mut input = &*self.0;
        let mut before = Before::first(day);
        while let Some((&flags, rest)) = input.split_first() {
            input = rest;
            out.push(read_touch(flags, &mut before, &mut input));
        }
    }
}

fn write_touch(touch: &Touch, before: &mut Before, out: &mut Vec<u8>) {
    let (start, length, placed) = parts(touch);
    let since = touch.at.0.wrapping_sub(before.at);
    let need = touch.need.code();
    let mut flags = 0;
    let mut set = |flag: u8, holds: bool| flags |= if holds { flag } else { 0 };
    set(PLACED, placed);
    set(SECONDS, since % SECOND == 0);
    set(AT_START, start == 0);
    set(GOES_ON, start != 0 && start == before.end);
    set(SAME_LENGTH, length == before.length);
    set(SAME_NEED, need == before.need);
    set(SAME_FILE, touch.file == before.file);
    let end = start.wrapping_add(length);
    set(TO_THE_END, touch.file != before.file && touch.file == end);
    out.push(flags);
    write(if flags & SECONDS == 0 { since } else { since / SECOND }.cast_unsigned(), out);
    write(zigzag(touch.row.wrapping_sub(before.row).cast_signed()), out);
    if flags & (AT_START | GOES_ON) == 0 {
        write(start, out);
    }
    if flags & SAME_LENGTH == 0 {
        write(length, out);
    }
    if flags & SAME_NEED == 0 {
        write(need, out);
    }
    if flags & (SAME_FILE | TO_THE_END) == 0 {
        write(touch.file, out);
    }
    *before = Before::of(touch);
}

fn read_touch(flags: u8, before: &mut Before, input: &mut &[u8]) -> Touch {
    let since = read(input).cast_signed();
    let at = before.at.wrapping_add(if flags & SECONDS == 0 { since } else { since.wrapping_mul(SECOND) });
    let row = before.row.wrapping_add(unzigzag(read(input)).cast_unsigned());
    let start = match flags & (AT_START | GOES_ON) {
        0 => read(input),
        GOES_ON => before.end,
        _ => 0,
    };
    let length = if flags & SAME_LENGTH == 0 { read(input) } else { before.length };
    let need = if flags & SAME_NEED == 0 { read(input) } else { before.need };
    let end = start.wrapping_add(length);
    let file = match flags & (SAME_FILE | TO_THE_END) {
        0 => read(input),
        SAME_FILE => before.file,
        _ => end,
    };
    *before = Before { at, row, end, length, need, file };
    let bytes = if flags & PLACED == 0 { Bytes::Unplaced(length) } else { Bytes::Range { start, end } };
    Touch { at: Micros(at), row, bytes, need: Need::from_code(need), file }
}

/// LEB128: seven bits a byte, the low ones first.
fn write(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn read(input: &mut &[u8]) -> u64 {
    let mut value = 0;
    let mut shift = 0;
    while let Some((&byte, rest)) = input.split_first() {
        *input = rest;
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 || shift > 63 {
            break;
        }
    }
    value
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ (value >> 63)).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use castback_schemas::time::DAY;
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn touch(day: i32)(
            at in prop_oneof![(0..DAY), (0..86_400_i64).prop_map(|second| second * SECOND)],
            row: u64, start in prop_oneof![Just(0), 0..10_u64, any::<u64>()], length in prop_oneof![0..10_u64, any::<u64>()],
            placed: bool, need in prop_oneof![0..3_u64, any::<u64>()], file in prop_oneof![0..12_u64, any::<u64>()],
        ) -> Touch {
            let start = start.min(u64::MAX - length);
            let bytes = if placed { Bytes::Range { start, end: start + length } } else { Bytes::Unplaced(length) };
            Touch { at: Day(day).start().plus(at), row, bytes, need: Need::from_code(need), file }
        }
    }

    proptest! {
        #[test]
        fn packing_loses_nothing(day in prop_oneof![Just(-700), Just(20_000)], touches in prop::collection::vec(touch(0), 0..12), cut: prop::sample::Index) {
            let mut touches: Vec<Touch> =
                touches.into_iter().map(|touch| Touch { at: touch.at.plus(Day(day).start().0), ..touch }).collect();
            touches.sort_by_key(|touch| (touch.at, touch.row));
            let mut back = Vec::new();
            Touches::pack(Day(day), &touches, &mut Vec::new()).unpack(Day(day), &mut back);
            prop_assert_eq!(&back, &touches);
            let (some, others) = touches.split_at(cut.index(touches.len() + 1));
            let mut packed = Touches::pack(Day(day), some, &mut Vec::new());
            packed.append((Day(day), some.last()), others, &mut Vec::new());
            back.clear();
            packed.unpack(Day(day), &mut back);
            prop_assert_eq!(back, touches);
        }
    }

    #[test]
    fn an_ordinary_group_is_small() {
        let at = |second: i64| Day(20_000).start().plus(second * SECOND);
        let whole = |second, row| Touch {
            at: at(second),
            row,
            bytes: Bytes::Range { start: 0, end: 28_800_000 },
            need: Need::bytes(960_000),
            file: 28_800_000,
        };
        let packed = |touches: &[Touch]| Touches::pack(Day(20_000), touches, &mut Vec::new()).0.len();
        assert_eq!(packed(&[whole(40_000, 1_000_000_000)]), 16);
        assert_eq!(packed(&[whole(40_000, 1_000_000_000), whole(47_000, 1_000_700_000)]), 22);
    }
}
