//! One unit: what it has said since the last commit, and where it will stand after the next.
//!
//! A unit's task reads, decodes and steps; whatever that says lies in its [`Pending`] until the
//! publisher takes it for a commit. Nothing leaves a unit before.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use castback_catalogue::units::{Held, Positions};
use castback_schemas::table::Table;
use castback_schemas::{Topic, Unit};
use tokio::sync::{Notify, watch};

/// Bytes said but not yet taken for a commit, at which a unit waits: a tick's worth. Its input
/// stays on the log meanwhile.
pub const MAX_PENDING: usize = 8 << 20;

/// What a unit has said since it was last taken for a commit.
#[derive(Debug, Default)]
pub struct Pending {
    /// New rows.
    pub tables: Vec<(Table, RecordBatch)>,
    /// Their size in memory.
    pub bytes: usize,
    /// Where the unit stands after them.
    pub positions: Positions,
    /// Requests to the unit that they answer.
    pub finish: Vec<i64>,
    moved: bool,
}

impl Pending {
    /// Whether there is anything to commit.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.moved || !self.finish.is_empty() || !self.tables.is_empty()
    }
}

/// A held unit, shared between its task and the publisher.
#[derive(Debug)]
pub struct HeldUnit {
    /// The unit.
    pub unit: Unit,
    /// The epoch under which it is held.
    pub epoch: i64,
    pending: Mutex<Pending>,
    /// Positions as of the last commit that was accepted.
    committed: watch::Sender<Positions>,
    fenced: AtomicBool,
    taken: Notify,
}

impl HeldUnit {
    /// A unit just taken.
    #[must_use]
    pub fn new(held: Held) -> Self {
        let pending = Pending { positions: held.positions.clone(), ..Pending::default() };
        Self {
            unit: held.unit,
            epoch: held.epoch,
            pending: Mutex::new(pending),
            committed: watch::Sender::new(held.positions),
            fenced: AtomicBool::new(false),
            taken: Notify::new(),
        }
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what a step said and where the unit stands after it; both or neither.
    pub fn say(&self, tables: Vec<(Table, RecordBatch)>, position: Option<(Topic, i64)>, finish: Option<i64>) {
        let mut pending = self.pending();
        pending.bytes += tables.iter().map(|(_, batch)| batch.get_array_memory_size()).sum::<usize>();
        pending.tables.extend(tables);
        pending.finish.extend(finish);
        if let Some((topic, next)) = position {
            pending.positions.0.insert(topic.name().to_owned(), next);
            pending.moved = true;
        }
    }

    /// Takes what is to be committed, if anything; the unit goes on from there.
    pub fn take(&self) -> Option<Pending> {
        let mut pending = self.pending();
        if !pending.is_dirty() {
            return None;
        }
        let fresh = Pending { positions: pending.positions.clone(), ..Pending::default() };
        let taken = std::mem::replace(&mut *pending, fresh);
        self.taken.notify_waiters();
        Some(taken)
    }

    /// Bytes that wait for a commit.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.pending().bytes
    }

    /// Where the unit stands, said but perhaps not committed.
    #[must_use]
    pub fn position(&self, topic: Topic) -> i64 {
        self.pending().positions.0.get(topic.name()).copied().unwrap_or(0)
    }

    /// Waits until the publisher took what was said, if it is too much.
    pub async fn make_room(&self) {
        loop {
            let taken = self.taken.notified();
            tokio::pin!(taken);
            taken.as_mut().enable();
            if self.waiting() < MAX_PENDING || self.is_fenced() {
                return;
            }
            taken.await;
        }
    }

    /// Positions as of the last commit, and their changes.
    #[must_use]
    pub fn committed(&self) -> watch::Receiver<Positions> {
        self.committed.subscribe()
    }

    /// Waits until everything said is committed (or the unit was fenced).
    pub async fn settle(&self) {
        let mut committed = self.committed.subscribe();
        loop {
            let all = {
                let pending = self.pending();
                !pending.is_dirty() && *committed.borrow_and_update() == pending.positions
            };
            if all || self.is_fenced() || committed.changed().await.is_err() {
                return;
            }
        }
    }

    /// A commit was accepted.
    pub fn accepted(&self, positions: Positions) {
        self.committed.send_replace(positions);
    }

    /// Somebody else holds the unit: nothing said here counts any more.
    pub fn fence(&self) {
        self.fenced.store(true, Ordering::SeqCst);
        self.committed.send_modify(|_| {});
        self.taken.notify_waiters();
    }

    /// Whether the unit was lost.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.fenced.load(Ordering::SeqCst)
    }
}
