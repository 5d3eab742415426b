use castback_schemas::Micros;
use castback_schemas::campaign::Position;
use castback_schemas::time::HOUR;
use proptest::prelude::*;

use super::*;
use crate::ranges::Bytes;
use crate::window::{MAX_NAMED, NamedBytes, Need, evaluate};

const FILE: u64 = 1000;

fn baked_in(bytes: Option<(u64, u64)>, seconds: Option<(u32, u32)>) -> Placement {
    Placement {
        id: String::new(),
        position: Position::MidRoll,
        episode_guids: None,
        dynamic: false,
        start_seconds: seconds.map(|(start, _)| start),
        duration_seconds: seconds.map(|(_, length)| length),
        from_byte: bytes.map(|(from, _)| from),
        to_byte: bytes.map(|(_, to)| to),
    }
}

fn dynamic() -> Placement {
    Placement { dynamic: true, ..baked_in(Some((0, 10)), None) }
}

/// A request at an hour since the epoch; a download needs 100 of 1000 bytes, or 100 s of sound.
fn touch(hour: i64, start: u64, end: u64) -> Touch {
    let row = hour.unsigned_abs();
    Touch { at: Micros(hour * HOUR), row, bytes: Bytes::Range { start, end }, need: Need::bytes(100), file: FILE }
}

/// (touch, placement, windows, position unknown) of one day after another; touches count on.
fn run(
    days: &[&[Touch]],
    placements: &[Placement],
    named: &[(usize, NamedAd)],
) -> Vec<(usize, usize, [bool; 3], bool)> {
    let with_id = |(id, ad): (usize, &Placement)| Placement { id: id.to_string(), ..ad.clone() };
    let placements: Vec<Placement> = placements.iter().enumerate().map(with_id).collect();
    let placements: Vec<&Placement> = placements.iter().collect();
    let episode = EpisodeFacts { length: Some(FILE), duration_s: Some(1000), header_bytes: 0 };
    let ads = Ads { placements: &placements, episode };
    let (mut carry, mut all, mut before) = (Carry::default(), Vec::new(), 0);
    for touches in days {
        let mut outcomes = Vec::new();
        let of = |i: usize| named.iter().filter(move |(touch, _)| *touch == before + i).map(|(_, ad)| *ad);
        let bytes = |ad: NamedAd| NamedBytes { placement: ad.placement.to_string().into(), from: ad.from, to: ad.to };
        let at = |touch: &Touch| touches.iter().position(|other| other == touch).unwrap();
        let next = evaluate(&carry, touches, |touch| of(at(touch)).map(bytes).collect(), &mut outcomes);
        let day = JudgedDay { carry: &carry, touches, outcomes: &outcomes };
        for found in deliveries(&day, &ads, of) {
            all.push((before + found.touch, found.placement, found.windows, found.position_unknown));
        }
        before += touches.len();
        carry = next;
    }
    all
}

const ALL: [bool; 3] = [true; 3];
const ROLLING: [bool; 3] = [false, true, true];

fn named(placement: usize, from: u64, to: u64) -> NamedAd {
    NamedAd { placement, from, to }
}

#[test]
fn an_ad_is_delivered_with_the_request_that_completes_its_bytes() {
    let ads = [baked_in(Some((0, 50)), None), baked_in(Some((150, 250)), None), baked_in(Some((900, 1000)), None)];
    let touches = [touch(1, 0, 60), touch(2, 60, 200), touch(3, 200, 300), touch(4, 0, 300)];
    assert_eq!(run(&[&touches], &ads, &[]), [(1, 0, ALL, false), (2, 1, ALL, false)]);
}

#[test]
fn without_a_download_nothing_is_delivered() {
    assert_eq!(run(&[&[touch(1, 0, 99)]], &[baked_in(Some((0, 50)), None)], &[]), []);
}

#[test]
fn start_and_duration_place_an_ad_by_the_bitrate() {
    let ad = [baked_in(None, Some((200, 30)))];
    assert_eq!(run(&[&[touch(1, 0, 229)]], &ad, &[]), []);
    assert_eq!(run(&[&[touch(1, 200, 301)]], &ad, &[]), [(0, 0, ALL, false)]);
}

