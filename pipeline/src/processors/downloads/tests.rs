//! The vectors of the domain through the processor, and what each filter and window says.

mod properties;

use arrow::array::RecordBatch;
use castback_schemas::edge::HashKey;
use castback_schemas::table::Table;
use castback_schemas::time::{HOUR, MINUTE};
use castback_schemas::{AccountId, Day, Micros, Slot};
use uuid::Uuid;

use super::{Downloads, KEPT, PodcastDay, Recount, RuleSets, Settled};
use crate::change::Changes;
use crate::directory::Directory;
use crate::ledger::judged::Judged;
use crate::samples::{ACCOUNT, Book, LENGTH, MARCH, PODCAST, Request, at, batch, directory, directory_at};
use crate::samples::{cell, lists, slot, url};

/// A processor and the book that it writes.
struct Bench {
    downloads: Downloads,
    book: Book,
    directory: Directory,
}

fn downloads() -> Downloads {
    Downloads::new(slot(), HashKey::from_bytes([3; 32]), RuleSets::new(lists()))
}

/// The columns that recovery reads.
fn kept(rows: &RecordBatch) -> RecordBatch {
    let columns: Vec<usize> = KEPT.iter().map(|name| rows.schema().index_of(name).unwrap()).collect();
    rows.project(&columns).unwrap()
}

impl Bench {
    fn new() -> Self {
        Self { downloads: downloads(), book: Book::default(), directory: directory(3, &[]) }
    }

    fn step(&mut self, requests: &[Request]) -> Vec<Settled> {
        let mut out = Changes::default();
        let settled = self.downloads.step(&batch(requests), &self.directory, &mut out).unwrap();
        self.book.keep(out);
        settled
    }

    fn freeze(&mut self, log_time: Micros) {
        let mut out = Changes::default();
        self.downloads.freeze(log_time, &self.directory, &mut out).unwrap();
        self.book.keep(out);
    }

    /// The same processor made anew from the book; answers how many rows it says.
    fn recover(&mut self) -> usize {
        self.recover_and_reopen(<[PodcastDay]>::to_vec).0
    }

    /// Recovery that judges certain days again, whether anything differs or not; answers how many rows it says and
    /// how many days these were.
    fn recover_and_reopen(&mut self, reopened: impl FnOnce(&[PodcastDay]) -> Vec<PodcastDay>) -> (usize, usize) {
        let mut anew = downloads();
        let mut out = Changes::default();
        for days in self.book.all(Table::Days) {
            anew.know_days(&days).unwrap();
        }
        for day in anew.carrying() {
            anew.know_carries(day, &self.book.day(Table::Carries, day.day), &self.directory).unwrap();
        }
        let mut days: Vec<Day> = anew.open_days().iter().map(|day| day.day).collect();
        days.dedup();
        for day in days {
            for rows in self.book.day(Table::Requests, day) {
                anew.put_back(&kept(&rows), &self.directory).unwrap();
            }
        }
        let reopened = reopened(&anew.differing(&self.directory));
        anew.reopen(&reopened);
        for day in &reopened {
            for rows in self.book.day(Table::Requests, day.day) {
                anew.judge_back(&rows, &[*day], &self.directory, &mut out).unwrap();
            }
        }
        anew.settle_back(&self.directory, &mut out).unwrap();
        self.downloads = anew;
        (self.book.keep(out), reopened.len())
    }

    /// Recounts days, and those after them as far as something reaches them; answers how many
    /// rows that says, but for the notes that days are frozen.
    fn recount(&mut self, days: &[Day], log_time: Micros) -> usize {
        let mut said = 0;
        let mut done = std::collections::BTreeSet::new();
        for day in days {
            let mut day = PodcastDay { account: ACCOUNT, podcast: PODCAST, day: *day };
            while done.insert(day) {
                let before = PodcastDay { day: day.day.previous(), ..day };
                let frozen = self.downloads.is_frozen(&day);
                let mut carries_in = Vec::new();
                if self.downloads.is_frozen(&before) {
                    carries_in = self.book.day(Table::Carries, before.day);
                }
                let recount = Recount {
                    requests: self.book.day(Table::Requests, day.day),
                    carries_in,
                    carries_out: self.book.day(Table::Carries, day.day),
                };
                let mut out = Changes::default();
                let recounted = self.downloads.recount(day, (&recount, log_time), &self.directory, &mut out);
                let (_, follow) = recounted.unwrap();
                said += self.book.keep(out) - usize::from(frozen);
                if !follow {
                    break;
                }
                day = PodcastDay { day: day.day.next(), ..day };
            }
        }
        said
    }

