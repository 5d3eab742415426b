//! The one writer: it merges what waits into one durable batch, and only then says so.

use std::collections::HashMap;
use std::sync::Arc;

use castback_schemas::time::{Clock, Micros};
use castback_schemas::topic::{SLOTS, Slot, TOPICS, Topic};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::entry::Pack;
use super::keyspaces::{Sealed, Store, StoreError};
use super::shared::Shared;
use super::space::{RESERVE, Space};
use super::{Floors, RetainError};
use crate::log::{AppendError, Ends};

/// Entries are joined up to this size, 1 MiB: one is what a reader fetches at a time.
pub(super) const ENTRY_BYTES: usize = 1 << 20;
/// A round takes no further appends beyond this size, 8 MiB: the first of them waits for the
/// sync of all. What is left waits for the next round.
const ROUND_BYTES: usize = 8 << 20;

/// What the appender is asked to do, in turn.
#[derive(Debug)]
pub(super) enum Request {
    Append(Append),
    Retain(Floors, oneshot::Sender<Result<usize, RetainError>>),
}

/// Records of one append, packed by slot.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) packs: Vec<(Topic, Slot, Pack)>,
    /// Takes the base offset of every pack.
    pub(super) reply: oneshot::Sender<Result<Vec<i64>, AppendError>>,
    /// Its share of the queue, given back when it is written or refused.
    pub(super) share: OwnedSemaphorePermit,
}

/// The writer's own state; everything readers see is in [`Shared`].
#[derive(Debug)]
pub(super) struct Appender {
    pub(super) shared: Arc<Shared>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) space: Arc<dyn Space>,
}

impl Appender {
    /// Works until every sender is gone and the queue is empty.
    pub(super) fn run(self, mut queue: mpsc::Receiver<Request>) {
        let mut next = None;
        while let Some(request) = next.take().or_else(|| queue.blocking_recv()) {
            match request {
                Request::Append(append) => next = self.round(append, &mut queue),
                // Whoever asked may be gone; what was asked for is done all the same.
                Request::Retain(floors, reply) => {
                    reply.send(self.retain(&floors)).ok();
                }
            }
        }
    }

