//! What a question of several statements reads once: the current rows of a day, of tables that keep every
//! version. Its later statements find them in memory instead of fetching, decoding and comparing them again.
//!
//! Kept rows belong to one [`crate::session::Source`], so they are of one view and one scope, and go with it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, RecordBatch};
use arrow::compute::BatchCoalescer;
use arrow::datatypes::{DataType, Field, SchemaRef};
use castback_schemas::table::{Kind, Table};
use castback_schemas::{AccountId, Day, Revision, Slot};
use hashbrown::HashMap;
use tokio::sync::OnceCell;

use crate::error::{Result, StoreError};
use crate::load::Loaded;
use crate::scan::{ReadTask, Scan, Versions};
use crate::segment::BATCH_ROWS;
use crate::view::Piece;

/// Bytes that the questions of a process keep together, some two million deliveries. Where there is no room for
/// a day, each statement reads it for itself.
const MAX_BYTES: usize = 256 * 1024 * 1024;

/// Bytes that are reckoned for a text before it is read: those of an id, and where it ends.
const TEXT_BYTES: usize = 40;

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
        match of_day.get_or_try_init(|| self.read(task.clone())).await {
            Ok(of_day) => Ok(of_day.as_ref().map(|of_day| Arc::clone(&of_day.rows))),
            // Not remembered: a day that is read beside it takes more room than it keeps.
            Err(NotRead::NoRoom) => Ok(None),
            Err(NotRead::Failed(error)) => Err(error),
        }
    }

    /// Days that somebody has begun to read, or has read.
    #[cfg(test)]
    pub(crate) fn begun(&self) -> usize {
        self.days.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Takes the room before anything is read: what does not fit is read by each statement for itself, and not here.
    async fn read(&self, task: ReadTask) -> std::result::Result<Option<OfDay>, NotRead> {
        let mut taken = Taken { room: self.room.clone(), bytes: 0 };
        if !taken.up_to(bytes_at_most(&task)) {
            return Err(NotRead::NoRoom);
        }
        let schema = Arc::clone(&task.plan.given);
        let loaded = task.load().await?;
        let read = tokio::task::spawn_blocking(move || {
            let collected = collect(loaded, taken)?;
            let of_day = |(rows, taken)| Ok(OfDay { rows: packed(&schema, rows)?, _taken: taken });
            collected.map(of_day).transpose()
        });
        let read: Result<Option<OfDay>> = read.await.map_err(|_| StoreError::BrokenOff)?;
        Ok(read?)
    }
}

/// Why a day is not kept, nor known to be too large for it.
#[derive(Debug)]
enum NotRead {
    /// There is no room for it now.
    NoRoom,
    /// It can't be read.
    Failed(StoreError),
}

