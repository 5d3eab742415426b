//! Which version of a row holds in tables that keep every version: the newest one per account and key;
//! a withdrawn one hides its key.
//!
//! Rows of a segment are sorted by key, so its versions of a row stand together. The largest segment of a day
//! is read batch by batch, each row beside the one before it; only what lies elsewhere, the younger few, is
//! remembered by key.

use std::hash::BuildHasher;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::kernels::cmp;
use arrow::compute::or;
use arrow::row::{RowConverter, Rows, SortField};
use castback_schemas::table::Table;
use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::columns::{COMMIT, ints, retain, stored_schema};
use crate::error::{Result, StoreError};

/// The columns that tell versions of a row apart from other rows.
pub(crate) fn key_columns(table: Table) -> impl Iterator<Item = &'static str> {
    let key = table.spec().key.iter().copied().filter(|name| *name != "account_id");
    std::iter::once("account_id").chain(key)
}

/// The newest of rows in memory, in the order they were written: of one commit, the last.
#[derive(Debug)]
pub(crate) struct Newest {
    table: Table,
    converter: RowConverter,
    rows: Vec<RecordBatch>,
    keys: Vec<Rows>,
    places: HashTable<Place>,
    hasher: DefaultHashBuilder,
    younger_from: usize,
}

/// Where the newest row of a key stands, and its commit.
#[derive(Debug, Clone, Copy)]
struct Place {
    batch: usize,
    row: usize,
    commit: i64,
}

impl Newest {
    /// Of `rows`, of which the batches from `younger_from` on were written after the rows that [`Self::not_newer`]
    /// is given, and the others before.
    pub(crate) fn of(table: Table, rows: Vec<RecordBatch>, younger_from: usize) -> Result<Self> {
        let schema = stored_schema(table);
        let field = |name| Ok(SortField::new(schema.field_with_name(name)?.data_type().clone()));
        let converter = RowConverter::new(key_columns(table).map(field).collect::<Result<_>>()?)?;
        let keys =
            rows.iter().map(|batch| Ok(converter.convert_columns(&keys(batch, table)?)?)).collect::<Result<_>>()?;
        let (places, hasher) = (HashTable::new(), DefaultHashBuilder::default());
        let mut newest = Self { table, converter, rows, keys, places, hasher, younger_from };
        for batch in 0..newest.rows.len() {
            newest.place(batch)?;
        }
        Ok(newest)
    }

    fn place(&mut self, batch: usize) -> Result<()> {
        let Self { table, rows, keys, places, hasher, .. } = self;
        let commits = ints(&rows[batch], COMMIT, *table)?.values();
        for (row, commit) in commits.iter().copied().enumerate() {
            let new = Place { batch, row, commit };
            let key = |place: &Place| keys[place.batch].row(place.row).data();
            let hash = hasher.hash_one(key(&new));
            match places.entry(hash, |held| key(held) == key(&new), |held| hasher.hash_one(key(held))) {
                Entry::Occupied(mut held) if held.get().commit <= commit => *held.get_mut() = new,
                Entry::Occupied(_) => {}
                Entry::Vacant(free) => {
                    free.insert(new);
                }
            }
        }
        Ok(())
    }

    /// Of other rows, one per key, those for which there is none newer here; what they beat is forgotten.
    pub(crate) fn not_newer(&mut self, batch: RecordBatch) -> Result<RecordBatch> {
        if self.places.is_empty() {
            return Ok(batch);
        }
        let others = self.converter.convert_columns(&keys(&batch, self.table)?)?;
        let Self { table, keys, places, hasher, younger_from, .. } = self;
        let commits = ints(&batch, COMMIT, *table)?.values().clone();
        let mut keep = vec![true; batch.num_rows()];
        for (row, keep) in keep.iter_mut().enumerate() {
            let key = others.row(row).data();
            let same = |held: &Place| keys[held.batch].row(held.row).data() == key;
            let Ok(held) = places.find_entry(hasher.hash_one(key), same) else { continue };
            let Place { batch, commit, .. } = *held.get();
            if commit > commits[row] || (commit == commits[row] && batch >= *younger_from) {
                *keep = false;
            } else {
                held.remove();
            }
        }
        retain(batch, &keep)
    }

