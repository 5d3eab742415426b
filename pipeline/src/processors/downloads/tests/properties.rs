//! What is said is a function of the set of requests: whatever their order, batches, crashes,
//! freezes and recounts.

use std::collections::{BTreeMap, BTreeSet};

use castback_schemas::table::Table;
use castback_schemas::time::{DAY, SECOND};
use castback_schemas::{Day, Micros};
use proptest::prelude::*;
use proptest::sample::Index;

use super::{Bench, PodcastDay};
use crate::samples::{LENGTH, MARCH, Request, directory_at, url};

/// The days that requests lie in: the last two of February and the first two of March.
const DAYS: i32 = 4;

fn first_day() -> Day {
    Day(MARCH.0 - 2)
}

/// What decides about a request.
#[derive(Debug, Clone)]
struct Shape {
    second: i64,
    listener: u8,
    episode: u128,
    /// In thirtieths of the file: a download needs one.
    range: Option<(i64, i64)>,
    same_id_as: Option<Index>,
    safe_listed: bool,
    unlinked: bool,
    /// Whether it names an ad, at the start of the file or in its middle.
    names: Option<bool>,
}

prop_compose! {
    fn shape()(
        second in prop_oneof![
            3 => 0..i64::from(DAYS) * 86_400,
            // Near a midnight, and at few instants, so that ties and open windows are common.
            2 => (1..DAYS, -3..3_i64).prop_map(|(day, hours)| i64::from(day) * 86_400 + hours * 3_600),
        ],
        listener in 0..3_u8,
        episode in prop_oneof![4 => Just(0_u128), 1 => 1..3_u128, 1 => Just(7)],
        range in prop::option::of((0..120_i64, 1..60_i64).prop_map(|(from, long)| (from, (from + long).min(120)))),
        same_id_as in prop::option::weighted(0.1, any::<Index>()),
        safe_listed in prop::bool::weighted(0.05),
        unlinked in prop::bool::weighted(0.3),
        names in prop::option::of(any::<bool>()),
    ) -> Shape {
        Shape { second, listener, episode, range, same_id_as, safe_listed, unlinked, names }
    }
}

/// Listener 3 and above is a listener below 3 under March's key.
fn requests(shapes: &[Shape], ids: bool) -> Vec<Request> {
    let quarter = LENGTH / 30 / 4;
    let mut requests: Vec<Request> = Vec::new();
    for (offset, shape) in (0..).zip(shapes) {
        let at = first_day().start().plus(shape.second * SECOND);
        let of_march = at.day() >= MARCH;
        let listener = shape.listener + if of_march { 10 } else { 0 };
        let mut request = Request::new(offset, at, listener);
        request.recorded = MARCH.next().next().start();
        request.url = url(shape.episode);
        request.safe_listed = shape.safe_listed;
        request.previous = (at.day() == MARCH && !shape.unlinked).then_some(shape.listener);
        request.ads = shape.names.map(|start| format!("[[\"ad\",{0},{0}9]]", if start { 1 } else { 400 }));
        if let Some((from, to)) = shape.range {
            request = request.range(from * quarter, to * quarter);
        }
        if let Some(index) = shape.same_id_as.filter(|_| ids && offset > 0) {
            request.event_id = requests[index.index(requests.len())].event_id.clone();
        }
        requests.push(request);
    }
    requests
}

fn batches(requests: &[Request], cuts: &[Index]) -> Vec<Vec<Request>> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(requests.len() + 1)).collect();
    places.extend([0, requests.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| requests[pair[0]..pair[1]].to_vec()).filter(|batch| !batch.is_empty()).collect()
}

fn live(requests: &[Request], cuts: &[Index]) -> Bench {
    let mut bench = Bench::new();
    for batch in batches(requests, cuts) {
        bench.step(&batch);
    }
    bench
}

/// Verdicts by event id.
fn said(bench: &Bench, requests: &[Request]) -> BTreeMap<String, String> {
    let verdicts = bench.book.verdicts(Table::Requests);
    requests.iter().map(|request| (request.event_id.clone(), verdicts[&request.offset].clone())).collect()
}

fn shapes() -> impl Strategy<Value = Vec<Shape>> {
    prop::collection::vec(shape(), 1..40)
}

fn cuts() -> impl Strategy<Value = Vec<Index>> {
    prop::collection::vec(any::<Index>(), 0..6)
}

