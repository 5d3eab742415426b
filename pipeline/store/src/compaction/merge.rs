//! Which segments are merged with new rows, and the writing of the new ones.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::kernels::aggregate::{max, min};
use arrow::datatypes::TimestampMicrosecondType;
use bytes::Bytes;
use castback_catalogue::segments::{Segment, SliceRef};
use castback_schemas::table::Table;
use castback_schemas::{Day, Revision, Slot};

use super::Compactor;
use super::retention::RETAINED;
use crate::columns::{COMMIT, by_day, ints, stored_schema};
use crate::error::{Result, StoreError};
use crate::failpoint;
use crate::object::SliceBody;
use crate::segment::{self, Wanted};
use crate::view::{Piece, Place, SegmentBody};

/// Rows at which a segment is full and is not merged again.
const FULL_ROWS: u64 = 256 * 1024;
/// Rows of a segment written at most: what a reader decodes and holds as one task.
const MAX_ROWS: usize = 512 * 1024;

/// New rows by where they are filed.
pub(super) type Filed = BTreeMap<(Table, Day), Vec<RecordBatch>>;

/// Segments that take the place of others.
#[derive(Debug, Default)]
pub(super) struct Merged {
    pub(super) new: Vec<Segment>,
    pub(super) replaced: Vec<String>,
}

/// A segment's bytes and what the catalogue is told of them.
struct Encoded {
    bytes: Bytes,
    rows: u64,
    revisions: (i64, i64),
    recorded: Option<(i64, i64)>,
    tail: Option<(u64, u32)>,
    sources: Option<Vec<String>>,
}

impl Compactor {
    /// The rows of slices, with their commits, oldest first.
    pub(super) async fn slice_rows(&self, slices: &[(SliceRef, SliceBody)]) -> Result<Filed> {
        let mut filed = Filed::new();
        for (slice, body) in slices {
            for part in &body.parts {
                let damaged = || StoreError::Description { key: slice.object_key.clone() };
                let table = Table::named(&part.table).ok_or_else(damaged)?;
                let piece = Piece {
                    table: part.table.clone(),
                    slot: slice.unit.slot.0,
                    key: slice.object_key.clone(),
                    place: Place::Part(part.clone()),
                    min_revision: slice.revision.0,
                    max_revision: slice.revision.0,
                };
                for batch in self.store.part(&piece, table).await? {
                    for (day, rows) in by_day(&batch, table)? {
                        filed.entry((table, day)).or_default().push(rows);
                    }
                }
            }
        }
        Ok(filed)
    }

    /// New rows and the segments that they outgrow, as new segments, put already.
    pub(super) async fn merge(
        &self,
        place: (Table, Slot, Day),
        rows: Vec<RecordBatch>,
        existing: &[&Segment],
    ) -> Result<Merged> {
        let new_rows = rows.iter().map(|batch| batch.num_rows() as u64).sum();
        let chosen = outgrown(new_rows, existing);
        let mut all = Vec::new();
        for segment in &chosen {
            all.extend(self.segment_rows(place.0, segment).await?);
        }
        all.extend(rows);
        let new = self.write(place, all).await?;
        Ok(Merged { new, replaced: chosen.iter().map(|segment| segment.object_key.clone()).collect() })
    }

    /// All rows of a segment.
    pub(super) async fn segment_rows(&self, table: Table, segment: &Segment) -> Result<Vec<RecordBatch>> {
        let key = segment.object_key.clone();
        let damaged = || StoreError::Description { key: key.clone() };
        let body: SegmentBody = serde_json::from_str(&segment.body).map_err(|_| damaged())?;
        let bytes = self.store.objects().get(&key).await?;
        let schema = stored_schema(table);
        let read = tokio::task::spawn_blocking(move || {
            let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            let wanted = Wanted { table, columns: &columns, account: None, revision: i64::MAX };
            let batches = segment::open(&key, body.crc, bytes, &wanted)?;
            batches.collect::<Result<Vec<_>, _>>().map_err(StoreError::from)
        });
        read.await.map_err(|_| StoreError::BrokenOff)?
    }

    /// Writes rows of one table, slot and day as segments.
    pub(super) async fn write(&self, place: (Table, Slot, Day), rows: Vec<RecordBatch>) -> Result<Vec<Segment>> {
        let (table, slot, day) = place;
        let encode = tokio::task::spawn_blocking(move || encode(table, &rows));
        let encoded = encode.await.map_err(|_| StoreError::BrokenOff)??;
        let name = self.ids.next(self.clock.now()).hyphenated().to_string();
        let mut segments = Vec::with_capacity(encoded.len());
        for (index, part) in encoded.into_iter().enumerate() {
            // One name and a running number: ordered by key, the parts of a merge are in its order.
            let key = format!("segments/{}/{slot}/{}/{name}-{index:03}.parquet", table.name(), day.0);
            let Encoded { bytes, rows, revisions, recorded, tail, sources } = part;
            let body = SegmentBody { crc: crc32fast::hash(&bytes), tail, sources, recorded };
            segments.push(Segment {
                object_key: key.clone(),
                table: table.name().to_owned(),
                slot,
                day,
                rows,
                bytes: bytes.len() as u64,
                min_revision: Revision(revisions.0),
                max_revision: Revision(revisions.1),
                body: serde_json::to_string(&body).unwrap_or_default(),
            });
            failpoint::hit("compact.before_put");
            self.store.objects().put(&key, bytes).await?;
            failpoint::hit("compact.after_put");
        }
        Ok(segments)
    }
}

