//! The worker answers, and dies alone: of memory, of time, of a caller that has gone.

use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use castback_schemas::AccountId;
use castback_store::session::Scope;
use castback_store::worker::{Limits, Pool, Request, WorkerAnswer, WorkerError};

use crate::samples;
use crate::world::World;

/// Two accounts with a thousand requests each, and a pool of two workers.
struct Asked {
    world: World,
    pool: Pool,
}

pub(crate) async fn check() {
    let world = World::new().await;
    for owner in [1, 2] {
        world.commit(samples::account(owner), 0..1_000).await;
    }
    let pool = Pool::new(std::env::current_exe().unwrap(), vec!["sql-worker".into()], 2);
    let asked = Asked { world, pool };
    asked.answers_for_the_scope_only().await;
    asked.errors_come_back_in_words().await;
    asked.dies_alone_of_memory().await;
    asked.is_killed_at_the_deadline_and_when_nobody_waits().await;
    asked.refuses_when_too_many_wait().await;
    asked.leaves_the_others_their_share().await;
}

impl Asked {
    async fn request(&self, scope: Scope, sql: &str) -> Request {
        Request::new(&*self.world.view().await, self.world.store.objects().address(), scope, sql)
    }

    async fn ask(&self, account: AccountId, sql: &str) -> Result<WorkerAnswer, WorkerError> {
        self.pool.run(&self.request(Scope::Account(account), sql).await).await
    }

    /// The pool answers as before: whatever happened, it happened to one worker.
    async fn goes_on(&self) {
        let answer = self.ask(samples::account(1), "SELECT count(*) FROM requests").await.unwrap();
        assert_eq!(number(&answer), 1_000);
    }

    async fn answers_for_the_scope_only(&self) {
        self.goes_on().await;
        let everyone = self.pool.run(&self.request(Scope::All, "SELECT count(*) FROM requests").await).await.unwrap();
        assert_eq!(number(&everyone), 2_000);
        let mut request = self.request(Scope::All, "SELECT \"offset\" FROM requests WHERE \"offset\" < $1").await;
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
            let mut request = self.request(Scope::Account(account), bomb).await;
            // Nothing here waits for time: memory must end it first.
            request.limits = Limits { deadline: Duration::from_mins(5), ..Limits::default() };
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
        let mut request = self.request(Scope::Account(samples::account(1)), endless).await;
        request.limits.deadline = Duration::from_secs(2);
        let answer = self.pool.run(&request).await;
        assert!(matches!(answer, Err(WorkerError::Deadline)), "{answer:?}");
        self.no_worker_is_left().await;
        request.limits.deadline = Duration::from_mins(5);
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
        let mut requests = Vec::new();
        for number in 0..60 {
            let scope = Scope::Account(samples::account(number % 6 + 1));
            let mut request = self.request(scope, "SELECT count(*) FROM requests").await;
            request.limits.deadline = Duration::from_mins(5);
            requests.push(request);
        }
        let answers = futures::future::join_all(requests.iter().map(|request| self.pool.run(request))).await;
        let refused = answers.iter().filter(|answer| matches!(answer, Err(WorkerError::Overloaded))).count();
        let answered = answers.iter().filter(|answer| answer.is_ok()).count();
        assert!(refused > 0 && answered > 30 && refused + answered == 60, "{refused} refused, {answered} answered");
    }
}

impl Asked {
    async fn leaves_the_others_their_share(&self) {
        let endless = "SELECT count(*) FROM requests a CROSS JOIN requests b CROSS JOIN requests c \
                       WHERE (a.\"offset\" * 31 + b.\"offset\" * 37 + c.\"offset\") % 7919 = 7918";
        let mut greedy = self.request(Scope::Account(samples::account(1)), endless).await;
        greedy.limits.deadline = Duration::from_mins(5);
        let mut asked = futures::future::join_all((0..20).map(|_| self.pool.run(&greedy)));
        let other = async {
            while running_children(std::process::id()) == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            self.ask(samples::account(2), "SELECT count(*) FROM requests").await
        };
        let answered = tokio::select! {
            _ = &mut asked => None,
            answer = other => Some(answer),
        };
        let Some(answer) = answered else { panic!("the other account waited for the greedy one") };
        assert_eq!(number(&answer.unwrap()), 1_000);
        drop(asked);
        self.no_worker_is_left().await;
        self.goes_on().await;
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
