//! Reading within a bound: a database that no longer answers keeps nobody for longer than a write may take.
//!
//! The server's own timeouts don't help when its network swallows what is sent. The connection of a read that is given up
//! is closed, as it doesn't answer on its way back to the pool either.

use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use sqlx::any::{AnyQueryResult, AnyRow, AnyStatement, AnyTypeInfo};
use sqlx::{Any, AnyConnection, AnyPool, Connection, Describe, Either, Execute, Executor, SqlStr};
use tokio::time::{Instant, timeout, timeout_at};

use crate::db::{ACQUIRE_TIMEOUT, WORK_TIMEOUT};
use crate::error::Result;
use crate::watch::Watch;

/// The pool for single statements, each within [`WORK_TIMEOUT`].
#[derive(Debug)]
pub(crate) struct Reads {
    pool: AnyPool,
    limit: Duration,
    watch: Watch,
}

impl Reads {
    pub(crate) fn new(pool: &AnyPool, watch: &Watch) -> Self {
        Self { pool: pool.clone(), limit: WORK_TIMEOUT, watch: watch.clone() }
    }

    fn within<'e, T: Send + 'e>(&self, work: BoxFuture<'e, sqlx::Result<T>>) -> BoxFuture<'e, sqlx::Result<T>> {
        let limit = self.limit;
        async move { timeout(limit, work).await.unwrap_or(Err(sqlx::Error::PoolTimedOut)) }.boxed()
    }
}

/// Several reads as one, within [`WORK_TIMEOUT`].
pub(crate) async fn bounded<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(WORK_TIMEOUT, work).await.unwrap_or_else(|_| Err(sqlx::Error::PoolTimedOut.into()))
}

/// Whether a connection that comes back to the pool still answers.
pub(crate) async fn answers(connection: &mut AnyConnection) -> sqlx::Result<bool> {
    match timeout(ACQUIRE_TIMEOUT, connection.ping()).await {
        Ok(answer) => answer.map(|()| true),
        // An error closes the connection without another word to the server.
        Err(_) => Err(sqlx::Error::PoolTimedOut),
    }
}

impl<'c> Executor<'c> for Reads {
    type Database = Any;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, sqlx::Result<Either<AnyQueryResult, AnyRow>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        let begun = Instant::now();
        let deadline = begun + self.limit;
        let rows = Executor::fetch_many(&self.pool, query);
        stream::unfold(Some((rows, self.watch)), move |state| async move {
            let (mut rows, watch) = state?;
            let next = timeout_at(deadline, rows.next()).await;
            // The end, an error, or too late: nobody reads on.
            if !matches!(next, Ok(Some(Ok(_)))) {
                watch.ended("read", begun);
            }
            match next {
                Ok(row) => row.map(|row| (row, Some((rows, watch)))),
                Err(_) => Some((Err(sqlx::Error::PoolTimedOut), None)),
            }
        })
        .boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, sqlx::Result<Option<AnyRow>>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        let begun = Instant::now();
        let row = self.within(Executor::fetch_optional(&self.pool, query));
        let watch = self.watch;
        async move {
            let row = row.await;
            watch.ended("read", begun);
            row
        }
        .boxed()
    }

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [AnyTypeInfo]) -> BoxFuture<'e, sqlx::Result<AnyStatement>>
    where
        'c: 'e,
    {
        self.within(Executor::prepare_with(&self.pool, sql, parameters))
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, sqlx::Result<Describe<Any>>>
    where
        'c: 'e,
    {
        self.within(Executor::describe(&self.pool, sql))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pool() -> AnyPool {
        sqlx::any::install_default_drivers();
        AnyPool::connect("sqlite::memory:").await.unwrap()
    }

    #[tokio::test]
    async fn a_read_that_nobody_answers_ends() {
        let pool = pool().await;
        let limit = Duration::from_millis(50);
        let reads = || Reads { pool: pool.clone(), limit, watch: Watch::default() };
        // It takes seconds.
        let long =
            "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 20000000) SELECT COUNT(*) FROM n";
        assert!(matches!(sqlx::query(long).fetch_all(reads()).await, Err(sqlx::Error::PoolTimedOut)));
        assert!(matches!(sqlx::query(long).fetch_optional(reads()).await, Err(sqlx::Error::PoolTimedOut)));
    }

    #[tokio::test]
    async fn rows_come_through_and_errors_too() {
        let pool = pool().await;
        let watch = Watch::default();
        let (told, heard) = std::sync::mpsc::channel();
        watch.tell(move |operation, _| told.send(operation).unwrap());
        let rows: Vec<i64> = sqlx::query_scalar("SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3")
            .fetch_all(Reads::new(&pool, &watch))
            .await
            .unwrap();
        assert_eq!(rows, [1, 2, 3]);
        let one: Option<i64> = sqlx::query_scalar("SELECT 7").fetch_optional(Reads::new(&pool, &watch)).await.unwrap();
        assert_eq!(one, Some(7));
        assert!(sqlx::query("SELECT nothing").fetch_all(Reads::new(&pool, &watch)).await.is_err());
        assert_eq!(heard.try_iter().collect::<Vec<_>>(), ["read"; 3]);
        let mut connection = pool.acquire().await.unwrap();
        assert!(answers(&mut connection).await.unwrap());
    }
}
