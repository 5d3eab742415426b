//! Access logs as text: every line one verdict, whatever is posted again, however old the log.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::oracle::access_log::requests;
use crate::oracle::agents::{Agents, Networks};
use crate::oracle::{DAY, Episode, Judgement, Oracle, Podcast, Request, SECOND, listeners, verdicts};
use crate::support::check::{compare_downloads, compare_verdicts};
use crate::support::client::Account;
use crate::support::feed_host::{FeedHost, rss};
use crate::support::server::Server;
use crate::support::traffic::{Traffic, episodes, oracle, to_json, to_line};
use crate::support::{clock, corpus, seed};

/// 64 kbit/s.
const BYTES_PER_SECOND: u64 = 8_000;

/// The two recorded days.
const DAYS: [&str; 2] = ["access-2013-12-03.log", "access-2013-12-04.log"];

/// The feed of a log: its files, as long as the longest answer.
fn feed_of(log: &str) -> Vec<Episode> {
    let mut longest: BTreeMap<String, u64> = BTreeMap::new();
    for request in requests("", log) {
        if request.url.starts_with("/episodes/") && !request.malformed {
            let length = longest.entry(request.url).or_default();
            *length = (*length).max(request.bytes_sent.unwrap_or(0));
        }
    }
    let episode = |(path, length): (String, u64)| Episode {
        guid: path.trim_start_matches("/episodes/").to_owned(),
        url: format!("https://media.example{path}"),
        length,
        duration: length / BYTES_PER_SECOND,
    };
    longest.into_iter().map(episode).collect()
}

/// The log's oracle with the published lists of the corpus.
fn log_oracle(podcast: &str, log: &str, lists: &std::path::Path) -> Oracle {
    Oracle {
        podcasts: vec![Podcast { id: podcast.to_owned(), episodes: feed_of(log) }],
        agents: Agents::read(lists),
        networks: Networks::read(&lists.join("ipcat_datacenters_2026-08-22.csv")),
    }
}

/// Ids in the order of the log, repeats apart: the n-th is that of the n-th line.
async fn ids_in_order(account: &Account) -> Vec<String> {
    let rows = account
        .sql(
            "SELECT event_id FROM ledger WHERE topic = 'listener-requests' \
             AND (reason IS NULL OR reason <> 'same_event_id') ORDER BY \"offset\"",
        )
        .await;
    rows.iter().map(|row| row[0].as_str().expect("an id").to_owned()).collect()
}

/// Pieces that overlap; no cut is inside a run of equal lines.
fn overlapping_pieces(log: &str) -> Vec<String> {
    let lines: Vec<&str> = log.lines().collect();
    let second = |line: &str| line.split(['[', ']']).nth(1).unwrap_or_default().to_owned();
    let cut = |mut at: usize| {
        while at > 0 && at < lines.len() && second(lines[at]) == second(lines[at - 1]) {
            at += 1;
        }
        at.min(lines.len())
    };
    let quarter = lines.len() / 4;
    let ends = [(0, 2), (1, 3), (2, 4), (1, 4)].map(|(from, to)| (cut(from * quarter), cut((to * quarter).max(1))));
    ends.iter().map(|(from, to)| lines[*from..*to].join("\n") + "\n").collect()
}

