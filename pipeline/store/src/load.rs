//! A task's bytes, fetched, and the rows that they hold for the caller.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use bytes::Bytes;
use castback_schemas::table::{Kind, Table};
use castback_schemas::{Day, Slot};
use tokio::sync::OnceCell;

use crate::columns::{COMMIT, conform, ints, retain, stored_schema};
use crate::error::{Result, StoreError};
use crate::newest::{Newest, Runs, shown};
use crate::overlay::{Overlay, overlaid, topic_of, visible};
use crate::scan::{Plan, ReadTask, Versions};
use crate::segment::{self, Wanted};
use crate::store::quarantine;
use crate::view::{Piece, Place};

/// The verdicts that may lie over the ledger rows of a slot's day, read by whoever comes first.
#[derive(Debug)]
pub(crate) struct Verdicts {
    pub(crate) slot: Slot,
    pub(crate) day: Day,
    pub(crate) parts: Vec<RecordBatch>,
    pub(crate) overlay: OnceCell<Option<Overlay>>,
}

impl Verdicts {
    async fn read(&self, plan: &Arc<Plan>) -> Result<&Option<Overlay>> {
        self.overlay.get_or_try_init(|| self.fetch(plan)).await
    }

    async fn fetch(&self, plan: &Arc<Plan>) -> Result<Option<Overlay>> {
        let mut segments = Vec::new();
        for piece in plan.view.pieces(Table::Verdicts, self.slot) {
            if matches!(piece.place, Place::Segment { day, .. } if day == self.day.0) {
                segments.push((piece.clone(), bytes_of(plan, piece).await?));
            }
        }
        let (plan, parts) = (Arc::clone(plan), self.parts.clone());
        let read = tokio::task::spawn_blocking(move || overlay(&plan, segments, &parts));
        read.await.map_err(|_| StoreError::BrokenOff)?
    }
}

fn overlay(plan: &Plan, segments: Vec<(Piece, Bytes)>, parts: &[RecordBatch]) -> Result<Option<Overlay>> {
    let Some(topic) = topic_of(plan.scan.table) else { return Ok(None) };
    let schema = stored_schema(Table::Verdicts);
    let wanted: Vec<&str> = ["account_id", "topic", "offset"].into_iter().chain(overlaid()).collect();
    let indices: Vec<usize> = wanted.iter().filter_map(|name| schema.index_of(name).ok()).collect();
    let narrow = Arc::new(schema.project(&indices)?);
    let mut rows = Vec::new();
    let mut add = |batch: &RecordBatch| -> Result<()> {
        let mut keep = visible(batch, plan.account.as_deref(), plan.view.revision().0);
        if let Some(topics) = batch.column_by_name("topic").and_then(|column| column.as_string_opt::<i32>()) {
            keep.iter_mut().zip(topics).for_each(|(keep, of)| *keep &= of == Some(topic.name()));
        }
        rows.push(retain(conform(batch, &narrow, Table::Verdicts)?, &keep)?);
        Ok(())
    };
    let wanted = Wanted {
        table: Table::Verdicts,
        columns: &wanted,
        account: plan.account.as_deref(),
        revision: plan.view.revision().0,
    };
    for (piece, bytes) in segments {
        each_batch(&piece, bytes, &wanted, &mut |batch| add(&batch).map(|()| true))?;
    }
    parts.iter().try_for_each(&mut add)?;
    Overlay::new(&rows)
}

/// A task with everything fetched.
#[derive(Debug)]
pub(crate) struct Loaded {
    task: ReadTask,
    bytes: Vec<Bytes>,
}

async fn bytes_of(plan: &Plan, piece: &Piece) -> Result<Bytes> {
    let bytes = plan.store.objects().get(&piece.key).await;
    bytes.inspect_err(|error| quarantine(plan.scan.table, &piece.key, error))
}

