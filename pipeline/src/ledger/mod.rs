//! The ledger as a unit knows it: the rows it says, and what it reads back of those it has committed.

pub(crate) mod ids;
pub mod judged;
mod judged_rows;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::error::ArrowError;
use castback_catalogue::{Catalogue, CatalogueError};
use castback_schemas::table::Table;
use castback_schemas::{AccountId, Day, Micros, Slot};
use castback_store::{ALL_DAYS, PinnedView, Scan, Store, StoreError};

use crate::retention::first_whole_day;
pub use judged_rows::RULE_VERSION;
pub(crate) use judged_rows::{rows, unreadable};

/// Why a unit's state can't be made.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    /// The catalogue does not answer.
    #[error("the catalogue does not say what is committed")]
    Catalogue(#[from] CatalogueError),
    /// Rows can't be read.
    #[error("committed rows can't be read")]
    Store(#[from] StoreError),
    /// Rows are not what they should be.
    #[error("committed rows can't be understood")]
    Rows(#[from] ArrowError),
}

/// The committed rows of one slot, as of one commit.
#[derive(Debug, Clone)]
pub struct Ledger {
    store: Store,
    view: Arc<PinnedView>,
    slot: Slot,
    cutoffs: Arc<BTreeMap<AccountId, Micros>>,
}

impl Ledger {
    /// The rows of `slot` as of the newest commit.
    ///
    /// # Errors
    /// The catalogue does not answer.
    pub async fn newest(catalogue: &Catalogue, store: &Store, slot: Slot) -> Result<Self, FoldError> {
        let view = Arc::new(PinnedView::load(catalogue, None).await?.of_slot(slot));
        // After the view: what goes meanwhile is still in it.
        let kept = catalogue.kept().await?.into_iter().filter(|kept| Slot::of(kept.account) == slot);
        let cutoffs = Arc::new(kept.map(|kept| (kept.account, kept.kept_from)).collect());
        Ok(Self { store: store.clone(), view, slot, cutoffs })
    }

    /// Whether every row of an account's day is here still: else a recount would judge by what is left.
    #[must_use]
    pub fn is_whole(&self, account: AccountId, day: Day) -> bool {
        first_whole_day(&self.cutoffs, account) <= day
    }

    /// Every current row of a table.
    ///
    /// # Errors
    /// Rows can't be read: then none.
    pub async fn all(&self, table: Table) -> Result<Vec<RecordBatch>, FoldError> {
        self.read(Scan { slot: Some(self.slot), days: ALL_DAYS, ..Scan::new(table) }).await
    }

    /// The current rows of a table that are filed under `day`.
    ///
    /// # Errors
    /// Rows can't be read: then none.
    pub async fn day(&self, table: Table, day: Day) -> Result<Vec<RecordBatch>, FoldError> {
        self.between(table, day..=day).await
    }

    /// The current rows of a table that are filed under some days.
    ///
    /// # Errors
    /// Rows can't be read: then none.
    pub async fn days(&self, table: Table, days: &BTreeSet<Day>) -> Result<Vec<RecordBatch>, FoldError> {
        let mut rows = Vec::new();
        let days: Vec<Day> = days.iter().copied().collect();
        for row in days.chunk_by(|a, b| a.next() == *b) {
            if let [first, ..] = row {
                let last = row.last().unwrap_or(first);
                rows.extend(self.between(table, *first..=*last).await?);
            }
        }
        Ok(rows)
    }

    async fn between(&self, table: Table, days: RangeInclusive<Day>) -> Result<Vec<RecordBatch>, FoldError> {
        self.read(Scan { slot: Some(self.slot), days, ..Scan::new(table) }).await
    }

    /// Hands on the current rows of a table that are filed under `day`, batch by batch, with the columns named.
    ///
    /// # Errors
    /// Rows can't be read, or `each`'s own; then some batches were handed on already.
    pub async fn each_of_day(
        &self,
        (table, day): (Table, Day),
        columns: &[&'static str],
        mut each: impl FnMut(&RecordBatch) -> Result<(), ArrowError> + Send,
    ) -> Result<(), FoldError> {
        let columns = Some(columns.to_vec());
        let scan = Scan { slot: Some(self.slot), days: day..=day, columns, ..Scan::new(table) };
        let each = |batch: RecordBatch| tokio::task::block_in_place(|| each(&batch)).map_err(StoreError::from);
        Ok(self.store.each_batch(&self.view, scan, each).await?)
    }

    async fn read(&self, scan: Scan) -> Result<Vec<RecordBatch>, FoldError> {
        Ok(self.store.rows(&self.view, scan).await?)
    }
}

/// The rows in which each named text column has the given value.
///
/// # Errors
/// A column is missing.
pub fn only(batches: &[RecordBatch], wanted: &[(&str, &str)]) -> Result<Vec<RecordBatch>, ArrowError> {
    let mut kept = Vec::with_capacity(batches.len());
    for batch in batches {
        let mut mask = BooleanArray::from(vec![true; batch.num_rows()]);
        for (name, value) in wanted {
            let column = batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
            let column = column.ok_or_else(|| unreadable(name))?;
            let same: BooleanArray = column.iter().map(|text| Some(text == Some(value))).collect();
            mask = arrow::compute::and(&mask, &same)?;
        }
        let rows = filter_record_batch(batch, &mask)?;
        if rows.num_rows() > 0 {
            kept.push(rows);
        }
    }
    Ok(kept)
}
