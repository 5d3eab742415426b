//! The runtime: takes units, runs a task for each, commits for all of them, and lets them go.
//!
//! ```text
//! catalogue ─lease─▶ HeldUnit ─▶ Task (fold, read, step, say) ─▶ Pending ─▶ Publisher ─commit─▶ Relays
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use castback_broker::Log;
use castback_catalogue::registry::SchemaRegistry;
use castback_catalogue::unit_requests::UnitRequest;
use castback_catalogue::units::Held;
use castback_catalogue::{Catalogue, CatalogueError};
use castback_rules::lists::DatedLists;
use castback_schemas::id::IdSource;
use castback_schemas::{Clock, Revision, Slot, Unit};
use castback_store::mirror::Mirror;
use castback_store::{Compactor, Store};
use futures::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bounds::Bounds;
use crate::compaction::Compaction;
use crate::directory_cache::DirectoryCache;
use crate::group::{GROUPS, Making};
use crate::metrics::Metrics;
use crate::publisher::{HeldUnits, Publisher};
use crate::relay;
use crate::retention::{LedgerDays, Retention};
use crate::task::{Shared, Task};
use crate::unit::HeldUnit;

/// How often leases are renewed: three chances within a lease.
const RENEW: Duration = Duration::from_secs(3);

/// How often free units are looked for, and requests to units.
const LOOK: Duration = Duration::from_secs(1);

/// How long a process that no longer says so counts as being at work, 3 s in microseconds: far shorter than a lease, so
/// that the others have a larger share when its units come free.
const ATTENDANCE: i64 = 3 * castback_schemas::time::SECOND;

/// Requests to a unit that wait; more stay in the catalogue until there is room.
const MAX_REQUESTS: usize = 16;

/// How long a stop waits for the tasks before it ends without them; what they said is committed.
const DRAIN: Duration = Duration::from_secs(5);

/// How long a stop waits for everything beside them: it begins again wherever it was.
const BESIDE: Duration = Duration::from_secs(2);

/// What a runtime is made of.
#[derive(Debug)]
pub struct RuntimeParts {
    /// The catalogue.
    pub catalogue: Catalogue,
    /// The store.
    pub store: Store,
    /// The log.
    pub log: Arc<dyn Log>,
    /// Where schemas have their ids from.
    pub schemas: Arc<dyn SchemaRegistry>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Names for commit objects and segments.
    pub ids: Arc<dyn IdSource>,
    /// The lists of the filters.
    pub lists: DatedLists,
    /// This process, as leases name it.
    pub owner: String,
    /// Whether this process holds the data directory's lock: it takes all units at once.
    pub exclusive: bool,
    /// Random bytes, never stored.
    pub random: [u8; 32],
    /// Where every series is mirrored; none: nowhere.
    pub mirror: Option<Mirror>,
    /// What it measures of itself.
    pub metrics: Metrics,
    /// How long the ledger is kept.
    pub ledger_days: LedgerDays,
}

/// Why a runtime can't start.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The catalogue does not answer.
    #[error("the units can't be taken")]
    Catalogue(#[from] CatalogueError),
}

/// A runtime at work.
#[derive(Debug)]
pub struct Runtime {
    inner: Arc<Inner>,
    services: TaskTracker,
    keeping: JoinHandle<()>,
    publishing: JoinHandle<()>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    units: Arc<HeldUnits>,
    making: Making,
    owner: String,
    tasks: TaskTracker,
    /// Ends the tasks, then the publisher and the services.
    stop: CancellationToken,
    stop_publishing: CancellationToken,
    mailboxes: Mutex<BTreeMap<Unit, mpsc::Sender<UnitRequest>>>,
    /// Requests handed to their unit, with the epoch under which it was held.
    asked: Mutex<BTreeMap<i64, i64>>,
}