    /// What is left, without what is withdrawn.
    pub(crate) fn rest(self) -> Result<Vec<RecordBatch>> {
        let mut keep: Vec<Vec<bool>> = self.rows.iter().map(|batch| vec![false; batch.num_rows()]).collect();
        for place in self.places {
            keep[place.batch][place.row] = true;
        }
        self.rows.into_iter().zip(keep).map(|(batch, keep)| shown(retain(batch, &keep)?)).collect()
    }
}

/// The newest of rows that come sorted by key, batch by batch.
#[derive(Debug)]
pub(crate) struct Runs {
    table: Table,
    /// The newest so far of the last key: more of it may follow.
    held: Option<RecordBatch>,
}

impl Runs {
    pub(crate) fn new(table: Table) -> Self {
        Self { table, held: None }
    }

    /// Takes sorted rows; gives the newest of every key that they leave behind.
    pub(crate) fn push(&mut self, batch: RecordBatch) -> Result<Vec<RecordBatch>> {
        if batch.num_rows() == 0 {
            return Ok(Vec::new());
        }
        let begins = self.begins(&batch)?;
        let commits = ints(&batch, COMMIT, self.table)?.values().clone();
        let held_commit = self.held.as_ref().map(|held| ints(held, COMMIT, self.table).map(|held| held.value(0)));
        let held_commit = held_commit.transpose()?;
        let mut keep = vec![false; batch.num_rows()];
        // None: the row that is held.
        let (mut newest, mut held_stays) = (None::<usize>, false);
        for row in 0..batch.num_rows() {
            if begins.value(row) {
                match newest {
                    Some(newest) => keep[newest] = true,
                    None => held_stays = true,
                }
                newest = Some(row);
            } else if newest.map(|newest| commits[newest]).or(held_commit).is_none_or(|than| commits[row] >= than) {
                newest = Some(row);
            }
        }
        let mut done = Vec::with_capacity(2);
        if let Some(newest) = newest {
            let last = batch.slice(newest, 1);
            done.extend(self.held.replace(last).filter(|_| held_stays));
        }
        let kept = retain(batch, &keep)?;
        if kept.num_rows() > 0 {
            done.push(kept);
        }
        Ok(done)
    }

    /// The last one.
    pub(crate) fn last(self) -> Option<RecordBatch> {
        self.held
    }

    /// Whether each row has another key than the one before it.
    fn begins(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let first = match &self.held {
            Some(held) => differs(&keys(held, self.table)?, &keys(&batch.slice(0, 1), self.table)?)?.value(0),
            None => true,
        };
        let others = batch.num_rows() - 1;
        let (before, after) = (keys(&batch.slice(0, others), self.table)?, keys(&batch.slice(1, others), self.table)?);
        let others = differs(&before, &after)?;
        Ok(std::iter::once(Some(first)).chain(others.values().iter().map(Some)).collect())
    }
}

fn differs(some: &[ArrayRef], others: &[ArrayRef]) -> Result<BooleanArray> {
    let mut all: Option<BooleanArray> = None;
    for (some, other) in some.iter().zip(others) {
        let differs = cmp::distinct(some, other)?;
        all = Some(match all {
            Some(all) => or(&all, &differs)?,
            None => differs,
        });
    }
    // Every key has a column.
    Ok(all.unwrap_or_else(|| BooleanArray::from(vec![true; some.first().map_or(0, Array::len)])))
}

/// The rows that are not withdrawn.
pub(crate) fn shown(batch: RecordBatch) -> Result<RecordBatch> {
    let withdrawn = batch.column_by_name("withdrawn").and_then(|column| column.as_boolean_opt());
    let Some(withdrawn) = withdrawn.filter(|withdrawn| withdrawn.true_count() > 0) else { return Ok(batch) };
    let keep: Vec<bool> = withdrawn.iter().map(|withdrawn| withdrawn != Some(true)).collect();
    retain(batch, &keep)
}

