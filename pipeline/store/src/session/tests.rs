//! A caller sees its own rows, all of them, and nothing else, whatever is asked.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::Int64Type;
use arrow::util::pretty::pretty_format_batches;
use castback_schemas::table::Table;
use castback_schemas::time::DAY;
use castback_schemas::{AccountId, Slot};
use datafusion::prelude::SessionContext;

use super::{Answer, CatalogueTables, Scope, Source, SqlError, query, run, session, tables};
use crate::harness::{Harness, TODAY, texts};
use crate::read::readers;
use crate::samples::{Cell, Row, account, batch, request};
use crate::scan::Scan;

const MEMORY: usize = 64 * 1024 * 1024;

/// Two accounts of one slot, so that their rows share every file.
fn neighbours() -> (AccountId, AccountId) {
    let first = account(1);
    let second = (2..1_000).map(account).find(|other| Slot::of(*other) == Slot::of(first));
    (first, second.unwrap())
}

fn canary(account: AccountId) -> String {
    format!("canary-of-{account}")
}

fn polls(account: AccountId) -> RecordBatch {
    let text = |text: String| Arc::new(StringArray::from(vec![text])) as _;
    let count = |count: i64| Arc::new(Int64Array::from(vec![count])) as _;
    let at = Arc::new(TimestampMicrosecondArray::from(vec![TODAY.0]).with_timezone("UTC"));
    let podcast = text(canary(account));
    let columns =
        vec![text(account.to_string()), podcast, at as _, text("fetched".into()), count(200), count(3), count(0)];
    let table = super::CATALOGUE_TABLES.iter().find(|table| table.name == "feed_polls").unwrap();
    RecordBatch::try_new(table.schema(), columns).unwrap()
}

fn users(account: AccountId) -> RecordBatch {
    let text = |text: String| Arc::new(StringArray::from(vec![text])) as _;
    let at = Arc::new(TimestampMicrosecondArray::from(vec![TODAY.0]).with_timezone("UTC"));
    let columns = vec![text(account.to_string()), text("u".into()), text(canary(account)), text("n".into()), at as _];
    let table = super::CATALOGUE_TABLES.iter().find(|table| table.name == "users").unwrap();
    RecordBatch::try_new(table.schema(), columns).unwrap()
}

/// Ten requests, a delivery, a dead letter and a revised verdict of each of two accounts.
async fn planted(compacted: bool) -> (Harness, CatalogueTables) {
    let harness = Harness::new().await;
    let (first, second) = neighbours();
    let mut lent = CatalogueTables::default();
    for (index, owner) in [first, second].into_iter().enumerate() {
        let start = i64::try_from(index).unwrap() * 10;
        let secret = |row: &mut Row, names: &[&'static str]| {
            row.insert("account_id", Cell::Text(owner.to_string()));
            row.extend(names.iter().map(|name| (*name, Cell::Text(canary(owner)))));
        };
        let requests: Vec<Row> = (start..start + 10)
            .map(|offset| {
                let mut row = request(owner, offset);
                secret(&mut row, &["user_agent", "app", "country", "enclosure_url", "podcast_id"]);
                row
            })
            .collect();
        let mut delivery = Row::from([("occurred_at", Cell::Int(TODAY.0)), ("request_offset", Cell::Int(start))]);
        secret(&mut delivery, &["campaign_id", "placement_id", "podcast_id", "episode_id"]);
        let mut dead = Row::from([("recorded_at", Cell::Int(TODAY.0)), ("offset", Cell::Int(start))]);
        secret(&mut dead, &["topic", "reason", "detail"]);
        let mut verdict = Row::from([
            ("topic", Cell::Text("listener-requests".into())),
            ("verdict", Cell::Text("filtered".into())),
            ("occurred_at", Cell::Int(TODAY.0)),
            ("slot", Cell::Int(i64::from(Slot::of(owner).0))),
            ("offset", Cell::Int(start)),
        ]);
        secret(&mut verdict, &["reason", "episode_id"]);
        let rows = [
            (Table::Requests, requests),
            (Table::AdDeliveries, vec![delivery]),
            (Table::DeadLetters, vec![dead]),
            (Table::Verdicts, vec![verdict]),
        ];
        let rows = rows.into_iter().map(|(table, rows)| (Slot::of(owner), table, batch(table, &rows))).collect();
        harness.commit(rows).await;
        lent.add("users", &users(owner)).unwrap();
        lent.add("feed_polls", &polls(owner)).unwrap();
    }
    if compacted {
        harness.compactor.run().await.unwrap();
    }
    (harness, lent)
}

