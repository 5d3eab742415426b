//! The one writer of an SQLite file: two bounded queues, commits and leases first.
//!
//! Changes that wait share one transaction (one sync to disk), each in a savepoint of its own,
//! so that one that fails takes back only itself. As soon as something urgent waits, the
//! transaction is closed: it never waits for more than the change that is running.

use std::time::Duration;

use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, Connection};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::db::{Tx, WORK_TIMEOUT, Work, sqlite_writer};
use crate::error::{CatalogueError, Result};

/// Changes that wait. More than a second's worth; when full, callers wait, then get
/// [`CatalogueError::Overloaded`].
const CHANGES: usize = 256;
/// Commits and lease renewals that wait: one publisher and one lease keeper a process, so a
/// full queue means that the disk stands still.
const URGENT: usize = 16;
/// Changes that share one transaction at most, so that the first does not wait for long.
const GROUP: usize = 32;
/// Longest wait for a place in a queue.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause before the file is opened again after it failed: it may be out of space for a while.
const REOPEN_PAUSE: Duration = Duration::from_millis(100);

/// Hands writes to the writer. The writer ends when the last handle is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    urgent: mpsc::Sender<Box<dyn Job>>,
    changes: mpsc::Sender<Box<dyn Job>>,
}

impl Writer {
    pub(crate) fn start(connection: AnyConnection, options: AnyConnectOptions) -> Self {
        let (urgent, urgent_jobs) = mpsc::channel(URGENT);
        let (changes, change_jobs) = mpsc::channel(CHANGES);
        let writing = Writing { urgent: urgent_jobs, changes: change_jobs, connection: Some(connection), options };
        tokio::spawn(writing.run());
        Self { urgent, changes }
    }

    pub(crate) async fn urgent<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Tx) -> Work<'c, T> + Send + 'static,
    {
        submit(&self.urgent, work).await
    }

    pub(crate) async fn change<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Tx) -> Work<'c, T> + Send + 'static,
    {
        submit(&self.changes, work).await
    }
}

async fn submit<T, F>(queue: &mpsc::Sender<Box<dyn Job>>, work: F) -> Result<T>
where
    T: Send + 'static,
    F: for<'c> FnOnce(&'c mut Tx) -> Work<'c, T> + Send + 'static,
{
    let (reply, answer) = oneshot::channel();
    let job = Box::new(Waiting { work: Some(work), outcome: None, reply });
    queue.send_timeout(job, QUEUE_TIMEOUT).await.map_err(|_| CatalogueError::Overloaded)?;
    // The writer bounds every job, so an answer comes.
    answer.await.unwrap_or_else(|_| Err(sqlx::Error::WorkerCrashed.into()))
}

/// A write whose caller waits.
trait Job: Send {
    /// Does the work; whether it succeeded.
    fn run<'c>(&'c mut self, tx: &'c mut Tx) -> Work<'c, ()>;
    /// Answers the caller, after the transaction's end.
    fn finish(self: Box<Self>, transaction: Result<()>);
}

struct Waiting<T, F> {
    work: Option<F>,
    outcome: Option<T>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T, F> Job for Waiting<T, F>
where
    T: Send + 'static,
    F: for<'c> FnOnce(&'c mut Tx) -> Work<'c, T> + Send + 'static,
{
    fn run<'c>(&'c mut self, tx: &'c mut Tx) -> Work<'c, ()> {
        Box::pin(async move {
            let Some(work) = self.work.take() else { return Err(CatalogueError::Overloaded) };
            self.outcome = Some(work(tx).await?);
            Ok(())
        })
    }

    fn finish(self: Box<Self>, transaction: Result<()>) {
        let Self { outcome, reply, .. } = *self;
        let answer = transaction.and_then(|()| outcome.ok_or_else(|| CatalogueError::from(sqlx::Error::WorkerCrashed)));
        // A caller that has gone needs no answer.
        drop(reply.send(answer));
    }
}

struct Writing {
    urgent: mpsc::Receiver<Box<dyn Job>>,
    changes: mpsc::Receiver<Box<dyn Job>>,
    connection: Option<AnyConnection>,
    options: AnyConnectOptions,
}

impl Writing {
    async fn run(mut self) {
        loop {
            let (first, urgent) = tokio::select! {
                biased;
                Some(job) = self.urgent.recv() => (job, true),
                Some(job) = self.changes.recv() => (job, false),
                else => break,
            };
            let mut jobs = vec![(first, Ok(()))];
            let outcome = self.transaction(&mut jobs, urgent).await;
            for (job, own) in jobs {
                job.finish(own.and(outcome.clone()));
            }
            if let Err(cause) = outcome {
                tracing::warn!(error = ?cause, "catalogue write transaction failed");
                // The state of the connection is unknown now: a new one begins clean.
                self.connection = None;
                tokio::time::sleep(REOPEN_PAUSE).await;
            }
        }
        if let Some(connection) = self.connection {
            drop(connection.close().await);
        }
    }

