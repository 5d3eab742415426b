//! The clients of others, written from the README alone: its own examples are what runs here.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

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

/// Runs an example of the README as somebody would who has pasted it: until it ends, or until `enough` of what it prints
/// is seen. Its lines.
fn run(
    title: &str,
    place: &Place,
    (server, key): (&Server, &str),
    arguments: &[&str],
    enough: impl Fn(&[String]) -> bool,
) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let script = folder.path().join("example.py");
    std::fs::write(&script, example(title)).expect("a file");
    let mut command = Command::new("timeout");
    // A consumer goes on for ever, and one that sees too little must end all the same.
    command.args(["--preserve-status", "--signal=INT", "--kill-after=5", "25", &python()]).arg(&script).args(arguments);
    command.env("KAFKA_BROKERS", place.brokers()).env("KAFKA_TOPIC_PREFIX", place.topic(""));
    command.env("CASTBACK_URL", server.client().base()).env("CASTBACK_KEY", key).env("PYTHONUNBUFFERED", "1");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("Python starts");
    let (mut lines, mut interrupting) = (Vec::new(), false);
    for line in BufReader::new(child.stdout.take().expect("a pipe")).lines() {
        lines.push(line.expect("text"));
        if !interrupting && enough(&lines) {
            interrupting = true;
            // `timeout` passes it on.
            said(Command::new("kill").args(["-INT", &child.id().to_string()]));
        }
    }
    let output = child.wait_with_output().expect("it ends");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let interrupted = words.contains("KeyboardInterrupt");
    assert!(output.status.success() || interrupted, "{title}: {}\n{words}", output.status);
    lines
}

fn records(lines: &[String]) -> Vec<Value> {
    let parsed = lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")));
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
    let count = CONVERSIONS.to_string();
    let arguments = [account.id.as_str(), code.as_str(), count.as_str()];
    run("### Write conversions", &place, (&server, &key), &arguments, |_| false);
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
    let read = |topic: &str, enough: &dyn Fn(&[String]) -> bool| {
        tokio::task::block_in_place(|| run("### Read the topics", place, (server, key), &[topic], enough))
    };
    // Another client sees keys, headers and framing. Relays run after the commit: what they sent last may still be on
    // its way.
    let topic = place.topic("campaign-performance");
    let lines = until("the campaign's minutes are on their topic", async || {
        let arguments = ["-q", "-C", "-e", "-b", place.brokers(), "-t", &topic, "-f", "%k %h %S\n"];
        let lines = said(Command::new("kcat").args(arguments));
        let there = lines.lines().count();
        if there == 0 {
            return None;
        }
        let seen = records(&read("campaign-performance", &|lines| lines.len() >= there));
        let whole = impressions(&seen, campaign) == performance["impressions"].as_i64();
        (whole && seen.len() == there).then_some(lines)
    })
    .await;
    let expected = format!("{campaign} account_id={}", account.id);
    assert!(lines.lines().all(|line| line.starts_with(&expected)), "{lines}");
    let ours = |record: &Value| record["account_id"] == account.id.as_str();
    for topic in ["feed-updates", "campaign-changes", "user-changes", "dead-letters"] {
        let records = records(&read(topic, &|lines| records(lines).iter().any(ours)));
        assert!(records.iter().any(ours), "{topic}: {records:?}");
    }
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
