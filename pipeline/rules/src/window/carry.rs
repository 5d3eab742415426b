//! What reaches over midnight: open windows, bytes that no window has used, and the ads that their requests named.

use castback_schemas::Micros;

use super::Window;
use super::ads::{NamedBefore, NamedBytes};
use super::need::Need;
use super::touch::Touch;
use super::union::Union;
use crate::ranges::{ByteSet, Bytes};

/// Requests of an unfinished download that reach over midnight, at most, the newest. More are
/// no player's: it would have asked for less than a 64th of the threshold each time. What the older
/// ones brought is forgotten.
pub const MAX_PENDING: usize = 64;

/// Pieces of an open download that reach over midnight, at most, the first ones of the file. An ad
/// wholly in a forgotten piece may be delivered again if it is asked for again.
pub const MAX_PIECES: usize = 64;

/// The first byte of a carry's encoding.
const FORMAT: u8 = 3;

/// What one UTC day of one listener and episode leaves to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Carry {
    /// The `first_touch_24h` window.
    pub first_touch: Rolling,
    /// The `last_touch_24h` window.
    pub last_touch: Rolling,
    /// What the requests of these named, the newest first in each window.
    pub named: Vec<NamedBefore>,
    /// By window, in the order of [`Window::ALL`]: requests of its open download named further ads, of which it may have
    /// delivered any, and after midnight it delivers no more. Rather one too few than one twice.
    pub forgotten: [bool; 3],
}

/// A rolling window at midnight: open, or waiting with the bytes that came since the last one ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rolling {
    /// A download whose window is open.
    Open(Open),
    /// Requests of the last 24 h outside every window, in order.
    Pending(Vec<Touch>),
}

impl Default for Rolling {
    fn default() -> Self {
        Self::Pending(Vec::new())
    }
}

/// A download whose window is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// The instant from which the 24 h run: the download's, or the last touch's.
    pub since: Micros,
    /// The counted row.
    pub row: u64,
    /// The download's bytes so far.
    pub union: Union,
}

impl Open {
    pub(super) fn carried(mut self) -> Self {
        if self.union.placed.iter().nth(MAX_PIECES).is_some() {
            let mut kept = ByteSet::default();
            for (start, end) in self.union.placed.iter().take(MAX_PIECES) {
                kept.insert(start, end);
            }
            self.union.placed = kept;
        }
        self
    }
}

/// Bytes that are no [`Carry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a carry: truncated, of another format, or followed by something else")]
pub struct InvalidCarry;

impl Carry {
    /// What reaches over midnight in `window`; nothing does in [`Window::UtcDay`].
    #[must_use]
    pub fn rolling(&self, window: Window) -> &Rolling {
        static NOTHING: Rolling = Rolling::Pending(Vec::new());
        match window {
            Window::UtcDay => &NOTHING,
            Window::FirstTouch => &self.first_touch,
            Window::LastTouch => &self.last_touch,
        }
    }

    /// Whether nothing reaches over midnight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// A compact encoding (variable-length integers): about 50 bytes for an ordinary download, and 20 with the
    /// placement's id for each ad named in it, by window; none for nothing.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut out = vec![FORMAT];
        write_rolling(&self.first_touch, &mut out);
        write_rolling(&self.last_touch, &mut out);
        let forgotten = self.forgotten.iter().rev().fold(0, |bits, forgotten| bits << 1 | u64::from(*forgotten));
        write(forgotten, &mut out);
        let of = |window: Window| self.named_in(window).map(move |ad| (window, ad));
        let ads: Vec<(Window, &NamedBefore)> = of(Window::FirstTouch).chain(of(Window::LastTouch)).collect();
        write(ads.len() as u64, &mut out);
        for (window, ad) in ads {
            write_ad(window, ad, &mut out);
        }
        out
    }

    /// Reads what [`Self::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidCarry> {
        let mut input = match bytes {
            [] => return Ok(Self::default()),
            [FORMAT, rest @ ..] => rest,
            _ => return Err(InvalidCarry),
        };
        let (first_touch, last_touch) = (read_rolling(&mut input)?, read_rolling(&mut input)?);
        let bits = read(&mut input)?;
        let forgotten = std::array::from_fn(|window| bits >> window & 1 != 0);
        let mut carry = Self { first_touch, last_touch, named: Vec::new(), forgotten };
        let count = read(&mut input)?;
        let ads = (0..count).map(|_| read_ad(&mut input)).collect::<Result<Vec<_>, _>>()?;
        let is_first = |ad: &NamedBefore| ad.windows[Window::FirstTouch as usize];
        let (first, last): (Vec<_>, Vec<_>) = ads.into_iter().partition(is_first);
        carry.add_named(first);
        carry.add_named(last);
        if input.is_empty() { Ok(carry) } else { Err(InvalidCarry) }
    }
}