impl Runtime {
    /// Takes units and starts to work.
    ///
    /// # Errors
    /// The catalogue does not answer.
    pub async fn start(parts: RuntimeParts) -> Result<Self, RuntimeError> {
        let units = Arc::new(HeldUnits::default());
        let catalogue = parts.catalogue;
        let all: Vec<Unit> =
            GROUPS.iter().flat_map(|spec| Slot::all().map(|slot| Unit { group: spec.group, slot })).collect();
        catalogue.ensure_units(&all).await?;
        let publisher = Publisher::new(
            (catalogue.clone(), parts.store.clone()),
            Arc::clone(&parts.clock),
            Arc::clone(&parts.ids),
            (Arc::clone(&units), parts.metrics.clone()),
        );
        let publisher = Arc::new(publisher);
        let shared = Arc::new(Shared {
            catalogue: catalogue.clone(),
            store: parts.store.clone(),
            log: parts.log,
            schemas: parts.schemas,
            clock: Arc::clone(&parts.clock),
            directory: DirectoryCache::new(catalogue.clone()),
            publisher: Arc::clone(&publisher),
            bounds: Bounds::new(catalogue.clone(), Arc::clone(&units)),
            metrics: parts.metrics,
        });
        let installation = catalogue.installation().account;
        let making = Making { slot: Slot(0), ids_key: parts.random, lists: parts.lists, installation };
        let stop_publishing = CancellationToken::new();
        let inner = Arc::new(Inner {
            shared,
            units,
            making,
            owner: parts.owner,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            stop_publishing: stop_publishing.clone(),
            mailboxes: Mutex::default(),
            asked: Mutex::default(),
        });
        if parts.exclusive {
            for held in catalogue.take_all(&inner.owner).await? {
                inner.begin(held);
            }
        }
        let services = TaskTracker::new();
        let keeping = tokio::spawn(Arc::clone(&inner).keep_leases(parts.exclusive));
        services.spawn(Arc::clone(&inner).carry_requests());
        let compactor = Compactor::new(parts.store, catalogue.clone(), Arc::clone(&parts.clock), parts.ids);
        let compaction = Compaction {
            compactor: compactor.clone(),
            catalogue: catalogue.clone(),
            clock: Arc::clone(&parts.clock),
            owner: inner.owner.clone(),
            exclusive: parts.exclusive,
        };
        services.spawn(compaction.run(inner.stop.clone()));
        let retention = Retention {
            compactor,
            catalogue,
            log: Arc::clone(&inner.shared.log),
            clock: parts.clock,
            days: parts.ledger_days,
            owner: inner.owner.clone(),
            metrics: inner.shared.metrics.clone(),
        };
        services.spawn(retention.run(inner.stop.clone()));
        relay::start(&services, (&inner.shared, parts.mirror), &inner.owner, &inner.stop);
        services.close();
        let publishing = tokio::spawn(async move { publisher.run(stop_publishing).await });
        Ok(Self { inner, services, keeping, publishing })
    }

    /// The newest commit of this process, and its changes.
    #[must_use]
    pub fn newest(&self) -> watch::Receiver<Revision> {
        self.inner.shared.publisher.newest()
    }

    /// Ends the work: tasks first, then a last commit, then the leases are given back, and only then it is waited for
    /// what else is under way.
    pub async fn stop(self) {
        let Self { inner, services, keeping, publishing } = self;
        inner.stop.cancel();
        inner.tasks.close();
        if tokio::time::timeout(DRAIN, inner.tasks.wait()).await.is_err() {
            tracing::warn!("runtime.tasks_did_not_end");
        }
        inner.stop_publishing.cancel();
        if publishing.await.is_err() {
            tracing::error!("publisher.panicked");
        }
        // A renewal under way would take back what is given.
        if tokio::time::timeout(BESIDE, keeping).await.is_err() {
            tracing::warn!("runtime.leases_in_use");
        }
        inner.leave().await;
        if tokio::time::timeout(BESIDE, services.wait()).await.is_err() {
            tracing::warn!("runtime.services_did_not_end");
        }
    }
}

