//! A unit's task: fold, then read → decode → step → say, until the unit is lost or the process
//! stops.
//!
//! Whatever goes wrong outside (log, catalogue, store) is waited out; nothing is skipped. Only
//! a position outside the log stops the unit, until someone accepts the gap.

use std::sync::Arc;
use std::time::Duration;

use castback_broker::{Log, ReadError, ReadLimits, Record};
use castback_catalogue::registry::SchemaRegistry;
use castback_catalogue::unit_requests::{RequestKind, UnitRequest};
use castback_catalogue::{Catalogue, CatalogueError};
use castback_schemas::codec::DecodeError;
use castback_schemas::edge::HashKey;
use castback_schemas::{Clock, Micros, Topic, Unit};
use castback_store::{Store, failpoint};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::bounds::Bounds;
use crate::change::Changes;
use crate::decode::{Intake, IntakeError};
use crate::directory_cache::DirectoryCache;
use crate::group::{GroupSpec, GroupState, Input, Making, RecountRequest};
use crate::ledger::{FoldError, Ledger};
use crate::metrics::Metrics;
use crate::publisher::Publisher;
use crate::unit::HeldUnit;

/// Bytes read at once: large enough for columnar steps, small enough for a tick.
const READ_BYTES: usize = 1 << 20;

/// How long to wait at the end of the log before looking at the clock again.
const IDLE: Duration = Duration::from_millis(250);

/// How long to wait before something outside is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// Log time between two ticks of a unit: freezing is a matter of hours.
const BETWEEN_TICKS: i64 = castback_schemas::time::SECOND;

/// What all units of a process share.
#[derive(Debug)]
pub struct Shared {
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
    /// The Directory.
    pub directory: DirectoryCache,
    /// The publisher.
    pub publisher: Arc<Publisher>,
    /// How far units may read that follow others.
    pub bounds: Bounds,
    /// What the pipeline measures of itself.
    pub metrics: Metrics,
}

