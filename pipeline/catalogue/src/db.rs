//! The database: reads from a pool, writes in transactions, on SQLite or PostgreSQL alike.
//!
//! A write is a function of a transaction. It is handed over and runs to its end whatever
//! becomes of the caller (a request handler may be dropped half-way). On SQLite one writer
//! takes them ([`crate::writer`]); on PostgreSQL each runs on a connection of its own.

use std::pin::Pin;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool, Connection, Transaction};
use tokio::time::{Instant, timeout};

use crate::error::{CatalogueError, Result};
use crate::reads::{Reads, answers};
use crate::watch::Watch;
use crate::writer::Writer;

/// A connection inside a transaction.
pub(crate) type Tx = AnyConnection;

/// What a write does in its transaction.
pub(crate) type Work<'c, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'c>>;

/// Longest time one write or read may take; then it is rolled back. Far above any here, below
/// a request's deadline.
pub(crate) const WORK_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest wait for a connection of a pool; then the catalogue counts as unavailable.
pub(crate) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Readers of an SQLite file. Reads are short; more would only contend for two cores.
const SQLITE_READERS: u32 = 4;

/// Connections of a process to PostgreSQL: its own limit is 100 for all processes.
const POSTGRES_CONNECTIONS: u32 = 12;

/// The one difference of the two databases in text: the time, in microseconds.
const SQLITE_TIME: &str = "CREATE VIEW IF NOT EXISTS db_time (now_us) AS \
     SELECT CAST(unixepoch('subsec') * 1000000 AS BIGINT)";
/// Whether the view is there already. It never changes: another one would get another name.
const POSTGRES_HAS_TIME: &str = "SELECT to_regclass('db_time') IS NOT NULL";
// Several processes may start at once and find it missing: the lock lets one after the other make it.
const POSTGRES_TIME: &str = "BEGIN; LOCK TABLE counters IN EXCLUSIVE MODE; CREATE OR REPLACE VIEW db_time (now_us) AS \
     SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT); COMMIT";

const SQLITE_SETUP: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
     PRAGMA busy_timeout = 5000; PRAGMA cache_size = -16000";
// A process that freezes inside a transaction holds its locks: it loses them before the others give up waiting, and
// well before its own leases end.
const POSTGRES_SETUP: &str = "SET statement_timeout = '10s'; SET lock_timeout = '6s'; \
     SET idle_in_transaction_session_timeout = '4s'";

const SERVER_VERSION: &str = "SELECT split_part(current_setting('server_version'), ' ', 1)";

/// Oldest PostgreSQL that is tested against or known to have all that is used, by `server_version_num`.
const OLDEST_POSTGRES: i32 = 130_000;

/// The database behind the catalogue.
#[derive(Debug, Clone)]
pub(crate) struct Db {
    pool: AnyPool,
    dialect: Dialect,
    watch: Watch,
}

#[derive(Debug, Clone)]
enum Dialect {
    Sqlite(Writer),
    Postgres,
}

