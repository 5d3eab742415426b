//! The worker answers, and dies alone: of memory, of time, of a caller that has gone.
//!
//! This binary is both the tests and, called with `sql-worker`, the worker that they start.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use castback_catalogue::Catalogue;
use castback_catalogue::commits::{CommitRequest, UnitCommit};
use castback_schemas::table::Table;
use castback_schemas::{AccountId, Group, ManualClock, Micros, Slot, Unit};
use castback_store::session::Scope;
use castback_store::worker::{self, Limits, Pool, Request, WorkerAnswer, WorkerError};
use castback_store::{PinnedView, SliceRows, Store, object};
use url::Url;
use uuid::Uuid;

#[path = "../src/samples.rs"]
#[expect(dead_code, reason = "shared with the unit tests, which use all of it")]
mod samples;

fn main() {
    if std::env::args().nth(1).as_deref() == Some("sql-worker") {
        let answered = worker::main(std::io::stdin(), std::io::stdout().lock());
        std::process::exit(i32::from(answered.is_err()));
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let world = World::new().await;
        world.answers_for_the_scope_only().await;
        world.errors_come_back_in_words().await;
        world.dies_alone_of_memory().await;
        world.is_killed_at_the_deadline_and_when_nobody_waits().await;
        world.refuses_when_too_many_wait().await;
    });
    println!("worker: ok");
}

struct World {
    directory: tempfile::TempDir,
    view: PinnedView,
    address: String,
    pool: Pool,
}