    /// Runs the jobs, and changes that join them, in one transaction. An error is the whole
    /// transaction's; a job's own error stands beside it.
    async fn transaction(&mut self, jobs: &mut Vec<(Box<dyn Job>, Result<()>)>, urgent: bool) -> Result<()> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            closed => closed.insert(sqlite_writer(&self.options).await?),
        };
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
        let mut next = 0;
        while let Some((job, own)) = jobs.get_mut(next) {
            let mut savepoint = tx.begin().await?;
            *own = timeout(WORK_TIMEOUT, job.run(&mut savepoint))
                .await
                .unwrap_or_else(|_| Err(sqlx::Error::PoolTimedOut.into()));
            if own.is_ok() {
                savepoint.commit().await?;
            } else {
                savepoint.rollback().await?;
            }
            next += 1;
            if !urgent
                && next < GROUP
                && self.urgent.is_empty()
                && let Ok(job) = self.changes.try_recv()
            {
                jobs.push((job, Ok(())));
            }
        }
        tx.commit().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::db::Db;
    use crate::reads::Reads;

    async fn fresh() -> (tempfile::TempDir, Db) {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/castback.db", directory.path().display());
        let db = Db::open(&url).await.unwrap();
        (directory, db)
    }

    async fn names(reads: Reads) -> Vec<String> {
        sqlx::query_scalar("SELECT name FROM meta ORDER BY name").fetch_all(reads).await.unwrap()
    }

    async fn note(tx: &mut Tx, name: &'static str) -> Result<()> {
        sqlx::query("INSERT INTO meta (name, value) VALUES ($1, '')").bind(name).execute(tx).await?;
        Ok(())
    }

    /// Starts a change that holds the writer until the sender is used.
    async fn hold(db: &Db) -> oneshot::Sender<()> {
        let (release, held) = oneshot::channel::<()>();
        let (begun, running) = oneshot::channel();
        let db = db.clone();
        tokio::spawn(async move {
            db.change(|_| {
                Box::pin(async move {
                    begun.send(()).unwrap();
                    held.await.unwrap();
                    Ok(())
                })
            })
            .await
        });
        running.await.unwrap();
        release
    }

    #[tokio::test]
    async fn what_is_urgent_goes_before_changes_that_wait() {
        let (_directory, db) = fresh().await;
        let writer = db.writer().unwrap();
        let release = hold(&db).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut waiting = Vec::new();
        for i in 0..3 {
            let (db, order) = (db.clone(), order.clone());
            waiting.push(tokio::spawn(async move {
                let mark: Work<'static, ()> = Box::pin(async move {
                    order.lock().unwrap().push(format!("change {i}"));
                    Ok(())
                });
                db.change(move |_| mark).await.unwrap();
            }));
        }
        let urgent = {
            let (db, order) = (db.clone(), order.clone());
            tokio::spawn(async move {
                let mark: Work<'static, ()> = Box::pin(async move {
                    order.lock().unwrap().push("urgent".to_owned());
                    Ok(())
                });
                db.urgent(move |_| mark).await.unwrap();
            })
        };
        while writer.urgent.capacity() == URGENT || writer.changes.capacity() + 3 > CHANGES {
            tokio::task::yield_now().await;
        }
        release.send(()).unwrap();
        for task in waiting.into_iter().chain([urgent]) {
            task.await.unwrap();
        }
        assert_eq!(order.lock().unwrap()[0], "urgent");
    }

    #[tokio::test]
    async fn a_transaction_that_the_database_gave_up_fails_all_in_it_and_the_next_begins_clean() {
        let (_directory, db) = fresh().await;
        let release = hold(&db).await;
        let joining = tokio::spawn({
            let db = db.clone();
            async move { db.change(|tx| Box::pin(note(tx, "before"))).await }
        });
        let writer = db.writer().unwrap();
        while writer.changes.capacity() == CHANGES {
            tokio::task::yield_now().await;
        }
        // What SQLite does by itself when the disk is full.
        let giving_up = tokio::spawn({
            let db = db.clone();
            async move {
                db.change(|tx| {
                    Box::pin(async move {
                        sqlx::raw_sql("ROLLBACK").execute(tx).await?;
                        Ok(())
                    })
                })
                .await
            }
        });
        while writer.changes.capacity() + 2 > CHANGES {
            tokio::task::yield_now().await;
        }
        release.send(()).unwrap();
        assert!(matches!(joining.await.unwrap(), Err(CatalogueError::Unavailable(_))));
        assert!(matches!(giving_up.await.unwrap(), Err(CatalogueError::Unavailable(_))));
        db.change(|tx| Box::pin(note(tx, "after"))).await.unwrap();
        assert_eq!(names(db.reads()).await, ["after"]);
    }

    #[tokio::test]
    async fn a_change_that_fails_takes_back_only_itself() {
        let (_directory, db) = fresh().await;
        let release = hold(&db).await;
        let changes = ["a", "b", "a", "c"].map(|name| {
            let db = db.clone();
            tokio::spawn(async move { db.change(move |tx| Box::pin(note(tx, name))).await })
        });
        release.send(()).unwrap();
        let mut failed = 0;
        for change in changes {
            failed += usize::from(change.await.unwrap().is_err());
        }
        assert_eq!(failed, 1);
        assert_eq!(names(db.reads()).await, ["a", "b", "c"]);
    }
}
