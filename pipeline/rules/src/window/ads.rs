//! Ads that requests named before midnight, for downloads that go on after it.

use castback_schemas::Micros;
use castback_schemas::time::DAY;
use serde::Deserialize;

use super::carry::{Carry, Rolling};
use super::touch::Touch;
use super::{Outcome, Role, Window};

/// Ads (a placement and its bytes) that reach over midnight in a window, at most, the newest: three answers
/// with twenty ads each. What is forgotten is told by [`Carry::forgotten`].
pub const MAX_NAMED: usize = 64;

/// The bytes of an ad, as a request's `ads` names them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct NamedBytes {
    /// The placement's id.
    pub placement: Box<str>,
    /// First byte.
    pub from: u64,
    /// Byte after the last.
    pub to: u64,
}

impl NamedBytes {
    /// Reads the ledger's `ads`, `[[placement, from, to], …]`; what is no such list names nothing.
    #[must_use]
    pub fn read(json: &str) -> Vec<Self> {
        serde_json::from_str(json).unwrap_or_default()
    }
}

/// An ad that a request named before midnight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedBefore {
    /// The rolling window of which the request's bytes reach over.
    pub window: Window,
    /// When the newest request was that named it.
    pub at: Micros,
    /// No request named it before the download was complete: until then the ad was where its placement says.
    pub late: bool,
    /// The ad.
    pub bytes: NamedBytes,
}

impl Carry {
    /// What requests of `window`'s open download named; or, if `since` is given, what those younger than that did
    /// which waited for a download.
    pub(crate) fn named(&self, window: Window, since: Option<Micros>) -> impl Iterator<Item = &NamedBefore> {
        let waiting = matches!(self.rolling(window), Rolling::Pending(_));
        let reaches = move |ad: &NamedBefore| since.map_or(!waiting, |since| waiting && ad.at > since);
        self.named.iter().filter(move |ad| ad.window == window && reaches(ad))
    }

    /// Notes what the requests named whose bytes it holds, from what the day `before` left and from the day's own.
    pub(super) fn note_ads(
        &mut self,
        before: &Self,
        (touches, outcomes): (&[Touch], &[Outcome]),
        named: impl Fn(&Touch) -> Vec<NamedBytes>,
    ) {
        for window in [Window::FirstTouch, Window::LastTouch] {
            let of = |touch: &Touch, late: bool| {
                let at = touch.at;
                named(touch).into_iter().map(move |bytes| NamedBefore { window, at, late, bytes })
            };
            let open = match self.rolling(window) {
                Rolling::Open(open) => open.row,
                Rolling::Pending(waiting) => {
                    // Of what is forgotten here nothing was delivered.
                    let (newest, _) = newest(waiting.iter().rev().flat_map(|touch| of(touch, false)));
                    self.named.extend(newest);
                    continue;
                }
            };
            let late = |outcome: &Outcome, touch: &Touch| match outcome.role(window) {
                Role::Inside(row) => (row == open).then_some(true),
                Role::Helps(i) => (touches[i].row == open).then_some(false),
                Role::Completes => (touch.row == open).then_some(false),
                Role::Outside => None,
            };
            let day = touches.iter().zip(outcomes).rev();
            let own = day.filter_map(|(touch, outcome)| late(outcome, touch).map(|late| of(touch, late))).flatten();
            let since = touches.iter().find(|touch| touch.row == open).map(|touch| touch.at.plus(-DAY));
            let (newest, all) = newest(own.chain(before.named(window, since).cloned()));
            self.named.extend(newest);
            self.forgotten |= !all || since.is_none() && before.forgotten;
        }
    }
}

/// The newest [`MAX_NAMED`] different ads of those named, which come the newest first, and whether these are all.
fn newest(mut named: impl Iterator<Item = NamedBefore>) -> (Vec<NamedBefore>, bool) {
    let mut newest: Vec<NamedBefore> = Vec::new();
    let all = named.all(|ad| {
        if let Some(known) = newest.iter_mut().find(|known| known.bytes == ad.bytes) {
            known.late &= ad.late;
            return true;
        }
        let has_room = newest.len() < MAX_NAMED;
        if has_room {
            newest.push(ad);
        }
        has_room
    });
    (newest, all)
}

#[cfg(test)]
mod tests {
    use castback_schemas::time::HOUR;

    use super::*;
    use crate::ranges::{ByteSet, Bytes};
    use crate::window::{InvalidCarry, Need, Open, Union, evaluate};