    /// Writes `first` and what waits behind it; gives back a request that is no append.
    fn round(&self, first: Append, queue: &mut mpsc::Receiver<Request>) -> Option<Request> {
        // Before offsets are given: reopening may move the ends.
        if let Err(error) = self.ready() {
            first.reply.send(Err(error)).ok();
            return None;
        }
        let mut round = Round::default();
        let mut next = None;
        round.add(first, &self.shared);
        while round.bytes < ROUND_BYTES {
            match queue.try_recv() {
                Ok(Request::Append(append)) => round.add(append, &self.shared),
                Ok(other) => {
                    next = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        let outcome = self.commit(std::mem::take(&mut round.entries));
        if outcome.is_ok() {
            self.shared.publish(&round.ends);
        }
        for (reply, bases, share) in round.replies {
            drop(share);
            // Whoever asked may be gone.
            reply.send(outcome.clone().map(|()| bases)).ok();
        }
        next
    }

    fn ready(&self) -> Result<(), AppendError> {
        self.shared.reopen_if_failed().map_err(unavailable)?;
        match self.space.free(self.shared.dir()) {
            Ok(free) if free < RESERVE => Err(AppendError::StorageFull),
            Ok(_) => Ok(()),
            Err(error) => Err(unavailable(error)),
        }
    }

    fn commit(&self, entries: Vec<Joined>) -> Result<(), AppendError> {
        let at = self.shared.advance_time(self.clock.now());
        let written = self.open_segments(&entries, at).and_then(|()| {
            let seal = |entry: Joined| Sealed {
                topic: entry.topic,
                slot: entry.slot,
                last: entry.base + i64::from(entry.pack.count()) - 1,
                bytes: entry.pack.seal(entry.base, at),
            };
            self.shared.with_store(|store| store.write(entries.into_iter().map(seal).collect()))
        });
        written.map_err(|error| {
            self.shared.recover(&error);
            unavailable(error)
        })
    }

    fn open_segments(&self, entries: &[Joined], at: Micros) -> Result<(), StoreError> {
        for spec in TOPICS {
            if entries.iter().any(|entry| entry.topic == spec.topic)
                && self.shared.with_store(|store| Ok(store.needs_segment(spec.topic, at)))?
            {
                self.open_segment(spec.topic, at)?;
            }
        }
        Ok(())
    }

    fn open_segment(&self, topic: Topic, at: Micros) -> Result<(), StoreError> {
        let bases = self.shared.topic_ends(topic).map(|ends| ends.end);
        self.shared.with_store_mut(|store| store.open_segment(topic, at, bases))
    }

    /// Drops what is older than its topic's retention and below the floors.
    fn retain(&self, floors: &Floors) -> Result<usize, RetainError> {
        let cause = |error: StoreError| RetainError::Unavailable { source: Arc::new(error) };
        self.shared.reopen_if_failed().map_err(cause)?;
        let now = self.shared.advance_time(self.clock.now());
        self.drop_segments(floors, now).map_err(|error| {
            self.shared.recover(&error);
            cause(error)
        })
    }

    fn drop_segments(&self, floors: &Floors, now: Micros) -> Result<usize, StoreError> {
        let mut dropped = 0;
        for spec in TOPICS {
            let topic = spec.topic;
            // A quiet topic's last segment is closed here, so that its records can go too.
            let ends = self.shared.topic_ends(topic).map(|ends| ends.end);
            let stale = |store: &Store| Ok(store.needs_segment(topic, now) && store.last_segment_holds(topic, ends));
            if self.shared.with_store(stale)? {
                self.open_segment(topic, now)?;
            }
            let before = now.plus(-spec.retention);
            let floor = |slot: Slot| floors.get(&(topic, slot)).copied();
            while self.shared.with_store_mut(|s: &mut Store| s.drop_oldest(topic, before, floor))? {
                dropped += 1;
            }
        }
        Ok(dropped)
    }
}

/// An entry under construction.
#[derive(Debug)]
struct Joined {
    topic: Topic,
    slot: Slot,
    base: i64,
    pack: Pack,
}

type Reply = oneshot::Sender<Result<Vec<i64>, AppendError>>;

/// What one sync makes durable.
#[derive(Debug, Default)]
struct Round {
    entries: Vec<Joined>,
    open: HashMap<(Topic, Slot), usize>,
    ends: HashMap<(Topic, Slot), i64>,
    replies: Vec<(Reply, Vec<i64>, OwnedSemaphorePermit)>,
    bytes: usize,
}

impl Round {
    fn add(&mut self, append: Append, shared: &Shared) {
        let mut bases = Vec::with_capacity(append.packs.len());
        for (topic, slot, pack) in append.packs {
            let end = self.ends.entry((topic, slot)).or_insert_with(|| shared.end(topic, slot));
            let base = *end;
            *end += i64::from(pack.count());
            bases.push(base);
            self.bytes += pack.size();
            self.join(Joined { topic, slot, base, pack });
        }
        self.replies.push((append.reply, bases, append.share));
    }

    fn join(&mut self, entry: Joined) {
        let at = (entry.topic, entry.slot);
        if let Some(open) = self.open.get(&at).and_then(|index| self.entries.get_mut(*index))
            && open.pack.size() + entry.pack.size() <= ENTRY_BYTES
        {
            open.pack.join(&entry.pack);
            return;
        }
        self.open.insert(at, self.entries.len());
        self.entries.push(entry);
    }
}

fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> AppendError {
    AppendError::Unavailable { source: Arc::new(error) }
}

/// The ends of all slots of a topic, by slot.
pub(super) type TopicEnds = [Ends; SLOTS as usize];
