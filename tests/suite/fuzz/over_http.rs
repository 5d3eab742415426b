//! The same by the whole way: bodies and statements that somebody corrupted, sent to the running product.

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;

use super::{cases, corpus, mutate};
use crate::support::feed_host::{FeedHost, rss};
use crate::support::seed;
use crate::support::server::Server;
use crate::support::traffic::episodes;

/// Requests per endpoint of the short form.
const CASES: usize = 150;

/// A corpus and where its inputs are posted, as what.
const ENDPOINTS: &[(&str, &str, &str)] = &[
    ("request", "/v1/listener-requests", "application/x-ndjson"),
    ("access-log", "/v1/listener-requests?podcast_id={podcast}", "text/plain"),
    ("event", "/v1/events", "application/json"),
    ("conversion", "/v1/conversions", "application/json"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_corrupted_body_breaks_the_server_or_the_balance() {
    let seed = seed("no_corrupted_body_breaks_the_server_or_the_balance");
    let host = FeedHost::start().await;
    let server = Server::start().await;
    let account = server.client().sign_up("fuzz").await;
    let podcast = account.connect(&host.publish("/feed.xml", &rss("Fuzz", &episodes()))).await;
    let mut accepted = 0;
    for (target, path, kind) in ENDPOINTS {
        let (corpus, path) = (prepared(target, &podcast), path.replace("{podcast}", &podcast));
        let mut randomness = StdRng::seed_from_u64(seed);
        let mut taken = 0;
        for case in 0..cases(CASES) {
            let input = match corpus.get(case) {
                Some(kept) => kept.clone(),
                None => mutate::mutate(&corpus, &mut randomness),
            };
            let shown = String::from_utf8_lossy(&input).into_owned();
            let answer = account.client.post_raw(&path, kind, input).await;
            assert!(answer.status < 500, "{target}, case {case}: {} {} to\n{shown}", answer.status, answer.text());
            if answer.status == 202 {
                taken += answer.json()["accepted"].as_u64().expect("a count");
            }
        }
        println!("{target}: {} bodies, {taken} records accepted", cases(CASES));
        assert!(taken > 0, "{target}: nothing of the corpus is accepted");
        accepted += taken;
    }
    assert_eq!(account.settled(accepted).await["accepted"], accepted);
    let corpus = corpus("sql");
    let mut randomness = StdRng::seed_from_u64(seed);
    let mut answered = 0;
    for case in 0..cases(CASES) {
        let input = corpus.get(case).cloned().unwrap_or_else(|| mutate::mutate(&corpus, &mut randomness));
        let sql = String::from_utf8_lossy(&input).into_owned();
        let answer = account.client.post("/v1/sql", &json!({"sql": sql})).await;
        assert!(answer.status < 500, "case {case}: {} {} to\n{sql}", answer.status, answer.text());
        answered += u32::from(answer.status == 200);
    }
    println!("sql: {} statements, {answered} answered", cases(CASES));
    assert!(answered > 0, "nothing of the corpus is answered");
    assert_eq!(account.settled(accepted).await["accepted"], accepted, "a statement changed something");
    server.finish().await;
}

/// The corpus with the podcast's id put where it names one.
fn prepared(target: &str, podcast: &str) -> Vec<Vec<u8>> {
    let fill = |input: Vec<u8>| match String::from_utf8(input) {
        Ok(text) => text.replace("{podcast}", podcast).into_bytes(),
        Err(binary) => binary.into_bytes(),
    };
    corpus(target).into_iter().map(fill).collect::<Vec<_>>()
}
