//! The oracle itself, held to the vectors that the domain document prints.

use std::path::PathBuf;

use proptest::prelude::*;

use super::access_log::{date_of, requests, rfc3339, time_of};
use super::agents::{Agents, Kind, Networks};
use super::credit::{MODELS, round_half_even, split, weights};
use super::intervals::{roas, wilson};
use super::{DAY, Episode, Judgement, Oracle, Podcast, Request, SECOND, listeners, verdicts};

const HOUR: i64 = 3600 * SECOND;
/// 2013-12-02, a Monday.
const MONDAY: i64 = 16_041 * DAY;
const TABLE: &[(&str, Kind)] = &[("Robot/1", Kind::Bot), ("Library/1", Kind::BotLibrary)];

fn oracle() -> Oracle {
    let url = "https://media.example/episodes/01.mp3".to_owned();
    // 64 kbit/s for ten minutes: 60 seconds are 480,000 bytes.
    let episode = Episode { guid: "one".to_owned(), url, length: 4_800_000, duration: 600 };
    Oracle {
        podcasts: vec![Podcast { id: "p".to_owned(), episodes: vec![episode] }],
        agents: Agents::Table(TABLE),
        networks: Networks::of(["3.0.0.0,3.2.0.255,cloud,url"].into_iter()),
    }
}

fn request(at: i64, from: u64, bytes: u64) -> Request {
    Request {
        id: format!("{at}-{from}-{bytes}"),
        podcast: "p".to_owned(),
        url: "https://media.example/episodes/01.mp3".to_owned(),
        at,
        method: "GET".to_owned(),
        status: 206,
        range: Some(format!("bytes={from}-")),
        bytes_sent: Some(bytes),
        agent: Some("Player/1".to_owned()),
        address: "192.0.2.1".parse().ok(),
        ..Request::default()
    }
}

fn totals(judged: &[Judgement]) -> [usize; 3] {
    [0, 1, 2].map(|window: usize| judged.iter().filter(|judgement| judgement.counted[window]).count())
}

#[test]
fn the_three_windows_differ_as_printed() {
    let at = [22 * HOUR, DAY + 3 * HOUR, DAY + 22 * HOUR + HOUR / 4, 2 * DAY + 23 * HOUR + HOUR / 4];
    let requests: Vec<Request> = at.iter().map(|at| request(MONDAY + at, 0, 4_800_000)).collect();
    let judged = oracle().judge(&requests);
    assert_eq!(totals(&judged), [3, 3, 2]);
    assert_eq!(listeners(&requests, &judged, 0), 1);
}

#[test]
fn exactly_a_day_later_is_new() {
    for (later, expected) in [(DAY - 1, 1), (DAY, 2)] {
        let requests = [request(MONDAY + HOUR, 0, 480_000), request(MONDAY + HOUR + later, 0, 480_000)];
        assert_eq!(totals(&oracle().judge(&requests))[1], expected);
    }
}

#[test]
fn halves_make_one_download() {
    let requests = [request(MONDAY, 0, 240_000), request(MONDAY + HOUR / 2, 240_000, 240_000)];
    let judged = oracle().judge(&requests);
    assert_eq!(totals(&judged), [1, 1, 1]);
    assert_eq!((judged[0].reason, judged[0].duplicate_of), (Some("part_of"), Some(1)));
    let same = [request(MONDAY, 0, 240_000), request(MONDAY + HOUR / 2, 0, 240_000)];
    assert_eq!(totals(&oracle().judge(&same)), [0, 0, 0]);
}

#[test]
fn six_agents_behind_one_address_are_six() {
    let mut requests: Vec<Request> = (0..10).map(|n| request(MONDAY + n * HOUR, 0, 480_000)).collect();
    for (number, request) in requests.iter_mut().enumerate() {
        request.agent = Some(format!("Player/{}", number % 6));
    }
    assert_eq!(totals(&oracle().judge(&requests)), [6, 6, 6]);
}

#[test]
fn a_day_of_a_busy_address_is_taken_back() {
    let mut requests: Vec<Request> = (0..301).map(|n| request(MONDAY + n * SECOND, 0, 480_000)).collect();
    for (number, request) in requests.iter_mut().enumerate() {
        request.agent = Some(format!("Player/{number}"));
    }
    let (busy, quiet) = (oracle().judge(&requests), oracle().judge(&requests[..300]));
    assert_eq!(totals(&quiet)[0], 300);
    assert_eq!(verdicts(&busy), [(("filtered".to_owned(), "rate".to_owned()), 301)].into());
}

#[test]
fn the_first_filter_gives_the_reason() {
    type Change = fn(&mut Request);
    let cases: [(&str, Change); 11] = [
        ("malformed_request", |r| r.malformed = true),
        ("unknown_podcast", |r| r.podcast = "q".to_owned()),
        ("not_an_episode", |r| r.url = "/episodes/02.mp3".to_owned()),
        ("method", |r| r.method = "HEAD".to_owned()),
        ("status", |r| r.status = 304),
        ("range_probe", |r| r.range = Some("bytes=0-1".to_owned())),
        ("no_user_agent", |r| r.agent = None),
        ("watchos_duplicate", |r| r.agent = Some("atc/1.0 watchOS/6.0".to_owned())),
        ("bot", |r| r.agent = Some("Robot/1".to_owned())),
        ("bot_library", |r| r.agent = Some("Library/1".to_owned())),
        ("datacentre", |r| r.address = "3.1.2.3".parse().ok()),
    ];
    let mut all = request(MONDAY, 0, 480_000);
    for (reason, change) in cases.iter().rev() {
        let mut one = request(MONDAY, 0, 480_000);
        change(&mut one);
        change(&mut all);
        for changed in [one, all.clone()] {
            assert_eq!(oracle().judge(&[changed])[0].reason, Some(*reason));
        }
    }
}

