//! Intake: bodies of records to durable records on the log.
//!
//! ```text
//! body ─read, decode (capped)─▶ text ─split─▶ record ─typed, checked─▶ event ─hashes, Avro─▶ batch ─append─▶ 202
//!                                               └── bad: rejected with its index; the rest goes on
//! ```
//! Addresses end here: behind [`edge`] there are only keyed hashes, a network class and ids. A body is
//! read whole (16 MiB decoded at most) before anything is appended, so a body that can't be read
//! leaves nothing. The work is done where blocking is allowed, by as many threads as there are cores.
//!
//! Where to add: another kind of record is a file beside [`requests`] with its typed shape.

pub(crate) mod access_log;
pub(crate) mod batch;
pub(crate) mod body;
pub(crate) mod conversions;
pub(crate) mod edge;
pub(crate) mod elements;
pub(crate) mod events;
pub(crate) mod requests;
pub(crate) mod room;

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::App;
use crate::problem::{Code, Problem, Result};

/// Most records of one body; a body with more is refused whole.
pub(crate) const MAX_RECORDS: usize = 100_000;

/// Memory that bodies may take at once, in permits of [`PERMIT_BYTES`]: 192 MiB. When it is taken,
/// callers wait for two seconds, then are told to come again.
const ROOM_PERMITS: usize = 3_072;

/// Bytes of one permit.
pub(crate) const PERMIT_BYTES: usize = 64 * 1024;

/// Cores if the machine does not say how many it has.
const FEW_CORES: usize = 2;

/// What bodies share: memory and cores.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) bytes: Arc<Semaphore>,
    cores: Arc<Semaphore>,
}

impl Default for Room {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(FEW_CORES, usize::from);
        Self { bytes: Arc::new(Semaphore::new(ROOM_PERMITS)), cores: Arc::new(Semaphore::new(cores)) }
    }
}

/// Does work that takes a core for a while, off the runtime; waits for a core first.
pub(crate) async fn off_the_runtime<T: Send + 'static>(
    app: &App,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let closed = |_| Problem::new(Code::Overloaded, "the server is closing");
    let core = Arc::clone(&app.bodies.cores).acquire_owned().await.map_err(closed)?;
    let done = tokio::task::spawn_blocking(move || {
        let _core = core;
        work()
    });
    done.await.map_err(Problem::internal)?
}