async fn source(harness: &Harness, scope: Scope) -> Source {
    Source::new(harness.store.clone(), harness.view(None).await, scope)
}

async fn of(harness: &Harness, lent: &CatalogueTables, scope: Scope) -> SessionContext {
    session(&source(harness, scope).await, lent, MEMORY).unwrap()
}

fn shown(answer: &Result<Answer, SqlError>) -> String {
    match answer {
        Ok(answer) => pretty_format_batches(&answer.batches).unwrap().to_string(),
        Err(error) => format!("{error} {error:?}"),
    }
}

#[tokio::test]
async fn the_public_tables_tell_what_was_committed() {
    for compacted in [false, true] {
        let (harness, lent) = planted(compacted).await;
        let (first, _) = neighbours();
        let context = of(&harness, &lent, Scope::Account(first)).await;
        for (sql, expected) in [
            ("SELECT count(*) AS n FROM requests", "10"),
            ("SELECT count(*) AS n FROM ledger", "11"),
            ("SELECT count(*) AS n FROM ledger WHERE verdict = 'counted'", "9"),
            ("SELECT count(*) AS n FROM ledger_history", "12"),
            ("SELECT \"offset\" AS n FROM ledger WHERE event_id = 'event-7'", "7"),
            ("SELECT count(*) AS n FROM requests WHERE occurred_at >= TIMESTAMP '2026-03-01T00:00:05Z'", "5"),
            ("SELECT max(downloads_utc_day) AS n FROM listener_metrics", "9"),
            ("SELECT count(*) AS n FROM downloads", "9"),
            ("SELECT count(*) AS n FROM ad_deliveries d JOIN requests r ON d.request_offset = r.\"offset\"", "1"),
            ("SELECT count(*) AS n FROM users", "1"),
            ("SELECT sum(episodes) AS n FROM feed_polls WHERE outcome = 'fetched'", "3"),
            ("SELECT count(*) AS n FROM conversions", "0"),
            (
                "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 3) \
                 SELECT count(*) AS n FROM r JOIN requests ON i > 0",
                "30",
            ),
        ] {
            let rows = query(&context, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            assert_eq!(texts(&rows, &["n"]), [expected], "{sql}, compacted: {compacted}");
        }
        let everyone = of(&harness, &lent, Scope::All).await;
        let rows = query(&everyone, "SELECT count(*) AS n FROM ledger").await.unwrap();
        assert_eq!(texts(&rows, &["n"]), ["22"]);
    }
}

#[tokio::test]
async fn parameters_are_values_and_rows_are_cut_at_the_limit() {
    let (harness, lent) = planted(true).await;
    let context = of(&harness, &lent, Scope::Account(neighbours().0)).await;
    let sql = "SELECT \"offset\" FROM requests WHERE \"offset\" >= $1 AND event_id <> $2";
    let answer = run(&context, sql, &[4.into(), "x' OR 'a' = 'a".into()], 3).await.unwrap();
    assert!(answer.truncated);
    assert_eq!(answer.batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 3);
    let answer = run(&context, sql, &[4.into(), "event-4".into()], 5).await.unwrap();
    assert!(!answer.truncated);
    assert_eq!(texts(&answer.batches, &["offset"]), ["5", "6", "7", "8", "9"]);
    assert!(matches!(run(&context, sql, &[vec![1].into()], 5).await, Err(SqlError::Parameter(1))));
    assert!(run(&context, sql, &[1.into()], 5).await.is_err(), "a missing parameter is an error");
}

#[tokio::test]
async fn filters_on_time_and_event_reach_the_scan_through_views_and_parameters() {
    let (harness, lent) = planted(true).await;
    let context = of(&harness, &lent, Scope::Account(neighbours().0)).await;
    for (filter, param) in [
        ("event_id = 'event-7'", None),
        ("event_id = $1", Some("event-7")),
        ("occurred_at >= '2026-03-01T00:00:07Z'", None),
        ("occurred_at >= TIMESTAMP '2026-03-01T00:00:07Z'", None),
        ("occurred_at >= $1", Some("2026-03-01T00:00:07Z")),
        ("occurred_at BETWEEN '2026-03-01' AND '2026-03-02'", None),
    ] {
        for table in ["requests", "ledger", "downloads"] {
            let params: Vec<_> = param.iter().map(|text| serde_json::Value::from(*text)).collect();
            let sql = format!("EXPLAIN SELECT \"offset\" FROM {table} WHERE {filter}");
            let text = shown(&run(&context, &sql, &params, 1_000).await);
            assert!(text.contains("partial_filters=["), "{sql}: {text}");
        }
    }
}

/// Hostile queries over every table: `{t}` is a table, `{c}` the other account's canary,
/// `{a}` its id.
const HOSTILE: [&str; 20] = [
    "SELECT * FROM {t}",
    "SELECT * FROM {t} LIMIT 1",
    "SELECT * FROM {t} LIMIT 1000 OFFSET 5",
    "SELECT * FROM {t} WHERE account_id = '{a}'",
    "SELECT * FROM {t} WHERE account_id = '{a}' OR 1 = 1",
    "SELECT * FROM {t} WHERE account_id IN (SELECT account_id FROM {t})",
    "WITH x AS (SELECT * FROM {t}) SELECT * FROM x UNION ALL SELECT * FROM x",
    "SELECT a.*, b.* FROM {t} a CROSS JOIN {t} b",
    "SELECT a.* FROM {t} a LEFT JOIN {t} b ON a.account_id <> b.account_id",
    "SELECT min(account_id), max(account_id), count(DISTINCT account_id) FROM {t}",
    "SELECT (SELECT max(account_id) FROM {t}) AS m",
    "SELECT account_id, count(*) FROM {t} GROUP BY ROLLUP (account_id)",
    "SELECT account_id, row_number() OVER (ORDER BY account_id) FROM {t}",
    "SELECT * FROM (SELECT * FROM {t} ORDER BY account_id DESC) LIMIT 3",
    "EXPLAIN SELECT * FROM {t} WHERE account_id > 'a'",
    "EXPLAIN VERBOSE SELECT max(account_id) FROM {t}",
    "SELECT CAST(account_id AS BIGINT) FROM {t}",
    "SELECT 1 / (CASE WHEN account_id = '{a}' THEN 0 ELSE 1 END) FROM {t}",
    "SELECT * FROM {t}, information_schema.tables, information_schema.columns",
    "SELECT string_agg(account_id, ',') FROM {t} INTERSECT SELECT account_id FROM {t} EXCEPT SELECT '{c}'",
];

#[tokio::test]
async fn two_hundred_hostile_queries_never_show_the_neighbour() {
    let (first, second) = neighbours();
    for (compacted, mine, other) in [(false, first, second), (true, second, first)] {
        let (harness, lent) = planted(compacted).await;
        let names: Vec<&str> = tables(&harness.store).await.unwrap().iter().map(|table| table.name).collect();
        let context = of(&harness, &lent, Scope::Account(mine)).await;
        let mut own_seen = 0;
        for (index, hostile) in HOSTILE.iter().enumerate() {
            for step in 0..5 {
                let sql = hostile.replace("{t}", names[(index * 5 + step) % names.len()]);
                // The other account's texts may be shown where the caller wrote them only.
                let unnamed = sql.replace("{a}", &other.uuid().simple().to_string()).replace("{c}", "nobody");
                let text = shown(&run(&context, &unnamed, &[], 100_000).await);
                assert!(!text.contains(&canary(other)) && !text.contains(&other.to_string()), "{unnamed}: {text}");
                own_seen += usize::from(text.contains(&canary(mine)));
                let spelled = sql.replace("{a}", &other.to_string()).replace("{c}", "nobody");
                let text = shown(&run(&context, &spelled, &[], 100_000).await);
                assert!(!text.contains(&canary(other)), "{spelled}: {text}");
            }
        }
        assert!(own_seen > 10, "the caller's own rows are seen");
    }
}

#[tokio::test]
async fn an_account_named_in_a_filter_is_still_the_callers_or_nobodys() {
    let (harness, lent) = planted(true).await;
    let (first, second) = neighbours();
    let context = of(&harness, &lent, Scope::Account(first)).await;
    for (who, expected) in [(first, "10"), (second, "0")] {
        let rows = query(&context, &format!("SELECT count(*) AS n FROM requests WHERE account_id = '{who}'")).await;
        assert_eq!(texts(&rows.unwrap(), &["n"]), [expected]);
    }
    let everyone = of(&harness, &lent, Scope::All).await;
    let rows = query(&everyone, &format!("SELECT count(*) AS n FROM requests WHERE account_id = '{second}'")).await;
    assert_eq!(texts(&rows.unwrap(), &["n"]), ["10"]);
}

#[tokio::test]
async fn what_does_not_only_read_is_refused() {
    let (harness, lent) = planted(false).await;
    let context = of(&harness, &lent, Scope::All).await;
    let directory = harness.directory.path().join("out");
    let out = directory.display();
    for sql in [
        "",
        ";",
        "CREATE TABLE x AS SELECT 1",
        "CREATE VIEW x AS SELECT 1",
        "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'",
        "CREATE SCHEMA s",
        "CREATE FUNCTION f(x INT) RETURNS INT RETURN x",
        "DROP TABLE requests",
        "INSERT INTO requests SELECT * FROM requests",
        "DELETE FROM requests",
        "UPDATE requests SET verdict = 'counted'",
        "TRUNCATE TABLE requests",
        &format!("COPY (SELECT 1) TO '{out}' STORED AS CSV"),
        &format!("COPY requests TO '{out}.parquet'"),
        &format!("EXPLAIN COPY requests TO '{out}.parquet'"),
        "SET datafusion.execution.batch_size = 1",
        "RESET datafusion.execution.batch_size",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "DEALLOCATE p",
        "BEGIN",
        "SHOW ALL",
        "EXPLAIN ANALYZE SELECT * FROM requests",
        "EXPLAIN INSERT INTO requests SELECT * FROM requests",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP TABLE requests",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM 'file.csv'",
        "SELECT * FROM \"file:///etc/passwd\"",
        "SELECT * FROM 's3://bucket/x.parquet'",
        "SELECT * FROM 'http://127.0.0.1/x.csv'",
        "SELECT * FROM generate_series(1, 10000000000)",
        "SELECT * FROM range(1, 10000000000)",
        "SELECT generate_series(1, 10000000000)",
        "SELECT range(1, 10000000000)",
        "SELECT * FROM requests__all",
        "SELECT * FROM verdicts",
        "SELECT * FROM days",
        "SELECT * FROM carries",
        "SELECT * FROM castback.private.requests",
        "SELECT * INTO x FROM requests",
    ] {
        let answer = run(&context, sql, &[], 10).await;
        let refused = matches!(answer, Err(SqlError::Refused(_) | SqlError::Invalid(_)));
        assert!(refused, "{sql}: {answer:?}");
    }
    assert!(!directory.exists());
}

#[test]
fn long_deep_and_chained_statements_are_refused_and_large_honest_ones_are_not() {
    let chain = |operator: &str, n: usize| format!("SELECT {}", vec!["1"; n].join(operator));
    let nested = |n: usize| format!("SELECT {}1{}", "(".repeat(n), ")".repeat(n));
    let cases = [
        (chain(" + ", 2_001), false),
        (format!("SELECT * FROM requests WHERE {}", vec!["1 = 1"; 10_000].join(" OR ")), false),
        (nested(1_000), false),
        (format!("SELECT {}1", "- ".repeat(2_000)), false),
        (format!("SELECT {} true", "NOT ".repeat(2_000)), false),
        (format!("SELECT 1 {}", "UNION ALL SELECT 1 ".repeat(2_000)), false),
        (format!("SELECT {}1{}", "CASE WHEN true THEN ".repeat(200), " END".repeat(200)), false),
        (format!("SELECT 1 AS x -- {}", "x".repeat(1024 * 1024)), false),
        (chain(" + ", 400), true),
        (nested(20), true),
        (format!("SELECT 1 IN ({})", vec!["1"; 5_000].join(", ")), true),
    ];
    let plan = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (harness, lent) = planted(false).await;
            let context = of(&harness, &lent, Scope::All).await;
            for (sql, allowed) in cases {
                let answer = run(&context, &sql, &[], 10).await;
                assert_eq!(answer.is_ok(), allowed, "{} …: {answer:?}", &sql[..sql.len().min(60)]);
            }
        });
    };
    // The stack that a worker plans on.
    std::thread::Builder::new().stack_size(64 * 1024 * 1024).spawn(plan).unwrap().join().unwrap();
}

