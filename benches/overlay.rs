//! What it costs that ledger rows and revised verdicts are kept apart and laid over one another
//! when read, against asking SQL for the newest row per key; and how fast a unit gets its rows
//! back. Arguments: rows (default 10,000,000).

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that prints what it saw")]

mod support {
    pub(crate) mod commits;
}

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, FixedSizeBinaryArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    new_null_array,
};
use castback_schemas::table::{Column, ColumnType, Table};
use castback_schemas::time::DAY;
use castback_schemas::{AccountId, Slot};
use castback_store::session::{CatalogueTables, Scope, Source, query, session};
use castback_store::{ALL_DAYS, PinnedView, Scan, Store, Versions};
use datafusion::catalog::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use support::commits::{Commits, START};
use tokio::time::Instant;
use uuid::Uuid;

/// Rows of a commit.
const COMMIT_ROWS: i64 = 100_000;
/// One row in this many is revised: 3 %.
const REVISED_EVERY: i64 = 33;
/// Days over which the rows are spread.
const DAYS: i64 = 8;
const MEMORY: usize = 8 * 1024 * 1024 * 1024;

#[tokio::main(worker_threads = 2)]
async fn main() {
    let rows = std::env::args().nth(1).and_then(|rows| rows.parse().ok()).unwrap_or(10_000_000);
    let bench = Bench::fill(rows).await;
    bench.fold(None, "every column").await;
    bench
        .fold(
            Some(vec!["account_id", "offset", "occurred_at", "podcast_id", "episode_id", "listener", "verdict"]),
            "7 columns",
        )
        .await;
    bench.overlay_in_the_scan().await;
    bench.row_number_over_history().await;
    bench.row_number_in_memory().await;
    bench.one_event().await;
}

struct Bench {
    _directory: tempfile::TempDir,
    commits: Commits,
    view: Arc<PinnedView>,
    account: AccountId,
    rows: i64,
}

impl Bench {
    async fn fill(rows: i64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("file://{}", directory.path().join("objects").display())).unwrap();
        let account = AccountId::from_uuid(Uuid::from_u128(1));
        let commits = Commits::open(directory.path(), store, account).await;
        let started = Instant::now();
        for start in (0..rows).step_by(usize::try_from(COMMIT_ROWS).unwrap()) {
            let offsets: Vec<i64> = (start..rows.min(start + COMMIT_ROWS)).collect();
            let revised: Vec<i64> = offsets.iter().copied().filter(|offset| offset % REVISED_EVERY == 0).collect();
            let tables = vec![
                (Table::Requests, batch(Table::Requests, account, &offsets, rows)),
                (Table::Verdicts, batch(Table::Verdicts, account, &revised, rows)),
            ];
            commits.commit(tables).await;
        }
        println!("{rows} rows committed in {:.1} s", started.elapsed().as_secs_f64());
        let started = Instant::now();
        commits.compact().await;
        println!("compacted in {:.1} s", started.elapsed().as_secs_f64());
        let bytes: u64 = commits.catalogue.view(None).await.unwrap().segments.iter().map(|segment| segment.bytes).sum();
        println!("{} MiB of segments", bytes / 1024 / 1024);
        let view = commits.view().await;
        Self { _directory: directory, commits, view, account, rows }
    }

    async fn fold(&self, columns: Option<Vec<&'static str>>, what: &str) {
        let started = Instant::now();
        let of = (Table::Requests, Slot::of(self.account));
        let mut rows = 0;
        // As recovery does: batch by batch into the processors.
        let scan = Scan { slot: Some(of.1), columns, days: ALL_DAYS, ..Scan::new(of.0) };
        let count = |batch: RecordBatch| {
            rows += batch.num_rows();
            Ok(())
        };
        self.commits.store.each_batch(&self.view, scan, count).await.unwrap();
        println!("fold, {what}: {rows} rows in {:.2} s", started.elapsed().as_secs_f64());
    }

    async fn timed(&self, context: &SessionContext, sql: &str, what: &str) {
        let started = Instant::now();
        let batches = query(context, sql).await.unwrap();
        let seconds = started.elapsed().as_secs_f64();
        println!("{what}: {seconds:.2} s\n{}", arrow::util::pretty::pretty_format_batches(&batches).unwrap());
    }

    fn context(&self) -> SessionContext {
        let nothing = CatalogueTables::default();
        let source = Source::new(self.commits.store.clone(), Arc::clone(&self.view), Scope::Account(self.account));
        session(&source, &nothing, MEMORY).unwrap()
    }

    async fn overlay_in_the_scan(&self) {
        let sql = "SELECT verdict, count(*) AS n FROM requests GROUP BY verdict ORDER BY verdict";
        self.timed(&self.context(), sql, "overlay inside the scan, from Parquet").await;
    }

    async fn row_number_over_history(&self) {
        let sql = "SELECT verdict, count(*) AS n FROM (SELECT verdict, row_number() OVER \
                   (PARTITION BY slot, \"offset\" ORDER BY commit DESC) AS newest FROM ledger_history \
                   WHERE topic = 'listener-requests') WHERE newest = 1 GROUP BY verdict ORDER BY verdict";
        self.timed(&self.context(), sql, "row_number() over ledger_history, from Parquet").await;
    }

    async fn row_number_in_memory(&self) {
        let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
        let columns = Some(vec!["slot", "offset", "verdict", "commit"]);
        let mut all = Vec::new();
        for table in [Table::Requests, Table::Verdicts] {
            let scan = Scan { versions: Versions::All, columns: columns.clone(), ..Scan::new(table) };
            let rows = self.commits.store.rows(&self.view, scan).await.unwrap();
            all.extend(rows);
        }
        let schema = all[0].schema();
        let all = all.into_iter().map(|batch| RecordBatch::try_new(schema.clone(), batch.columns().to_vec()).unwrap());
        let table = MemTable::try_new(schema.clone(), vec![all.collect()]).unwrap();
        context.register_table("versions", Arc::new(table)).unwrap();
        let sql = "SELECT verdict, count(*) AS n FROM (SELECT verdict, row_number() OVER \
                   (PARTITION BY slot, \"offset\" ORDER BY commit DESC) AS newest FROM versions) \
                   WHERE newest = 1 GROUP BY verdict ORDER BY verdict";
        self.timed(&context, sql, "row_number() over the same rows, already in memory").await;
    }

    async fn one_event(&self) {
        let event = format!("event-{:032}", self.rows / 2);
        let started = Instant::now();
        let rows = self.commits.store.ledger_rows(&self.view, Scope::Account(self.account), &event).await.unwrap();
        println!("one event of {}: {} row in {:.0} ms", self.rows, rows.len(), started.elapsed().as_secs_f64() * 1e3);
    }
}