    fn verdict(&self, offset: i64) -> String {
        self.book.verdicts(Table::Requests).remove(&offset).unwrap()
    }

    fn column(&self, offset: i64, name: &str) -> String {
        let rows = self.book.rows(Table::Requests);
        let row = rows.iter().find(|row| cell(row, "offset") == offset.to_string());
        cell(row.unwrap(), name)
    }
}

#[test]
fn the_three_windows_of_four_requests() {
    let mut bench = Bench::new();
    // Monday 22:00, Tuesday 03:00 and 22:15, Wednesday 23:15.
    let (monday, tuesday, wednesday) = (Day(MARCH.0 + 1), Day(MARCH.0 + 2), Day(MARCH.0 + 3));
    let times = [at(monday, 22.0), at(tuesday, 3.0), at(tuesday, 22.25), at(wednesday, 23.25)];
    for (offset, at) in (0..).zip(times) {
        bench.step(&[Request::new(offset, at, 1)]);
    }
    assert_eq!(bench.book.totals(), [3, 3, 2]);
    assert_eq!(bench.verdict(0), "counted 111");
    assert_eq!(bench.verdict(1), "counted 100", "another day, inside both rolling windows");
    assert_eq!(bench.verdict(2), "counted 010", "24 h after the first, 19 h after the last touch");
    assert_eq!(bench.verdict(3), "counted 111");
}

#[test]
fn ten_requests_of_six_agents_behind_one_address_are_six() {
    let mut bench = Bench::new();
    let requests: Vec<Request> = (0..10_u8)
        .map(|i| Request { household: 9, ..Request::new(i.into(), at(MARCH, f64::from(i)), i % 6) })
        .collect();
    bench.step(&requests);
    assert_eq!(bench.book.totals(), [6; 3]);
}

#[test]
fn recovery_revises_what_the_rules_would_not_say() {
    let mut bench = Bench::new();
    bench.step(&[Request::new(0, at(MARCH, 9.0), 1), Request::new(1, at(MARCH, 9.5), 1)]);
    bench.step(&[Request::new(2, at(MARCH.next(), 9.0), 2)]);
    let right = bench.verdict(1);
    let (account, slot, occurred_at) = (ACCOUNT, slot(), at(MARCH, 9.5));
    let wrong = super::write::Revised { account, slot, offset: 1, occurred_at, episode: None };
    let mut out = Changes::default();
    // What it takes the place of is a duplicate, as this one is.
    super::write::revision(&wrong, (Some(Judged::SAME_EVENT), Judged::COUNTED, &bench.directory), &mut out).unwrap();
    bench.book.keep(out);
    assert_ne!(bench.verdict(1), right);
    assert_eq!(bench.recover_and_reopen(<[PodcastDay]>::to_vec), (1, 1), "of the one day");
    assert_eq!(bench.verdict(1), right);
}

#[test]
fn half_now_and_half_an_hour_later_is_one() {
    let mut bench = Bench::new();
    let needed = LENGTH / 30;
    bench.step(&[Request::new(0, at(MARCH, 9.0), 1).range(0, needed / 2)]);
    assert_eq!(bench.verdict(0), "filtered below_threshold 000");
    bench.step(&[Request::new(1, at(MARCH, 9.5), 1).range(needed / 2, needed)]);
    assert_eq!(bench.book.totals(), [1; 3]);
    assert_eq!([bench.verdict(0), bench.verdict(1)], ["duplicate part_of 000", "counted 111"]);
    assert_eq!(bench.column(0, "duplicate_of"), "1");
}

#[test]
fn bytes_before_midnight_help_a_download_after_it() {
    let mut bench = Bench::new();
    let needed = LENGTH / 30;
    bench.step(&[Request::new(0, at(MARCH, 23.5), 1).range(0, needed / 2)]);
    bench.step(&[Request::new(1, at(MARCH.next(), 0.5), 1).range(needed / 2, needed)]);
    assert_eq!([bench.verdict(0), bench.verdict(1)], ["duplicate part_of 000", "counted 011"]);
    assert_eq!(bench.recover(), 0);
    assert_eq!(bench.recount(&[MARCH, MARCH.next()], at(MARCH.next(), 1.0)), 0);
}

