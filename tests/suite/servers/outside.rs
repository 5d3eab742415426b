//! The clients of others, written from the README alone: its own examples are what runs here.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};

use crate::journeys::figures::Play;
use crate::journeys::walk::launch;
use crate::support::client::Account;
use crate::support::feed_host::{FeedHost, rss};
use crate::support::server::Server;
use crate::support::servers::{Place, python, said};
use crate::support::traffic::{episodes, to_json};
use crate::support::until;

/// Conversions written from outside, to whichever partition the client's own partitioner says.
const CONVERSIONS: u64 = 40;

/// The example of the README under this title.
fn example(title: &str) -> String {
    let readme = include_str!("../../../README.md");
    let (_, after) = readme.split_once(title).unwrap_or_else(|| panic!("README.md has no {title}"));
    let (_, code) = after.split_once("```python\n").expect("an example");
    code.split_once("```").expect("its end").0.to_owned()
}

/// Runs an example of the README as somebody would who has pasted it.
fn run(title: &str, place: &Place, (server, key): (&Server, &str), arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let script = folder.path().join("example.py");
    std::fs::write(&script, example(title)).expect("a file");
    let mut command = Command::new("timeout");
    // A consumer goes on for ever; 124 is how `timeout` says that it ended it.
    command.args(["--preserve-status", "--signal=INT", "25", &python()]).arg(&script).args(arguments);
    command.env("KAFKA_BROKERS", place.brokers()).env("KAFKA_TOPIC_PREFIX", place.topic(""));
    command.env("CASTBACK_URL", server.client().base()).env("CASTBACK_KEY", key).env("PYTHONUNBUFFERED", "1");
    let output = command.output().expect("Python starts");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let interrupted = words.contains("KeyboardInterrupt");
    assert!(output.status.success() || interrupted, "{title}: {}\n{words}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn records(printed: &str) -> Vec<Value> {
    let parsed = printed.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")));
    parsed.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn others_read_and_write_the_topics_from_the_readme_alone() {
    let place = Place::new();
    let mut server = Server::prepare(Some(&place));
    server.launch().await;
    let host = FeedHost::start().await;
    let account = server.client().sign_up("outside").await;
    let podcast = account.connect(&host.publish("/feed.xml", &rss("Outside", &episodes()))).await;
    let play = Play::new(&podcast);
    let campaign = launch(&account, &play, 0, "Outside").await;
    let requests: Vec<Value> = play.requests.iter().map(to_json).collect();
    account.post_all("/v1/listener-requests", &requests).await;

    // Written from outside.
    let key = account.client.key().expect("a key").to_owned();
    let code = play.campaigns[0].promo_codes[0].clone();
    run("### Write conversions", &place, (&server, &key), &[&account.id, &code, &CONVERSIONS.to_string()]);
    let counted = "SELECT COUNT(*) FROM ledger WHERE topic = 'conversions' AND verdict = 'counted'";
    until("all that was written from outside is counted", async || {
        let written = i64::try_from(CONVERSIONS).expect("a count");
        (account.sql_number(counted).await == written).then_some(())
    })
    .await;
    assert!(seen_by_operator(&server, "ledger WHERE reason = 'rerouted'").await > 0, "its partitioner is not ours");
    let ids = "SELECT COUNT(DISTINCT event_id) FROM ledger WHERE topic = 'conversions' AND verdict = 'counted'";
    assert_eq!(account.sql_number(ids).await, i64::try_from(CONVERSIONS).expect("a count"), "each once");

    // A record that nobody can read, by a client of another kind, becomes a dead letter.
    let rubbish = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(rubbish.path(), "no Avro\n").expect("a file");
    let header = format!("account_id={}", account.id);
    let topic = place.topic("conversions");
    said(
        Command::new("kcat").args(["-q", "-P", "-b", place.brokers(), "-t", &topic, "-H", &header]).arg(rubbish.path()),
    );
    until("it is a dead letter", async || (seen_by_operator(&server, "dead_letters").await == 1).then_some(())).await;

    read_back(&place, &server, &account, &campaign).await;
    server.finish().await;
}

/// Rows that only an operator sees: in whichever slot a client of others has put them.
async fn seen_by_operator(server: &Server, of: &str) -> i64 {
    let sql = json!({"sql": format!("SELECT COUNT(*) FROM {of}")});
    let answer = server.operator().post("/v1/sql?account=all", &sql).await.is(200).json();
    answer["rows"][0][0].as_i64().unwrap_or_else(|| panic!("no count in {answer}"))
}

/// What others read of a campaign's performance is what the API answers.
async fn read_back(place: &Place, server: &Server, account: &Account, campaign: &str) {
    let path = format!("/v1/campaigns/{campaign}/performance");
    let performance = account.client.get(&path).await.is(200).json();
    let key = account.client.key().expect("a key");
    let mut seen = Vec::new();
    // Relays run after the commit: what they sent last may still be on its way.
    until("the campaign's minutes are on their topic", async || {
        let printed =
            tokio::task::block_in_place(|| run("### Read the topics", place, (server, key), &["campaign-performance"]));
        seen = records(&printed);
        (impressions(&seen, campaign) == performance["impressions"].as_i64()).then_some(())
    })
    .await;
    for topic in ["feed-updates", "campaign-changes", "user-changes", "dead-letters"] {
        let printed = tokio::task::block_in_place(|| run("### Read the topics", place, (server, key), &[topic]));
        let records = records(&printed);
        assert!(!records.is_empty(), "{topic}: nothing was read");
        assert!(records.iter().any(|record| record["account_id"] == account.id.as_str()), "{topic}: {records:?}");
    }
    // Another client sees keys, headers and framing.
    let topic = place.topic("campaign-performance");
    let arguments = ["-q", "-C", "-e", "-b", place.brokers(), "-t", &topic, "-f", "%k %h %S\n"];
    let lines = said(Command::new("kcat").args(arguments));
    assert_eq!(lines.lines().count(), seen.len(), "{lines}");
    let expected = format!("{campaign} account_id={}", account.id);
    assert!(lines.lines().all(|line| line.starts_with(&expected)), "{lines}");
}

/// The impressions of a campaign by the newest record of each minute, as the README says they add up.
fn impressions(records: &[Value], campaign: &str) -> Option<i64> {
    let mut newest: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for record in records.iter().filter(|record| record["campaign_id"] == campaign) {
        let minute = record["bucket_start"].to_string();
        let (revision, count) = (record["revision"].as_i64()?, record["impressions_utc_day"].as_i64()?);
        let known = newest.entry(minute).or_insert((revision, count));
        if revision >= known.0 {
            *known = (revision, count);
        }
    }
    Some(newest.values().map(|(_, count)| count).sum())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_registry_answers_the_words_of_its_clients() {
    let place = Place::new();
    let mut server = Server::prepare(Some(&place));
    server.launch().await;
    let account = server.client().sign_up("registry").await;
    let script = "import os, sys, json\n\
        from confluent_kafka.schema_registry import SchemaRegistryClient, Schema\n\
        registry = SchemaRegistryClient({'url': sys.argv[1] + '/registry', \
        'basic.auth.user.info': 'castback:' + sys.argv[2]})\n\
        latest = registry.get_latest_version('conversions-value')\n\
        text = latest.schema.schema_str\n\
        grown = json.loads(text)\n\
        grown['fields'].append({'name': 'x', 'type': 'string'})\n\
        print(json.dumps({\n\
        'subjects': registry.get_subjects(),\n\
        'versions': registry.get_versions('conversions-value'),\n\
        'by_id': registry.get_schema(latest.schema_id).schema_str == text,\n\
        'looked_up': registry.lookup_schema('conversions-value', Schema(text, 'AVRO')).schema_id == latest.schema_id,\n\
        'same': registry.test_compatibility('conversions-value', Schema(text, 'AVRO')),\n\
        'grown': registry.test_compatibility('conversions-value', Schema(json.dumps(grown), 'AVRO')),\n\
        }))\n";
    let key = account.client.key().expect("a key");
    let printed = said(Command::new(python()).args(["-c", script, server.client().base(), key]));
    let answers: Value = serde_json::from_str(&printed).expect("JSON");
    assert!(
        answers["subjects"].as_array().is_some_and(|subjects| subjects.contains(&json!("campaign-performance-value")))
    );
    assert_eq!(answers["versions"], json!([1]));
    let expected = [("by_id", true), ("looked_up", true), ("same", true), ("grown", false)];
    for (name, value) in expected {
        assert_eq!(answers[name], value, "{name}: {answers}");
    }
    server.finish().await;
}
