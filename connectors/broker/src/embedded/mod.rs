//! The embedded log: Kafka's contract on one machine, in one directory.
//!
//! ```text
//! append ─pack by slot─▶ queue ─▶ appender: merge, one batch, one sync ─▶ durable end ─▶ readers
//! ```
//! No reader sees an offset above the durable end: a position could otherwise outrun the log
//! after a power loss, and the records written there next would be skipped. There are no consumer
//! groups and no compaction.

mod appender;
mod entry;
#[cfg(test)]
mod full_disk;
mod keyspaces;
mod shared;
mod space;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use castback_schemas::time::Clock;
use castback_schemas::topic::{Slot, Topic};
use tokio::sync::{Semaphore, mpsc, oneshot};

use self::appender::{Append, Appender, ENTRY_BYTES, Request};
use self::entry::Pack;
use self::keyspaces::StoreError;
use self::shared::Shared;
use self::space::{FileSystem, Space};
use crate::log::{AppendError, Cause, Ends, Log, NewRecord, ReadError, ReadLimits, Record, check_append};

/// Appends that may wait for the appender; beyond that they are refused as overloaded. The bytes
/// are bounded apart, by [`EmbeddedOptions::queue_bytes`].
const QUEUE: usize = 8192;

/// The lowest offset of a slot that someone still needs.
pub type Floors = HashMap<(Topic, Slot), i64>;

type Positions = HashMap<(Topic, Slot), i64>;

/// Sizes of the embedded log, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EmbeddedOptions {
    /// What may wait to be written; beyond that appends are refused as overloaded.
    pub queue_bytes: u32,
    /// The cache for readers that lag behind.
    pub cache_bytes: u64,
    /// What a segment holds in memory before it is flushed.
    pub memtable_bytes: u64,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self { queue_bytes: 64 << 20, cache_bytes: 64 << 20, memtable_bytes: 32 << 20 }
    }
}

/// Why the embedded log did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or this one, has the log open.
    #[error("the log in {dir} is in use by another process", dir = .dir.display())]
    InUse {
        /// The log's directory.
        dir: PathBuf,
    },
    /// The directory cannot be used, or what lies there is not a log.
    #[error("the log in {dir} cannot be opened", dir = .dir.display())]
    Store {
        /// The log's directory.
        dir: PathBuf,
        /// What failed.
        source: Cause,
    },
    /// The appender's thread did not start.
    #[error("the log's appender did not start")]
    Appender(#[source] std::io::Error),
}

/// Why retention was not applied.
#[derive(Debug, thiserror::Error)]
pub enum RetainError {
    /// The store failed; what was dropped before stays dropped.
    #[error("the log cannot be shortened")]
    Unavailable {
        /// What failed.
        source: Cause,
    },
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

/// The log in a directory of this machine. One process has it open at a time.
#[derive(Debug)]
pub struct EmbeddedLog {
    shared: Arc<Shared>,
    requests: Mutex<Option<mpsc::Sender<Request>>>,
    finished: Mutex<Option<oneshot::Receiver<()>>>,
    waiting: Arc<Semaphore>,
    advice: Mutex<HashMap<String, Positions>>,
}

impl EmbeddedLog {
    /// Opens the log in `dir`, creating it if there is none. Blocks while the journal is
    /// replayed (128 MiB at most).
    pub fn open(dir: &Path, clock: Arc<dyn Clock>, options: EmbeddedOptions) -> Result<Self, OpenError> {
        Self::open_on(dir, clock, options, Arc::new(FileSystem))
    }

    fn open_on(
        dir: &Path,
        clock: Arc<dyn Clock>,
        options: EmbeddedOptions,
        space: Arc<dyn Space>,
    ) -> Result<Self, OpenError> {
        let shared = Shared::open(dir.to_owned(), options).map_err(|error| match error {
            StoreError::Open(fjall::Error::Locked) => OpenError::InUse { dir: dir.to_owned() },
            other => OpenError::Store { dir: dir.to_owned(), source: Arc::new(other) },
        })?;
        let shared = Arc::new(shared);
        let (requests, queue) = mpsc::channel(QUEUE);
        let (finish, finished) = oneshot::channel();
        let appender = Appender { shared: Arc::clone(&shared), clock, space };
        std::thread::Builder::new()
            .name("log-appender".to_owned())
            .spawn(move || {
                appender.run(queue);
                // Nobody waits when the log was dropped without closing.
                finish.send(()).ok();
            })
            .map_err(OpenError::Appender)?;
        Ok(Self {
            shared,
            requests: Mutex::new(Some(requests)),
            finished: Mutex::new(Some(finished)),
            waiting: Arc::new(Semaphore::new(options.queue_bytes as usize)),
            advice: Mutex::default(),
        })
    }

