//! The publisher: one commit a tick for all dirty units of the process.
//!
//! First one object with every unit's rows, under a fresh name; then one transaction that moves
//! the positions of those units that are still ours and refers to their slices. A unit that is
//! no longer ours is fenced: its slice lies in the object, but nothing refers to it.
//!
//! Two outcomes only are final: committed, or fenced. Everything else (disk full, catalogue
//! away, a transaction whose answer was lost) is tried until it is one of them; meanwhile the
//! units fill up and stop reading.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use castback_catalogue::commits::{CommitOutcome, CommitRequest, UnitCommit};
use castback_catalogue::{Catalogue, CatalogueError};
use castback_schemas::id::IdSource;
use castback_schemas::{Clock, Revision, Unit};
use castback_store::object::encode;
use castback_store::{EncodedObject, SliceRows, Store, failpoint};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::metrics::{Metrics, oldest, verdicts};
use crate::task::chain;
use crate::unit::{HeldUnit, MAX_PENDING, Pending};

/// How often commits are made.
pub const TICK: Duration = Duration::from_millis(250);

/// The least time between two commits, when something urgent waits.
const AT_LEAST: Duration = Duration::from_millis(20);

/// How long to wait before a failed write is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// The units of this process, by unit.
#[derive(Debug, Default)]
pub struct HeldUnits(Mutex<BTreeMap<Unit, Arc<HeldUnit>>>);

impl HeldUnits {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Unit, Arc<HeldUnit>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a unit just taken.
    pub fn insert(&self, unit: Arc<HeldUnit>) {
        self.lock().insert(unit.unit, unit);
    }

    /// Drops a unit, if it is this very one.
    pub fn remove(&self, unit: &Arc<HeldUnit>) {
        let mut units = self.lock();
        if units.get(&unit.unit).is_some_and(|held| Arc::ptr_eq(held, unit)) {
            units.remove(&unit.unit);
        }
    }

    /// Every unit held.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<HeldUnit>> {
        self.lock().values().map(Arc::clone).collect()
    }

    /// Every unit that is still ours: one that was lost stays here until its task has ended, be it after a long step.
    #[must_use]
    pub fn live(&self) -> Vec<Arc<HeldUnit>> {
        self.lock().values().filter(|unit| !unit.is_fenced()).map(Arc::clone).collect()
    }

    /// One unit.
    #[must_use]
    pub fn get(&self, unit: Unit) -> Option<Arc<HeldUnit>> {
        self.lock().get(&unit).map(Arc::clone)
    }
}

/// Makes the commits of a process.
#[derive(Debug)]
pub struct Publisher {
    catalogue: Catalogue,
    store: Store,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    units: Arc<HeldUnits>,
    metrics: Metrics,
    newest: watch::Sender<Revision>,
    urgent: Notify,
}

impl Publisher {
    /// A publisher for `units`.
    #[must_use]
    pub fn new(
        (catalogue, store): (Catalogue, Store),
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
        (units, metrics): (Arc<HeldUnits>, Metrics),
    ) -> Self {
        Self {
            catalogue,
            store,
            clock,
            ids,
            units,
            metrics,
            newest: watch::Sender::new(Revision(0)),
            urgent: Notify::new(),
        }
    }

    /// The newest commit of this process, and its changes.
    #[must_use]
    pub fn newest(&self) -> watch::Receiver<Revision> {
        self.newest.subscribe()
    }

    /// Something waits that should not wait for the tick.
    pub fn hurry(&self) {
        self.urgent.notify_one();
    }

    /// Commits until `stop`; then once more, so that a drain loses nothing.
    pub async fn run(&self, stop: CancellationToken) {
        self.beat();
        loop {
            let stopping = tokio::select! {
                () = stop.cancelled() => true,
                () = tokio::time::sleep(TICK) => false,
                () = self.hurried() => false,
            };
            self.commit(&stop).await;
            self.beat();
            if stopping {
                return;
            }
        }
    }

    /// Says that this goes on: whatever hangs here, or keeps this from running, is seen by whoever watches.
    fn beat(&self) {
        self.metrics.beat(self.clock.now());
    }

    async fn hurried(&self) {
        self.urgent.notified().await;
        tokio::time::sleep(AT_LEAST).await;
    }

    /// Tells the publisher that a unit has said something; a full unit does not wait for the tick.
    pub fn said(&self, unit: &HeldUnit) {
        if unit.waiting() >= MAX_PENDING {
            self.hurry();
        }
    }