#[tokio::test]
async fn memory_is_bounded_and_nothing_spills() {
    let (harness, lent) = planted(false).await;
    let context = session(&source(&harness, Scope::All).await, &lent, 64 * 1024).unwrap();
    let sql = "SELECT a.user_agent || b.user_agent || c.user_agent AS x, count(*) AS n \
               FROM requests a CROSS JOIN requests b CROSS JOIN requests c \
               GROUP BY x, a.\"offset\", b.\"offset\", c.\"offset\" ORDER BY x";
    let answer = run(&context, sql, &[], 10).await;
    assert!(matches!(answer, Err(SqlError::Memory)), "{answer:?}");
}

#[tokio::test]
async fn every_public_table_and_column_is_described_and_shown() {
    let (harness, lent) = planted(false).await;
    let described = tables(&harness.store).await.unwrap();
    let context = of(&harness, &lent, Scope::Account(neighbours().0)).await;
    let sql = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'";
    let shown = texts(&query(&context, sql).await.unwrap(), &["table_name"]);
    assert_eq!(described.iter().map(|table| table.name).collect::<Vec<_>>(), shown);
    for table in &described {
        let rows = query(&context, &format!("DESCRIBE {}", table.name)).await.unwrap();
        let mut columns: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
        columns.sort_unstable();
        assert_eq!(texts(&rows, &["column_name"]), columns);
        for column in &table.columns {
            assert!(!column.doc.is_empty(), "{}.{} has no comment", table.name, column.name);
        }
        let held = table.columns.iter().any(|column| column.name == "account_id");
        assert!(held || table.name == "agent_runs", "{} has no account", table.name);
    }
    assert!(query(&context, "SHOW TABLES").await.is_ok());
}