#[test]
fn an_ad_of_unknown_position_needs_the_whole_file() {
    let ad = [baked_in(None, None), baked_in(None, Some((5000, 30)))];
    assert_eq!(run(&[&[touch(1, 0, 999)]], &ad, &[]), []);
    assert_eq!(run(&[&[touch(1, 0, 999), touch(2, 500, 1000)]], &ad, &[]), [(1, 0, ALL, true), (1, 1, ALL, true)]);
}

#[test]
fn a_dynamic_ad_is_delivered_only_where_it_is_named() {
    let ad = [dynamic()];
    let named = |to| named(0, 100, to);
    assert_eq!(run(&[&[touch(1, 0, 1000)]], &ad, &[]), []);
    assert_eq!(run(&[&[touch(1, 0, 150)]], &ad, &[(0, named(150))]), [(0, 0, ALL, false)]);
    assert_eq!(run(&[&[touch(1, 0, 150)]], &ad, &[(0, named(151))]), [], "all of its bytes");
    let split = [touch(1, 0, 60), touch(2, 60, 200)];
    assert_eq!(run(&[&split], &ad, &[(0, named(200))]), [(1, 0, ALL, false)], "a helping request may name it");
}

#[test]
fn the_bytes_that_a_request_names_go_before_the_placements() {
    assert_eq!(run(&[&[touch(1, 0, 300)]], &[baked_in(Some((0, 10)), None)], &[(0, named(0, 500, 600))]), []);
}

#[test]
fn over_midnight_a_window_delivers_once() {
    let ads = [baked_in(Some((0, 50)), None), baked_in(Some((150, 250)), None)];
    let (evening, morning) = ([touch(22, 0, 150)], [touch(25, 0, 300)]);
    assert_eq!(
        run(&[&evening, &morning], &ads, &[]),
        [(0, 0, ALL, false), (1, 0, [true, false, false], false), (1, 1, ALL, false)],
    );
    let halves = (&[touch(22, 0, 60)][..], &[touch(25, 60, 120)][..]);
    assert_eq!(run(&[halves.0, halves.1], &ads, &[]), [(1, 0, ROLLING, false)]);
}

#[test]
fn an_ad_named_before_midnight_is_delivered_with_the_bytes_that_come_after_it() {
    let told = [(0, named(0, 100, 200))];
    let run = |evening: Touch, days: &[&[Touch]]| {
        let evening = [evening];
        let mut all = vec![&evening[..]];
        all.extend(days);
        run(&all, &[dynamic()], &told)
    };
    assert_eq!(run(touch(22, 0, 150), &[&[touch(25, 150, 300)]]), [(1, 0, ROLLING, false)], "inside the window");
    assert_eq!(run(touch(22, 0, 60), &[&[touch(25, 60, 300)]]), [(1, 0, ROLLING, false)], "that it helped to open");
    assert_eq!(run(touch(1, 0, 60), &[&[touch(25, 60, 300)]]), [], "24 h later it helps no more");
    let days = [&[touch(40, 0, 10)][..], &[touch(50, 150, 300)][..]];
    assert_eq!(run(touch(22, 0, 150), &days), [(2, 0, [false, false, true], false)], "a day on, the last touch's only");
}

#[test]
fn an_ad_named_on_both_sides_of_midnight_is_delivered_once() {
    let (evening, ad) = ([touch(22, 0, 300)], named(0, 100, 200));
    let once = [(0, 0, ALL, false), (1, 0, [true, false, false], false)];
    assert_eq!(run(&[&evening, &[touch(25, 0, 300)]], &[dynamic()], &[(0, ad), (1, ad)]), once);
    // Of other bytes the second time: it was delivered all the same.
    assert_eq!(run(&[&evening, &[touch(25, 0, 300)]], &[dynamic()], &[(0, ad), (1, named(0, 0, 50))]), once);
    let late = run(&[&evening, &[touch(25, 0, 50)]], &[dynamic()], &[(1, ad)]);
    assert_eq!(late, [(1, 0, ROLLING, false)], "nobody had named it before");
}

