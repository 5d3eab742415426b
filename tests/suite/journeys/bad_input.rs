//! What is wrong gets a clear problem or a verdict with its reason; the rest of the batch goes on, nothing is lost.

use serde_json::{Value, json};

use crate::oracle::DAY;
use crate::oracle::access_log::rfc3339;
use crate::support::client::Account;
use crate::support::clock;
use crate::support::feed_host::{FeedHost, rss};
use crate::support::server::Server;
use crate::support::traffic::{Traffic, episodes, to_json, to_line};

const REQUESTS: &str = "/v1/listener-requests";

/// Levels of a hostile document.
const DEPTH: usize = 100_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_refused_and_the_rest_goes_on() {
    let host = FeedHost::start().await;
    let server = Server::start().await;
    let account = server.client().sign_up("bad").await;
    let feed = host.publish("/feed.xml", &rss("Bad", &episodes()));
    let podcast = account.connect(&feed).await;
    let foreign = server.client().sign_up("foreign").await.connect(&feed).await;
    let mut traffic = Traffic::new(7, &podcast, clock::now() - DAY);
    let mut good = |count: usize| {
        let requests = traffic.batch(count);
        requests.iter().map(to_json).collect::<Vec<Value>>()
    };

    unreadable_bodies(&account).await;
    identities(&server, &account).await;
    let mut accepted = one_bad_among_good(&account, &mut good).await;
    accepted += lines(&account, &podcast, &mut Traffic::new(8, &podcast, clock::now() - DAY)).await;
    accepted += strange_values(&account, &foreign, &mut good).await;
    accepted += money(&account).await;
    let balance = account.settled(accepted).await;
    assert_eq!(balance["accepted"], accepted, "{balance}");
    server.finish().await;
}

async fn unreadable_bodies(account: &Account) {
    let client = &account.client;
    client.post_raw(REQUESTS, "application/json", "[{\"id\": ").await.problem(400, "malformed_body");
    client.post_raw(REQUESTS, "application/json", vec![0xff, 0xfe, 0x00]).await.problem(400, "malformed_body");
    let deep = "[".repeat(DEPTH) + &"]".repeat(DEPTH);
    client.post_raw(REQUESTS, "application/json", deep).await.problem(400, "malformed_body");
    client.post_raw(REQUESTS, "image/png", "x").await.problem(415, "unsupported_media_type");
    client.post("/v1/podcasts", &json!({"feed_url": "not a url"})).await.problem(422, "invalid_fields");
    client.post("/v1/campaigns", &json!({"name": 7})).await;
    client.get("/v1/campaigns/no-such-id").await.problem(404, "not_found");
    client.get("/v1/no-such-route").await.problem(404, "not_found");
}

async fn identities(server: &Server, account: &Account) {
    let nobody = server.client();
    nobody.get("/v1/podcasts").await.problem(401, "unauthenticated");
    let key = account.client.key().expect("a key");
    let (head, last) = key.split_at(key.len() - 1);
    let changed = format!("{head}{}", if last == "a" { "b" } else { "a" });
    for wrong in ["cb_", "nonsense", &changed] {
        server.client().with_key(wrong).get("/v1/podcasts").await.problem(401, "unauthenticated");
    }
    let taken = json!({"email": "bad@listeners.example", "password": "another pass phrase"});
    let answer = nobody.post("/v1/users", &taken).await;
    assert!((400..500).contains(&answer.status), "an address signs up once: {}", answer.text());
    let me = account.client.get("/v1/users/me").await.is(200).text();
    assert!(!me.contains(key), "a key is shown once");
}

/// Each of these is rejected by its index; what stands beside it is accepted.
async fn one_bad_among_good(account: &Account, good: &mut impl FnMut(usize) -> Vec<Value>) -> u64 {
    let mut accepted = 0;
    let spoilers: [fn(&mut Value); 5] = [
        |record| record["status"] = json!("two hundred"),
        |record| record["occurred_at"] = json!("yesterday"),
        |record| record["bytes_sent"] = json!(-1),
        |record| record["ip"] = json!("300.1.2.3"),
        |record| *record = json!("no record at all"),
    ];
    for spoil in spoilers {
        let mut batch = good(3);
        spoil(&mut batch[1]);
        let answer = account.client.post(REQUESTS, &json!(batch)).await.is(202).json();
        assert_eq!(answer["accepted"], 2, "{answer}");
        let rejected = answer["rejected"].as_array().expect("a list");
        assert_eq!((rejected.len(), &rejected[0]["index"]), (1, &json!(1)), "{answer}");
        assert!(rejected[0]["code"].is_string() && rejected[0]["detail"].is_string(), "{answer}");
        accepted += 2;
    }
    let text = good(2).iter().map(Value::to_string).collect::<Vec<_>>().join("\n{not json\n");
    let answer = account.client.post_raw(REQUESTS, "application/x-ndjson", text).await.is(202).json();
    assert_eq!((&answer["accepted"], &answer["rejected"][0]["index"]), (&json!(2), &json!(1)), "{answer}");
    accepted + 2
}

