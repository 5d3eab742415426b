//! The checker: nothing acknowledged lost, nothing counted twice, every verdict and every sum as the oracle has it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::client::Account;
use super::journal::Entries;
use super::{clock, traffic};
use crate::oracle::access_log::date_of;
use crate::oracle::{Judgement, Oracle, Request, WINDOWS, day_of, downloads, listeners};

/// Rows per page of a query; under the contract's limit of 100,000.
const PAGE: usize = 50_000;

/// Differences that are printed; more would bury the first.
const SHOWN: usize = 10;

/// What was found, printed with the seed.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) acked: usize,
    pub(crate) lost: usize,
    pub(crate) duplicated: usize,
    pub(crate) indeterminate: usize,
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { acked, lost, duplicated, indeterminate } = self;
        write!(f, "acked {acked}, lost {lost}, duplicated {duplicated}, indeterminate {indeterminate}")
    }
}

/// Compares what is stored with the journal, and every verdict and sum with the oracle's.
pub(crate) async fn check(account: &Account, podcast: &str, entries: &Entries, requests: &[Request]) -> Found {
    let balance = account.settled(u64::try_from(entries.acked.len()).expect("a count")).await;
    let rows = account.sql_number("SELECT COUNT(*) FROM ledger").await;
    assert_eq!(balance["accepted"].as_i64(), Some(rows), "{balance}");
    let places = "SELECT COUNT(*) FROM (SELECT DISTINCT topic, slot, \"offset\" FROM ledger)";
    assert_eq!(account.sql_number(places).await, rows, "a record with two verdicts");

    let stored = stored(account).await;
    let ids: BTreeSet<&String> = stored.keys().collect();
    let lost = entries.acked.iter().filter(|id| !ids.contains(id)).count();
    let foreign = ids.iter().filter(|id| !entries.sent.contains(**id)).count();
    let duplicated = stored.values().filter(|rows| **rows > 1).count();
    let found = Found { acked: entries.acked.len(), lost, duplicated, indeterminate: entries.indeterminate };
    println!("{found}");
    assert_eq!((lost, foreign, duplicated), (0, 0, 0), "lost, never sent, counted or filtered twice");

    let oracle = traffic::oracle(podcast);
    let stored_requests: Vec<Request> = requests.iter().filter(|r| ids.contains(&r.id)).cloned().collect();
    let judged = oracle.judge(&stored_requests);
    compare_verdicts(account, &stored_requests, &judged).await;
    compare_downloads(account, podcast, &oracle, &stored_requests, &judged).await;
    found
}

/// Event ids with their number of `counted` and `filtered` rows. Rows are counted here: to group all of a long run at
/// once is more than a query may hold.
async fn stored(account: &Account) -> BTreeMap<String, i64> {
    let mut stored: BTreeMap<String, i64> = BTreeMap::new();
    loop {
        let last = stored.last_key_value().map_or("", |(id, _)| id.as_str());
        let rows = account
            .sql(&format!(
                "SELECT event_id, verdict IN ('counted', 'filtered') FROM ledger \
                 WHERE topic = 'listener-requests' AND event_id > '{last}' ORDER BY event_id LIMIT {PAGE}"
            ))
            .await;
        for row in &rows {
            *stored.entry(text(&row[0])).or_default() += i64::from(row[1] == true);
        }
        if rows.len() < PAGE {
            return stored;
        }
        // The rest of its rows may be on the next page: it is counted there.
        stored.pop_last();
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A verdict with its reason and the three flags.
type Verdict = (String, String, [bool; 3]);

/// The verdict of each event id, repeats of the same id apart.
pub(crate) async fn verdicts(account: &Account) -> BTreeMap<String, Verdict> {
    let mut verdicts = BTreeMap::new();
    loop {
        let last = verdicts.last_key_value().map_or("", |(id, _): (&String, _)| id.as_str());
        let rows = account
            .sql(&format!(
                "SELECT event_id, verdict, reason, counted_utc_day, counted_first_touch, counted_last_touch \
                 FROM ledger WHERE topic = 'listener-requests' AND event_id > '{last}' \
                 AND (reason IS NULL OR reason <> 'same_event_id') ORDER BY event_id LIMIT {PAGE}"
            ))
            .await;
        let full = rows.len() == PAGE;
        for row in rows {
            let flags = [3, 4, 5].map(|column: usize| row[column] == true);
            let former = verdicts.insert(text(&row[0]), (text(&row[1]), text(&row[2]), flags));
            assert!(former.is_none(), "two verdicts of one id: {row:?}");
        }
        if !full {
            return verdicts;
        }
    }
}

/// Every record's verdict is the oracle's.
pub(crate) async fn compare_verdicts(account: &Account, requests: &[Request], judged: &[Judgement]) {
    let actual = verdicts(account).await;
    let mut differences = Vec::new();
    for (request, judgement) in requests.iter().zip(judged) {
        if judgement.reason == Some("same_event_id") {
            continue;
        }
        let reason = judgement.reason.unwrap_or_default().to_owned();
        let expected = (judgement.verdict.to_owned(), reason, judgement.counted);
        if actual.get(&request.id) != Some(&expected) {
            differences.push(format!("expected {expected:?}, is {:?}: {request:?}", actual.get(&request.id)));
        }
    }
    let (number, of) = (differences.len(), requests.len());
    differences.truncate(SHOWN);
    assert!(differences.is_empty(), "{number} of {of} verdicts differ, such as\n{}", differences.join("\n"));
}

/// The sums of all windows, by episode and by day, are the oracle's.
pub(crate) async fn compare_downloads(
    account: &Account,
    podcast: &str,
    oracle: &Oracle,
    requests: &[Request],
    judged: &[Judgement],
) {
    let by_episode = downloads(requests, judged, |request, judgement| {
        oracle.episode_of(request, judgement).map(|episode| episode.guid.clone())
    });
    let by_day = downloads(requests, judged, |request, _| Some(date_of(day_of(request.at))));
    let days = requests.iter().map(|request| day_of(request.at));
    let (from, to) = (days.clone().min().unwrap_or(0), days.max().unwrap_or(0).max(day_of(clock::now())));
    let range = format!("from={}&to={}", date_of(from), date_of(to + 1));
    for (number, window) in WINDOWS.iter().enumerate() {
        for (by, expected) in [("episode", &by_episode), ("day", &by_day)] {
            let path = format!("/v1/podcasts/{podcast}/downloads?{range}&window={window}&by={by}");
            let answer = account.client.get(&path).await.is(200).json();
            let items = answer["items"].as_array().expect("items").iter();
            let actual: BTreeMap<String, u64> = items
                .map(|item| (text(&item["key"]), item["downloads"].as_u64().expect("a count")))
                .filter(|(_, downloads)| *downloads > 0)
                .collect();
            let expected: BTreeMap<String, u64> = expected
                .iter()
                .map(|(key, totals)| (key.clone(), totals[number]))
                .filter(|(_, downloads)| *downloads > 0)
                .collect();
            assert_eq!(actual, expected, "{path}");
            assert_eq!(answer["total"].as_u64(), Some(expected.values().sum()), "{path}");
            let distinct = u64::try_from(listeners(requests, judged, number)).expect("a count");
            assert_eq!(answer["listeners"].as_u64(), Some(distinct), "listeners of {path}");
        }
    }
}