/// A time at which all is settled, and every day of the requests is past its lateness.
fn after_all() -> Micros {
    first_day().start().plus(20 * DAY)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn batches_are_of_no_account(shapes in shapes(), some in cuts(), others in cuts()) {
        let requests = requests(&shapes, true);
        let (one, other) = (live(&requests, &some), live(&requests, &others));
        prop_assert_eq!(one.book.verdicts(Table::Requests), other.book.verdicts(Table::Requests));
    }

    #[test]
    fn order_is_of_no_account(shapes in shapes(), order in prop::collection::vec(any::<u32>(), 40), cuts in cuts()) {
        let mut straight = requests(&shapes, false);
        // No two at one instant: of those the log's order decides which of them it is.
        let mut instants = BTreeSet::new();
        for request in &mut straight {
            while !instants.insert((request.at, request.listener, request.url.clone())) {
                request.at = request.at.plus(1);
            }
        }
        let mut shuffled: Vec<(u32, Request)> = order.into_iter().zip(straight.clone()).collect();
        shuffled.sort_by_key(|(place, _)| *place);
        let shuffled: Vec<Request> =
            (0..).zip(shuffled).map(|(offset, (_, request))| Request { offset, ..request }).collect();
        let (one, other) = (live(&straight, &[]), live(&shuffled, &cuts));
        prop_assert_eq!(one.book.totals(), other.book.totals());
        prop_assert_eq!(said(&one, &straight), said(&other, &shuffled));
    }

    #[test]
    fn a_whole_file_may_come_in_pieces(at in 0..86_000_i64, cuts in prop::collection::vec(1..LENGTH, 0..6), order: u64) {
        let start = MARCH.start().plus(at * SECOND);
        let mut places = cuts;
        places.extend([0, LENGTH]);
        places.sort_unstable();
        places.dedup();
        // Probes of two bytes are none of its pieces.
        let mut pieces: Vec<(i64, i64)> = places.windows(2).map(|pair| (pair[0], pair[1])).collect();
        prop_assume!(pieces.iter().all(|(from, to)| to - from > 2));
        let turn = usize::try_from(order).unwrap_or(0) % pieces.len();
        pieces.rotate_left(turn);
        let parts: Vec<Request> = (0..)
            .zip(&pieces)
            .map(|(offset, (from, to))| Request::new(offset, start.plus(offset), 1).range(*from, *to))
            .collect();
        let bench = live(&parts, &[]);
        prop_assert_eq!(bench.book.totals(), [1; 3]);
        let late = bench.book.verdicts(Table::Requests).into_values().filter(|verdict| verdict.contains("below")).count();
        prop_assert_eq!(late, 0);
    }

    #[test]
    fn recovery_and_recount_say_nothing_new(shapes in shapes(), cuts in cuts(), crash in any::<Index>()) {
        let requests = requests(&shapes, true);
        let mut bench = Bench::new();
        let batches = batches(&requests, &cuts);
        let crash = crash.index(batches.len());
        for (index, batch) in batches.iter().enumerate() {
            bench.step(batch);
            if index == crash {
                prop_assert_eq!(bench.recover_and_reopen(<[PodcastDay]>::to_vec), (0, 0));
                let all = bench.downloads.open_days();
                prop_assert_eq!(bench.recover_and_reopen(|_| all.clone()), (0, all.len()), "judged again, row by row");
            }
        }
        prop_assert_eq!(bench.book.verdicts(Table::Requests), live(&requests, &[]).book.verdicts(Table::Requests));
        prop_assert_eq!(bench.recover(), 0);
        let days = bench.book.days();
        prop_assert_eq!(bench.recount(&days, after_all()), 0);
        prop_assert_eq!(bench.recover(), 0, "recounts leave the state as it was");
    }

    #[test]
    fn an_episode_may_appear_at_any_moment(shapes in shapes(), cuts in cuts(), appears in any::<Index>()) {
        let requests = requests(&shapes, true);
        let mut bench = Bench::new();
        let batches = batches(&requests, &cuts);
        let appears = appears.index(batches.len());
        for (index, batch) in batches.iter().enumerate() {
            if index == appears {
                bench.directory = directory_at(2, 8, &[]);
                let days: Vec<Day> = bench.downloads.now_matched(&bench.directory).iter().map(|day| day.day).collect();
                bench.recount(&days, after_all());
            }
            bench.step(batch);
        }
        let mut fresh = Bench::new();
        fresh.directory = directory_at(2, 8, &[]);
        fresh.step(&requests);
        prop_assert_eq!(bench.book.verdicts(Table::Requests), fresh.book.verdicts(Table::Requests));
        prop_assert_eq!(bench.recover(), 0);
    }

    #[test]
    fn late_records_end_where_timely_ones_would(shapes in shapes(), late in shapes(), cuts in cuts(), crash: bool) {
        let timely = requests(&shapes, false);
        let mut bench = live(&timely, &cuts);
        // Something of today lets the days freeze.
        let today = Request { recorded: after_all(), ..Request::new(900, after_all(), 99) };
        bench.step(std::slice::from_ref(&today));
        bench.freeze(after_all().plus(DAY));
        prop_assert_eq!(bench.downloads.open_days().len(), 1);
        if crash {
            prop_assert_eq!(bench.recover(), 0);
        }
        let late: Vec<Request> = requests(&late, false)
            .into_iter()
            .map(|r| Request {
                offset: 1_000 + r.offset, event_id: format!("late-{}", r.offset), recorded: after_all().plus(DAY), ..r
            })
            .collect();
        bench.step(&late);
        // Days that nobody had seen open, as if they were not old; they freeze in turn.
        bench.freeze(after_all().plus(3 * DAY));
        let mut now = after_all().plus(4 * DAY);
        for _ in 0..3 {
            let due: Vec<Day> = bench.downloads.due(now).iter().map(|day| day.day).collect();
            bench.recount(&due, now);
            now = now.plus(DAY);
        }
        prop_assert!(bench.downloads.due(now).is_empty());
        let mut fresh = Bench::new();
        let all: Vec<Request> = timely.iter().chain([&today]).chain(&late).cloned().collect();
        fresh.step(&all);
        prop_assert_eq!(bench.book.totals(), fresh.book.totals());
        let (ours, theirs) = (bench.book.verdicts(Table::Requests), fresh.book.verdicts(Table::Requests));
        for (offset, verdict) in &ours {
            // A frozen day keeps its verdicts: what helped a later day may not be said to have.
            let helped = |text: &str| text.contains("part_of") || text.contains("below") || text.contains("same_download");
            prop_assert!(*verdict == theirs[offset] || helped(verdict) && theirs[offset].contains("part_of"),
                "{}: {} but {}", offset, verdict, theirs[offset]);
        }
        prop_assert_eq!(bench.recover(), 0);
        let days = bench.book.days();
        prop_assert_eq!(bench.recount(&days, now), 0);
    }
}
