//! A schema registry of others: a second Castback's, which speaks the same words, over HTTP.

use std::time::Duration;

use serde_json::json;

use super::figures::Play;
use crate::support::feed_host::{FeedHost, rss};
use crate::support::server::{Server, command};
use crate::support::traffic::{episodes, to_json};
use crate::support::until;
use crate::support::wire::Wire;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_wait_for_the_registry_and_none_is_lost() {
    let registry = Server::start().await;
    let host = FeedHost::start().await;
    let target = registry.client().base().trim_start_matches("http://").to_owned();
    let mut wire = Wire::to(&target, Duration::ZERO);
    let key = registry.operator().key().expect("a key").to_owned();
    let url = format!("http://castback:{key}@{}/registry", wire.address());
    let mut server = Server::start_with(&[("SCHEMA_REGISTRY_URL", &url)]).await;
    let account = server.client().sign_up("registry").await;
    let podcast = account.connect(&host.publish("/feed.xml", &rss("Registry", &episodes()))).await;

    // Where the registry is can be asked.
    let led = account.client.get("/registry/subjects/conversions-value/versions").await.is(307);
    let there = format!("http://{}/registry/subjects/conversions-value/versions", wire.address());
    assert_eq!(led.headers["location"], there.as_str());

    // Away: what is accepted waits.
    wire.cut().await;
    let records: Vec<_> = Play::new(&podcast).requests.iter().map(to_json).collect();
    let accepted = account.post_all("/v1/listener-requests", &records).await;
    until("it is said what is waited for", async || server.output().contains("unit.schema_unknown").then_some(()))
        .await;
    let balance = account.client.get("/v1/ledger/balance").await.is(200).json();
    assert_eq!(balance["dead_lettered"], 0, "{balance}");

    // Away at a start: it is waited for, too.
    server.kill9();
    server.spawn();
    until("the start waits", async || server.output().contains("waiting for the schema registry").then_some(())).await;
    wire.mend();
    assert!(server.ready_or_dead().await, "{}", server.output());
    let account = account.moved_to(&server.client());
    let balance = account.settled(accepted).await;
    assert_eq!(balance["dead_lettered"], 0, "{balance}");
    assert!(!server.output().contains(&key), "the registry's key in the output");
    server.finish().await;
    registry.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_refuses_is_named_and_so_is_what_is_none() {
    let registry = Server::start().await;
    let base = registry.client().base().to_owned();
    let key = registry.operator().key().expect("a key").to_owned();
    let with = |password: &str, path: &str| base.replace("http://", &format!("http://castback:{password}@")) + path;
    let run = |arguments: &[&str], url: &str| {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let mut command = command();
        command.args(arguments).arg("--data").arg(folder.path().join("data")).env("SCHEMA_REGISTRY_URL", url);
        let output = command.output().expect("the binary starts");
        let words = [output.stdout, output.stderr].map(|words| String::from_utf8_lossy(&words).into_owned());
        (output.status.code(), words.concat())
    };
    let (stranger, nowhere) = (with("cb_nobody", "/registry"), with(&key, "/nowhere"));
    let (code, said) = run(&["serve", "--listen", "127.0.0.1:0"], &stranger);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("SCHEMA_REGISTRY_URL") && said.contains("401") && !said.contains("cb_nobody"), "{said}");
    for (url, words) in [
        (stranger.as_str(), "401"),
        (nowhere.as_str(), "no answer of a schema registry"),
        ("http://127.0.0.1:1", "onnection refused"),
    ] {
        let (code, said) = run(&["check"], url);
        let line = said.lines().find(|line| line.contains("SCHEMA_REGISTRY_URL")).expect("a line");
        assert!(code == Some(1) && line.starts_with("FAILED") && line.contains(words), "{url}: {line}");
        assert!(!said.contains(&key), "the key is shown");
    }
    let (code, said) = run(&["check"], &with(&key, "/registry"));
    assert!(code == Some(0) && said.contains("has the schemas of"), "{said}");
    // Whoever may not register there can't start.
    let reader = registry.client().sign_up("reader").await;
    let own = json!({"schema": "\"long\""});
    reader.client.post("/registry/subjects/a-value/versions", &own).await.problem(403, "forbidden");
    let (code, said) =
        run(&["serve", "--listen", "127.0.0.1:0"], &with(reader.client.key().expect("a key"), "/registry"));
    assert!(code == Some(1) && said.contains("refuses (403)"), "{said}");
    registry.finish().await;
}