#[tokio::test]
async fn every_column_can_be_grouped_sorted_and_counted() {
    let (harness, lent) = planted(false).await;
    let context = of(&harness, &lent, Scope::All).await;
    for table in tables(&harness.store).await.unwrap() {
        for column in &table.columns {
            let (table, column) = (table.name, format!("\"{}\"", column.name));
            for sql in [
                format!("SELECT {column}, count(*) AS n FROM {table} GROUP BY {column} ORDER BY n DESC, {column}"),
                format!("SELECT count(DISTINCT {column}), min({column}), max({column}) FROM {table}"),
            ] {
                let answer = query(&context, &sql).await;
                assert!(answer.is_ok(), "{sql}: {answer:?}");
            }
        }
    }
}

const KEPT: crate::KeptColumns = &[(Table::AdDeliveries, &["campaign_id", "occurred_at", "request_offset"])];

/// What a question of two accounts' deliveries answers while they lie in the store, and when they no longer do.
#[tokio::test]
async fn a_statement_finds_in_memory_what_another_of_its_question_has_read() {
    let (harness, _) = planted(true).await;
    let nothing = CatalogueTables::default();
    let (first, second) = neighbours();
    let reading = source(&harness, Scope::Account(first)).await;
    let (keeping, of_other) =
        (reading.clone().keeping(KEPT), source(&harness, Scope::Account(second)).await.keeping(KEPT));
    let asked = async |source: &Source, sql: &str| query(&session(source, &nothing, MEMORY).unwrap(), sql).await;
    let campaign = "SELECT campaign_id FROM ad_deliveries";
    let before = asked(&keeping, campaign).await.unwrap();
    assert_eq!(texts(&before, &["campaign_id"]), [canary(first)]);
    assert_eq!(texts(&asked(&of_other, campaign).await.unwrap(), &["campaign_id"]), [canary(second)]);

    std::fs::remove_dir_all(harness.directory.path().join("objects")).unwrap();
    let again =
        "SELECT campaign_id, request_offset FROM ad_deliveries WHERE occurred_at >= TIMESTAMP '2026-03-01T00:00:00Z'";
    assert_eq!(texts(&asked(&keeping, again).await.unwrap(), &["campaign_id"]), [canary(first)]);
    assert_eq!(texts(&asked(&of_other, again).await.unwrap(), &["campaign_id"]), [canary(second)]);
    for (source, sql) in [(&reading, campaign), (&keeping, "SELECT episode_id FROM ad_deliveries")] {
        let error = asked(source, sql).await.unwrap_err();
        assert!(matches!(error, SqlError::Unreadable(_)), "{sql}: {error:?}");
    }
}

