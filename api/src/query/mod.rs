//! Asking the store: a pinned view, a scope, statements, and their rows as plain values.
//!
//! ```text
//! scope ─Reads─▶ Ask (one commit) ─statements of our own─▶ Rows
//! ```
//! Every figure that a handler or a report shows is the answer of a statement asked here, so that
//! the same statement over `POST /v1/sql` gives the same number.

pub(crate) mod lent;
pub(crate) mod literal;
pub(crate) mod range;
mod reads;
mod rows;

use std::sync::Arc;
use std::time::Duration;

use castback_schemas::{Micros, Revision};
use castback_store::session::{CatalogueTables, Source, SqlError, query, session};
use castback_store::{PinnedView, session};
use futures::future::try_join_all;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::App;
use crate::figures::{NAMED, Question};
use crate::identity::Scope;
use crate::problem::{Code, Problem, Result};

pub use reads::{Reads, SqlWorkers, follow};
pub(crate) use rows::{Rows, columns_of, rows_of};

/// Memory of a question of our own, for sorts, joins and groups; beyond, it fails alone.
const MEMORY: usize = 512 * 1024 * 1024;

/// Statements of a question that run at the same time: a single one keeps no two cores busy.
const AT_ONCE: usize = 2;

/// How long a statement of our own may take once it runs, above what a report of a year needs; beyond, the
/// caller is told to come again.
const DEADLINE: Duration = Duration::from_secs(30);

/// A question as of one commit, for one scope.
#[derive(Debug)]
pub(crate) struct Ask {
    source: Source,
    kept_from: Micros,
    /// Of all that is asked side by side, so many statements run.
    running: Semaphore,
}

impl Ask {
    /// As of the newest commit.
    pub(crate) async fn newest(app: &App, scope: Scope) -> Result<Self> {
        let view = app.reads.pinned(&app.catalogue).await?;
        // After the view: what goes meanwhile is still in it.
        let kept_from = match scope {
            Scope::Account(account) => app.catalogue.kept_from(account).await?,
            Scope::All => Micros(0),
        };
        let source = Source::new(app.store.clone(), view, scope.into());
        Ok(Self { source, kept_from, running: Semaphore::new(AT_ONCE) })
    }

    /// For several statements about a campaign's rows: the first reads what any of them names, the next find it in
    /// memory. Without, each reads what it names itself, which is less for a single one.
    #[must_use]
    pub(crate) fn keeping(self) -> Self {
        Self { source: self.source.keeping(NAMED), ..self }
    }

    /// The commit.
    pub(crate) fn revision(&self) -> Revision {
        self.view().revision()
    }

    /// From when on the account's ledger is kept: earlier requests and events have gone, or may go at
    /// any moment. The epoch while all is kept.
    pub(crate) fn kept_from(&self) -> Micros {
        self.kept_from
    }

    /// What [`Question::usable`] answers, from memory where there is room for it.
    pub(crate) async fn usable(&self, question: &Question) -> Result<Option<u64>> {
        let Some(account) = self.source.scope().account() else { return Ok(None) };
        let (delivered, most) = question.at_usable(account);
        Ok(self.source.usable(&delivered, most).await?)
    }

    /// The view, for rows that SQL doesn't show.
    pub(crate) fn view(&self) -> &Arc<PinnedView> {
        self.source.view()
    }

    /// The answers of several statements, of the same commit.
    pub(crate) async fn all<const N: usize>(&self, statements: [&str; N]) -> Result<[Rows; N]> {
        let mut answers = self.each(&statements).await?.into_iter();
        Ok(std::array::from_fn(|_| answers.next().unwrap_or_default()))
    }

    /// The answer of one statement.
    pub(crate) async fn one(&self, statement: &str) -> Result<Rows> {
        let [rows] = self.all([statement]).await?;
        Ok(rows)
    }

    /// The answers of any number of statements.
    pub(crate) async fn each(&self, statements: &[&str]) -> Result<Vec<Rows>> {
        let nothing = CatalogueTables::default();
        let context = session(&self.source, &nothing, MEMORY).map_err(of_ours)?;
        try_join_all(statements.iter().map(async |statement| {
            let _turn = self.running.acquire().await.map_err(Problem::internal)?;
            match tokio::time::timeout(DEADLINE, timed(statement, query(&context, statement))).await {
                Ok(answer) => answer.map(|answer| Rows::of(&answer)).map_err(of_ours),
                Err(_) => Err(Problem::new(Code::Overloaded, "the figures take too long at the moment")),
            }
        }))
        .await
    }
}

impl From<Scope> for session::Scope {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Account(account) => Self::Account(account),
            Scope::All => Self::All,
        }
    }
}

/// Awaits the answer of a statement; `RUST_LOG=castback_api::query=debug` tells how long each takes.
async fn timed<T>(statement: &str, answer: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let answer = answer.await;
    tracing::debug!(elapsed_ms = started.elapsed().as_millis(), statement, "answered");
    answer
}

/// A statement of our own failed: the caller can do nothing about it.
fn of_ours(error: SqlError) -> Problem {
    match error {
        SqlError::Unreadable(error) => error.into(),
        SqlError::Memory => {
            Problem::new(Code::TooLarge, "the range holds more than is answered at once").because(error)
        }
        other => Problem::internal(other),
    }
}