/// The segments no larger than twice what is merged so far, from the smallest: a row is written
/// again only when its segment grows by half, so a day is not rewritten for ever.
fn outgrown<'a>(new_rows: u64, existing: &[&'a Segment]) -> Vec<&'a Segment> {
    let mut by_size: Vec<&Segment> = existing.iter().copied().filter(|segment| segment.rows < FULL_ROWS).collect();
    by_size.sort_by(|a, b| (a.rows, &a.object_key).cmp(&(b.rows, &b.object_key)));
    let mut merged = new_rows;
    let mut chosen = Vec::new();
    for segment in by_size {
        if segment.rows > merged * 2 {
            break;
        }
        merged += segment.rows;
        chosen.push(segment);
    }
    chosen.sort_by_key(|segment| segment.min_revision);
    chosen
}

fn encode(table: Table, rows: &[RecordBatch]) -> Result<Vec<Encoded>> {
    let sorted = segment::sorted(table, rows)?;
    let mut encoded = Vec::new();
    for start in (0..sorted.num_rows()).step_by(MAX_ROWS) {
        let part = sorted.slice(start, MAX_ROWS.min(sorted.num_rows() - start));
        let commits = ints(&part, COMMIT, table)?;
        let revisions = (min(commits).unwrap_or_default(), max(commits).unwrap_or_default());
        let (bytes, rows) = (segment::encode(table, &part)?, part.num_rows() as u64);
        let tail = segment::tail(&bytes)?;
        let (recorded, sources) = (recorded(table, &part), sources(&part));
        encoded.push(Encoded { bytes, rows, revisions, recorded, tail, sources });
    }
    Ok(encoded)
}

/// When the first and the last row were recorded, if retention applies to the table.
fn recorded(table: Table, rows: &RecordBatch) -> Option<(i64, i64)> {
    let times = rows.column_by_name("recorded_at").filter(|_| RETAINED.contains(&table))?;
    let times = times.as_primitive_opt::<TimestampMicrosecondType>()?;
    min(times).zip(max(times))
}

/// The values in `source`, for tables that have it: few, and no later version or verdict changes them.
fn sources(rows: &RecordBatch) -> Option<Vec<String>> {
    let sources = rows.column_by_name("source")?.as_string_opt::<i32>()?;
    let distinct: BTreeSet<&str> = sources.iter().flatten().collect();
    Some(distinct.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(key: &str, rows: u64) -> Segment {
        Segment {
            object_key: key.to_owned(),
            table: "requests".to_owned(),
            slot: Slot(0),
            day: Day(0),
            rows,
            bytes: 0,
            min_revision: Revision(0),
            max_revision: Revision(0),
            body: String::new(),
        }
    }

    #[test]
    fn only_segments_that_the_new_rows_outgrow_are_merged() {
        let (large, small, middle) = (segment("l", 10_000), segment("s", 10), segment("m", 40));
        let existing = [&large, &small, &middle];
        let keys = |new| outgrown(new, &existing).iter().map(|segment| segment.object_key.as_str()).collect::<Vec<_>>();
        assert_eq!(keys(4), Vec::<&str>::new());
        assert_eq!(keys(5), vec!["s"]);
        assert_eq!(keys(10), vec!["s", "m"]);
        assert_eq!(keys(5_000), vec!["s", "m", "l"]);
        assert!(outgrown(u64::MAX / 4, &[&segment("f", FULL_ROWS)]).is_empty());
    }

    #[test]
    fn a_row_is_rewritten_a_logarithmic_number_of_times() {
        let mut segments: Vec<Segment> = Vec::new();
        let mut written = 0;
        for round in 0..1_000 {
            let references: Vec<&Segment> = segments.iter().collect();
            let chosen: Vec<String> = outgrown(100, &references).iter().map(|s| s.object_key.clone()).collect();
            let rows = 100 + segments.iter().filter(|s| chosen.contains(&s.object_key)).map(|s| s.rows).sum::<u64>();
            segments.retain(|segment| !chosen.contains(&segment.object_key));
            segments.push(segment(&round.to_string(), rows));
            written += rows;
        }
        assert_eq!(segments.iter().map(|segment| segment.rows).sum::<u64>(), 100_000);
        assert!(written < 100_000 * 12, "{written} rows written");
        assert!(segments.len() < 12, "{} segments", segments.len());
    }
}