/// A line that is none is rejected; a line whose request is none has a verdict.
async fn lines(account: &Account, podcast: &str, traffic: &mut Traffic) -> u64 {
    let good: Vec<String> = traffic.batch(2).iter().map(to_line).collect();
    let binary = "198.51.100.9 - - [03/Dec/2013:07:55:30 +0000] \"\\x16\\x03\\x01\" 400 0 \"-\" \"-\"\n";
    let log = format!("{}no line of a log\n{binary}{}", good[0], good[1]);
    let path = format!("{REQUESTS}?podcast_id={podcast}");
    let answer = account.client.post_raw(&path, "text/plain", log).await.is(202).json();
    let accepted = answer["accepted"].as_u64().expect("a count");
    let rejected = answer["rejected"].as_array().expect("a list").len();
    assert_eq!((accepted, rejected), (3, 1), "{answer}");
    account.settled(accepted).await;
    let malformed = "SELECT COUNT(*) FROM ledger WHERE reason = 'malformed_request'";
    assert_eq!(account.sql_number(malformed).await, 1);
    accepted
}

/// Accepted, and judged: from the future, of an unknown podcast, very long.
async fn strange_values(account: &Account, foreign: &str, good: &mut impl FnMut(usize) -> Vec<Value>) -> u64 {
    let mut batch = good(2);
    batch[0]["id"] = json!("from-the-future");
    batch[0]["occurred_at"] = json!(rfc3339(clock::now() + 2 * DAY));
    batch[1]["id"] = json!("of-another-account");
    batch[1]["podcast_id"] = json!(foreign);
    let accepted = account.post_all(REQUESTS, &batch).await;
    account.settled(accepted).await;
    let verdict = async |id: &str| {
        let answer = account.client.get(&format!("/v1/ledger?event_id={id}")).await.is(200).json();
        let rows = answer["items"].as_array().cloned().unwrap_or_else(|| vec![answer.clone()]);
        rows.first().cloned().unwrap_or_else(|| panic!("no row of {id}: {answer}"))
    };
    let future = verdict("from-the-future").await;
    let occurred = future["occurred_at"].as_str().expect("a time").to_owned();
    assert!(occurred < rfc3339(clock::now() + DAY), "event time is at most the time of arrival: {future}");
    let unknown = verdict("of-another-account").await;
    assert_eq!((&unknown["verdict"], &unknown["reason"]), (&json!("filtered"), &json!("unknown_podcast")), "{unknown}");

    let mut long = good(1);
    long[0]["user_agent"] = json!("x".repeat(8 * 1024 * 1024));
    let answer = account.client.post(REQUESTS, &json!(long)).await;
    match answer.status {
        413 => accepted,
        202 => accepted + answer.json()["accepted"].as_u64().expect("a count"),
        status => panic!("{status}: {}", answer.text()),
    }
}

/// A value is kept exactly or not at all.
async fn money(account: &Account) -> u64 {
    let event = |id: &str, value: &str, currency: &str| {
        let value: Value = serde_json::from_str(value).expect("a number");
        json!({"data_set_id": "shop", "id": id, "event_type": "purchase", "timestamp": clock::now() / 1_000_000 - 60,
               "value": value, "currency_code": currency, "user_data": {}})
    };
    let batch = [
        event("exact", "19.99", "USD"),
        event("fraction", "19.999", "USD"),
        event("yen", "19.5", "JPY"),
        event("nothing", "1", "dollars"),
    ];
    let answer = account.client.post("/v1/conversions", &json!(batch)).await.is(202).json();
    assert_eq!(answer["accepted"], 1, "{answer}");
    let indexes: Vec<&Value> = answer["rejected"].as_array().expect("a list").iter().map(|r| &r["index"]).collect();
    assert_eq!(indexes, [&json!(1), &json!(2), &json!(3)], "{answer}");
    1
}
