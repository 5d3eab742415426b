//! The readers that are not reading just now, each where it stopped.
//!
//! Reading in sequence finds the reader that stands there, its queue filled ahead, and so does reading again what a reader
//! has delivered last; elsewhere a new one begins. Two groups that read one slot get a reader each, or take turns.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use castback_schemas::time::{Clock, MINUTE, Micros};
use castback_schemas::topic::{Slot, Topic};

use super::KafkaOptions;
use super::reader::Reader;
use crate::log::{ReadError, ReadLimits, Record};
use crate::per_slot::PerSlot;

/// Readers kept for a slot: one for each group that reads it, and one to spare. A further one is
/// made for its read and then closed.
const IDLE: usize = 4;
/// A reader that nobody asked for this long is closed: its slot is read elsewhere by now, and its
/// queue holds up to 4 MiB, beside what it has delivered last.
const EXPIRY: i64 = MINUTE;

/// The readers that are not reading just now.
pub(super) struct Readers {
    options: Arc<KafkaOptions>,
    clock: Arc<dyn Clock>,
    idle: PerSlot<Mutex<Vec<Idle>>>,
    swept_at: AtomicI64,
    /// How many readers were ever made.
    #[cfg(test)]
    pub(super) made: std::sync::atomic::AtomicUsize,
}

struct Idle {
    reader: Reader,
    since: Micros,
}

impl Readers {
    pub(super) fn new(options: Arc<KafkaOptions>, clock: Arc<dyn Clock>) -> Self {
        let swept_at = AtomicI64::new(clock.now().0);
        Self {
            options,
            clock,
            idle: PerSlot::new(Mutex::default),
            swept_at,
            #[cfg(test)]
            made: std::sync::atomic::AtomicUsize::default(),
        }
    }

    /// Reads; blocks until there are records or the wait is over.
    pub(super) fn read(
        &self,
        (topic, slot): (Topic, Slot),
        from: i64,
        limits: ReadLimits,
    ) -> Result<Vec<Record>, ReadError> {
        let idle = self.idle.get(topic, slot).ok_or(ReadError::NoSuchSlot)?;
        let mut reader = match take(idle, from) {
            Some(reader) => reader,
            None => self.make(topic, slot)?,
        };
        // After an error the reader is dropped: a new one starts clean.
        let records = reader.read(from, limits)?;
        let now = self.clock.now();
        if reader.next().is_some() {
            keep(idle, Idle { reader, since: now });
        }
        self.sweep(now);
        Ok(records)
    }

    fn make(&self, topic: Topic, slot: Slot) -> Result<Reader, ReadError> {
        #[cfg(test)]
        self.made.fetch_add(1, Ordering::Relaxed);
        Ok(Reader::new(&self.options, topic, slot)?)
    }

    fn sweep(&self, now: Micros) {
        let before = self.swept_at.load(Ordering::Relaxed);
        let due = now.0 >= before.saturating_add(EXPIRY);
        let relaxed = Ordering::Relaxed;
        if due && self.swept_at.compare_exchange(before, now.0, relaxed, relaxed).is_ok() {
            drop(self.take_idle_since(now.plus(-EXPIRY)));
        }
    }

    /// How many readers of a slot are idle.
    #[cfg(test)]
    pub(super) fn idle(&self, topic: Topic, slot: Slot) -> usize {
        self.idle.get(topic, slot).unwrap().lock().unwrap().len()
    }

    /// The readers that have been idle since `since` or longer. Closing one takes up to a tenth of a second; no slot
    /// waits for it.
    pub(super) fn take_idle_since(&self, since: Micros) -> Vec<Reader> {
        let mut expired = Vec::new();
        self.idle.each(|idle| {
            let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
            expired.extend(idle.extract_if(.., |idle| idle.since <= since).map(|idle| idle.reader));
        });
        expired
    }
}

/// The reader that can read from `from`. If none can, the one longest idle makes room for another.
fn take(idle: &Mutex<Vec<Idle>>, from: i64) -> Option<Reader> {
    let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(index) = idle.iter().position(|idle| idle.reader.serves(from)) {
        return Some(idle.remove(index).reader);
    }
    let superfluous = (idle.len() == IDLE).then(|| idle.remove(0));
    drop(idle);
    // Closing takes a while; the slot need not wait for it.
    drop(superfluous);
    None
}

fn keep(idle: &Mutex<Vec<Idle>>, reader: Idle) {
    let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
    if idle.len() < IDLE {
        idle.push(reader);
    }
}