#[test]
fn over_midnight_a_baked_in_ad_lies_where_its_requests_say() {
    let ads = [baked_in(Some((0, 50)), None)];
    let days = (&[touch(22, 0, 120)][..], &[touch(25, 120, 300)][..]);
    assert_eq!(run(&[days.0, days.1], &ads, &[(0, named(0, 100, 200))]), [(1, 0, ROLLING, false)]);
    // Delivered where its placement says, before a request named it elsewhere.
    let evening = [touch(22, 0, 120), touch(23, 0, 10)];
    assert_eq!(run(&[&evening, days.1], &ads, &[(1, named(0, 100, 200))]), [(0, 0, ALL, false)]);
}

#[test]
fn a_download_that_has_forgotten_ads_delivers_no_more_after_midnight() {
    let ads = [baked_in(Some((0, 50)), None)];
    let (evening, day) = ([touch(22, 100, 300), touch(23, 100, 110)], [touch(25, 0, 700), touch(47, 0, 700)]);
    let run = |again: Option<(usize, NamedAd)>| {
        let others = (0..MAX_NAMED as u64).map(|number| (1, named(9, number, number + 1)));
        let told: Vec<_> = [(0, named(0, 100, 200))].into_iter().chain(again).chain(others).collect();
        run(&[&evening, &day], &ads, &told)
    };
    let once = [
        (0, 0, ALL, false),
        (2, 0, [true, false, false], false),
        // The first touch's next download.
        (3, 0, [false, true, false], false),
    ];
    assert_eq!(run(None), once, "where it was delivered is forgotten, and its placement says otherwise");
    assert_eq!(run(Some((1, named(0, 500, 600)))), once, "a request that is remembered says otherwise");
}

#[test]
fn a_download_delivers_no_more_in_the_window_that_has_forgotten_ads() {
    let (evening, morning) = ([touch(22, 0, 150)], [touch(25, 0, 300)]);
    let placement = dynamic();
    let ads = Ads { placements: &[&placement], episode: EpisodeFacts::default() };
    let mut outcomes = Vec::new();
    let mut carry = evaluate(&Carry::default(), &evening, |_| Vec::new(), &mut outcomes);
    carry.forgotten = [false, false, true];
    evaluate(&carry, &morning, |_| Vec::new(), &mut outcomes);
    let day = JudgedDay { carry: &carry, touches: &morning, outcomes: &outcomes };
    let windows = |from, to| -> Vec<_> {
        deliveries(&day, &ads, |_| [named(0, from, to)]).into_iter().map(|found| found.windows).collect()
    };
    assert_eq!(windows(0, 50), [[true, true, false]]);
    assert_eq!(windows(100, 200), [[true, true, false]], "it may have been delivered in other bytes");
}

#[test]
fn the_next_download_of_a_day_delivers_anew() {
    let ads = [baked_in(Some((0, 50)), None), baked_in(Some((150, 250)), None)];
    let day = [touch(34, 150, 250), touch(47, 0, 300)];
    assert_eq!(
        run(&[&[touch(22, 0, 150)], &day], &ads, &[])[1..],
        [(1, 1, ALL, false), (2, 0, [true, true, false], false), (2, 1, [false, true, false], false)],
        "the last touch's window is still open",
    );
}

#[test]
fn without_a_size_a_200_holds_everything_of_unknown_position() {
    let placement = baked_in(None, None);
    let ads = Ads { placements: &[&placement], episode: EpisodeFacts::default() };
    let touches = [Touch { need: Need::WHOLE, file: REACH, ..touch(1, 0, 5) }];
    let mut outcomes = Vec::new();
    evaluate(&Carry::default(), &touches, |_| Vec::new(), &mut outcomes);
    let day = JudgedDay { carry: &Carry::default(), touches: &touches, outcomes: &outcomes };
    assert_eq!(deliveries(&day, &ads, |_| None).len(), 1);
}