    /// Writes what still waits, then gives the directory back. Appends and reads fail as closed
    /// from here on.
    pub async fn close(&self) {
        drop(self.requests.lock().unwrap_or_else(PoisonError::into_inner).take());
        let finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(finished) = finished {
            // An error means that the appender is gone already.
            finished.await.ok();
        }
        let shared = Arc::clone(&self.shared);
        let closed = tokio::task::spawn_blocking(move || shared.close()).await;
        if let Err(error) = closed {
            tracing::error!(error = &error as &dyn std::error::Error, "the log closed badly");
        }
    }

    /// Drops whole segments (an eighth of a topic's retention each) that are older than the
    /// topic's retention and wholly below `floors`; returns how many. A slot without a floor is
    /// needed by no one.
    pub async fn retain(&self, floors: &Floors) -> Result<usize, RetainError> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (reply, outcome) = oneshot::channel();
        let request = Request::Retain(floors.clone(), reply);
        let requests = requests.ok_or(RetainError::Closed)?;
        requests.send(request).await.map_err(|_| RetainError::Closed)?;
        drop(requests);
        outcome.await.map_err(|_| RetainError::Closed)?
    }

    /// The positions that `group` last advised, in no order. They do not outlive the process.
    #[must_use]
    pub fn advice(&self, group: &str) -> Vec<(Topic, Slot, i64)> {
        let advice = self.advice.lock().unwrap_or_else(PoisonError::into_inner);
        let positions = advice.get(group).into_iter().flatten();
        positions.map(|((topic, slot), position)| (*topic, *slot, *position)).collect()
    }

    fn enqueue(&self, request: Request) -> Result<(), AppendError> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let requests = requests.as_ref().ok_or(AppendError::Closed)?;
        requests.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AppendError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => AppendError::Closed,
        })
    }
}

#[async_trait]
impl Log for EmbeddedLog {
    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<i64>, AppendError> {
        check_append(&records)?;
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let (packs, places) = pack(&records);
        drop(records);
        let bytes: usize = packs.iter().map(|(.., pack)| pack.size()).sum();
        let bytes = u32::try_from(bytes).map_err(|_| AppendError::Overloaded)?;
        let share = Arc::clone(&self.waiting).try_acquire_many_owned(bytes);
        let share = share.map_err(|_| AppendError::Overloaded)?;
        let (reply, outcome) = oneshot::channel();
        self.enqueue(Request::Append(Append { packs, reply, share }))?;
        let bases = outcome.await.map_err(|_| AppendError::Closed)??;
        Ok(places.into_iter().map(|(pack, place)| bases[pack] + place).collect())
    }

    async fn read(&self, topic: Topic, slot: Slot, from: i64, limits: ReadLimits) -> Result<Vec<Record>, ReadError> {
        if self.shared.is_closed() {
            return Err(ReadError::Closed);
        }
        let mut ends = self.shared.watch(topic, slot).ok_or(ReadError::NoSuchSlot)?.subscribe();
        let now = *ends.borrow_and_update();
        if from == now.end {
            let changed = ends.wait_for(|ends| ends.end != from || !ends.admits(from));
            if tokio::time::timeout(limits.wait, changed).await.is_err() {
                return Ok(Vec::new());
            }
        }
        let shared = Arc::clone(&self.shared);
        let read = move || shared.read((topic, slot), from, limits.max_bytes);
        let read = tokio::task::spawn_blocking(read).await;
        read.map_err(|error| ReadError::Unavailable { source: Arc::new(error) })?
    }

    async fn ends(&self, topic: Topic, slot: Slot) -> Result<Ends, ReadError> {
        self.shared.watch(topic, slot).map(|ends| *ends.borrow()).ok_or(ReadError::NoSuchSlot)
    }

    async fn advise(&self, group: &str, positions: &[(Topic, Slot, i64)]) -> Result<(), ReadError> {
        // As many groups as the program names, at most one position a slot each.
        let mut advice = self.advice.lock().unwrap_or_else(PoisonError::into_inner);
        let known = advice.entry(group.to_owned()).or_default();
        for (topic, slot, position) in positions {
            known.insert((*topic, *slot), *position);
        }
        Ok(())
    }
}

type Packs = Vec<(Topic, Slot, Pack)>;

/// Packs records by slot; says for each record which pack it is in, and where.
fn pack(records: &[NewRecord]) -> (Packs, Vec<(usize, i64)>) {
    let mut packs: Packs = Vec::new();
    let mut open = HashMap::new();
    let mut places = Vec::with_capacity(records.len());
    for record in records {
        let at = (record.topic, record.slot);
        let index = match open.get(&at) {
            Some(index) if packs.get(*index).is_some_and(has_room) => *index,
            _ => {
                packs.push((record.topic, record.slot, Pack::new()));
                open.insert(at, packs.len() - 1);
                packs.len() - 1
            }
        };
        let (.., pack) = &mut packs[index];
        places.push((index, i64::from(pack.count())));
        pack.push(record.account, &record.key, &record.value);
    }
    (packs, places)
}

fn has_room((.., pack): &(Topic, Slot, Pack)) -> bool {
    pack.size() < ENTRY_BYTES
}