/// Why a unit's task can't go on with its state.
#[derive(Debug, thiserror::Error)]
enum TaskError {
    /// Rows can't be read back.
    #[error("the unit's committed rows can't be folded")]
    Fold(#[from] FoldError),
    /// A batch can't be read.
    #[error("a batch can't be decoded")]
    Intake(#[from] IntakeError),
    /// A step failed.
    #[error("a batch can't be processed")]
    Step(#[from] arrow::error::ArrowError),
    /// The catalogue does not answer.
    #[error("the catalogue does not answer")]
    Catalogue(#[from] CatalogueError),
}

/// One unit at work.
pub(crate) struct Task {
    pub(crate) shared: Arc<Shared>,
    pub(crate) held: Arc<HeldUnit>,
    pub(crate) spec: GroupSpec,
    pub(crate) making: Making,
    pub(crate) requests: mpsc::Receiver<UnitRequest>,
    pub(crate) stop: CancellationToken,
}

/// A unit's state between batches.
struct Work {
    state: Box<dyn GroupState>,
    intakes: Vec<Intake>,
    /// Append time of the last record read; the clock while at the end of the log.
    log_time: Micros,
    ticked: Micros,
}

impl Task {
    /// Runs until the unit is lost or the process stops: then whatever it waits for is given up, be it a fold, before
    /// this process may take the unit again and have its state twice. A step is said as a whole or not at all, so that
    /// nothing is lost: what was not said, the unit's next owner takes in.
    pub(crate) async fn run(mut self) {
        let (stop, held) = (self.stop.clone(), Arc::clone(&self.held));
        tokio::select! {
            () = stop.cancelled() => {}
            () = held.fenced() => {}
            () = self.go_on() => {}
        }
    }

    async fn go_on(&mut self) {
        let unit = self.held.unit;
        match self.fold().await {
            Ok(work) => match self.work(work).await {
                Ok(()) => return,
                Err(error) => tracing::error!(%unit, error = %chain(&error), "unit.failed"),
            },
            Err(error) => tracing::error!(%unit, error = %chain(&error), "unit.fold_failed"),
        }
        tokio::time::sleep(AGAIN).await;
        // State may be half of a step: what was said is committed or lost with the epoch,
        // the rest is folded anew by whoever takes the unit next.
        self.held.fence();
    }

    fn over(&self) -> bool {
        self.stop.is_cancelled() || self.held.is_fenced()
    }

    async fn fold(&self) -> Result<Work, TaskError> {
        failpoint::hit("fold.before");
        let unit = self.held.unit;
        let mut intakes = Vec::new();
        if self.spec.decoded {
            for topic in self.spec.inputs {
                intakes.extend(Intake::new(*topic, unit.slot, self.making.installation)?);
            }
        }
        let directory = self.shared.directory.current().await?;
        let ledger = Ledger::newest(&self.shared.catalogue, &self.shared.store, unit.slot).await?;
        let mut state = (self.spec.make)(&self.making);
        let mut out = Changes::default();
        state.restore(&ledger, &directory, &mut out).await?;
        if !out.is_empty() {
            tracing::info!(%unit, rows = out.len(), "unit.fold_revised");
        }
        self.say(out, None, None)?;
        failpoint::hit("fold.after");
        Ok(Work { state, intakes, log_time: Micros(i64::MIN), ticked: Micros(i64::MIN) })
    }

    fn say(&self, out: Changes, position: Option<(Topic, i64)>, finish: Option<i64>) -> Result<(), TaskError> {
        self.held.say(out.finish()?, position, finish);
        self.shared.publisher.said(&self.held);
        Ok(())
    }

    async fn work(&mut self, mut work: Work) -> Result<(), TaskError> {
        while !self.over() {
            self.held.make_room().await;
            let now = self.shared.clock.now();
            let mut read = 0;
            for topic in self.spec.inputs {
                read += self.take(&mut work, *topic).await?;
            }
            if read == 0 && is_due(&work, now) && self.is_at_end().await {
                work.log_time = work.log_time.max(now);
            }
            self.tick(&mut work).await?;
            while let Ok(request) = self.requests.try_recv() {
                self.answer(&mut work, &request).await?;
            }
            if read == 0 {
                self.wait().await;
            }
        }
        Ok(())
    }

    /// Whether every input was read to its end: only then the clock may speak for the log. A log
    /// that does not answer is not at its end.
    async fn is_at_end(&self) -> bool {
        for topic in self.spec.inputs {
            let ends = self.shared.log.ends(*topic, self.held.unit.slot).await;
            if !ends.is_ok_and(|ends| ends.end == self.held.position(*topic)) {
                return false;
            }
        }
        true
    }

    /// Waits for more at the end of every input, or for the clock.
    async fn wait(&self) {
        let limits = ReadLimits { max_bytes: 1, wait: IDLE };
        let more = self.spec.inputs.iter().map(|topic| {
            let from = self.held.position(*topic);
            Box::pin(async move {
                match self.shared.log.read(*topic, self.held.unit.slot, from, limits).await {
                    Ok(records)
                        if !records.is_empty() && self.shared.bounds.admits(self.held.unit, *topic, from).await => {}
                    _ => tokio::time::sleep(IDLE).await,
                }
            })
        });
        futures::future::select_all(more).await;
    }

    /// Takes one batch of one input in; answers how many records it had.
    async fn take(&mut self, work: &mut Work, topic: Topic) -> Result<usize, TaskError> {
        let from = self.held.position(topic);
        let Some(records) = self.read(topic, from).await else { return Ok(0) };
        let Some(last) = records.last() else { return Ok(0) };
        let (next, appended_at) = (last.offset + 1, last.appended_at);
        let mut out = Changes::default();
        let rows = match work.intakes.iter_mut().find(|intake| intake.topic() == topic) {
            Some(intake) => {
                self.keys(intake, &records).await?;
                let Some(rows) = self.decode(intake, &records, &mut out).await? else { return Ok(0) };
                Some(rows)
            }
            None => None,
        };
        // Only now: no day may freeze before records that are waiting are in it.
        work.log_time = work.log_time.max(appended_at);
        // After the batch was read: a change that was answered before a request of it was
        // appended is in this Directory.
        let directory = self.shared.directory.current().await?;
        let input = Input { topic, records: &records, rows };
        let lacks = work.state.lacks(&input)?;
        if !lacks.is_empty() {
            let Some(ledger) = self.committed().await? else { return Ok(0) };
            work.state.recall(&lacks, &ledger).await?;
        }
        tokio::task::block_in_place(|| work.state.step(&input, &directory, &mut out))?;
        self.say(out, Some((topic, next)), None)?;
        Ok(records.len())
    }

    async fn read(&self, topic: Topic, from: i64) -> Option<Vec<Record>> {
        let limits = ReadLimits { max_bytes: READ_BYTES, wait: Duration::ZERO };
        match self.shared.log.read(topic, self.held.unit.slot, from, limits).await {
            Ok(mut records) => {
                let bound = self.shared.bounds.of(self.held.unit, topic).await;
                records.retain(|record| bound.is_none_or(|bound| record.offset < bound));
                Some(records)
            }
            Err(ReadError::OutOfRange { start, end }) => {
                tracing::error!(
                    unit = %self.held.unit, topic = %topic, position = from, log.start = start, log.end = end,
                    "unit.position_outside_log: records are missing; `castback accept-gap` goes on without them"
                );
                tokio::time::sleep(IDLE).await;
                None
            }
            Err(error) => {
                tracing::warn!(unit = %self.held.unit, topic = %topic, error = %error, "unit.log_unreadable");
                tokio::time::sleep(AGAIN).await;
                None
            }
        }
    }

    /// Makes sure that the keys of accounts are known whose records may have to be sealed.
    async fn keys(&self, intake: &mut Intake, records: &[Record]) -> Result<(), TaskError> {
        for record in records {
            let account = intake.owner(record);
            if !intake.knows_key(account) {
                let key = match self.shared.catalogue.account_key(account).await {
                    Ok(key) => Some(HashKey::from_bytes(key.0)),
                    Err(CatalogueError::NotFound(_)) => None,
                    Err(error) => return Err(error.into()),
                };
                intake.give_key(account, key);
            }
        }
        Ok(())
    }

    /// The rows of records; none while the registry can't say what a schema id means: then the unit waits, since what
    /// is not known to be wrong is no dead letter.
    async fn decode(
        &self,
        intake: &mut Intake,
        records: &[Record],
        out: &mut Changes,
    ) -> Result<Option<arrow::array::RecordBatch>, TaskError> {
        loop {
            let id = match tokio::task::block_in_place(|| intake.read(records, out)) {
                Err(IntakeError::Decode(DecodeError::UnknownSchema { id })) => id,
                other => return Ok(Some(other?)),
            };
            match self.shared.schemas.look_up(id).await {
                Ok(known) => intake.learn(id, known.as_deref()),
                Err(error) => {
                    tracing::warn!(unit = %self.held.unit, schema.id = id, error = %chain(&error), "unit.schema_unknown");
                    tokio::time::sleep(AGAIN).await;
                    return Ok(None);
                }
            }
        }
    }

    async fn tick(&self, work: &mut Work) -> Result<(), TaskError> {
        if !is_due(work, work.log_time) {
            return Ok(());
        }
        work.ticked = work.log_time;
        let directory = self.shared.directory.current().await?;
        let mut out = Changes::default();
        let due = tokio::task::block_in_place(|| work.state.tick(work.log_time, &directory, &mut out))?;
        self.say(out, None, None)?;
        if due { self.recount(work, None).await } else { Ok(()) }
    }

    /// The ledger once everything said is committed; none if the unit is over.
    async fn committed(&self) -> Result<Option<Ledger>, TaskError> {
        self.shared.publisher.hurry();
        self.held.settle().await;
        if self.over() {
            return Ok(None);
        }
        Ok(Some(Ledger::newest(&self.shared.catalogue, &self.shared.store, self.held.unit.slot).await?))
    }

    /// Judges again, from what is committed: so everything said must be.
    async fn recount(&self, work: &mut Work, asked: Option<(i64, &RecountRequest)>) -> Result<(), TaskError> {
        let Some(ledger) = self.committed().await? else { return Ok(()) };
        let directory = self.shared.directory.current().await?;
        let mut out = Changes::default();
        let request = asked.map(|(_, request)| request);
        work.state.recount(request, work.log_time, (&ledger, &directory), &mut out).await?;
        tracing::info!(unit = %self.held.unit, rows = out.len(), asked = asked.is_some(), "unit.recounted");
        self.say(out, None, asked.map(|(id, _)| id))
    }

    async fn answer(&self, work: &mut Work, request: &UnitRequest) -> Result<(), TaskError> {
        match request.kind {
            RequestKind::Recount => match serde_json::from_str::<RecountRequest>(&request.body) {
                Ok(asked) => self.recount(work, Some((request.id, &asked))).await,
                Err(error) => {
                    tracing::error!(unit = %self.held.unit, request.id, %error, "unit.request_not_understood");
                    self.say(Changes::default(), None, Some(request.id))
                }
            },
            RequestKind::AcceptGap => self.accept_gap(request.id).await,
            RequestKind::Replay => self.say(Changes::default(), None, Some(request.id)),
        }
    }

    /// Goes on at the start of what the log still holds.
    async fn accept_gap(&self, id: i64) -> Result<(), TaskError> {
        for topic in self.spec.inputs {
            let from = self.held.position(*topic);
            let Ok(ends) = self.shared.log.ends(*topic, self.held.unit.slot).await else { continue };
            if !ends.admits(from) {
                tracing::warn!(unit = %self.held.unit, topic = %topic, gap.from = from, gap.to = ends.start, "unit.gap_accepted");
                self.say(Changes::default(), Some((*topic, ends.start)), None)?;
            }
        }
        self.say(Changes::default(), None, Some(id))
    }
}

/// Whether it is time for a tick at `log_time`.
fn is_due(work: &Work, log_time: Micros) -> bool {
    log_time.0 >= work.ticked.0.saturating_add(BETWEEN_TICKS)
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// The unit that a task works for.
impl std::fmt::Debug for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let unit: Unit = self.held.unit;
        write!(f, "Task({unit}, epoch {})", self.held.epoch)
    }
}