impl World {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let database = format!("sqlite://{}", directory.path().join("castback.db").display());
        let catalogue = Catalogue::open(&database, Arc::new(ManualClock::at(Micros(0))), [7; 32]).await.unwrap();
        let address = Url::from_directory_path(directory.path().join("objects")).unwrap().to_string();
        let store = Store::open(&address).unwrap();
        for owner in [1, 2] {
            let account = samples::account(owner);
            let unit = Unit { group: Group::Counting, slot: Slot::of(account) };
            catalogue.ensure_units(&[unit]).await.unwrap();
            let held = catalogue.take_all("test").await.unwrap().into_iter().find(|held| held.unit == unit).unwrap();
            let rows: Vec<_> = (0..1_000).map(|offset| samples::request(account, offset)).collect();
            let slice = SliceRows { unit, tables: vec![(Table::Requests, samples::requests(&rows))] };
            let object = object::encode(&[slice]).unwrap();
            let key = store.put(Uuid::from_u128(owner), &object).await.unwrap();
            let commit = UnitCommit {
                unit,
                epoch: held.epoch,
                old_positions: held.positions.clone(),
                new_positions: held.positions,
                slice: Some(object.slices[0].1.to_json()),
                finish: Vec::new(),
            };
            catalogue.commit(CommitRequest { object_key: Some(key), units: vec![commit] }).await.unwrap();
        }
        let view = PinnedView::load(&catalogue, None).await.unwrap();
        let pool = Pool::new(std::env::current_exe().unwrap(), vec!["sql-worker".into()], 2);
        Self { directory, view, address, pool }
    }

    fn request(&self, scope: Scope, sql: &str) -> Request {
        Request::new(&self.view, &self.address, scope, sql)
    }

    async fn ask(&self, account: AccountId, sql: &str) -> Result<WorkerAnswer, WorkerError> {
        self.pool.run(&self.request(Scope::Account(account), sql)).await
    }

    /// The pool answers as before: whatever happened, it happened to one worker.
    async fn goes_on(&self) {
        let answer = self.ask(samples::account(1), "SELECT count(*) FROM requests").await.unwrap();
        assert_eq!(number(&answer), 1_000);
    }

    async fn answers_for_the_scope_only(&self) {
        self.goes_on().await;
        let everyone = self.pool.run(&self.request(Scope::All, "SELECT count(*) FROM requests")).await.unwrap();
        assert_eq!(number(&everyone), 2_000);
        let mut request = self.request(Scope::All, "SELECT \"offset\" FROM requests WHERE \"offset\" < $1");
        request.params = vec![10.into()];
        request.limits.rows = 7;
        let answer = self.pool.run(&request).await.unwrap();
        assert!(answer.truncated);
        assert_eq!(answer.row_count, 7);
        let (schema, batches) = answer.decode().unwrap();
        assert_eq!(schema.field(0).name(), "offset");
        assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 7);
    }

    async fn errors_come_back_in_words(&self) {
        let account = samples::account(1);
        for (sql, code) in [
            ("SELECT * FROM nowhere", "invalid_fields"),
            ("DROP TABLE requests", "invalid_fields"),
            ("SELECT 1 / 0", "query_failed"),
            ("SELECT CAST('x' AS BIGINT)", "query_failed"),
        ] {
            match self.ask(account, sql).await {
                Err(WorkerError::Sql { code: said, message }) => {
                    assert_eq!(said, code, "{sql}: {message}");
                    assert!(!message.is_empty());
                }
                other => panic!("{sql}: {other:?}"),
            }
        }
    }

    async fn dies_alone_of_memory(&self) {
        let account = samples::account(1);
        for bomb in [
            "SELECT repeat(repeat('x', 1000000), 1000000) AS x",
            "SELECT array_agg(a.user_agent || b.event_id || c.event_id) FROM requests a CROSS JOIN requests b CROSS JOIN requests c",
            "SELECT count(*) FROM requests a CROSS JOIN requests b CROSS JOIN requests c CROSS JOIN requests d WHERE a.event_id || b.event_id || c.event_id || d.event_id LIKE '%never%'",
            "SELECT count(DISTINCT a.event_id || b.event_id || c.event_id) FROM requests a CROSS JOIN requests b CROSS JOIN requests c",
        ] {
            let mut request = self.request(Scope::Account(account), bomb);
            // Nothing here waits for time: memory must end it first.
            request.limits = Limits { deadline: Duration::from_secs(300), ..Limits::default() };
            let answer = self.pool.run(&request).await;
            let ended = match &answer {
                Err(WorkerError::Died) => true,
                Err(WorkerError::Sql { code, .. }) => ["query_memory", "query_failed"].contains(&code.as_str()),
                _ => false,
            };
            assert!(ended, "{bomb}: {answer:?}");
            self.goes_on().await;
        }
    }

    async fn is_killed_at_the_deadline_and_when_nobody_waits(&self) {
        let endless = "SELECT count(*) FROM requests a CROSS JOIN requests b CROSS JOIN requests c \
                       WHERE (a.\"offset\" * 31 + b.\"offset\" * 37 + c.\"offset\") % 7919 = 7918";
        let mut request = self.request(Scope::Account(samples::account(1)), endless);
        request.limits.deadline = Duration::from_secs(2);
        let answer = self.pool.run(&request).await;
        assert!(matches!(answer, Err(WorkerError::Deadline)), "{answer:?}");
        self.no_worker_is_left().await;
        request.limits.deadline = Duration::from_secs(300);
        let dropped = tokio::time::timeout(Duration::from_secs(1), self.pool.run(&request)).await;
        assert!(dropped.is_err(), "the caller went before there was an answer");
        self.no_worker_is_left().await;
        self.goes_on().await;
    }

    /// Waits until this process has no child that runs.
    async fn no_worker_is_left(&self) {
        let me = std::process::id();
        while running_children(me) > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn refuses_when_too_many_wait(&self) {
        let mut request = self.request(Scope::All, "SELECT count(*) FROM requests");
        request.limits.deadline = Duration::from_secs(300);
        let runs = (0..60).map(|_| self.pool.run(&request));
        let answers = futures::future::join_all(runs).await;
        let refused = answers.iter().filter(|answer| matches!(answer, Err(WorkerError::Overloaded))).count();
        let answered = answers.iter().filter(|answer| answer.is_ok()).count();
        assert!(refused > 0 && answered > 30 && refused + answered == 60, "{refused} refused, {answered} answered");
        assert!(self.directory.path().exists());
    }
}

fn number(answer: &WorkerAnswer) -> i64 {
    answer.decode().unwrap().1[0].column(0).as_primitive::<Int64Type>().value(0)
}

/// Children that run or sleep (a killed one may still be to be collected).
fn running_children(parent: u32) -> usize {
    let mut children = 0;
    for entry in std::fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((_, fields)) = stat.rsplit_once(") ") else { continue };
        let mut fields = fields.split(' ');
        let (state, of) = (fields.next().unwrap_or("Z"), fields.next().unwrap_or("0"));
        children += usize::from(state != "Z" && of == parent.to_string());
    }
    children
}
