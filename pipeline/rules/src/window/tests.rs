//! The windows against a naive reading of the rules, over whole sequences at once.

use castback_schemas::time::{DAY, HOUR};
use proptest::prelude::*;

use super::*;
use crate::ranges::{Bytes, REACH};

/// Monday 2026-03-02T00:00Z.
fn monday() -> i64 {
    "2026-03-02".parse::<Micros>().unwrap().0
}

fn at(day: i64, hour: i64, minute: i64) -> i64 {
    monday() + day * DAY + hour * HOUR + minute * HOUR / 60
}

fn whole(at: i64, row: u64) -> Touch {
    ranged(at, row, 0, 100)
}

fn ranged(at: i64, row: u64, start: u64, end: u64) -> Touch {
    Touch { at: Micros(at), row, bytes: Bytes::Range { start, end }, need: Need::bytes(60), file: 100 }
}

/// Judges a sequence of any length day by day, every carry through its bytes.
fn day_by_day(touches: &[Touch]) -> Vec<Outcome> {
    judge(touches).0
}

/// The outcomes, and what [`helped_before`] says of all days.
fn judge(touches: &[Touch]) -> (Vec<Outcome>, Vec<(u64, u64)>) {
    let mut sorted = touches.to_vec();
    sorted.sort_by_key(|touch| (touch.at, touch.row));
    let (mut carry, mut previous) = (Carry::default(), None);
    let (mut all, mut out, mut back) = (Vec::new(), Vec::new(), Vec::new());
    for day in sorted.chunk_by(|a, b| a.at.day() == b.at.day()) {
        let today = day[0].at.day();
        if previous != Some(today.previous()) {
            carry = Carry::default();
        }
        let next = evaluate(&carry, day, |_| Vec::new(), &mut out);
        back.extend(helped_before(&carry, day, &out));
        carry = next;
        assert_eq!(Carry::from_bytes(&carry.to_bytes()).as_ref(), Ok(&carry));
        previous = Some(today);
        all.append(&mut out);
    }
    (all, back)
}

fn totals(touches: &[Touch]) -> [usize; 3] {
    let outcomes = day_by_day(touches);
    Window::ALL.map(|window| outcomes.iter().filter(|outcome| outcome.counted(window)).count())
}

fn verdicts(touches: &[Touch]) -> Vec<TouchVerdict> {
    day_by_day(touches).iter().map(|outcome| outcome.verdict).collect()
}

#[test]
fn the_vector_of_the_guidelines_gives_3_3_2() {
    let touches = [whole(at(0, 22, 0), 1), whole(at(1, 3, 0), 2), whole(at(1, 22, 15), 3), whole(at(2, 23, 15), 4)];
    assert_eq!(totals(&touches), [3, 3, 2]);
    assert_eq!(
        verdicts(&touches),
        [TouchVerdict::Counted, TouchVerdict::Counted, TouchVerdict::Counted, TouchVerdict::Counted]
    );
}

#[test]
fn half_now_and_half_an_hour_later_is_one_download() {
    let touches = [ranged(at(0, 10, 0), 1, 0, 50), ranged(at(0, 11, 0), 2, 50, 100), ranged(at(0, 12, 0), 3, 0, 100)];
    assert_eq!(totals(&touches), [1, 1, 1]);
    assert_eq!(
        verdicts(&touches),
        [TouchVerdict::PartOf { of: 2 }, TouchVerdict::Counted, TouchVerdict::SameDownload { of: 2 }]
    );
}

#[test]
fn half_before_midnight_and_half_after_counts_in_the_rolling_windows_only() {
    let touches = [ranged(at(0, 23, 0), 1, 0, 50), ranged(at(1, 1, 0), 2, 50, 100)];
    assert_eq!(totals(&touches), [0, 1, 1]);
    assert_eq!(verdicts(&touches), [TouchVerdict::BelowThreshold, TouchVerdict::Counted]);
    assert_eq!(judge(&touches).1, [(1, 2)], "as long as its day is open, the first row is part of the second");
}

#[test]
fn of_two_counted_rows_the_earlier_names_its_helper() {
    let touches = [
        ranged(at(0, 23, 0), 1, 0, 40),
        ranged(at(1, 1, 0), 2, 40, 50),
        ranged(at(1, 2, 0), 3, 50, 60),
        ranged(at(1, 3, 0), 4, 60, 100),
    ];
    assert_eq!(totals(&touches), [1, 1, 1]);
    let part_of = TouchVerdict::PartOf { of: 3 };
    assert_eq!(verdicts(&touches)[1..], [part_of, TouchVerdict::Counted, TouchVerdict::Counted]);
}

#[test]
fn a_repeat_after_midnight_names_the_row_of_the_day_before() {
    let mut early = whole(at(1, 3, 0), 9);
    early.bytes = Bytes::Range { start: 0, end: 5 };
    let touches = [whole(at(0, 22, 0), 7), early];
    assert_eq!(verdicts(&touches), [TouchVerdict::Counted, TouchVerdict::SameDownload { of: 7 }]);
}