#[test]
fn logs_are_read() {
    let text = "10.0.0.1 - - [03/Dec/2013:23:30:00 -0100] \"GET /episodes/01.mp3 HTTP/1.1\" 206 480000 \"-\" \"A \\\"b\\\"\"\n";
    let read = requests("p", text);
    assert_eq!(rfc3339(read[0].at), "2013-12-04T00:30:00.000000Z");
    assert_eq!(read[0].agent.as_deref(), Some("A \"b\""));
    assert_eq!(oracle().judge(&read)[0].verdict, "counted");
    assert_eq!(time_of("29/Feb/2024:00:00:00 +0000").map(|at| date_of(at / DAY)).as_deref(), Some("2024-02-29"));
    assert_eq!(date_of(MONDAY / DAY), "2013-12-02");
}

#[test]
fn intervals_are_as_printed() {
    let near = |(low, high): (f64, f64), expected: (f64, f64)| {
        assert!((low - expected.0).abs() < 5e-5 && (high - expected.1).abs() < 5e-5, "{low} {high}");
    };
    near(wilson(5.0, 10.0), (0.2366, 0.7634));
    near(wilson(0.0, 10.0), (0.0, 0.2775));
    near(wilson(23.0, 1000.0), (0.01537, 0.03428));
    near(roas(&[100.0], 50.0), (0.0, 5.91993));
}

#[test]
fn credit_is_divided() {
    let week = 7 * DAY;
    assert_eq!(weights("first", &[1, 2, 3]), [1, 0, 0]);
    assert_eq!(weights("last", &[1, 2, 3]), [0, 0, 1]);
    assert_eq!(split(100, &weights("equal", &[1, 2, 3])), [34, 33, 33]);
    let decay = weights("time_decay", &[0, week, 2 * week]);
    assert_eq!((decay[0] * 4, decay[1] * 2), (decay[2], decay[2]));
    assert_eq!((round_half_even(5, 2), round_half_even(7, 2), round_half_even(-5, 2)), (2, 4, -2));
}

proptest! {
    #[test]
    fn every_cent_is_given_once(amount in -1_000_000_i64..1_000_000, times in prop::collection::vec(0..30 * DAY, 1..8)) {
        let mut times = times;
        times.sort_unstable();
        for model in MODELS {
            prop_assert_eq!(split(amount, &weights(model, &times)).iter().sum::<i64>(), amount);
        }
    }

    #[test]
    fn order_of_arrival_does_not_matter(order in Just((0..12_usize).collect::<Vec<_>>()).prop_shuffle()) {
        let at = |n: usize| MONDAY + i64::try_from(n).expect("small") * 5 * HOUR;
        let sorted: Vec<Request> = (0..12).map(|n| request(at(n), 0, if n % 3 == 0 { 480_000 } else { 200_000 })).collect();
        let shuffled: Vec<Request> = order.iter().map(|n| sorted[*n].clone()).collect();
        let (judged, again) = (oracle().judge(&sorted), oracle().judge(&shuffled));
        for (place, original) in order.iter().enumerate() {
            prop_assert_eq!(again[place].verdict, judged[*original].verdict);
            prop_assert_eq!(again[place].counted, judged[*original].counted);
        }
    }
}

#[test]
fn every_published_example_classifies_as_published() {
    let Some(folder) = std::env::var_os("CASTBACK_CORPUS").map(|corpus| PathBuf::from(corpus).join("user-agents"))
    else {
        println!("CASTBACK_CORPUS is not set: the published examples were not read");
        return;
    };
    let agents = Agents::read(&folder);
    let text = std::fs::read_to_string(folder.join("opawg-v2_build_bots.examples.json")).expect("the examples");
    let examples: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    for entry in examples["entries"].as_array().expect("entries") {
        for example in entry["examples"].as_array().expect("examples") {
            assert_eq!(agents.kind(example.as_str().expect("text")), Kind::Bot, "{example}");
        }
    }
}

#[test]
fn the_made_up_agents_are_what_the_lists_say() {
    let Some(folder) = std::env::var_os("CASTBACK_CORPUS").map(|corpus| PathBuf::from(corpus).join("user-agents"))
    else {
        println!("CASTBACK_CORPUS is not set: the published lists were not read");
        return;
    };
    let agents = Agents::read(&folder);
    for (agent, kind) in crate::support::traffic::AGENTS {
        assert_eq!(agents.kind(agent), *kind, "{agent}");
    }
    let networks = Networks::read(&folder.join("ipcat_datacenters_2026-08-22.csv"));
    assert!(networks.is_datacentre("3.3.2.77".parse().expect("an address")));
    for listener in ["198.51.100.1", "2001:db8::1", "192.0.2.1"] {
        assert!(!networks.is_datacentre(listener.parse().expect("an address")), "{listener}");
    }
}
