//! One unit: what it has said since the last commit, and where it will stand after the next.
//!
//! A unit's task reads, decodes and steps; whatever that says lies in its [`Pending`] until the
//! publisher takes it for a commit. Nothing leaves a unit before.

use std::sync::{Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use castback_catalogue::units::{Held, Positions};
use castback_schemas::table::Table;
use castback_schemas::{Topic, Unit};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

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
    /// How many were taken for a commit before it.
    number: u64,
}

/// What of a unit is committed.
#[derive(Debug, Clone, Default)]
pub struct Committed {
    /// Where the unit stands.
    pub positions: Positions,
    /// How many commits of it were accepted since it was taken.
    number: u64,
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
    /// As of the last commit that was accepted.
    committed: watch::Sender<Committed>,
    fenced: CancellationToken,
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
            committed: watch::Sender::new(Committed { positions: held.positions, number: 0 }),
            fenced: CancellationToken::new(),
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
        let number = pending.number + 1;
        let fresh = Pending { positions: pending.positions.clone(), number, ..Pending::default() };
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

    /// What is committed, and its changes.
    #[must_use]
    pub fn committed(&self) -> watch::Receiver<Committed> {
        self.committed.subscribe()
    }

    /// Waits until everything said is committed (or the unit was fenced).
    pub async fn settle(&self) {
        let mut committed = self.committed.subscribe();
        loop {
            let all = {
                let pending = self.pending();
                !pending.is_dirty() && committed.borrow_and_update().number == pending.number
            };
            if all || self.is_fenced() || committed.changed().await.is_err() {
                return;
            }
        }
    }

    /// The commit of what was taken was accepted.
    pub fn accepted(&self, taken: &Pending) {
        let positions = taken.positions.clone();
        self.committed.send_replace(Committed { positions, number: taken.number + 1 });
    }

    /// Somebody else holds the unit: nothing said here counts any more.
    pub fn fence(&self) {
        self.fenced.cancel();
        self.committed.send_modify(|_| {});
        self.taken.notify_waiters();
    }

    /// Waits until the unit is lost.
    pub async fn fenced(&self) {
        self.fenced.cancelled().await;
    }

    /// Whether the unit was lost.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.fenced.is_cancelled()
    }
}

#[cfg(test)]
mod tests {
    use castback_schemas::{Group, Slot};

    use super::*;

    fn unit() -> HeldUnit {
        let unit = Unit { group: Group::Counting, slot: Slot(0) };
        HeldUnit::new(Held { unit, epoch: 1, positions: Positions::default() })
    }

    #[tokio::test]
    async fn what_was_taken_settles_only_when_it_is_accepted() {
        let unit = unit();
        unit.settle().await;
        unit.say(Vec::new(), None, Some(7));
        let taken = unit.take().unwrap();
        let mut settled = std::pin::pin!(unit.settle());
        let early = futures::poll!(settled.as_mut());
        assert!(early.is_pending(), "no position moved, but the commit is under way");
        unit.accepted(&taken);
        settled.await;
    }

    #[tokio::test]
    async fn a_fenced_unit_waits_for_nothing() {
        let unit = unit();
        unit.say(Vec::new(), Some((Topic::Conversions, 3)), None);
        unit.fence();
        unit.settle().await;
        unit.make_room().await;
        assert_eq!(unit.position(Topic::Conversions), 3);
    }
}