#[test]
fn the_whole_file_is_as_long_as_its_requests_say() {
    let of = |file, touch: Touch| Touch { file, ..touch };
    let anywhere = [baked_in(None, None)];
    let shorter = [of(800, touch(1, 0, 500)), of(800, touch(2, 500, 800))];
    assert_eq!(run(&[&shorter], &anywhere, &[]), [(1, 0, ALL, true)], "the feed says 1000");
    let longer = [of(1200, touch(1, 0, 1000)), of(1200, touch(2, 1000, 1200))];
    assert_eq!(run(&[&longer], &anywhere, &[]), [(1, 0, ALL, true)]);
    // Over midnight too; and whoever knows a size speaks for those who do not.
    let days = [of(REACH, touch(22, 0, 500)), of(800, touch(30, 500, 800))];
    assert_eq!(run(&[&days[..1], &days[1..]], &anywhere, &[]), [(1, 0, ROLLING, true)]);
}

/// A request: its first byte, its length, and the dynamic ad that it names.
type Piece = (u64, u64, Option<(usize, u64, u64)>);

/// Requests of one day, by the hour.
type Pieces = std::collections::BTreeMap<i64, Piece>;

fn pieces() -> impl Strategy<Value = Pieces> {
    let ad = (0..2_usize, 0..20_u64, 1..6_u64).prop_map(|(ad, from, long)| (ad, from * 10, (from + long) * 10));
    let piece = (0..20_u64, 1..20_u64, prop::option::of(ad)).prop_map(|(from, long, ad)| (from * 10, long * 10, ad));
    prop::collection::btree_map(0..20_i64, piece, 1..10)
}

/// What the rolling windows deliver, if these begin so many hours into a day.
fn rolling(pieces: &Pieces, later: i64) -> Vec<(usize, usize, [bool; 2])> {
    let ads = [dynamic(), dynamic(), baked_in(Some((0, 50)), None), baked_in(Some((150, 250)), None)];
    let touches: Vec<Touch> =
        pieces.iter().map(|(hour, (from, long, _))| touch(hour + later, *from, from + long)).collect();
    let ad = |(touch, (_, _, ad)): (usize, &Piece)| ad.map(|(ad, from, to)| (touch, named(ad, from, to)));
    let told: Vec<(usize, NamedAd)> = pieces.values().enumerate().filter_map(ad).collect();
    let days: Vec<&[Touch]> = touches.chunk_by(|a, b| a.at.day() == b.at.day()).collect();
    let found = run(&days, &ads, &told).into_iter();
    let found = found.map(|(touch, placement, [_, first, last], _)| (touch, placement, [first, last]));
    found.filter(|(_, _, windows)| windows.contains(&true)).collect()
}

proptest! {
    #[test]
    fn to_a_rolling_window_midnight_is_of_no_account(pieces in pieces(), later in 4..24_i64) {
        prop_assert_eq!(rolling(&pieces, later), rolling(&pieces, 0));
    }

    /// A download that has all of the file has delivered every baked-in ad, each once.
    #[test]
    fn the_whole_file_delivers_each_ad_once(cuts in prop::collection::btree_set(1_u64..FILE, 0..6), ads in prop::collection::vec((0_u64..FILE, 1_u64..200), 1..5)) {
        let ads: Vec<_> = ads.into_iter().map(|(from, long)| baked_in(Some((from, (from + long).min(FILE))), None)).collect();
        let edges: Vec<u64> = std::iter::once(0).chain(cuts).chain([FILE]).collect();
        let touches: Vec<_> = edges.windows(2).zip(1..).map(|(pair, hour)| touch(hour, pair[0], pair[1])).collect();
        let mut found: Vec<_> = run(&[&touches], &ads, &[]).into_iter().map(|(_, placement, windows, _)| (placement, windows)).collect();
        found.sort_unstable();
        prop_assert_eq!(found, (0..ads.len()).map(|placement| (placement, ALL)).collect::<Vec<_>>());
    }
}