async fn assert_as_judged(account: &Account, podcast: &str, case: (&Oracle, &[Request], &[Judgement])) {
    let (oracle, requests, judged) = case;
    compare_verdicts(account, requests, judged).await;
    compare_downloads(account, podcast, oracle, requests, judged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_recorded_days() {
    let Some(corpus) = corpus() else {
        println!("both_recorded_days: CASTBACK_CORPUS is not set; only the made-up log was tested");
        return;
    };
    let days = DAYS.map(|day| std::fs::read_to_string(corpus.join("access-log").join(day)).expect("a recorded day"));
    let log = days.concat();
    let host = FeedHost::start().await;
    let server = Server::start().await;
    let account = server.client().sign_up("days").await;
    let podcast = account.connect(&host.publish("/feed.xml", &rss("Days", &feed_of(&log)))).await;

    let mut accepted = 0;
    for day in &days {
        let lines = u64::try_from(day.lines().count()).expect("a count");
        assert_eq!(account.post_log(&podcast, day).await, lines, "each line is accepted");
        accepted += lines;
    }
    let balance = account.settled(accepted).await;
    assert_eq!((balance["accepted"].as_u64(), &balance["late"]), (Some(accepted), &Value::from(0)), "{balance}");

    let oracle = log_oracle(&podcast, &log, &corpus.join("user-agents"));
    let mut recorded = requests(&podcast, &log);
    let ids = ids_in_order(&account).await;
    assert_eq!(ids.len(), recorded.len(), "each line has one verdict");
    recorded.iter_mut().zip(ids).for_each(|(request, id)| request.id = id);
    let judged = oracle.judge(&recorded);
    print_table(&recorded, &judged);
    assert_as_judged(&account, &podcast, (&oracle, &recorded, &judged)).await;

    for again in [vec![log.clone()], overlapping_pieces(&log)].concat() {
        accepted += account.post_log(&podcast, &again).await;
    }
    account.settled(accepted).await;
    assert_as_judged(&account, &podcast, (&oracle, &recorded, &judged)).await;
    server.finish().await;
}

fn print_table(requests: &[Request], judged: &[Judgement]) {
    for ((verdict, reason), count) in verdicts(judged) {
        println!("{count:6} {verdict} {reason}");
    }
    for window in 0..3_usize {
        let downloads = judged.iter().filter(|judgement| judgement.counted[window]).count();
        println!("window {window}: {downloads} downloads, {} listeners", listeners(requests, judged, window));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_of_last_year_after_traffic_of_today() {
    let seed = seed("a_log_of_last_year_after_traffic_of_today");
    let host = FeedHost::start().await;
    let server = Server::start().await;
    let account = server.client().sign_up("years").await;
    let podcast = account.connect(&host.publish("/feed.xml", &rss("Years", &episodes()))).await;

    let today = Traffic::new(seed, &podcast, clock::now() - 60 * SECOND).batch(500);
    account.post_all("/v1/listener-requests", &today.iter().map(to_json).collect::<Vec<_>>()).await;
    account.settled(500).await;

    let log = made_up_log(&podcast, seed);
    let lines = u64::try_from(log.lines().count()).expect("a count");
    account.post_log(&podcast, &log).await;
    let balance = account.settled(500 + lines).await;
    assert_eq!(balance["late"], 0, "an old log is no late log: {balance}");

    let oracle = oracle(&podcast);
    let mut old = requests(&podcast, &log);
    let new: std::collections::BTreeSet<&str> = today.iter().map(|request| request.id.as_str()).collect();
    let ids: Vec<String> = ids_in_order(&account).await.into_iter().filter(|id| !new.contains(id.as_str())).collect();
    assert_eq!(ids.len(), old.len(), "each line has one verdict");
    old.iter_mut().zip(ids).for_each(|(request, id)| request.id = id);
    let all: Vec<Request> = today.into_iter().chain(old).collect();
    let judged = oracle.judge(&all);
    assert_as_judged(&account, &podcast, (&oracle, &all, &judged)).await;

    let mut accepted = 500 + lines;
    for again in [vec![log.clone()], overlapping_pieces(&log)].concat() {
        accepted += account.post_log(&podcast, &again).await;
    }
    account.settled(accepted).await;
    assert_as_judged(&account, &podcast, (&oracle, &all, &judged)).await;
    server.finish().await;
}

/// A log of a year ago, a line a second at most, so that nothing depends on the order inside a second.
fn made_up_log(podcast: &str, seed: u64) -> String {
    let mut requests = Traffic::new(seed + 1, podcast, clock::now() - 365 * DAY).batch(800);
    requests.sort_by_key(|request| request.at);
    let mut last = 0;
    for request in &mut requests {
        last = (request.at / SECOND).max(last + 1);
        request.at = last * SECOND;
        request.range = None;
    }
    requests.iter().map(to_line).collect()
}

#[test]
fn the_recorded_days_judged_by_the_oracle() {
    let Some(corpus) = corpus() else {
        println!("CASTBACK_CORPUS is not set: the recorded days were not judged");
        return;
    };
    let read = |day: &str| std::fs::read_to_string(corpus.join("access-log").join(day)).expect("a recorded day");
    let log = DAYS.map(read).concat();
    let oracle = log_oracle("p", &log, &corpus.join("user-agents"));
    let recorded = requests("p", &log);
    let judged = oracle.judge(&recorded);
    assert_eq!(judged.len(), log.lines().count());
    print_table(&recorded, &judged);
    // Twice the same days change nothing: the repeats are repeats, the rest stays as it was.
    let twice: Vec<Request> = recorded.iter().chain(&recorded).cloned().collect();
    let again = oracle.judge(&twice);
    assert_eq!(again[..judged.len()], judged);
    assert!(again[judged.len()..].iter().all(|judgement| judgement.reason == Some("same_event_id")));
}
