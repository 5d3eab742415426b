//! What a question of several statements reads once: the current rows of a day, of tables that keep every
//! version. Its later statements find them in memory instead of fetching, decoding and comparing them again.
//!
//! Kept rows belong to one [`crate::session::Source`], so they are of one view and one scope, and go with it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, RecordBatch};
use arrow::compute::BatchCoalescer;
use arrow::datatypes::SchemaRef;
use castback_schemas::table::{Kind, Table};
use castback_schemas::{AccountId, Day, Revision, Slot};
use hashbrown::HashMap;
use tokio::sync::OnceCell;

use crate::error::{Result, StoreError};
use crate::load::Loaded;
use crate::scan::{ReadTask, Scan, Versions};
use crate::segment::BATCH_ROWS;

/// Bytes that the questions of a process keep together, some two million deliveries. Where there is no room for
/// a day, each statement reads it for itself.
const MAX_BYTES: usize = 256 * 1024 * 1024;

/// Tables, and the columns of them that a question's statements name. A statement that names others reads for itself.
pub type KeptColumns = &'static [(Table, &'static [&'static str])];

/// What is kept for one question.
#[derive(Debug)]
pub(crate) struct Kept {
    columns: KeptColumns,
    room: Room,
    days: Mutex<HashMap<Key, Arc<OnceCell<Option<OfDay>>>>>,
}

/// Whose rows of which table, slot and day.
type Key = (Option<AccountId>, Table, Slot, Day);

/// A day's rows, and the room that they take.
#[derive(Debug)]
struct OfDay {
    rows: Arc<[RecordBatch]>,
    _taken: Taken,
}

/// The bytes kept by all questions together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Room(Arc<AtomicUsize>);

/// Bytes of the room, given back in the end.
#[derive(Debug)]
struct Taken {
    room: Room,
    bytes: usize,
}

impl Kept {
    pub(crate) fn new(room: Room, columns: KeptColumns) -> Self {
        Self { columns, room, days: Mutex::default() }
    }

    /// The scan of all columns that are kept, if they hold those of this one.
    pub(crate) fn widened(&self, scan: &Scan) -> Option<Scan> {
        let current = scan.versions == Versions::Current && scan.table.spec().kind == Kind::Versioned;
        let whole = scan.event_id.is_none() && scan.after == Revision(0);
        let (_, columns) = self.columns.iter().find(|(table, _)| *table == scan.table)?;
        let kept = scan.columns.as_ref()?.iter().all(|name| columns.contains(name));
        (current && whole && kept).then(|| Scan { columns: Some(columns.to_vec()), ..scan.clone() })
    }

    /// The rows of a widened scan's task, read by whoever comes first; none where there is no room for them.
    pub(crate) async fn rows(&self, task: &ReadTask) -> Result<Option<Arc<[RecordBatch]>>> {
        let (slot, day) = task.of;
        let key = (task.plan.scan.account, task.plan.scan.table, slot, day);
        let of_day = {
            let mut days = self.days.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(days.entry(key).or_default())
        };
        let of_day = of_day.get_or_try_init(|| self.read(task.clone())).await?;
        Ok(of_day.as_ref().map(|of_day| Arc::clone(&of_day.rows)))
    }

    async fn read(&self, task: ReadTask) -> Result<Option<OfDay>> {
        let (schema, room) = (Arc::clone(&task.plan.given), self.room.clone());
        let loaded = task.load().await?;
        let read = tokio::task::spawn_blocking(move || {
            let Some((rows, taken)) = collect(loaded, room)? else { return Ok(None) };
            Ok(Some(OfDay { rows: packed(&schema, rows)?, _taken: taken }))
        });
        read.await.map_err(|_| StoreError::BrokenOff)?
    }
}

fn collect(loaded: Loaded, room: Room) -> Result<Option<(Vec<RecordBatch>, Taken)>> {
    let (mut taken, mut rows, mut fits) = (Taken { room, bytes: 0 }, Vec::new(), true);
    loaded.rows(&mut |batch| {
        fits = taken.more(bytes_of(&batch)?);
        rows.push(batch);
        Ok(fits)
    })?;
    Ok(fits.then_some((rows, taken)))
}

/// The rows in batches of their own: a slice would keep, and be reckoned as, all that it was cut from.
fn packed(schema: &SchemaRef, rows: Vec<RecordBatch>) -> Result<Arc<[RecordBatch]>> {
    let mut coalescer = BatchCoalescer::new(Arc::clone(schema), BATCH_ROWS);
    for batch in rows {
        coalescer.push_batch(batch)?;
    }
    coalescer.finish_buffered_batch()?;
    Ok(std::iter::from_fn(|| coalescer.next_completed_batch()).collect())
}

fn bytes_of(batch: &RecordBatch) -> Result<usize> {
    let sizes = batch.columns().iter().map(|column| column.to_data().get_slice_memory_size());
    Ok(sizes.sum::<Result<_, _>>()?)
}

impl Taken {
    fn more(&mut self, bytes: usize) -> bool {
        let sum = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= MAX_BYTES);
        let fits = self.room.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum).is_ok();
        if fits {
            self.bytes += bytes;
        }
        fits
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.room.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_stays_within_the_room_and_goes_with_its_owner() {
        let room = Room::default();
        let taken = || Taken { room: room.clone(), bytes: 0 };
        let (mut one, mut other) = (taken(), taken());
        assert!(one.more(MAX_BYTES - 1) && other.more(1));
        assert!(!other.more(1), "the room is full");
        drop(one);
        assert!(other.more(MAX_BYTES - 1));
        drop(other);
        assert_eq!(room.0.load(Ordering::Relaxed), 0);
    }
}