/// 0 and the open window, or the number of waiting requests + 1 and these.
fn write_rolling(rolling: &Rolling, out: &mut Vec<u8>) {
    match rolling {
        Rolling::Open(open) => {
            write(0, out);
            write_signed(open.since.0, out);
            write(open.row, out);
            write(open.union.unplaced, out);
            write(open.union.need.code(), out);
            write(open.union.file, out);
            write(open.union.placed.iter().count() as u64, out);
            for (start, end) in open.union.placed.iter() {
                write(start, out);
                write(end, out);
            }
        }
        Rolling::Pending(touches) => {
            write(touches.len() as u64 + 1, out);
            for touch in touches {
                write_touch(touch, out);
            }
        }
    }
}

fn read_rolling(input: &mut &[u8]) -> Result<Rolling, InvalidCarry> {
    let count = read(input)?;
    if count > 0 {
        return (1..count).map(|_| read_touch(input)).collect::<Result<_, _>>().map(Rolling::Pending);
    }
    let (since, row) = (Micros(read_signed(input)?), read(input)?);
    let (unplaced, need, file) = (read(input)?, Need::from_code(read(input)?), read(input)?);
    let mut placed = ByteSet::default();
    for _ in 0..read(input)? {
        let start = read(input)?;
        placed.insert(start, read(input)?);
    }
    Ok(Rolling::Open(Open { since, row, union: Union { placed, unplaced, need, file } }))
}

fn write_touch(touch: &Touch, out: &mut Vec<u8>) {
    write_signed(touch.at.0, out);
    write(touch.row, out);
    write(touch.need.code(), out);
    write(touch.file, out);
    match touch.bytes {
        Bytes::Range { start, end } => {
            write(start + 1, out);
            write(end, out);
        }
        Bytes::Unplaced(bytes) => {
            write(0, out);
            write(bytes, out);
        }
    }
}

fn read_touch(input: &mut &[u8]) -> Result<Touch, InvalidCarry> {
    let (at, row) = (Micros(read_signed(input)?), read(input)?);
    let (need, file) = (Need::from_code(read(input)?), read(input)?);
    let bytes = match (read(input)?, read(input)?) {
        (0, bytes) => Bytes::Unplaced(bytes),
        (start, end) => Bytes::Range { start: start - 1, end },
    };
    Ok(Touch { at, row, bytes, need, file })
}

/// 1 for a late ad, 2 for the `last_touch_24h` window, then the rest.
fn write_ad(window: Window, ad: &NamedBefore, out: &mut Vec<u8>) {
    write(u64::from(ad.late) | (u64::from(window == Window::LastTouch) << 1), out);
    write_signed(ad.at.0, out);
    write(ad.bytes.from, out);
    write(ad.bytes.to, out);
    write(ad.bytes.placement.len() as u64, out);
    out.extend_from_slice(ad.bytes.placement.as_bytes());
}

fn read_ad(input: &mut &[u8]) -> Result<NamedBefore, InvalidCarry> {
    let (code, at) = (read(input)?, Micros(read_signed(input)?));
    let window = if code & 2 == 0 { Window::FirstTouch } else { Window::LastTouch };
    let (from, to, long) = (read(input)?, read(input)?, read(input)?);
    let long = usize::try_from(long).map_err(|_| InvalidCarry)?;
    let (placement, rest) = input.split_at_checked(long).ok_or(InvalidCarry)?;
    *input = rest;
    let placement = std::str::from_utf8(placement).map_err(|_| InvalidCarry)?.into();
    let windows = Window::ALL.map(|of| of == window);
    Ok(NamedBefore { windows, at, late: code & 1 != 0, bytes: NamedBytes { placement, from, to } })
}

/// LEB128: seven bits a byte, the low ones first.
fn write(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn read(input: &mut &[u8]) -> Result<u64, InvalidCarry> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = input.split_first().ok_or(InvalidCarry)?;
        *input = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(InvalidCarry)
}

/// Zigzag, so that times before 1970 stay short too.
fn write_signed(value: i64, out: &mut Vec<u8>) {
    write((value << 1 ^ (value >> 63)).cast_unsigned(), out);
}

fn read_signed(input: &mut &[u8]) -> Result<i64, InvalidCarry> {
    let value = read(input)?;
    Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
}
