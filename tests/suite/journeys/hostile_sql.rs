//! Queries that want to write, to read the machine, or to eat it: refused, or they die alone.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::support::client::{Account, Client};
use crate::support::feed_host::{FeedHost, rss};
use crate::support::server::Server;
use crate::support::traffic::{Traffic, episodes, to_json};
use crate::support::{PATIENCE, clock};

/// The contract's limit of a query, and what ending it may take on a busy machine.
const QUERY: Duration = Duration::from_secs(30 + 15);

const CANARY: &str = "canary-in-a-file";

fn refused_statements(file: &Path) -> Vec<String> {
    let file = file.display();
    vec![
        "CREATE TABLE mine AS SELECT 1".to_owned(),
        format!("CREATE EXTERNAL TABLE mine (a TEXT) STORED AS CSV LOCATION '{file}'"),
        "CREATE VIEW mine AS SELECT * FROM ledger".to_owned(),
        "DROP TABLE ledger".to_owned(),
        "INSERT INTO ledger SELECT * FROM ledger".to_owned(),
        "UPDATE ledger SET verdict = 'counted'".to_owned(),
        "DELETE FROM ledger".to_owned(),
        format!("COPY ledger TO '{file}.out' STORED AS CSV"),
        format!("COPY (SELECT 1) TO '{file}.out'"),
        "SET datafusion.execution.batch_size = 1".to_owned(),
        "PREPARE p AS SELECT 1".to_owned(),
        "EXECUTE p".to_owned(),
        "SELECT 1; SELECT 2".to_owned(),
        "SELECT 1; DROP TABLE ledger".to_owned(),
        "EXPLAIN ANALYZE INSERT INTO ledger SELECT * FROM ledger".to_owned(),
        "BEGIN".to_owned(),
        format!("SELECT * FROM '{file}'"),
        format!("SELECT * FROM \"{file}\""),
        "SELECT * FROM '/etc/passwd'".to_owned(),
        "SELECT * FROM 's3://bucket/key.parquet'".to_owned(),
        "SELECT * FROM 'http://127.0.0.1/x.csv'".to_owned(),
        format!("SELECT * FROM read_csv('{file}')"),
        format!("SELECT * FROM parquet_metadata('{file}')"),
        "SELECT * FROM no_such_table".to_owned(),
        "SELECT no_such_column FROM ledger".to_owned(),
        "SELEKT 1".to_owned(),
        String::new(),
        format!("SELECT {}1", "1 + ".repeat(20_000)),
        format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000)),
        format!("SELECT '{}'", "x".repeat(1024 * 1024)),
    ]
}

/// These are fine as text and grow without bound when run.
const HUNGRY: [&str; 3] = [
    "SELECT COUNT(*) FROM generate_series(1, 10000000000) a, generate_series(1, 1000000) b",
    "SELECT COUNT(*) FROM ledger a, ledger b, ledger c, ledger d, ledger e, ledger f",
    "SELECT STRING_AGG(REPEAT('x', 100000), '') FROM generate_series(1, 1000000000)",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_queries_are_refused_or_die_alone() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("canary.csv");
    std::fs::write(&file, format!("a\n{CANARY}\n")).expect("a canary");
    let host = FeedHost::start().await;
    let server = Server::start().await;
    let account = server.client().sign_up("hostile").await;
    let podcast = account.connect(&host.publish("/feed.xml", &rss("Hostile", &episodes()))).await;
    let records: Vec<_> = Traffic::new(3, &podcast, clock::now()).batch(1_000).iter().map(to_json).collect();
    account.post_all("/v1/listener-requests", &records).await;
    account.settled(1_000).await;
    let rows = account.sql_number("SELECT COUNT(*) FROM ledger").await;

    let before = entries(folder.path());
    for sql in refused_statements(&file) {
        let answer = ask(&account.client, &sql, PATIENCE).await;
        let shown: String = sql.chars().take(80).collect();
        assert!((400..500).contains(&answer.0), "{shown}: {} {}", answer.0, answer.1);
        assert!(!answer.1.contains(CANARY), "{shown} read a file");
    }
    assert_eq!(entries(folder.path()), before, "a query wrote a file");
    for sql in HUNGRY {
        hungry(&account, sql).await;
    }
    abandoned(&account).await;
    assert_eq!(account.sql_number("SELECT COUNT(*) FROM ledger").await, rows, "the server lives, the ledger is whole");
    server.finish().await;
}

fn entries(folder: &Path) -> BTreeSet<std::path::PathBuf> {
    std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect()
}

async fn ask(client: &Client, sql: &str, limit: Duration) -> (u16, String) {
    let body = json!({"sql": sql});
    let asking = client.post("/v1/sql", &body);
    let answer = tokio::time::timeout(limit, asking).await.unwrap_or_else(|_| panic!("no end after {limit:?}: {sql}"));
    (answer.status, answer.text())
}

/// It ends at the limit; others are served meanwhile.
async fn hungry(account: &Account, sql: &str) {
    let other = async {
        for _ in 0..10 {
            account.client.get("/v1/podcasts").await.is(200);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let (answer, ()) = tokio::join!(ask(&account.client, sql, QUERY), other);
    assert!(answer.0 >= 400, "{sql}: {} {}", answer.0, answer.1);
}

/// A client that goes away takes its query with it: the next ones find a worker at once.
async fn abandoned(account: &Account) {
    for _ in 0..4 {
        let asking = ask(&account.client, HUNGRY[1], QUERY);
        assert!(tokio::time::timeout(Duration::from_millis(300), asking).await.is_err(), "it has ended");
    }
    let answer = ask(&account.client, "SELECT 1", QUERY).await;
    assert_eq!(answer.0, 200, "{}", answer.1);
}
