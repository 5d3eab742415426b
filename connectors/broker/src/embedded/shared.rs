//! What the appender and the readers share: the store, and the durable ends.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use castback_schemas::time::Micros;
use castback_schemas::topic::{Slot, TOPICS, Topic};
use tokio::sync::watch;

use super::EmbeddedOptions;
use super::appender::TopicEnds;
use super::keyspaces::{Store, StoreError};
use crate::log::{Ends, ReadError, Record};
use crate::per_slot::PerSlot;

/// The store and the durable ends.
///
/// `ends` is the only truth about what exists: the appender moves an end after the sync, and a
/// reader goes by it even when the store already holds more.
#[derive(Debug)]
pub(super) struct Shared {
    dir: PathBuf,
    options: EmbeddedOptions,
    /// `None` after a failed write until reopened, and after closing.
    store: RwLock<Option<Opened>>,
    ends: PerSlot<watch::Sender<Ends>>,
    newest: AtomicI64,
    closed: AtomicBool,
}

struct Opened(Store);

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opened")
    }
}

impl Shared {
    pub(super) fn open(dir: PathBuf, options: EmbeddedOptions) -> Result<Self, StoreError> {
        let shared = Self {
            dir,
            options,
            store: RwLock::new(None),
            ends: PerSlot::new(|| watch::Sender::new(Ends::default())),
            newest: AtomicI64::new(0),
            closed: AtomicBool::new(false),
        };
        shared.reopen_if_failed()?;
        Ok(shared)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// The durable ends of a slot, to be read or waited for.
    pub(super) fn watch(&self, topic: Topic, slot: Slot) -> Option<&watch::Sender<Ends>> {
        self.ends.get(topic, slot)
    }

    /// The durable end of a slot: the next offset to be given.
    pub(super) fn end(&self, topic: Topic, slot: Slot) -> i64 {
        self.ends.get(topic, slot).map_or(0, |ends| ends.borrow().end)
    }

    pub(super) fn topic_ends(&self, topic: Topic) -> TopicEnds {
        let mut all = TopicEnds::default();
        for (cell, slot) in all.iter_mut().zip(Slot::all()) {
            *cell = self.ends.get(topic, slot).map_or(*cell, |ends| *ends.borrow());
        }
        all
    }

    /// Shows readers the new ends.
    pub(super) fn publish(&self, new: &HashMap<(Topic, Slot), i64>) {
        for ((topic, slot), end) in new {
            if let Some(ends) = self.ends.get(*topic, *slot) {
                ends.send_modify(|ends| ends.end = *end);
            }
        }
    }

    /// An append time at `now` or, if the clock went back, at the latest given.
    pub(super) fn advance_time(&self, now: Micros) -> Micros {
        Micros(now.0.max(self.newest.fetch_max(now.0, Ordering::SeqCst)))
    }

    /// Reads from `from`, at most to the durable end.
    pub(super) fn read(
        &self,
        (topic, slot): (Topic, Slot),
        from: i64,
        max_bytes: usize,
    ) -> Result<Vec<Record>, ReadError> {
        let unavailable = |error: StoreError| ReadError::Unavailable { source: Arc::new(error) };
        self.reopen_if_failed().map_err(unavailable)?;
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        let Some(Opened(store)) = store.as_ref() else { return Err(ReadError::Closed) };
        // Under the lock, so that nothing is dropped between the question and the reading.
        let ends = self.ends.get(topic, slot).map(|ends| *ends.borrow());
        let ends = ends.ok_or(ReadError::NoSuchSlot)?;
        if !ends.admits(from) {
            return Err(ReadError::outside(ends));
        }
        let within = Ends { start: from, end: ends.end };
        store.read((topic, slot), within, max_bytes).map_err(unavailable)
    }

    pub(super) fn with_store<T>(&self, run: impl FnOnce(&Store) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        match store.as_ref() {
            Some(Opened(store)) => run(store),
            None => Err(StoreError::NotOpen),
        }
    }

    /// Changes the store's segments, and moves the starts accordingly.
    pub(super) fn with_store_mut<T>(
        &self,
        run: impl FnOnce(&mut Store) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut store = self.store.write().unwrap_or_else(PoisonError::into_inner);
        let Some(Opened(store)) = store.as_mut() else { return Err(StoreError::NotOpen) };
        let outcome = run(store)?;
        for spec in TOPICS {
            for slot in Slot::all() {
                let start = store.start(spec.topic, slot);
                if let Some(ends) = self.ends.get(spec.topic, slot) {
                    ends.send_if_modified(|ends| std::mem::replace(&mut ends.start, start) != start);
                }
            }
        }
        Ok(outcome)
    }

    /// After a failed write: fjall refuses every further one until it is reopened.
    pub(super) fn recover(&self, error: &StoreError) {
        tracing::error!(error = error as &dyn std::error::Error, "the log failed; reopening it");
        *self.store.write().unwrap_or_else(PoisonError::into_inner) = None;
        if let Err(error) = self.reopen_if_failed() {
            // The next append or read tries again.
            tracing::error!(error = &error as &dyn std::error::Error, "the log stays closed");
        }
    }

    /// Opens the store if it is not open, and takes the ends from what is durable there.
    pub(super) fn reopen_if_failed(&self) -> Result<(), StoreError> {
        let is_open = self.store.read().unwrap_or_else(PoisonError::into_inner).is_some();
        if is_open || self.is_closed() {
            return Ok(());
        }
        let mut store = self.store.write().unwrap_or_else(PoisonError::into_inner);
        if store.is_some() {
            return Ok(());
        }
        let opened = Store::open(&self.dir, self.options)?;
        let found = opened.found()?;
        self.newest.fetch_max(found.newest.0, Ordering::SeqCst);
        for spec in TOPICS {
            for slot in Slot::all() {
                let now = found.ends.get(spec.topic, slot).copied().unwrap_or_default();
                if let Some(ends) = self.ends.get(spec.topic, slot) {
                    let before = ends.send_replace(now);
                    if now.end < before.end {
                        tracing::error!(
                            topic = %spec.topic, slot = slot.0,
                            end.before = before.end, end.now = now.end,
                            "the log lost durable records",
                        );
                    }
                }
            }
        }
        *store = Some(Opened(opened));
        Ok(())
    }

    /// Closes the store for good and gives the directory back.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        *self.store.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
