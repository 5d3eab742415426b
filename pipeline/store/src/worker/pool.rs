//! The parent's side: how many workers at once, for how long, and what became of them.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::{env, io};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::Semaphore;

use super::protocol::{Request, Trailer, WorkerAnswer};
use crate::error::StoreError;
use crate::session::Scope;

/// Queries that wait for a worker; one more is refused at once, since those before it already
/// take longer than a caller waits.
const MAX_WAITING: usize = 32;
/// Of these, queries of one account: the others' turn comes, whatever one asks.
const MAX_WAITING_EACH: usize = 8;
/// The longest answer that is believed: above every limit that a request sets.
const MAX_ANSWER: u64 = 1024 * 1024 * 1024;
/// Settings that a worker inherits: how to reach the object store, nothing else.
const INHERITED: [&str; 2] = ["AWS_", "SSL_CERT_"];

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Too many queries wait; try again later.
    #[error("too many queries are waiting")]
    Overloaded,
    /// The query took longer than allowed and was killed.
    #[error("the query took longer than allowed")]
    Deadline,
    /// The worker died: the query needed more memory than it may use.
    #[error("the query needs more than it may use")]
    Died,
    /// The query was refused or failed.
    #[error("{message}")]
    Sql {
        /// The problem's code, see `SqlError::code`.
        code: String,
        /// What is wrong, for its author.
        message: String,
    },
    /// No worker can be started.
    #[error("no worker can be started")]
    Spawn(#[source] io::Error),
    /// The request can't be encoded; a defect.
    #[error("the request can't be encoded")]
    Encode(#[source] StoreError),
}

/// Starts workers, a bounded number at once.
#[derive(Debug, Clone)]
pub struct Pool {
    program: PathBuf,
    arguments: Vec<OsString>,
    running: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    /// Workers that one account may have at once: all but one, if there are several.
    share: usize,
    shares: Arc<Mutex<HashMap<Scope, Arc<Share>>>>,
}

/// What one account (or the operators together) runs and waits for.
#[derive(Debug)]
struct Share {
    running: Semaphore,
    waiting: AtomicUsize,
}

/// Counts a waiting query down when it stops waiting, also when its caller goes.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Pool {
    /// A pool of `at_once` workers, each `program arguments`: this binary and `sql-worker`.
    #[must_use]
    pub fn new(program: PathBuf, arguments: Vec<OsString>, at_once: usize) -> Self {
        let (running, share) = (Arc::new(Semaphore::new(at_once)), at_once.saturating_sub(1).max(1));
        Self { program, arguments, running, waiting: Arc::default(), share, shares: Arc::default() }
    }

    /// The share of whoever asks; those that nobody uses are forgotten.
    fn share_of(&self, scope: Scope) -> Arc<Share> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        shares.retain(|_, share| Arc::strong_count(share) > 1);
        let made = || Arc::new(Share { running: Semaphore::new(self.share), waiting: AtomicUsize::new(0) });
        Arc::clone(shares.entry(scope).or_insert_with(made))
    }

    /// Queries that wait now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Runs a query; when the future is dropped its worker is killed.
    ///
    /// # Errors
    /// See [`WorkerError`].
    pub async fn run(&self, request: &Request) -> Result<WorkerAnswer, WorkerError> {
        let answered = tokio::time::timeout(request.limits.deadline, self.answer(request)).await;
        answered.unwrap_or(Err(WorkerError::Deadline))
    }

    async fn answer(&self, request: &Request) -> Result<WorkerAnswer, WorkerError> {
        let share = self.share_of(request.scope);
        let waiting = [(&share.waiting, MAX_WAITING_EACH), (&*self.waiting, MAX_WAITING)];
        let before = waiting.map(|(waiting, most)| (waiting.fetch_add(1, Ordering::SeqCst), most));
        let waiting = waiting.map(|(waiting, _)| Waiting(waiting));
        if before.iter().any(|(before, most)| before >= most) {
            return Err(WorkerError::Overloaded);
        }
        // First the account's own share: who waits for that stands in nobody's way.
        let own = share.running.acquire().await.map_err(|_| WorkerError::Overloaded)?;
        let permit = self.running.acquire().await.map_err(|_| WorkerError::Overloaded)?;
        drop(waiting);
        let bytes = request.encode().map_err(WorkerError::Encode)?;
        let mut child = self.spawn().map_err(WorkerError::Spawn)?;
        let answer = converse(&mut child, &bytes).await;
        drop((permit, own));
        match answer {
            Ok((stream, Trailer::Done { row_count, truncated, elapsed_ms })) => {
                Ok(WorkerAnswer { stream, row_count, truncated, elapsed_ms })
            }
            Ok((_, Trailer::Failed { code, message })) => Err(WorkerError::Sql { code, message }),
            Err(error) => {
                tracing::warn!(worker.error = %error, "a worker died");
                Err(WorkerError::Died)
            }
        }
    }

    fn spawn(&self) -> io::Result<Child> {
        let inherited = env::vars_os().filter(|(name, _)| {
            let name = name.to_string_lossy();
            INHERITED.iter().any(|prefix| name.starts_with(prefix))
        });
        Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .envs(inherited)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
    }
}

async fn converse(child: &mut Child, request: &[u8]) -> io::Result<(Bytes, Trailer)> {
    let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
    // Held open to the end: its closing tells the worker that nobody waits.
    let mut input = child.stdin.take().ok_or_else(closed)?;
    let mut output = child.stdout.take().ok_or_else(closed)?;
    input.write_all(request).await?;
    input.flush().await?;
    let mut stream = Bytes::new();
    loop {
        match frame(&mut output).await? {
            (b'A', bytes) => stream = bytes.into(),
            (b'T', bytes) => return Ok((stream, serde_json::from_slice(&bytes)?)),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

async fn frame(output: &mut ChildStdout) -> io::Result<(u8, Vec<u8>)> {
    let kind = output.read_u8().await?;
    let length = output.read_u64().await?;
    if length > MAX_ANSWER {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = Vec::new();
    output.take(length).read_to_end(&mut bytes).await?;
    if bytes.len() as u64 == length { Ok((kind, bytes)) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