fn each_batch(piece: &Piece, bytes: Bytes, wanted: &Wanted<'_>, each: Each<'_>) -> Result<bool> {
    let Place::Segment { crc, .. } = piece.place else { return Ok(true) };
    let opened = segment::open(&piece.key, crc, bytes, wanted);
    for batch in opened.inspect_err(|error| quarantine(wanted.table, &piece.key, error))? {
        let corrupt =
            |error: arrow::error::ArrowError| StoreError::Corrupt { key: piece.key.clone(), detail: error.to_string() };
        if !each(batch.map_err(corrupt)?)? {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Loaded {
    pub(crate) async fn fetch(task: ReadTask) -> Result<Self> {
        let mut bytes = Vec::with_capacity(task.segments.len());
        for piece in &task.segments {
            bytes.push(bytes_of(&task.plan, piece).await?);
        }
        if let Some(verdicts) = &task.verdicts {
            verdicts.read(&task.plan).await?;
        }
        Ok(Self { task, bytes })
    }

    /// Decodes on this thread: hands on the rows that the caller may and wants to see, until it
    /// answers `false`.
    pub(crate) fn rows(self, give: &mut dyn FnMut(RecordBatch) -> Result<bool>) -> Result<()> {
        let Self { task, bytes } = self;
        let plan = Arc::clone(&task.plan);
        let give = &mut |batch: RecordBatch| given(&plan, batch).and_then(|batch| batch.map_or(Ok(true), &mut *give));
        let versioned = plan.scan.table.spec().kind == Kind::Versioned && plan.scan.versions == Versions::Current;
        if versioned {
            return newest_of(&task, bytes, give);
        }
        let overlay = task.verdicts.as_ref().and_then(|verdicts| verdicts.overlay.get()).and_then(Option::as_ref);
        read_all(&task, bytes, &mut |batch| {
            let batch = overlay.map_or(Ok(batch.clone()), |overlay| overlay.lay_over(&batch, plan.scan.table))?;
            give(batch)
        })
        .map(|_| ())
    }
}

/// What the caller wants of rows that hold: later ones only, and its columns.
fn given(plan: &Plan, batch: RecordBatch) -> Result<Option<RecordBatch>> {
    let table = plan.scan.table;
    let later =
        ints(&batch, COMMIT, table)?.values().iter().map(|commit| *commit > plan.scan.after.0).collect::<Vec<_>>();
    let batch = retain(batch, &later)?;
    if batch.num_rows() == 0 { Ok(None) } else { conform(&batch, &plan.given, table).map(Some) }
}

/// The newest versions of a task's rows: the largest segment in its order, the rest beside it.
fn newest_of(task: &ReadTask, bytes: Vec<Bytes>, give: Each<'_>) -> Result<()> {
    let largest = bytes.iter().enumerate().max_by_key(|(_, bytes)| bytes.len()).map(|(index, _)| index);
    let (mut rows, mut younger_from, mut sorted) = (Vec::new(), 0, None);
    for (index, segment) in task.segments.iter().zip(bytes).enumerate() {
        if Some(index) == largest {
            (younger_from, sorted) = (rows.len(), Some(segment));
        } else {
            rows.extend(collected(|each| read_segment(task, segment, each))?);
        }
    }
    rows.extend(collected(|each| read_parts(task, each))?);
    let mut others = Newest::of(task.plan.scan.table, rows, younger_from)?;
    if let Some(segment) = sorted
        && !newest_of_sorted((task, segment), &mut others, give)?
    {
        return Ok(());
    }
    for batch in others.rest()? {
        if !give(batch)? {
            break;
        }
    }
    Ok(())
}

/// The newest versions in a segment for which there is none newer among the others.
fn newest_of_sorted(
    (task, segment): (&ReadTask, (&Piece, Bytes)),
    others: &mut Newest,
    give: Each<'_>,
) -> Result<bool> {
    let mut runs = Runs::new(task.plan.scan.table);
    let mut offer = |batch| give(shown(others.not_newer(batch)?)?);
    let read = &mut |batch| {
        for batch in runs.push(batch)? {
            if !offer(batch)? {
                return Ok(false);
            }
        }
        Ok(true)
    };
    Ok(read_segment(task, segment, read)? && runs.last().map_or(Ok(true), offer)?)
}

fn collected(read: impl FnOnce(Each<'_>) -> Result<bool>) -> Result<Vec<RecordBatch>> {
    let mut rows = Vec::new();
    read(&mut |batch| {
        rows.push(batch);
        Ok(true)
    })?;
    Ok(rows)
}

/// Takes batches until it answers `false`.
type Each<'a> = &'a mut dyn FnMut(RecordBatch) -> Result<bool>;

/// The visible rows of a task's pieces, with the columns that are read.
fn read_all(task: &ReadTask, bytes: Vec<Bytes>, each: Each<'_>) -> Result<bool> {
    for segment in task.segments.iter().zip(bytes) {
        if !read_segment(task, segment, each)? {
            return Ok(false);
        }
    }
    read_parts(task, each)
}

fn read_segment(task: &ReadTask, (piece, bytes): (&Piece, Bytes), each: Each<'_>) -> Result<bool> {
    let plan = &task.plan;
    let columns: Vec<&str> = plan.read.fields().iter().map(|field| field.name().as_str()).collect();
    let (table, account, revision) = (plan.scan.table, plan.account.as_deref(), plan.view.revision().0);
    let wanted = Wanted { table, columns: &columns, account, revision };
    each_batch(piece, bytes, &wanted, &mut |batch| pass(plan, batch, each))
}

fn read_parts(task: &ReadTask, each: Each<'_>) -> Result<bool> {
    for part in &task.parts {
        if !pass(&task.plan, part.clone(), each)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Hands on what is visible of a batch.
fn pass(plan: &Plan, batch: RecordBatch, each: Each<'_>) -> Result<bool> {
    let mut keep = visible(&batch, plan.account.as_deref(), plan.view.revision().0);
    if let Some(event_id) = plan.scan.event_id.as_deref() {
        only_event(&mut keep, &batch, event_id);
    }
    let rows = retain(batch, &keep)?;
    if rows.num_rows() == 0 { Ok(true) } else { each(conform(&rows, &plan.read, plan.scan.table)?) }
}

fn only_event(keep: &mut [bool], batch: &RecordBatch, event_id: &str) {
    if let Some(ids) = batch.column_by_name("event_id").and_then(|column| column.as_string_opt::<i32>()) {
        keep.iter_mut().zip(ids).for_each(|(keep, id)| *keep &= id == Some(event_id));
    }
}
