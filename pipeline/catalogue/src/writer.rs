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
        let answer =
            transaction.and_then(|()| outcome.ok_or_else(|| CatalogueError::from(sqlx::Error::WorkerCrashed)));
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
            if own.is_ok() { savepoint.commit().await? } else { savepoint.rollback().await? }
            next += 1;
            if !urgent && next < GROUP && self.urgent.is_empty() && let Ok(job) = self.changes.try_recv() {
                jobs.push((job, Ok(())));
            }
        }
        tx.commit().await?;
        Ok(())
    }
}
