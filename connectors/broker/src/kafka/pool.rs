//! The readers of every slot, each where it stopped.
//!
//! Reading in sequence finds the reader that stands there, its queue filled ahead, and so does reading again what a
//! reader has handed out last; elsewhere a new one begins. Two groups that read one slot get a reader each, or take
//! turns.

#[cfg(test)]
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use castback_schemas::time::{Clock, Micros, SECOND};
use castback_schemas::topic::{Slot, Topic};
use tokio::sync::{Mutex as Turns, OwnedMutexGuard};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::KafkaOptions;
use super::admin::PATIENCE;
use super::client::Clients;
use super::fault::Fault;
use super::reader::Reader;
use crate::log::{ReadError, ReadLimits, Record};
use crate::per_slot::PerSlot;

/// Readers open for a slot: one for each group that reads it, and one to spare. For a further one, the one longest idle
/// makes room.
const MOST: usize = 4;
/// A reader that nobody asked for this long, 10 s, is closed: its slot is read elsewhere by now. Its queue holds up to
/// 4 MiB and an answer's worth, beside what it has handed out last. A record that came uncompressed, as a lone small
/// one does, also holds the whole answer of a broker in which it came, 4 MiB at most: all together no more than the
/// client has fetched in this time.
pub(super) const EXPIRY: i64 = 10 * SECOND;
/// Between two looks for such readers, 1 s: a look costs nothing, and what they hold may be much.
const SWEEP: i64 = SECOND;

/// A reader, for one who reads at a time.
type Shared = Arc<Turns<Reader>>;

/// The readers of a slot.
#[derive(Default)]
struct SlotReaders {
    open: Mutex<Vec<Shared>>,
    /// Held by whoever begins a reader here, or closes some.
    turn: Arc<Turns<()>>,
}

/// The readers of every slot.
pub(super) struct Readers {
    clients: Clients,
    clock: Arc<dyn Clock>,
    slots: PerSlot<SlotReaders>,
    /// When idle readers were last looked for; held while they are.
    swept_at: Arc<Turns<Micros>>,
    /// How many readers were ever made.
    #[cfg(test)]
    pub(super) made: AtomicUsize,
}

impl Readers {
    pub(super) fn new(options: Arc<KafkaOptions>, clock: Arc<dyn Clock>) -> Self {
        let swept_at = Arc::new(Turns::new(clock.now()));
        Self {
            clients: Clients::new(options),
            clock,
            slots: PerSlot::new(SlotReaders::default),
            swept_at,
            #[cfg(test)]
            made: AtomicUsize::default(),
        }
    }

    /// Reads; waits until there are records or the wait is over.
    pub(super) async fn read(
        self: &Arc<Self>,
        at: (Topic, Slot),
        from: i64,
        limits: ReadLimits,
    ) -> Result<Vec<Record>, ReadError> {
        let mut reader = self.reader(at, from).await?;
        reader.used_at = self.clock.now();
        let read = reader.read(from, limits).await;
        match read {
            Ok(records) => {
                reader.used_at = self.clock.now();
                drop(reader);
                self.sweep();
                Ok(records)
            }
            Err(fault) if fault.is_lost() => blocking(move || Err(explain(&reader, from, fault))).await,
            Err(fault) => Err(fault.into()),
        }
    }

    /// A reader that can read from `from`, at work for the caller. They begin one after the other: a caller who gives up
    /// leaves one that is only beginning, and whoever comes back finds that one, instead of needing a further client.
    async fn reader(
        self: &Arc<Self>,
        (topic, slot): (Topic, Slot),
        from: i64,
    ) -> Result<OwnedMutexGuard<Reader>, ReadError> {
        let here = self.slots.get(topic, slot).ok_or(ReadError::NoSuchSlot)?;
        if let Some(reader) = find(&here.open, from) {
            return Ok(reader);
        }
        // No longer than a question to the cluster may take: if it is away, callers are not refused one after the other,
        // and whoever is told that it is silent comes again.
        let turn = timeout(PATIENCE, Arc::clone(&here.turn).lock_owned()).await.map_err(|_| Fault::Silent)?;
        if let Some(reader) = find(&here.open, from) {
            return Ok(reader);
        }
        let readers = Arc::clone(self);
        // The turn comes back after the reader: if the caller has gone, it ends when the reader is free for the next.
        let (reader, _) = blocking(move || Ok((readers.begin((topic, slot), from)?, turn))).await?;
        Ok(reader)
    }