    /// Commits what every unit has said. Rows that can't be encoded are a fault of the program;
    /// their units are lost and fold again.
    pub async fn commit(&self, stop: &CancellationToken) {
        let units = self.units.live().into_iter();
        let mut taken: Vec<(Arc<HeldUnit>, Pending)> =
            units.filter_map(|unit| unit.take().map(|pending| (unit, pending))).collect();
        if taken.is_empty() {
            return;
        }
        let counts: Vec<_> =
            taken.iter().map(|(_, pending)| (verdicts(&pending.tables), oldest(&pending.tables))).collect();
        let rows: Vec<SliceRows> = taken
            .iter_mut()
            .map(|(unit, pending)| SliceRows { unit: unit.unit, tables: std::mem::take(&mut pending.tables) })
            .collect();
        let encoded = match tokio::task::block_in_place(|| encode(&rows)) {
            Ok(encoded) => encoded,
            Err(error) => {
                tracing::error!(error = %chain(&error), "commit.not_encoded");
                for (unit, _) in &taken {
                    unit.fence();
                }
                return;
            }
        };
        drop(rows);
        let Some(object_key) = self.put(&encoded, stop).await else { return };
        failpoint::hit("commit.before");
        self.refer(object_key, &encoded, &taken, stop).await;
        failpoint::hit("commit.after");
        let now = self.clock.now();
        for ((unit, _), (counts, oldest)) in taken.iter().zip(&counts) {
            if unit.is_fenced() {
                self.metrics.fenced();
                continue;
            }
            self.metrics.committed(counts);
            if let Some(oldest) = oldest {
                self.metrics.ingested(now.0 - oldest.0);
            }
        }
    }

    /// Puts the object until it is there; `None` when the process stops before.
    async fn put(&self, encoded: &EncodedObject, stop: &CancellationToken) -> Option<Option<String>> {
        if encoded.slices.iter().all(|(_, body)| body.parts.is_empty()) {
            return Some(None);
        }
        let begun = tokio::time::Instant::now();
        loop {
            match self.store.put(self.ids.next(self.clock.now()), encoded).await {
                Ok(key) => {
                    self.metrics.wrote(begun.elapsed());
                    return Some(Some(key));
                }
                Err(error) => tracing::warn!(error = %error, "commit.object_not_written"),
            }
            self.beat();
            tokio::select! {
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }

    /// Refers to the object until the outcome is known.
    async fn refer(
        &self,
        object_key: Option<String>,
        encoded: &EncodedObject,
        taken: &[(Arc<HeldUnit>, Pending)],
        stop: &CancellationToken,
    ) {
        let request = CommitRequest {
            object_key,
            units: taken.iter().map(|(unit, pending)| commit_of(unit, pending, encoded)).collect(),
        };
        let outcome = loop {
            match self.catalogue.commit(request.clone()).await {
                Ok(outcome) => break outcome,
                Err(error) => tracing::warn!(error = %error, "commit.transaction_failed"),
            }
            if let Ok(Some(outcome)) = self.found(&request).await {
                break outcome;
            }
            self.beat();
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(AGAIN) => {}
            }
        };
        for (unit, pending) in taken {
            if outcome.accepted.contains(&unit.unit) {
                unit.accepted(pending);
            } else {
                tracing::warn!(unit = %unit.unit, unit.epoch = unit.epoch, "unit.fenced");
                unit.fence();
            }
        }
        if let Some(revision) = outcome.revision {
            self.newest.send_replace(revision);
        }
    }

    /// Whether a transaction whose answer was lost took place after all: its object is referred
    /// to, or (without one) a unit that is still ours stands where it wanted to go. If none wanted
    /// to go anywhere, nobody knows, and the same again does no harm.
    async fn found(&self, request: &CommitRequest) -> Result<Option<CommitOutcome>, CatalogueError> {
        let revision = match &request.object_key {
            Some(key) => self.catalogue.commit_of(key).await?,
            None if request.units.iter().all(|commit| commit.new_positions == commit.old_positions) => None,
            None => Some(self.catalogue.newest_commit().await?),
        };
        let now = self.catalogue.units().await?;
        let stands = |commit: &&UnitCommit| {
            now.iter().any(|status| {
                status.unit == commit.unit && status.epoch == commit.epoch && status.positions == commit.new_positions
            })
        };
        let (accepted, fenced): (Vec<&UnitCommit>, Vec<&UnitCommit>) = request.units.iter().partition(stands);
        if accepted.is_empty() {
            return Ok(None);
        }
        let units = |commits: Vec<&UnitCommit>| commits.into_iter().map(|commit| commit.unit).collect();
        Ok(revision.map(|revision| CommitOutcome {
            revision: Some(revision),
            accepted: units(accepted),
            fenced: units(fenced),
        }))
    }
}

fn commit_of(unit: &HeldUnit, pending: &Pending, encoded: &EncodedObject) -> UnitCommit {
    let slice = encoded.slices.iter().find(|(of, body)| *of == unit.unit && !body.parts.is_empty());
    UnitCommit {
        unit: unit.unit,
        epoch: unit.epoch,
        old_positions: unit.committed().borrow().positions.clone(),
        new_positions: pending.positions.clone(),
        slice: slice.map(|(_, body)| body.to_json()),
        finish: pending.finish.clone(),
    }
}
