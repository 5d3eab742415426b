//! Ads that requests named before midnight, for downloads that go on after it.

use std::collections::HashSet;
use std::sync::Arc;

use castback_schemas::Micros;
use castback_schemas::time::DAY;
use serde::{Deserialize, Deserializer};

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
    #[serde(deserialize_with = "shared")]
    pub placement: Arc<str>,
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

fn shared<'de, D: Deserializer<'de>>(text: D) -> Result<Arc<str>, D::Error> {
    Box::<str>::deserialize(text).map(Arc::from)
}

/// An ad that a request named before midnight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedBefore {
    /// The rolling windows of which the request's bytes reach over, in the order of [`Window::ALL`].
    pub windows: [bool; 3],
    /// When the newest request was that named it.
    pub at: Micros,
    /// No request named it before the download was complete: until then the ad was where its placement says.
    pub late: bool,
    /// The ad.
    pub bytes: NamedBytes,
}

/// Ids of placements that many carries name, each held once.
#[derive(Debug, Default)]
pub struct PlacementIds(HashSet<Arc<str>>);

impl PlacementIds {
    /// Lets a carry name its ads by the ids that carries before it hold, and hold no room to spare.
    pub fn intern(&mut self, carry: &mut Carry) {
        for ad in &mut carry.named {
            if let Some(known) = self.0.get(&ad.bytes.placement) {
                ad.bytes.placement = Arc::clone(known);
            } else {
                self.0.insert(Arc::clone(&ad.bytes.placement));
            }
        }
        carry.named.shrink_to_fit();
    }
}

impl Carry {
    /// What requests named whose bytes reach over in `window`, the newest first.
    pub(super) fn named_in(&self, window: Window) -> impl Iterator<Item = &NamedBefore> {
        self.named.iter().filter(move |ad| ad.windows[window as usize])
    }

    /// Adds what requests of a further window named, the newest first. What is the same in the other window is
    /// held once, as long as each keeps its order.
    pub(super) fn add_named(&mut self, named: Vec<NamedBefore>) {
        let mut next = 0;
        for ad in named {
            let same = |known: &NamedBefore| (known.at, known.late, &known.bytes) == (ad.at, ad.late, &ad.bytes);
            if let Some(skipped) = self.named.iter().skip(next).position(same) {
                next += skipped;
                for (known, window) in self.named[next].windows.iter_mut().zip(ad.windows) {
                    *known |= window;
                }
            } else {
                self.named.insert(next, ad);
            }
            next += 1;
        }
    }

    /// What requests of `window`'s open download named; or, if `since` is given, what those younger than that did
    /// which waited for a download.
    pub(crate) fn named(&self, window: Window, since: Option<Micros>) -> impl Iterator<Item = &NamedBefore> {
        let waiting = matches!(self.rolling(window), Rolling::Pending(_));
        let reaches = move |ad: &NamedBefore| since.map_or(!waiting, |since| waiting && ad.at > since);
        self.named_in(window).filter(move |ad| reaches(ad))
    }

