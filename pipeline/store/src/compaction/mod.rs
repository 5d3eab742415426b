//! Compaction: uncompacted slices become segments, small segments become larger ones, rows
//! past their retention go, and what nothing refers to is removed an hour later.
//!
//! Compaction changes where rows lie, never which there are: every answer as of every commit
//! stays what it was. New objects are put first, then one catalogue transaction puts them in
//! the place of the old ones; if somebody else replaced one of those meanwhile, nothing happens,
//! the new objects are removed and it is tried again. A crash in between leaves orphans for
//! [`Compactor::sweep_orphans`].

mod merge;
mod retention;
mod sweep;
#[cfg(test)]
mod tests;

pub use retention::{Expired, Retained};

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use castback_catalogue::segments::{CompactRequest, Segment, SliceRef, View};
use castback_catalogue::{Catalogue, CatalogueError};
use castback_schemas::id::IdSource;
use castback_schemas::time::MINUTE;
use castback_schemas::{Clock, Micros, Revision, Slot};

use crate::error::{Result, StoreError};
use crate::failpoint;
use crate::object::SliceBody;
use crate::store::Store;

/// Uncompacted commit objects at which compaction is due. Each is opened by every query of its
/// slots; up to 64 may lie there before a query notices.
const DUE_OBJECTS: usize = 32;
/// Age at which even a few slices are due, so that a quiet installation's queries stay fast.
const DUE_AGE: i64 = 5 * MINUTE;
/// Decoded bytes of slices merged at once; what is beyond waits for the next round. Bounds
/// the memory of a compaction after a large import.
const ROUND_BYTES: u64 = 256 * 1024 * 1024;
/// Attempts when others replace the same segments; then the caller's next round tries.
const ATTEMPTS: usize = 3;

/// Compacts a store. One at a time is enough; several are safe.
#[derive(Debug, Clone)]
pub struct Compactor {
    store: Store,
    catalogue: Catalogue,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    /// The oldest uncompacted commit seen, and since when.
    oldest: Arc<Mutex<Option<(Revision, Micros)>>>,
    /// Objects that nothing referred to when they were last looked at, and since when.
    suspects: Arc<Mutex<BTreeMap<String, Micros>>>,
}

/// What a round of compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compacted {
    /// Slices that are segments now.
    pub slices: usize,
    /// Segments written.
    pub written: usize,
    /// Segments replaced.
    pub replaced: usize,
    /// Rows in the segments written.
    pub rows: u64,
}

impl Compacted {
    fn add(&mut self, other: Self) {
        self.slices += other.slices;
        self.written += other.written;
        self.replaced += other.replaced;
        self.rows += other.rows;
    }
}

impl Compactor {
    /// A compactor of this store; `ids` name the new segments.
    #[must_use]
    pub fn new(store: Store, catalogue: Catalogue, clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Self {
        Self { store, catalogue, clock, ids, oldest: Arc::default(), suspects: Arc::default() }
    }

    /// Compacts if there are enough uncompacted objects, or the oldest has waited long enough.
    ///
    /// # Errors
    /// The catalogue's or the object store's; what was done before stays done.
    pub async fn run_if_due(&self) -> Result<Compacted> {
        let view = self.catalogue.view(None).await?;
        if self.due(&view.slices) { self.run().await } else { Ok(Compacted::default()) }
    }

    fn due(&self, slices: &[SliceRef]) -> bool {
        let objects: BTreeSet<&str> = slices.iter().map(|slice| slice.object_key.as_str()).collect();
        let first = slices.iter().map(|slice| slice.revision).min();
        let now = self.clock.now();
        let mut oldest = self.oldest.lock().unwrap_or_else(PoisonError::into_inner);
        *oldest = first.map(|first| match *oldest {
            Some((seen, since)) if seen == first => (seen, since),
            _ => (first, now),
        });
        objects.len() >= DUE_OBJECTS || oldest.is_some_and(|(_, since)| now.0 - since.0 >= DUE_AGE)
    }

    /// Compacts every uncompacted slice there is now (of a slot at most [`ROUND_BYTES`]).
    ///
    /// # Errors
    /// The catalogue's or the object store's; what was done before stays done.
    pub async fn run(&self) -> Result<Compacted> {
        let mut done = Compacted::default();
        let slots: BTreeSet<Slot> =
            self.catalogue.view(None).await?.slices.iter().map(|slice| slice.unit.slot).collect();
        for slot in slots {
            done.add(self.slot(slot).await?);
        }
        tracing::info!(
            compaction.slices = done.slices,
            compaction.segments = done.written,
            compaction.replaced = done.replaced,
            compaction.rows = done.rows,
            "compacted"
        );
        Ok(done)
    }

    async fn slot(&self, slot: Slot) -> Result<Compacted> {
        for _ in 0..ATTEMPTS {
            let view = self.catalogue.view(None).await?;
            match self.attempt(&view, slot).await {
                Err(StoreError::Catalogue(CatalogueError::Stale)) => {}
                other => return other,
            }
        }
        Ok(Compacted::default())
    }

    async fn attempt(&self, view: &View, slot: Slot) -> Result<Compacted> {
        let slices = round(view, slot)?;
        let mut of_slot: BTreeMap<_, Vec<&Segment>> = BTreeMap::new();
        for segment in view.segments.iter().filter(|segment| segment.slot == slot) {
            of_slot.entry((segment.table.as_str(), segment.day)).or_default().push(segment);
        }
        let mut request = CompactRequest::default();
        for ((table, day), rows) in self.slice_rows(&slices).await? {
            let existing = of_slot.get(&(table.name(), day)).map_or(&[][..], Vec::as_slice);
            let merged = self.merge((table, slot, day), rows, existing).await?;
            request.new.extend(merged.new);
            request.replaced.extend(merged.replaced);
        }
        request.slices_done = slices.iter().map(|(slice, _)| (slice.revision, slice.unit)).collect();
        self.replace(request).await
    }

    /// One transaction; what was put for nothing is removed again.
    async fn replace(&self, request: CompactRequest) -> Result<Compacted> {
        let done = Compacted {
            slices: request.slices_done.len(),
            written: request.new.len(),
            replaced: request.replaced.len(),
            rows: request.new.iter().map(|segment| segment.rows).sum(),
        };
        let new: Vec<String> = request.new.iter().map(|segment| segment.object_key.clone()).collect();
        let compacted = self.catalogue.compact(request).await;
        if matches!(compacted, Err(CatalogueError::Stale)) {
            for key in &new {
                self.store.objects().remove(key).await?;
            }
        }
        compacted?;
        failpoint::hit("compact.after_commit");
        Ok(done)
    }
}

/// The slot's slices of one round, oldest first.
fn round(view: &View, slot: Slot) -> Result<Vec<(SliceRef, SliceBody)>> {
    let mut bytes = 0;
    let mut slices = Vec::new();
    for slice in view.slices.iter().filter(|slice| slice.unit.slot == slot) {
        let body = SliceBody::from_json(&slice.body, &slice.object_key)?;
        bytes += body.parts.iter().map(|part| part.raw_length).sum::<u64>();
        slices.push((slice.clone(), body));
        if bytes >= ROUND_BYTES {
            break;
        }
    }
    Ok(slices)
}