    /// A new reader, which stands at `from`; blocks. It is the caller's turn.
    fn begin(&self, (topic, slot): (Topic, Slot), from: i64) -> Result<OwnedMutexGuard<Reader>, ReadError> {
        let open = &self.slots.get(topic, slot).ok_or(ReadError::NoSuchSlot)?.open;
        // After an error a new reader starts clean, and in the place of the old one.
        drop(take_out(open, Reader::failed));
        drop(make_room(open));
        let place = self.clients.place(topic, slot)?;
        // Asked first, since librdkafka gives meanings of its own to odd offsets.
        let ends = place.ends()?;
        if !ends.admits(from) {
            return Err(ReadError::outside(ends));
        }
        let reader = Arc::new(Turns::new(Reader::new(place, from, self.clock.now())?));
        #[cfg(test)]
        self.made.fetch_add(1, Ordering::Relaxed);
        let at_work = Arc::clone(&reader).blocking_lock_owned();
        // At once, so that it is found again even if its caller has gone.
        open.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
        Ok(at_work)
    }

    /// Has idle readers closed if it is time, one sweep at a time; no read waits for it.
    fn sweep(self: &Arc<Self>) {
        let now = self.clock.now();
        let Ok(mut swept_at) = Arc::clone(&self.swept_at).try_lock_owned() else { return };
        if now < swept_at.plus(SWEEP) {
            return;
        }
        *swept_at = now;
        let readers = Arc::clone(self);
        spawn_blocking(move || {
            readers.close_idle_since(now.plus(-EXPIRY));
            drop(swept_at);
        });
    }

    /// Closes the readers that have been idle since `since` or longer, and clients that have none; blocks, some
    /// milliseconds.
    pub(super) fn close_idle_since(&self, since: Micros) {
        self.slots.each(|here| {
            // Whoever begins here meanwhile waits until they have left their client. Nobody is waited for.
            let _turn = here.turn.try_lock();
            drop(take_out(&here.open, |reader| reader.failed() || reader.used_at <= since));
        });
        self.clients.close_unused();
    }

    /// Returns once no sweep is under way.
    #[cfg(test)]
    pub(super) async fn swept(&self) {
        drop(self.swept_at.lock().await);
    }

    /// Keeps everybody away from the readers of a slot.
    #[cfg(test)]
    pub(super) fn hold(&self, topic: Topic, slot: Slot) -> std::sync::MutexGuard<'_, Vec<Shared>> {
        self.slots.get(topic, slot).unwrap().open.lock().unwrap()
    }

    /// How many readers a slot has.
    #[cfg(test)]
    pub(super) fn open(&self, topic: Topic, slot: Slot) -> usize {
        self.slots.get(topic, slot).unwrap().open.lock().unwrap().len()
    }

    /// How many clients they share.
    #[cfg(test)]
    pub(super) fn clients(&self) -> usize {
        self.clients.count()
    }
}

/// The reader that can read from `from` and is not at work.
fn find(open: &Mutex<Vec<Shared>>, from: i64) -> Option<OwnedMutexGuard<Reader>> {
    let open = open.lock().unwrap_or_else(PoisonError::into_inner);
    open.iter().filter_map(|reader| Arc::clone(reader).try_lock_owned().ok()).find(|reader| reader.serves(from))
}

/// Takes out those that are not at work and of which `which` holds. Closing them takes a while; no slot waits for it.
fn take_out(open: &Mutex<Vec<Shared>>, which: impl Fn(&Reader) -> bool) -> Vec<Shared> {
    let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
    open.extract_if(.., |reader| reader.try_lock().is_ok_and(|reader| which(&reader))).collect()
}

/// Takes the one out that is longest idle, if there are as many as may be.
fn make_room(open: &Mutex<Vec<Shared>>) -> Option<Shared> {
    let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
    let idle = open.iter().enumerate().filter_map(|(index, reader)| Some((reader.try_lock().ok()?.used_at, index)));
    let (_, longest) = idle.min().filter(|_| open.len() >= MOST)?;
    Some(open.remove(longest))
}

/// What a position that may be lost means; blocks.
fn explain(reader: &Reader, from: i64, fault: Fault) -> ReadError {
    match reader.ends() {
        Ok(ends) if !ends.admits(from) => ReadError::outside(ends),
        Ok(_) => fault.into(),
        Err(fault) => fault.into(),
    }
}

/// Runs what blocks beside the runtime.
async fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ReadError> {
    spawn_blocking(run).await.map_err(Fault::Task)?
}