    /// Notes what the requests named whose bytes it holds, from what the day `before` left and from the day's own.
    pub(super) fn note_ads(
        &mut self,
        before: &Self,
        (touches, outcomes): (&[Touch], &[Outcome]),
        named: impl Fn(&Touch) -> Vec<NamedBytes>,
    ) {
        for window in [Window::FirstTouch, Window::LastTouch] {
            let windows = Window::ALL.map(|of| of == window);
            let of = |touch: &Touch, late: bool| {
                let at = touch.at;
                named(touch).into_iter().map(move |bytes| NamedBefore { windows, at, late, bytes })
            };
            let open = match self.rolling(window) {
                Rolling::Open(open) => open.row,
                Rolling::Pending(waiting) => {
                    // Of what is forgotten here nothing was delivered.
                    let (newest, _) = newest(waiting.iter().rev().flat_map(|touch| of(touch, false)));
                    self.add_named(newest);
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
            let earlier = before.named(window, since).map(|ad| NamedBefore { windows, ..ad.clone() });
            let (newest, all) = newest(own.chain(earlier));
            self.add_named(newest);
            self.forgotten[window as usize] |= !all || since.is_none() && before.forgotten[window as usize];
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
    use crate::ranges::Bytes;
    use crate::window::{InvalidCarry, Need, evaluate};

    fn touch(hour: i64, row: u64, end: u64) -> Touch {
        let bytes = Bytes::Range { start: 0, end };
        Touch { at: Micros(hour * HOUR), row, bytes, need: Need::bytes(60), file: 100 }
    }

    fn ad(number: u64) -> NamedBytes {
        NamedBytes { placement: format!("ad-{number}").into(), from: number, to: number + 10 }
    }

    fn left(touches: &[Touch], named: impl Fn(&Touch) -> Vec<NamedBytes>) -> Carry {
        let carry = evaluate(&Carry::default(), touches, named, &mut Vec::new());
        assert_eq!(Carry::from_bytes(&carry.to_bytes()).as_ref(), Ok(&carry));
        carry
    }

    #[test]
    fn what_a_download_or_a_waiting_request_named_reaches_over_midnight() {
        let of_row = |touch: &Touch| vec![ad(touch.row), ad(9)];
        let told = |carry: &Carry, window: Window| -> Vec<_> {
            carry.named_in(window).map(|ad| (ad.bytes.from, ad.late)).collect()
        };
        // The first is too little, the second completes, the third is inside; the fourth moved nothing.
        let download = [touch(20, 1, 50), touch(21, 2, 60), touch(22, 3, 10), touch(23, 4, 0)];
        let carry = left(&download, of_row);
        for window in [Window::FirstTouch, Window::LastTouch] {
            assert_eq!(told(&carry, window), [(4, true), (9, false), (3, true), (2, false), (1, false)]);
        }
        assert_eq!(carry.named.len(), 5, "once for both windows");
        assert_eq!(carry.forgotten, [false; 3]);
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
        assert_eq!(carry.forgotten, [false, true, true]);
        let first: Vec<u64> = carry.named(Window::FirstTouch, None).map(|ad| ad.bytes.from).collect();
        assert_eq!((first.len(), first[0]), (MAX_NAMED, 190));
        assert!(first.iter().all(|from| *from >= 130));
        assert_eq!(left(&touches[..6], ten).forgotten, [false; 3]);
        let of_one = |count: usize| left(&touches[..1], |_| (0..count as u64).map(ad).collect());
        let (all, newest) = (of_one(MAX_NAMED), of_one(MAX_NAMED + 1));
        assert_eq!(all.named, newest.named);
        assert_ne!(all, newest, "one of them delivers after midnight, the other does not");
    }

    #[test]
    fn each_window_keeps_its_order_of_ads_that_are_held_once() {
        let of = |window: Window, numbers: &[u64]| -> Vec<NamedBefore> {
            let windows = Window::ALL.map(|of| of == window);
            numbers.iter().map(|n| NamedBefore { windows, at: Micros(3), late: false, bytes: ad(*n) }).collect()
        };
        let in_order =
            |carry: &Carry, window: Window| -> Vec<u64> { carry.named_in(window).map(|ad| ad.bytes.from).collect() };
        let mut carry = Carry::default();
        carry.add_named(of(Window::FirstTouch, &[1, 2, 3]));
        carry.add_named(of(Window::LastTouch, &[4, 2, 1, 3]));
        assert_eq!(in_order(&carry, Window::FirstTouch), [1, 2, 3]);
        assert_eq!(in_order(&carry, Window::LastTouch), [4, 2, 1, 3]);
        assert_eq!(carry.named.len(), 5, "the first ad stands before the second in one, behind it in the other");
        assert_eq!(Carry::from_bytes(&carry.to_bytes()), Ok(carry));
    }

    #[test]
    fn carries_that_name_the_same_ads_hold_little_each() {
        let mut ids = PlacementIds::default();
        let mut of_row = |row: u64| {
            let mut carry = left(&[touch(20, row, 100)], |_| vec![ad(3), ad(300)]);
            ids.intern(&mut carry);
            carry
        };
        let (one, other) = (of_row(1), of_row(2));
        assert_eq!([one.named.len(), other.named.len()], [2, 2]);
        for (one, other) in one.named.iter().zip(&other.named) {
            assert!(Arc::ptr_eq(&one.bytes.placement, &other.bytes.placement));
        }
        assert!(size_of::<NamedBefore>() <= 48);
    }

    #[test]
    fn ads_that_both_windows_know_are_written_for_each() {
        let open: &[u8] = &[0, 6, 7, 0, 60, 100, 1, 0, 100];
        let parts: [&[u8]; 8] = [&[3], open, open, &[0, 2], &[0, 6, 3, 13, 4], b"ad-3", &[2, 6, 3, 13, 4], b"ad-3"];
        let bytes = parts.concat();
        let carry = Carry::from_bytes(&bytes).unwrap();
        assert_eq!(
            carry.named,
            [NamedBefore { windows: [false, true, true], at: Micros(3), late: false, bytes: ad(3) }]
        );
        assert_eq!(carry.to_bytes(), bytes);
    }

    #[test]
    fn one_window_forgets_and_the_other_does_not() {
        let mut carry = left(&[touch(20, 1, 100)], |_| vec![ad(3)]);
        for forgotten in [[false, true, false], [false, false, true]] {
            carry.forgotten = forgotten;
            assert_eq!(Carry::from_bytes(&carry.to_bytes()).as_ref(), Ok(&carry));
        }
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