impl From<StoreError> for NotRead {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// What the rows of a task take, about, if all of its pieces' are given: of every account, in every version.
fn bytes_at_most(task: &ReadTask) -> usize {
    let in_segments: u64 = task.segments.iter().map(Piece::rows).sum();
    let in_parts: usize = task.parts.iter().map(RecordBatch::num_rows).sum();
    let rows = usize::try_from(in_segments).unwrap_or(usize::MAX).saturating_add(in_parts);
    rows.saturating_mul(task.plan.given.fields().iter().map(|field| width(field)).sum())
}

fn width(field: &Field) -> usize {
    match field.data_type() {
        DataType::Boolean => 1,
        DataType::FixedSizeBinary(bytes) => usize::try_from(*bytes).unwrap_or(TEXT_BYTES),
        other => other.primitive_width().unwrap_or(TEXT_BYTES),
    }
}

/// The rows, and room for as much as they are; none where texts are so long that there is not.
fn collect(loaded: Loaded, mut taken: Taken) -> Result<Option<(Vec<RecordBatch>, Taken)>> {
    let (mut rows, mut bytes, mut fits) = (Vec::new(), 0, true);
    loaded.rows(&mut |batch| {
        bytes += bytes_of(&batch)?;
        fits = taken.up_to(bytes);
        rows.push(batch);
        Ok(fits)
    })?;
    taken.down_to(bytes);
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
    /// Takes what is missing to so many bytes; false, and nothing is taken, where there is no room for it.
    fn up_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let sum = |used: usize| used.checked_add(more).filter(|sum| *sum <= MAX_BYTES);
        let fits = self.room.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum).is_ok();
        if fits {
            self.bytes += more;
        }
        fits
    }

    /// Gives back what is above so many bytes.
    fn down_to(&mut self, bytes: usize) {
        let less = self.bytes.saturating_sub(bytes);
        self.room.0.fetch_sub(less, Ordering::Relaxed);
        self.bytes -= less;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.down_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{Harness, TODAY};
    use crate::samples::{Cell, Row, account, batch};
    use crate::scan::{Feed, Plan};
    use crate::view::{PinnedView, Place};

    const COLUMNS: KeptColumns = &[(Table::AdDeliveries, &["campaign_id", "occurred_at"])];

    fn scan() -> Scan {
        Scan { account: Some(account(1)), columns: Some(vec!["campaign_id"]), ..Scan::new(Table::AdDeliveries) }
    }

    #[test]
    fn what_is_kept_stays_within_the_room_and_goes_with_its_owner() {
        let room = Room::default();
        let taken = || Taken { room: room.clone(), bytes: 0 };
        let (mut one, mut other) = (taken(), taken());
        assert!(one.up_to(MAX_BYTES - 1) && other.up_to(1));
        assert!(!other.up_to(2), "the room is full");
        one.down_to(MAX_BYTES - 2);
        assert!(other.up_to(2), "one byte was given back");
        drop(one);
        assert!(other.up_to(MAX_BYTES));
        drop(other);
        assert_eq!(room.0.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_day_is_read_only_where_there_is_room_for_it() {
        let harness = Harness::new().await;
        let kept = Kept::new(Room::default(), COLUMNS);
        let wide = kept.widened(&scan()).unwrap();
        let plan = Arc::new(Plan::new(harness.store.clone(), Arc::new(PinnedView::empty()), wide));
        let (slot, day) = (Slot::of(account(1)), TODAY.day());
        // Nowhere: who reads it fails.
        let of = |rows: u64, day: Day| {
            let place = Place::Segment { day: day.0, rows, bytes: 1, crc: 0, tail: None, sources: None };
            let (table, key) = (Table::AdDeliveries.name().to_owned(), format!("segments/of-{rows}"));
            let piece = Piece { table, slot: slot.0, key, place, min_revision: 1, max_revision: 1 };
            let plan = Arc::clone(&plan);
            ReadTask { of: (slot, day), plan, segments: vec![piece], parts: Vec::new(), verdicts: None }
        };
        let most = u64::try_from(MAX_BYTES / (TEXT_BYTES + size_of::<i64>())).unwrap();
        assert!(kept.rows(&of(most + 1, day)).await.unwrap().is_none());
        assert!(kept.rows(&of(most, day.next())).await.is_err());
        // A day beside it has the room, but keeps little of it.
        let mut other = Taken { room: kept.room.clone(), bytes: 0 };
        assert!(other.up_to(MAX_BYTES));
        assert!(kept.rows(&of(1, day)).await.unwrap().is_none());
        other.down_to(1);
        assert!(kept.rows(&of(1, day)).await.is_err(), "it is tried again");
        drop(other);
        assert_eq!(kept.room.0.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn what_is_kept_takes_the_room_of_its_own_rows() {
        let harness = Harness::new().await;
        let slot = Slot::of(account(1));
        let delivery = |number: i64| {
            let own = account(u128::from(number.unsigned_abs()));
            Row::from([
                ("account_id", Cell::Text(own.to_string())),
                ("campaign_id", Cell::Text("c".to_owned())),
                ("occurred_at", Cell::Int(TODAY.0)),
                ("request_offset", Cell::Int(number)),
            ])
        };
        let rows = batch(Table::AdDeliveries, &[1, 2, 3].map(delivery));
        harness.commit(vec![(slot, Table::AdDeliveries, rows)]).await;
        let kept = Kept::new(Room::default(), COLUMNS);
        let wide = kept.widened(&scan()).unwrap();
        let feed = Feed::new(Plan::new(harness.store.clone(), harness.view(None).await, wide));
        let task = feed.next().await.unwrap().unwrap();
        let rows = kept.rows(&task).await.unwrap().unwrap();
        assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 1, "the others' are not seen");
        let held = kept.room.0.load(Ordering::Relaxed);
        assert!((1..bytes_at_most(&task)).contains(&held), "{held}");
    }
}