#[test]
fn exactly_24_hours_later_is_new() {
    assert_eq!(totals(&[whole(at(0, 12, 0), 1), whole(at(1, 12, 0) - 1, 2)]), [2, 1, 1]);
    assert_eq!(totals(&[whole(at(0, 12, 0), 1), whole(at(1, 12, 0), 2)]), [2, 2, 2]);
    assert_eq!(totals(&[whole(at(0, 0, 0), 1), whole(at(1, 0, 0), 2)]), [2, 2, 2]);
    assert_eq!(totals(&[ranged(at(0, 12, 0), 1, 0, 50), ranged(at(1, 12, 0), 2, 50, 100)]), [0, 0, 0]);
    assert_eq!(totals(&[ranged(at(0, 12, 0), 1, 0, 50), ranged(at(1, 12, 0) - 1, 2, 50, 100)]), [0, 1, 1]);
}

#[test]
fn a_request_of_no_bytes_extends_nothing_and_completes_nothing() {
    let nothing = |at, row| Touch { bytes: Bytes::Unplaced(0), need: Need::WHOLE, ..whole(at, row) };
    assert_eq!(totals(&[nothing(at(0, 1, 0), 1)]), [0, 0, 0]);
    assert_eq!(totals(&[whole(at(0, 1, 0), 1), nothing(at(0, 20, 0), 2), whole(at(1, 2, 0), 3)]), [2, 2, 2]);
    assert_eq!(totals(&[whole(at(0, 1, 0), 1), ranged(at(0, 20, 0), 2, 0, 1), whole(at(1, 2, 0), 3)]), [2, 2, 1]);
}

#[test]
fn of_unknown_size_a_200_completes_and_a_206_never_does() {
    let of = |row, need| Touch { need, ..ranged(at(0, row, 0), row.unsigned_abs(), 0, 1000) };
    assert_eq!(totals(&[of(1, Need::NEVER), of(2, Need::NEVER)]), [0, 0, 0]);
    assert_eq!(totals(&[of(1, Need::NEVER), of(2, Need::WHOLE)]), [1, 1, 1]);
}

#[test]
fn only_the_newest_pending_requests_reach_over_midnight() {
    let count = i64::try_from(MAX_PENDING).unwrap() + 6;
    let touches: Vec<_> = (0..count).map(|i| ranged(at(0, 20, i), i.unsigned_abs(), 0, 1)).collect();
    let carry = evaluate(&Carry::default(), &touches, |_| Vec::new(), &mut Vec::new());
    let Rolling::Pending(pending) = carry.first_touch else { panic!("no window is open") };
    assert_eq!(pending, touches[6..]);
}

#[test]
fn what_is_no_carry_is_refused() {
    let carry = evaluate(&Carry::default(), &[whole(at(0, 22, 0), 1)], |_| Vec::new(), &mut Vec::new());
    let bytes = carry.to_bytes();
    assert!(bytes.len() <= 60, "{} bytes", bytes.len());
    assert_eq!(Carry::from_bytes(&[]), Ok(Carry::default()));
    assert!(Carry::default().to_bytes().is_empty());
    for end in 1..bytes.len() {
        assert_eq!(Carry::from_bytes(&bytes[..end]), Err(InvalidCarry));
    }
    assert_eq!(Carry::from_bytes(&[bytes.as_slice(), &[0]].concat()), Err(InvalidCarry));
    assert_eq!(Carry::from_bytes(&[2]), Err(InvalidCarry));
    assert_eq!(Carry::from_bytes(&[1, 1, 1]), Err(InvalidCarry));
}

/// The rules read literally, over the whole sequence, in O(n²).
mod reference {
    use super::*;

    /// Bytes 0 to 63 of the file as bits, and bytes of unknown place.
    fn union(touches: &[Touch], of: &[usize]) -> (u64, Need) {
        let (mut bits, mut unplaced, mut need) = (0_u64, 0, Need::NEVER);
        for touch in of.iter().map(|i| &touches[*i]).filter(|touch| !touch.bytes.is_empty()) {
            match touch.bytes {
                Bytes::Range { start, end } => (start..end).for_each(|byte| bits |= 1 << byte),
                Bytes::Unplaced(bytes) => unplaced += bytes,
            }
            need = need.min(touch.need);
        }
        (u64::from(bits.count_ones()) + unplaced, need)
    }