/// Rows with believable cardinalities: 50 episodes, 200 user agents, 1 listener in 5 requests.
fn batch(table: Table, account: AccountId, offsets: &[i64], rows: i64) -> RecordBatch {
    let columns = table.spec().columns.iter().map(|column| array(column, account, offsets, rows)).collect();
    RecordBatch::try_new(table.spec().schema(), columns).unwrap()
}

fn array(column: &Column, account: AccountId, offsets: &[i64], rows: i64) -> ArrayRef {
    let text = |offset: i64| match column.name {
        "account_id" => account.to_string(),
        "event_id" => format!("event-{offset:032}"),
        "topic" => "listener-requests".to_owned(),
        "verdict" => ["counted", "duplicate", "filtered"][usize::try_from(mixed(offset) % 3).unwrap()].to_owned(),
        "user_agent" => format!("Player/{} (Phone; like a real one, with some words)", mixed(offset) % 200),
        name => format!("{name}-{}", mixed(offset) % 50),
    };
    if column.nullable && !["episode_id", "user_agent", "app", "country", "bytes_sent"].contains(&column.name) {
        return new_null_array(&column.column_type.arrow(), offsets.len());
    }
    match column.column_type {
        ColumnType::Text => Arc::new(offsets.iter().map(|offset| Some(text(*offset))).collect::<StringArray>()),
        ColumnType::Int => {
            Arc::new(offsets.iter().map(|offset| int(column.name, *offset, account)).collect::<Int64Array>())
        }
        ColumnType::Time => {
            let at = offsets.iter().map(|offset| START + offset * (DAYS * DAY / rows));
            Arc::new(TimestampMicrosecondArray::from_iter_values(at).with_timezone("UTC"))
        }
        ColumnType::Bool => {
            Arc::new(offsets.iter().map(|offset| Some(mixed(*offset).is_multiple_of(2))).collect::<BooleanArray>())
        }
        ColumnType::Hash => {
            let hashes = offsets.iter().map(|offset| (u128::from(mixed(offset / 5)) << 64 | 7).to_be_bytes());
            Arc::new(FixedSizeBinaryArray::try_from_iter(hashes).unwrap())
        }
        ColumnType::Bytes => new_null_array(&column.column_type.arrow(), offsets.len()),
    }
}

fn int(name: &str, offset: i64, account: AccountId) -> i64 {
    match name {
        "offset" => offset,
        "slot" => i64::from(Slot::of(account).0),
        "bytes_sent" => i64::try_from(mixed(offset) % 50_000_000).unwrap(),
        _ => 200,
    }
}

/// splitmix64.
fn mixed(value: i64) -> u64 {
    let mut z = value.cast_unsigned().wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