fn keys(batch: &RecordBatch, table: Table) -> Result<Vec<ArrayRef>> {
    key_columns(table)
        .map(|name| {
            let missing = || StoreError::Misfit { table: table.name(), detail: format!("{name} is missing") };
            batch.column_by_name(name).cloned().ok_or_else(missing)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::datatypes::Int64Type;
    use proptest::prelude::*;

    use super::*;
    use crate::columns::with_commit;
    use crate::samples::{Cell, Row, account, batch};
    use crate::segment::sorted;

    const TABLE: Table = Table::AdDeliveries;

    /// Key, commit, withdrawn.
    type Version = (i64, i64, bool);

    fn rows((key, commit, withdrawn): Version, written: usize) -> RecordBatch {
        let row = Row::from([
            ("account_id", Cell::Text(account(1).to_string())),
            ("request_offset", Cell::Int(key)),
            ("occurred_at", Cell::Int(key)),
            ("event_id", Cell::Text(written.to_string())),
            ("withdrawn", Cell::Bool(withdrawn)),
        ]);
        with_commit(&batch(TABLE, &[row]), commit).unwrap()
    }

    /// Keys with what was written last of their highest commit.
    fn said(batches: &[RecordBatch]) -> Vec<(i64, String)> {
        let mut said = Vec::new();
        for batch in batches {
            let keys = batch.column_by_name("request_offset").unwrap().as_primitive::<Int64Type>();
            let written = batch.column_by_name("event_id").unwrap().as_string::<i32>();
            said.extend((0..batch.num_rows()).map(|row| (keys.value(row), written.value(row).to_owned())));
        }
        said.sort();
        said
    }

    proptest! {
        #[test]
        fn the_newest_is_given_once_wherever_it_lies(
            versions in prop::collection::vec(((0..6_i64, 0..4_i64, any::<bool>()), any::<bool>()), 1..40),
            older in 0..40_usize, size in 1..7_usize,
        ) {
            let all: Vec<RecordBatch> = versions.iter().enumerate().map(|(at, (version, _))| rows(*version, at)).collect();
            let mut naive: BTreeMap<i64, (i64, usize, bool)> = BTreeMap::new();
            // Written: those elsewhere and older first, then the sorted ones, then those elsewhere and younger.
            let place = |at: usize| match versions[at].1 { true => 1, false if at < older => 0, false => 2 };
            let mut order: Vec<usize> = (0..versions.len()).collect();
            order.sort_by_key(|at| place(*at));
            for at in &order {
                let (key, commit, withdrawn) = versions[*at].0;
                let held = naive.entry(key).or_insert((commit, *at, withdrawn));
                if commit >= held.0 {
                    *held = (commit, *at, withdrawn);
                }
            }
            let of = |wanted: u8| order.iter().filter(|at| place(**at) == wanted).map(|at| all[*at].clone()).collect::<Vec<_>>();
            let (before, after) = (of(0), of(2));
            let younger_from = before.len();
            let mut others = Newest::of(TABLE, [before, after].concat(), younger_from).unwrap();
            let (mut runs, mut given) = (Runs::new(TABLE), Vec::new());
            let segment = sorted(TABLE, &of(1)).unwrap();
            let mut done: Vec<RecordBatch> = (0..segment.num_rows())
                .step_by(size)
                .flat_map(|from| runs.push(segment.slice(from, size.min(segment.num_rows() - from))).unwrap())
                .collect();
            done.extend(runs.last());
            for batch in done {
                given.push(shown(others.not_newer(batch).unwrap()).unwrap());
            }
            given.extend(others.rest().unwrap());
            let expected: Vec<(i64, String)> =
                naive.into_iter().filter(|(_, held)| !held.2).map(|(key, held)| (key, held.1.to_string())).collect();
            prop_assert_eq!(said(&given), expected);
        }
    }
}