#[test]
fn a_repeat_names_its_download_and_the_same_send_is_no_request() {
    let mut bench = Bench::new();
    bench.step(&[Request::new(0, at(MARCH, 1.0), 1), Request::new(1, at(MARCH, 2.0), 1)]);
    let again = Request { event_id: "request-0".into(), ..Request::new(2, at(MARCH, 30.0), 1) };
    bench.step(&[again]);
    assert_eq!([bench.verdict(1), bench.verdict(2)], ["duplicate same_download 000", "duplicate same_event_id 000"]);
    assert_eq!(bench.column(1, "duplicate_of"), "0");
    assert_eq!(bench.recover(), 0);
    let again = Request { event_id: "request-1".into(), ..Request::new(3, at(MARCH, 3.0), 5) };
    bench.step(&[again]);
    assert_eq!(bench.verdict(3), "duplicate same_event_id 000", "ids are remembered anew");
}

#[test]
fn what_is_filtered_says_why() {
    let mut bench = Bench::new();
    let new = |offset| Request::new(offset, at(MARCH, 1.0), u8::try_from(offset).unwrap());
    let elsewhere = (0..100).map(|n| AccountId::from_uuid(Uuid::from_u128(n))).find(|id| Slot::of(*id) != slot());
    let requests = [
        Request { account: elsewhere.unwrap(), ..new(0) },
        Request { podcast: Uuid::from_u128(7).to_string(), ..new(1) },
        Request { podcast: "not an id".into(), ..new(2) },
        Request { url: url(99), ..new(3) },
        Request { method: "HEAD", ..new(4) },
        Request { method: "-", ..new(5) },
        Request { status: 404, ..new(6) },
        new(7).range(0, 2),
        Request { user_agent: None, ..new(8) },
        Request { user_agent: Some("Mozilla/5.0 (compatible; Googlebot/2.1)".into()), ..new(9) },
        Request { podcast: "not an id".into(), event_id: "request-2".into(), ..new(10) },
    ];
    bench.step(&requests);
    let expected = [
        "rerouted",
        "unknown_podcast",
        "unknown_podcast",
        "not_an_episode",
        "method",
        "malformed_request",
        "status",
        "range_probe",
        "no_user_agent",
        "bot",
    ];
    for (offset, reason) in (0..).zip(expected) {
        assert_eq!(bench.verdict(offset), format!("filtered {reason} 000"), "{offset}");
    }
    assert_eq!(bench.verdict(10), "duplicate same_event_id 000");
    assert_eq!(bench.column(9, "app"), "Googlebot");
    assert_eq!(bench.recover(), 0);
}

#[test]
fn the_301st_pair_of_an_address_takes_back_300() {
    let mut bench = Bench::new();
    let pair = |n: i64| Request {
        url: url(u128::try_from(n % 3).unwrap()),
        household: 250,
        ..Request::new(n, at(MARCH, 1.0).plus(n), u8::try_from(n / 3).unwrap())
    };
    bench.step(&(0..300).map(pair).collect::<Vec<_>>());
    assert_eq!(bench.book.totals(), [300; 3]);
    bench.step(&[Request::new(900, at(MARCH, 2.0), 251)]);
    bench.step(&[pair(300)]);
    assert_eq!(bench.book.totals(), [1; 3], "another address is not concerned");
    assert_eq!(bench.book.revisions.len(), 300);
    assert_eq!(bench.verdict(0), "filtered rate 000");
    assert_eq!(bench.recover(), 0);
    bench.step(&[Request { safe_listed: true, ..pair(301) }]);
    assert_eq!(bench.book.totals(), [303; 3], "on the safe list after all: all come back");
    assert_eq!(bench.recount(&[MARCH], at(MARCH, 3.0)), 0);
}

