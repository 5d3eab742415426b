//! Every series in a real server beside the truth in SQL: whole, and caught up after an outage that stops nothing else.
//!
//! `CASTBACK_OUTAGE` is the length of the outage in seconds.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::figures::{Play, conversion_json};
use super::walk::launch;
use crate::support::client::Account;
use crate::support::feed_host::{FeedHost, rss};
use crate::support::series::SeriesServer;
use crate::support::server::Server;
use crate::support::traffic::{episodes, to_json};
use crate::support::until;
use crate::support::wire::Wire;

/// A series with its tags and its time; its fields are the other numbers of the SQL table.
const SERIES: &[(&str, &[&str], &str)] = &[
    ("campaign_performance", &["campaign_id", "currency"], "bucket_start"),
    ("listener_metrics", &["podcast_id"], "bucket_start"),
    ("tallies", &["topic"], "hour"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn series_are_mirrored_and_caught_up() {
    let target = SeriesServer::start();
    let mut wire = Wire::to(target.host(), Duration::ZERO);
    let address = format!("influxdb://{}/{}", wire.address(), target.bucket());
    let mut settings = target.settings();
    settings.push(("TIMESERIES_DB_URL", address));
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let server = Server::start_with(&settings).await;
    let host = FeedHost::start().await;
    let account = server.client().sign_up("mirror").await;
    let podcast = account.connect(&host.publish("/feed.xml", &rss("Mirror", &episodes()))).await;
    let play = Play::new(&podcast);
    launch(&account, &play, 0, "One").await;
    let records: Vec<Value> = play.requests.iter().map(to_json).collect();
    let (early, late) = records.split_at(records.len() / 2);
    account.post_all("/v1/listener-requests", early).await;
    account.settled(u64::try_from(early.len()).expect("a count")).await;
    mirrored(&target, &account).await;

    wire.cut().await;
    account.post_all("/v1/listener-requests", late).await;
    let conversions: Vec<Value> = play.conversions.iter().map(conversion_json).collect();
    account.post_all("/v1/conversions", &conversions).await;
    let all = u64::try_from(records.len() + conversions.len()).expect("a count");
    account.settled(all).await;
    until("it is said that the mirror is behind", async || {
        let metrics = server.operator().get("/metrics").await.is(200).text();
        let lag = metrics.lines().find_map(|line| line.strip_prefix(LAG)?.trim().parse::<f64>().ok());
        (lag? > 0.0).then_some(())
    })
    .await;
    let outage = std::env::var("CASTBACK_OUTAGE").map_or(5, |seconds| seconds.parse().expect("seconds"));
    tokio::time::sleep(Duration::from_secs(outage)).await;
    account.client.get("/readyz").await.is(200);
    wire.mend();
    mirrored(&target, &account).await;
    let metrics = server.operator().get("/metrics").await.is(200).text();
    let refused = metrics.lines().filter(|line| line.contains("outcome=\"rejected\",series") && !line.ends_with(" 0"));
    assert_eq!(refused.collect::<Vec<_>>(), Vec::<&str>::new(), "a server refused points");
    server.finish().await;
}

/// Waits until the mirror has every value that SQL has.
async fn mirrored(target: &SeriesServer, account: &Account) {
    for (name, tags, time) in SERIES {
        let expected = expected(account, name, tags, time).await;
        assert!(!expected.is_empty(), "{name} holds something");
        until(&format!("{name} is mirrored"), async || {
            let found = target.values(name, tags, &account.id).await;
            let right = |(key, value): (&Key, &i64)| found.get(key).is_some_and(|values| values.contains(value));
            expected.iter().all(right).then_some(())
        })
        .await;
    }
}

/// The gauge of one series.
const LAG: &str = "castback_mirror_lag_commits{series=\"campaign_performance\"}";

type Key = (Vec<String>, i64, String);

async fn expected(account: &Account, name: &str, tags: &[&str], time: &str) -> BTreeMap<Key, i64> {
    let described = account.sql(&format!("DESCRIBE {name}")).await;
    let columns = described.iter().filter(|row| row[1].as_str().is_some_and(|kind| kind.contains("Int64")));
    let fields: Vec<&str> = columns.filter_map(|row| row[0].as_str()).filter(|name| *name != "commit").collect();
    let rows = account
        .sql(&format!(
            "SELECT {}, CAST(date_part('epoch', {time}) AS BIGINT), {} FROM {name}",
            tags.join(", "),
            fields.join(", ")
        ))
        .await;
    let mut expected = BTreeMap::new();
    for row in rows {
        let of: Vec<String> = row[..tags.len()].iter().map(|tag| tag.as_str().expect("a tag").to_owned()).collect();
        let at = row[tags.len()].as_i64().expect("a time");
        for (field, value) in fields.iter().zip(&row[tags.len() + 1..]) {
            expected.insert((of.clone(), at, (*field).to_owned()), value.as_i64().expect("a count"));
        }
    }
    expected
}