impl Inner {
    fn begin(self: &Arc<Self>, held: Held) {
        let unit = held.unit;
        let Some(spec) = GROUPS.iter().find(|spec| spec.group == unit.group) else { return };
        let held = Arc::new(HeldUnit::new(held));
        let (mailbox, requests) = mpsc::channel(MAX_REQUESTS);
        {
            // Both at once: what is asked of this epoch must not go to the mailbox of the one before.
            let mut mailboxes = self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner);
            self.units.insert(Arc::clone(&held));
            mailboxes.insert(unit, mailbox);
        }
        let task = Task {
            shared: Arc::clone(&self.shared),
            held: Arc::clone(&held),
            spec: *spec,
            making: Making { slot: unit.slot, ..self.making.clone() },
            requests,
            stop: self.stop.clone(),
        };
        let inner = Arc::clone(self);
        self.tasks.spawn(async move {
            if AssertUnwindSafe(task.run()).catch_unwind().await.is_err() {
                tracing::error!(%unit, "unit.panicked");
                held.fence();
            }
            if held.is_fenced() {
                inner.units.remove(&held);
                // Whoever takes it next need not wait for the lease to end; one that is another's by now stays theirs.
                inner.release(&[(unit, held.epoch)]).await;
            }
        });
    }

    async fn release(&self, held: &[(Unit, i64)]) {
        if let Err(error) = self.shared.catalogue.release(held).await {
            tracing::warn!(error = %error, "runtime.leases_not_released");
        }
    }

    /// Gives back all that is held, and is gone.
    async fn leave(&self) {
        let held: Vec<_> = self.units.all().iter().map(|unit| (unit.unit, unit.epoch)).collect();
        self.release(&held).await;
        if let Err(error) = self.shared.catalogue.leave(&self.owner).await {
            tracing::warn!(error = %error, "runtime.not_left");
        }
    }

    /// Renews leases, notices lost ones, and takes free units.
    async fn keep_leases(self: Arc<Self>, exclusive: bool) {
        let mut renewed = tokio::time::Instant::now();
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            if renewed.elapsed() >= RENEW {
                match self.renew().await {
                    Ok(()) => renewed = tokio::time::Instant::now(),
                    Err(error) => tracing::warn!(error = %error, "runtime.leases_not_renewed"),
                }
            }
            if let Err(error) = self.share(exclusive).await {
                tracing::warn!(error = %error, "runtime.units_not_taken");
            }
        }
    }

    async fn renew(&self) -> Result<(), CatalogueError> {
        let held = self.units.live();
        let leases: Vec<_> = held.iter().map(|unit| (unit.unit, unit.epoch)).collect();
        let kept = self.shared.catalogue.renew(&leases).await?;
        for lost in held.iter().filter(|unit| !kept.contains(&unit.unit)) {
            tracing::warn!(unit = %lost.unit, "unit.lease_lost");
            lost.fence();
        }
        Ok(())
    }

    /// Gives units up and takes free ones, so that every process has its share; whoever holds the directory's lock
    /// has all, and takes back its own.
    async fn share(self: &Arc<Self>, exclusive: bool) -> Result<(), CatalogueError> {
        let all = GROUPS.len() * usize::from(castback_schemas::SLOTS);
        let processes = if exclusive { 1 } else { self.shared.catalogue.attend(&self.owner, ATTENDANCE).await? };
        let share = all.div_ceil(processes);
        self.give_up_beyond(share).await?;
        // With those that were lost and whose tasks have not ended: no state is to be in memory twice.
        let mine = self.units.all().len();
        if mine >= share {
            return Ok(());
        }
        let taken = if exclusive {
            self.retake().await?
        } else {
            self.shared.catalogue.take(&self.owner, share - mine).await?
        };
        for held in taken {
            tracing::info!(unit = %held.unit, unit.epoch = held.epoch, "unit.taken");
            self.begin(held);
        }
        Ok(())
    }

    /// What these units have not committed was never seen: their next owners say it again.
    async fn give_up_beyond(&self, share: usize) -> Result<(), CatalogueError> {
        let mut held = self.units.live();
        // The groups of a slot stay together, since they read the same records.
        held.sort_by_key(|unit| (unit.unit.slot, unit.unit.group));
        let surplus: Vec<_> = held.into_iter().skip(share).collect();
        if surplus.is_empty() {
            return Ok(());
        }
        tracing::info!(units = surplus.len(), "runtime.units_given_up");
        for unit in &surplus {
            unit.fence();
        }
        let leases: Vec<_> = surplus.iter().map(|unit| (unit.unit, unit.epoch)).collect();
        self.shared.catalogue.release(&leases).await
    }

    /// Units of this process whose task has ended hold a lease still: released, they can be taken.
    async fn retake(&self) -> Result<Vec<Held>, CatalogueError> {
        let held: BTreeSet<Unit> = self.units.all().iter().map(|unit| unit.unit).collect();
        let all = self.shared.catalogue.units().await?;
        let lost: Vec<_> = all.iter().filter(|s| !held.contains(&s.unit)).map(|s| (s.unit, s.epoch)).collect();
        self.shared.catalogue.release(&lost).await?;
        self.shared.catalogue.take(&self.owner, lost.len()).await
    }

    /// Brings requests from the catalogue to the units they are for, each once.
    async fn carry_requests(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            let units: Vec<Unit> = self.units.all().iter().map(|unit| unit.unit).collect();
            let requests = match self.shared.catalogue.unit_requests(&units).await {
                Ok(requests) => requests,
                Err(error) => {
                    tracing::warn!(error = %error, "runtime.requests_unreadable");
                    continue;
                }
            };
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            asked.retain(|id, _| requests.iter().any(|request| request.id == *id));
            let mailboxes = self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner);
            for request in requests {
                let (id, unit) = (request.id, request.unit);
                // A unit that was taken anew has not heard what was asked of it before.
                let Some(epoch) = self.units.get(unit).map(|unit| unit.epoch) else { continue };
                if asked.get(&id) == Some(&epoch) {
                    continue;
                }
                if mailboxes.get(&unit).is_some_and(|mailbox| mailbox.try_send(request).is_ok()) {
                    asked.insert(id, epoch);
                }
            }
        }
    }
}
