//! Retention: ledger rows past their account's time go, and the verdicts over them.
//!
//! Time counts from `recorded_at`. An event is never recorded before it happened, so rows of
//! later days than the cut-off are certainly kept. Conversions, frozen days and carries are
//! outside retention: ids are unique for life, and a frozen day must stay frozen.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use castback_catalogue::CatalogueError;
use castback_catalogue::segments::{CompactRequest, Segment, View};
use castback_schemas::table::Table;
use castback_schemas::{AccountId, Day, Micros, Slot};

use super::{ATTEMPTS, Compacted, Compactor};
use crate::columns::{ints, retain};
use crate::error::{Result, StoreError};
use crate::overlay::topic_of;

/// The ledger tables that retention applies to.
const RETAINED: [Table; 3] = [Table::Requests, Table::AppEvents, Table::DeadLetters];

/// From when on an account's ledger rows are kept, by their `recorded_at`.
pub type Cutoffs = HashMap<AccountId, Micros>;

impl Compactor {
    /// Removes ledger rows recorded before their account's cut-off, with every verdict over them.
    ///
    /// # Errors
    /// The catalogue's or the object store's; what was done before stays done.
    pub async fn retain(&self, cutoffs: &Cutoffs) -> Result<Compacted> {
        let Some(newest) = cutoffs.values().max() else { return Ok(Compacted::default()) };
        let texts: HashMap<String, i64> = cutoffs.iter().map(|(account, at)| (account.to_string(), at.0)).collect();
        let view = self.catalogue.view(None).await?;
        let mut places: Vec<(Slot, Day)> = view.segments.iter().map(|segment| (segment.slot, segment.day)).collect();
        places.retain(|(_, day)| *day <= newest.day());
        places.sort_unstable();
        places.dedup();
        let mut done = Compacted::default();
        for (slot, day) in places {
            let of_day = self.retain_day((slot, day), &texts).await?;
            done.replaced += of_day.replaced;
            done.written += of_day.written;
            done.rows += of_day.rows;
        }
        Ok(done)
    }

    async fn retain_day(&self, place: (Slot, Day), cutoffs: &HashMap<String, i64>) -> Result<Compacted> {
        for _ in 0..ATTEMPTS {
            let view = self.catalogue.view(None).await?;
            let request = self.without_expired(&view, place, cutoffs).await?;
            if request.replaced.is_empty() {
                return Ok(Compacted::default());
            }
            match self.replace(request).await {
                Err(StoreError::Catalogue(CatalogueError::Stale)) => {}
                other => return other,
            }
        }
        Ok(Compacted::default())
    }

    async fn without_expired(
        &self,
        view: &View,
        (slot, day): (Slot, Day),
        cutoffs: &HashMap<String, i64>,
    ) -> Result<CompactRequest> {
        let of_day = |table: Table| {
            let here =
                move |segment: &&Segment| segment.table == table.name() && (segment.slot, segment.day) == (slot, day);
            view.segments.iter().filter(here)
        };
        let mut request = CompactRequest::default();
        let mut gone: BTreeMap<&str, HashSet<i64>> = BTreeMap::new();
        for table in RETAINED {
            for segment in of_day(table) {
                let mut offsets = HashSet::new();
                let split = |batch: &RecordBatch| keep_recorded(batch, table, cutoffs, &mut offsets);
                self.rewrite((table, slot, day), segment, split, &mut request).await?;
                if let Some(topic) = topic_of(table) {
                    gone.entry(topic.name()).or_default().extend(offsets);
                }
            }
        }
        if gone.values().any(|offsets| !offsets.is_empty()) {
            for segment in of_day(Table::Verdicts) {
                let split = |batch: &RecordBatch| keep_verdicts(batch, &gone);
                self.rewrite((Table::Verdicts, slot, day), segment, split, &mut request).await?;
            }
        }
        Ok(request)
    }

    /// Writes a segment anew without the rows that are not kept; a segment that loses none stays.
    async fn rewrite(
        &self,
        place: (Table, Slot, Day),
        segment: &Segment,
        mut keep: impl FnMut(&RecordBatch) -> Result<Vec<bool>>,
        request: &mut CompactRequest,
    ) -> Result<()> {
        let mut rows = Vec::new();
        for batch in self.segment_rows(place.0, segment).await? {
            let keep = keep(&batch)?;
            rows.push(retain(batch, &keep)?);
        }
        let kept: u64 = rows.iter().map(|batch| batch.num_rows() as u64).sum();
        if kept == segment.rows {
            return Ok(());
        }
        request.replaced.push(segment.object_key.clone());
        if kept > 0 {
            request.new.extend(self.write(place, rows).await?);
        }
        Ok(())
    }
}

/// Which rows are kept; the offsets of the others are noted.
fn keep_recorded(
    batch: &RecordBatch,
    table: Table,
    cutoffs: &HashMap<String, i64>,
    gone: &mut HashSet<i64>,
) -> Result<Vec<bool>> {
    let misfit = || StoreError::Misfit { table: table.name(), detail: "account or time is missing".to_owned() };
    let accounts =
        batch.column_by_name("account_id").and_then(|column| column.as_string_opt::<i32>()).ok_or_else(misfit)?;
    let recorded = batch.column_by_name("recorded_at").ok_or_else(misfit)?;
    let recorded = recorded.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(misfit)?;
    let offsets = ints(batch, "offset", table)?;
    let mut keep = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let kept = cutoffs.get(accounts.value(row)).is_none_or(|from| recorded.value(row) >= *from);
        if !kept {
            gone.insert(offsets.value(row));
        }
        keep.push(kept);
    }
    Ok(keep)
}

fn keep_verdicts(batch: &RecordBatch, gone: &BTreeMap<&str, HashSet<i64>>) -> Result<Vec<bool>> {
    let misfit = || StoreError::Misfit { table: Table::Verdicts.name(), detail: "topic is missing".to_owned() };
    let topics = batch.column_by_name("topic").and_then(|column| column.as_string_opt::<i32>()).ok_or_else(misfit)?;
    let offsets = ints(batch, "offset", Table::Verdicts)?;
    let gone = |row: usize| gone.get(topics.value(row)).is_some_and(|of_topic| of_topic.contains(&offsets.value(row)));
    Ok((0..batch.num_rows()).map(|row| !gone(row)).collect())
}