#[test]
fn an_episode_that_appears_later_is_judged_again() {
    let mut bench = Bench::new();
    bench.step(&[Request { url: url(5), ..Request::new(0, at(MARCH, 1.0), 1) }]);
    assert!(bench.downloads.now_matched(&bench.directory).is_empty());
    bench.directory = directory_at(2, 6, &[]);
    assert_eq!(bench.downloads.now_matched(&bench.directory).len(), 1);
    bench.recount(&[MARCH], at(MARCH, 2.0));
    assert_eq!(bench.verdict(0), "counted 111");
    assert!(bench.downloads.now_matched(&bench.directory).is_empty());
    assert_eq!(bench.recover(), 0);
}

#[test]
fn a_podcast_connected_later_is_judged_again() {
    let mut bench = Bench::new();
    let connected = std::mem::take(&mut bench.directory);
    bench.step(&[Request::new(0, at(MARCH, 1.0), 1)]);
    assert_eq!(bench.verdict(0), "filtered unknown_podcast 000");
    bench.directory = connected;
    assert_eq!(bench.downloads.now_matched(&bench.directory).len(), 1);
    bench.recount(&[MARCH], at(MARCH, 2.0));
    assert_eq!(bench.verdict(0), "counted 111");
}

#[test]
fn the_month_before_is_found_even_when_its_key_comes_late() {
    let mut bench = Bench::new();
    let february = MARCH.previous();
    bench.step(&[Request::new(0, at(february, 23.0), 1)]);
    // The same listener under March's key, for which February's is not known yet.
    bench.step(&[Request::new(1, at(MARCH, 1.0), 2)]);
    assert_eq!(bench.verdict(1), "counted 111");
    let known = |offset, hours| Request { previous: Some(1), ..Request::new(offset, at(MARCH, hours), 2) };
    bench.step(&[Request { url: url(1), ..known(2, 2.0) }]);
    assert_eq!(bench.verdict(1), "counted 100", "the window of yesterday is open");
    assert_eq!(bench.recover(), 0);
    bench.step(&[known(3, 23.5)]);
    assert_eq!(bench.verdict(3), "counted 010", "24 h after the download, but not after the last touch");
}

#[test]
fn a_link_to_the_month_before_serves_every_episode_that_comes_with_it() {
    let mut bench = Bench::new();
    let before = MARCH.previous();
    bench.step(&[Request::new(0, at(before, 23.0), 2).range(0, 1_000)]);
    let linked = Request { previous: Some(2), url: url(1), ..Request::new(2, at(MARCH, 0.0), 12) };
    bench.step(&[Request::new(1, at(MARCH, 0.0), 12), linked]);
    assert_eq!(bench.verdict(0), "duplicate part_of 000");
    assert_eq!(bench.recover(), 0);
}

#[test]
fn a_frozen_day_takes_records_only_by_a_recount() {
    let mut bench = Bench::new();
    bench.step(&[Request::new(0, at(MARCH, 1.0), 1)]);
    let later = Day(MARCH.0 + 9);
    bench.step(&[Request::new(1, at(later, 1.0), 2)]);
    bench.freeze(at(later, 2.0));
    assert!(bench.downloads.is_frozen(&PodcastDay { account: ACCOUNT, podcast: PODCAST, day: MARCH }));
    let late =
        |offset, listener| Request { recorded: at(later, 3.0), ..Request::new(offset, at(MARCH, 5.0), listener) };
    bench.step(&[late(2, 3), late(3, 1), Request { event_id: "request-2".into(), ..late(4, 3) }]);
    assert_eq!([bench.verdict(2), bench.verdict(3)], ["late day_frozen 000"; 2]);
    assert!(bench.downloads.due(at(later, 3.0)).is_empty());
    assert_eq!(bench.downloads.due(at(later, 3.0).plus(MINUTE)).len(), 1);
    bench.recover();
    assert_eq!(bench.downloads.due(at(later, 3.0).plus(MINUTE)).len(), 1, "still due after a crash");
    bench.recount(&[MARCH], at(later, 4.0));
    assert_eq!(bench.verdict(2), "counted 111");
    assert_eq!(bench.verdict(3), "duplicate same_download 000");
    assert_eq!(bench.verdict(4), "duplicate same_event_id 000");
    assert!(bench.downloads.due(at(later, 5.0)).is_empty());
    assert_eq!(bench.recount(&[MARCH, later], at(later, 5.0)), 0);
}