impl Db {
    /// Connects, creates the time view and brings the tables to this version.
    pub(crate) async fn open(url: &str) -> Result<Self> {
        sqlx::any::install_default_drivers();
        if url.starts_with("sqlite:") {
            Self::open_sqlite(url).await
        } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            Self::open_postgres(url).await
        } else {
            Err(CatalogueError::Refused("the database URL must begin with sqlite:// or postgresql://".to_owned()))
        }
    }

    async fn open_sqlite(url: &str) -> Result<Self> {
        let options = options(&created(url))?;
        let mut connection = sqlite_writer(&options).await?;
        migrate(&mut connection).await?;
        sqlx::raw_sql(SQLITE_TIME).execute(&mut connection).await?;
        let pool = AnyPoolOptions::new()
            .max_connections(SQLITE_READERS)
            // A file does not hang up.
            .test_before_acquire(false)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    sqlx::raw_sql(SQLITE_SETUP).execute(&mut *connection).await?;
                    sqlx::raw_sql("PRAGMA query_only = ON").execute(connection).await?;
                    Ok(())
                })
            })
            .connect_with(options.clone())
            .await?;
        Ok(Self { pool, dialect: Dialect::Sqlite(Writer::start(connection, options)), watch: Watch::default() })
    }

    async fn open_postgres(url: &str) -> Result<Self> {
        let pool = AnyPoolOptions::new()
            .max_connections(POSTGRES_CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    sqlx::raw_sql(POSTGRES_SETUP).execute(connection).await?;
                    Ok(())
                })
            })
            .after_release(|connection, _| Box::pin(answers(connection)))
            .connect_with(options(url)?)
            .await;
        let pool = match pool {
            // The pool has tried until its time was over; one more try says what is wrong.
            Err(sqlx::Error::PoolTimedOut) => {
                AnyConnection::connect_with(&options(url)?).await?;
                return Err(sqlx::Error::PoolTimedOut.into());
            }
            pool => pool?,
        };
        let mut connection = pool.acquire().await?;
        let number = "SELECT current_setting('server_version_num')::INTEGER";
        let version: i32 = sqlx::query_scalar(number).fetch_one(&mut *connection).await?;
        if version < OLDEST_POSTGRES {
            let (found, oldest) = (version / 10_000, OLDEST_POSTGRES / 10_000);
            let words = format!("the server is PostgreSQL {found}, but at least {oldest} is needed");
            return Err(CatalogueError::Refused(words));
        }
        migrate(&mut connection).await?;
        // Whoever joins others that are at work waits for none of their locks.
        let there: bool = sqlx::query_scalar(POSTGRES_HAS_TIME).fetch_one(&mut *connection).await?;
        if !there {
            sqlx::raw_sql(POSTGRES_TIME).execute(&mut *connection).await?;
        }
        drop(connection);
        Ok(Self { pool, dialect: Dialect::Postgres, watch: Watch::default() })
    }

    /// Waits for the writes that were handed over before, then closes the connections.
    pub(crate) async fn close(&self) -> Result<()> {
        self.change(|_| Box::pin(async { Ok(()) })).await?;
        self.pool.close().await;
        Ok(())
    }

    /// The version of the server, if there is one: `15.8`.
    pub(crate) async fn server_version(&self) -> Result<Option<String>> {
        match self.dialect {
            Dialect::Sqlite(_) => Ok(None),
            Dialect::Postgres => Ok(Some(sqlx::query_scalar(SERVER_VERSION).fetch_one(&self.pool).await?)),
        }
    }

    /// For single statements that read, each within [`WORK_TIMEOUT`].
    pub(crate) fn reads(&self) -> Reads {
        Reads::new(&self.pool, &self.watch)
    }

    /// Whoever measures.
    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Several statements that read, on one connection. Callers wrap them in
    /// [`bounded`](crate::reads::bounded).
    pub(crate) async fn reader(&self) -> Result<PoolConnection<Any>> {
        Ok(self.pool.acquire().await?)
    }

    /// What a `SELECT` says at its end to lock its rows and leave out those that others have locked. SQLite has one
    /// writer and locks no rows.
    pub(crate) fn skip_locked(&self) -> &'static str {
        match self.dialect {
            Dialect::Sqlite(_) => "",
            Dialect::Postgres => "FOR UPDATE SKIP LOCKED",
        }
    }

    /// A transaction whose reads all see the same instant. Callers wrap them in [`bounded`](crate::reads::bounded).
    pub(crate) async fn snapshot(&self) -> Result<Transaction<'static, Any>> {
        let begin = match self.dialect {
            // The first read fixes the instant; nothing is written by readers.
            Dialect::Sqlite(_) => "BEGIN",
            Dialect::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        Ok(self.pool.begin_with(begin).await?)
    }

    /// Writes for a person: waiting ones may share one transaction on SQLite, each undone alone
    /// if it fails.
    pub(crate) async fn change<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Tx) -> Work<'c, T> + Send + 'static,
    {
        let begun = Instant::now();
        let done = match &self.dialect {
            Dialect::Sqlite(writer) => writer.change(work).await,
            Dialect::Postgres => self.transaction(work).await,
        };
        self.watch.ended("change", begun);
        done
    }

    /// Writes that go before all others: commits and leases.
    pub(crate) async fn urgent<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Tx) -> Work<'c, T> + Send + 'static,
    {
        let begun = Instant::now();
        let done = match &self.dialect {
            Dialect::Sqlite(writer) => writer.urgent(work).await,
            Dialect::Postgres => self.transaction(work).await,
        };
        self.watch.ended("urgent", begun);
        done
    }

    /// The one writer, on SQLite.
    #[cfg(test)]
    pub(crate) fn writer(&self) -> Option<&Writer> {
        match &self.dialect {
            Dialect::Sqlite(writer) => Some(writer),
            Dialect::Postgres => None,
        }
    }

    async fn transaction<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Tx) -> Work<'c, T> + Send + 'static,
    {
        let pool = self.pool.clone();
        let task = tokio::spawn(timeout(WORK_TIMEOUT, async move {
            let mut tx = pool.begin().await?;
            let done = work(&mut tx).await?;
            tx.commit().await?;
            Ok(done)
        }));
        match task.await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(sqlx::Error::PoolTimedOut.into()),
            Err(_) => Err(sqlx::Error::WorkerCrashed.into()),
        }
    }
}

/// A new writing connection to an SQLite file.
pub(crate) async fn sqlite_writer(options: &AnyConnectOptions) -> Result<AnyConnection> {
    let mut connection = AnyConnection::connect_with(options).await?;
    sqlx::raw_sql(SQLITE_SETUP).execute(&mut connection).await?;
    Ok(connection)
}

async fn migrate(connection: &mut AnyConnection) -> Result<()> {
    sqlx::migrate!().run_direct(None, connection, false).await.map_err(|cause| CatalogueError::Migration(cause.into()))
}

fn options(url: &str) -> Result<AnyConnectOptions> {
    url.parse().map_err(|_| CatalogueError::Refused("the database URL can't be read".to_owned()))
}

/// The same SQLite URL, its file created when it is not there.
fn created(url: &str) -> String {
    match url.split_once('?') {
        None => format!("{url}?mode=rwc"),
        Some((_, query)) if query.contains("mode=") => url.to_owned(),
        Some(_) => format!("{url}&mode=rwc"),
    }
}

/// Takes `count` numbers of a counter and answers the last; its row stays locked to the end
/// of the transaction.
pub(crate) async fn take_numbers(tx: &mut Tx, counter: &'static str, count: i64) -> Result<i64> {
    Ok(sqlx::query_scalar("UPDATE counters SET value = value + $2 WHERE name = $1 RETURNING value")
        .bind(counter)
        .bind(count)
        .fetch_one(tx)
        .await?)
}