    /// `earlier[i]` says for each window whether touch `i` lies in it.
    pub(super) fn roles(window: Window, touches: &[Touch]) -> Vec<Role> {
        let mut roles = vec![Role::Outside; touches.len()];
        // Start, end (exclusive), row of every window so far.
        let mut windows: Vec<(i64, i64, u64)> = Vec::new();
        for (i, touch) in touches.iter().enumerate() {
            let t = touch.at.0;
            let day_end = touch.at.day().next().start().0;
            if let Some(open) = windows.iter_mut().find(|(start, end, _)| *start <= t && t < *end) {
                roles[i] = Role::Inside(open.2);
                if window == Window::LastTouch && !touch.bytes.is_empty() {
                    open.1 = t + DAY;
                }
                continue;
            }
            let reaches = |j: &usize| match window {
                Window::UtcDay => touches[*j].at.day() == touch.at.day(),
                _ => touches[*j].at.0 > t - DAY,
            };
            let outside = |j: &usize| matches!(roles[*j], Role::Outside);
            let used: Vec<usize> = (0..=i).filter(reaches).filter(outside).collect();
            let (bytes, need) = union(touches, &used);
            if touch.bytes.is_empty() || !need.met_by(bytes) {
                continue;
            }
            for helper in used.into_iter().filter(|j| !touches[*j].bytes.is_empty()) {
                roles[helper] = Role::Helps(i);
            }
            roles[i] = Role::Completes;
            windows.push((t, if window == Window::UtcDay { day_end } else { t + DAY }, touch.row));
        }
        roles
    }
}

/// Times on a grid of six hours, now and then a microsecond off, so that windows end exactly.
fn touches() -> impl Strategy<Value = Vec<Touch>> {
    let bytes = prop_oneof![
        4 => (0_u64..60, 0_u64..60).prop_map(|(a, b)| Bytes::Range { start: a.min(b), end: a.max(b) }),
        1 => (0_u64..40).prop_map(Bytes::Unplaced),
    ];
    let need = prop_oneof![6 => (1_u64..60).prop_map(Need::bytes), 1 => Just(Need::NEVER), 1 => Just(Need::WHOLE)];
    let file = prop_oneof![6 => 60_u64..90, 1 => Just(REACH)];
    let touch = (0_i64..20, -1_i64..=1, bytes, need, file);
    prop::collection::vec(touch, 0..14).prop_map(|raw| {
        let made = raw.into_iter().zip(0..).map(|((step, off, bytes, need, file), row)| {
            let at = Micros(monday() + step * 6 * HOUR + off);
            Touch { at, row, bytes, need, file }
        });
        let mut touches: Vec<_> = made.collect();
        touches.sort_by_key(|touch| (touch.at, touch.row));
        touches
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8 * ProptestConfig::default().cases, ..ProptestConfig::default() })]

    #[test]
    fn day_by_day_is_the_whole_sequence_read_literally(touches in touches()) {
        let (outcomes, back) = judge(&touches);
        let day_start = |i: usize| touches.iter().position(|touch| touch.at.day() == touches[i].at.day()).unwrap();
        let mut expected_back = Vec::new();
        for window in Window::ALL {
            let expected = reference::roles(window, &touches);
            for (i, outcome) in outcomes.iter().enumerate() {
                match (outcome.role(window), expected[i]) {
                    (Role::Helps(of), expected) => prop_assert_eq!(Role::Helps(of + day_start(i)), expected),
                    (role, Role::Helps(of)) if touches[of].at.day() != touches[i].at.day() => {
                        prop_assert_eq!(role, Role::Outside);
                        expected_back.push((i, of));
                    }
                    (role, expected) => prop_assert_eq!(role, expected, "{:?} touch {}", window, i),
                }
            }
        }
        expected_back.sort_unstable();
        expected_back.dedup_by_key(|(i, _)| *i);
        let index = |named: u64| touches.iter().position(|touch| touch.row == named).unwrap();
        let mut back: Vec<_> = back.into_iter().map(|(row, of)| (index(row), index(of))).collect();
        back.sort_unstable();
        prop_assert_eq!(back, expected_back);
    }

    #[test]
    fn totals_do_not_depend_on_the_order_of_the_log(touches in touches(), seed: u64) {
        let mut other = touches.clone();
        for touch in &mut other {
            touch.row = (touch.row + 1).wrapping_mul(seed | 1);
        }
        prop_assert_eq!(totals(&touches), totals(&other));
    }

    #[test]
    fn splitting_a_request_into_ranges_changes_no_total(touches in touches(), at in 0_u64..60) {
        let mut split = Vec::new();
        for touch in &touches {
            match touch.bytes {
                Bytes::Range { start, end } if start < at && at < end && touch.need != Need::WHOLE => {
                    split.push(Touch { row: touch.row * 2, bytes: Bytes::Range { start, end: at }, ..*touch });
                    split.push(Touch { row: touch.row * 2 + 1, bytes: Bytes::Range { start: at, end }, ..*touch });
                }
                _ => split.push(Touch { row: touch.row * 2, ..*touch }),
            }
        }
        prop_assert_eq!(totals(&touches), totals(&split));
    }

    #[test]
    fn every_named_row_is_a_counted_one(touches in touches()) {
        let outcomes = day_by_day(&touches);
        for (i, outcome) in outcomes.iter().enumerate() {
            let named = match outcome.verdict {
                TouchVerdict::PartOf { of } | TouchVerdict::SameDownload { of } => of,
                TouchVerdict::Counted | TouchVerdict::BelowThreshold => continue,
            };
            let row = touches.iter().position(|touch| touch.row == named).unwrap();
            prop_assert_eq!(outcomes[row].verdict, TouchVerdict::Counted);
            prop_assert!(row != i);
        }
    }
}