#[test]
fn what_listeners_leave_over_midnight_names_the_same_ads_once() {
    let mut bench = Bench::new();
    let end = Day(MARCH.0 + 9);
    let ads = r#"[["ad-1", 0, 10], ["ad-2", 10, 20]]"#;
    let named = |offset, listener| Request { ads: Some(ads.into()), ..Request::new(offset, at(MARCH, 20.0), listener) };
    bench.step(&[named(0, 1), named(1, 2), Request::new(2, at(end, 1.0), 3)]);
    bench.freeze(at(end, 2.0));
    let held = |bench: &Bench| {
        let left = &bench.downloads.accounts[&ACCOUNT].podcasts[&PODCAST].carries[&MARCH];
        let ids: Vec<_> = left.values().flat_map(|carry| &carry.named).map(|ad| ad.bytes.placement.as_ptr()).collect();
        (ids.len(), ids.into_iter().collect::<std::collections::BTreeSet<_>>().len())
    };
    assert_eq!(held(&bench), (4, 2), "two ads of two listeners, for both rolling windows");
    bench.recover();
    assert_eq!(held(&bench), (4, 2));
}

#[test]
fn a_recount_goes_on_over_midnights_as_far_as_something_reaches() {
    let mut bench = Bench::new();
    // A request each day, an hour earlier: the windows of all hang on the first.
    let each_day = |n: i32| Request::new(n.into(), at(Day(MARCH.0 + n), 10.0).plus(-HOUR * i64::from(n)), 1);
    let end = Day(MARCH.0 + 15);
    let others = [Request::new(50, at(MARCH, 1.0), 9), Request::new(51, at(end, 1.0), 9)];
    let mut timely: Vec<Request> = (1..5).map(each_day).chain(others).collect();
    bench.step(&timely);
    bench.freeze(at(end, 2.0));
    assert_eq!(bench.book.totals(), [6, 4, 3]);
    let first = Request { recorded: at(end, 3.0), ..Request::new(60, at(MARCH, 10.0), 1) };
    bench.step(std::slice::from_ref(&first));
    bench.recount(&[MARCH], at(end, 4.0));
    let mut fresh = Bench::new();
    timely.push(first);
    fresh.step(&timely);
    assert_eq!(bench.book.verdicts(Table::Requests), fresh.book.verdicts(Table::Requests));
}

#[test]
fn a_day_frozen_before_the_day_before_it_came_is_recounted() {
    let mut bench = Bench::new();
    let (second, end) = (MARCH.next(), Day(MARCH.0 + 10));
    bench.step(&[Request::new(0, at(second, 1.0), 1), Request::new(1, at(end, 1.0), 2)]);
    bench.freeze(at(end, 2.0));
    // Only now comes the day before: open, since nothing of it was ever frozen.
    bench.step(&[Request { recorded: at(end, 3.0), ..Request::new(2, at(MARCH, 20.0), 1) }]);
    assert_eq!(bench.verdict(0), "counted 111");
    bench.freeze(at(end.next(), 4.0));
    let due = bench.downloads.due(at(end.next(), 5.0));
    assert_eq!(due.iter().map(|day| day.day).collect::<Vec<_>>(), [second]);
    bench.recount(&[second], at(end.next(), 5.0));
    assert_eq!(bench.verdict(0), "counted 100", "inside the windows that the day before left open");
}

#[test]
fn a_frozen_row_inside_one_window_keeps_that_it_helped_a_later_download_in_another() {
    let mut bench = Bench::new();
    let (second, third, end) = (MARCH.next(), Day(MARCH.0 + 2), Day(MARCH.0 + 12));
    bench.step(&[
        Request::new(0, at(MARCH, 23.0), 1),
        Request::new(1, at(second, 0.0), 1),
        // The first touch's window has just ended, the last touch's is open.
        Request::new(2, at(second, 23.0), 1).range(0, 1_000),
        Request::new(3, at(third, 0.0), 1),
        Request::new(4, at(end, 0.0), 2),
    ]);
    assert_eq!(bench.verdict(2), "duplicate part_of 000");
    bench.freeze(at(end.next(), 2.0));
    assert_eq!(bench.recount(&[MARCH, second, third], at(end.next(), 3.0)), 0);
    assert_eq!(bench.verdict(2), "duplicate part_of 000");
}