    fn touch(hour: i64, row: u64, end: u64) -> Touch {
        let bytes = Bytes::Range { start: 0, end };
        Touch { at: Micros(hour * HOUR), row, bytes, need: Need::bytes(60), file: 100 }
    }

    fn ad(number: u64) -> NamedBytes {
        NamedBytes { placement: format!("ad-{number}").into(), from: number, to: number + 10 }
    }

    fn left(touches: &[Touch], named: impl Fn(&Touch) -> Vec<NamedBytes>) -> Carry {
        let carry = evaluate(&Carry::default(), touches, named, &mut Vec::new());
        let read = Carry::from_bytes(&carry.to_bytes());
        assert_eq!(read.as_ref(), Ok(&carry));
        assert_eq!(read.map(|read| read.forgotten), Ok(carry.forgotten));
        carry
    }

    #[test]
    fn what_a_download_or_a_waiting_request_named_reaches_over_midnight() {
        let of_row = |touch: &Touch| vec![ad(touch.row), ad(9)];
        let told = |carry: &Carry, window: Window| -> Vec<_> {
            carry.named.iter().filter(|ad| ad.window == window).map(|ad| (ad.bytes.from, ad.late)).collect()
        };
        // The first is too little, the second completes, the third is inside; the fourth moved nothing.
        let download = [touch(20, 1, 50), touch(21, 2, 60), touch(22, 3, 10), touch(23, 4, 0)];
        let carry = left(&download, of_row);
        for window in [Window::FirstTouch, Window::LastTouch] {
            assert_eq!(told(&carry, window), [(4, true), (9, false), (3, true), (2, false), (1, false)]);
        }
        assert!(!carry.forgotten);
        let carry = left(&download[..1], of_row);
        assert_eq!(told(&carry, Window::FirstTouch), [(1, false), (9, false)]);
        assert_eq!(told(&carry, Window::UtcDay), [], "a day begins anew");
        let nothing = left(&[touch(20, 1, 0)], of_row);
        assert!(nothing.is_empty() && nothing.to_bytes().is_empty());
    }

    #[test]
    fn only_the_newest_ads_reach_over_midnight_and_the_rest_is_known_to_be_forgotten() {
        let touches: Vec<Touch> = (1..20).map(|row| touch(20, row, 100)).collect();
        let ten = |touch: &Touch| -> Vec<NamedBytes> { (0..10).map(|n| ad(touch.row * 10 + n)).collect() };
        let carry = left(&touches, ten);
        assert!(carry.forgotten);
        let first: Vec<u64> = carry.named(Window::FirstTouch, None).map(|ad| ad.bytes.from).collect();
        assert_eq!((first.len(), first[0]), (MAX_NAMED, 190));
        assert!(first.iter().all(|from| *from >= 130));
        assert!(!left(&touches[..6], ten).forgotten);
    }

    #[test]
    fn carries_are_read_that_knew_no_ads() {
        let mut placed = ByteSet::default();
        placed.insert(0, 100);
        let union = Union { placed, unplaced: 0, need: Need::bytes(60), file: 100 };
        let open = Rolling::Open(Open { since: Micros(3), row: 7, union });
        let carry = Carry { first_touch: open, ..Carry::default() };
        let read = Carry::from_bytes(&[2, 0, 6, 7, 0, 60, 100, 1, 0, 100, 1]).unwrap();
        assert_eq!(read, carry, "no recount goes on for the format alone");
        assert!(read.forgotten, "its requests may have named ads");
        assert_eq!(Carry::from_bytes(&[2, 1, 1]).map(|read| read.forgotten), Ok(false), "nothing waits");
    }

    #[test]
    fn a_cut_carry_is_refused() {
        let carry = left(&[touch(20, 1, 100)], |_| vec![ad(3), ad(300)]);
        let bytes = carry.to_bytes();
        for end in 1..bytes.len() {
            assert_eq!(Carry::from_bytes(&bytes[..end]), Err(InvalidCarry));
        }
        assert_eq!(Carry::from_bytes(&[bytes.as_slice(), &[0]].concat()), Err(InvalidCarry));
    }

    #[test]
    fn the_ads_of_the_ledger_are_read() {
        assert_eq!(NamedBytes::read(r#"[["ad-3",3,13]]"#), [ad(3)]);
        assert_eq!(NamedBytes::read("ad-3"), []);
    }
}