#[tokio::test]
async fn days_that_are_kept_are_read_together_and_come_in_order() {
    let harness = Harness::new().await;
    let owner = account(1);
    let delivery = |day: i64| {
        let at = Cell::Int(TODAY.plus(day * DAY).0);
        let owner = Cell::Text(owner.to_string());
        Row::from([("account_id", owner), ("occurred_at", at), ("request_offset", Cell::Int(day))])
    };
    let rows = batch(Table::AdDeliveries, &[2, 0, 1].map(delivery));
    harness.commit(vec![(Slot::of(owner), Table::AdDeliveries, rows)]).await;
    let keeping = source(&harness, Scope::Account(owner)).await.keeping(KEPT);
    let kept = Arc::clone(keeping.kept.as_ref().unwrap());
    let scan = Scan { account: Some(owner), columns: Some(vec!["request_offset"]), ..Scan::new(Table::AdDeliveries) };
    let (mut days, mut begun) = (Vec::new(), Vec::new());
    let each = |batch: RecordBatch| {
        days.extend(batch.column(0).as_primitive::<Int64Type>().values().iter().copied());
        begun.push(kept.begun());
        Ok(())
    };
    keeping.each_batch(scan, each).await.unwrap();
    assert_eq!(days, [0, 1, 2]);
    assert!(begun != [1, 2, 3] || readers() == 1, "one after the other");
}

#[tokio::test]
async fn segments_without_rows_of_a_source_are_not_read_for_it() {
    let (harness, lent) = planted(true).await;
    let (first, _) = neighbours();
    let context = of(&harness, &lent, Scope::Account(first)).await;
    let count = async |source: &str| {
        let sql = format!("SELECT count(*) AS n FROM requests WHERE source = '{source}'");
        query(&context, &sql).await.map(|rows| texts(&rows, &["n"]))
    };
    assert_eq!(count("api").await.unwrap(), ["10"]);
    assert_eq!(count("prefix").await.unwrap(), ["0"]);
    std::fs::remove_dir_all(harness.directory.path().join("objects")).unwrap();
    assert_eq!(count("prefix").await.unwrap(), ["0"]);
    assert!(matches!(count("api").await, Err(SqlError::Unreadable(_))));
}
