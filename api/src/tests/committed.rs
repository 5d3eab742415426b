//! Rows written by hand and committed as the pipeline's publisher does.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use castback_catalogue::commits::{CommitRequest, UnitCommit};
use castback_schemas::table::{Column, ColumnType, Table};
use castback_schemas::{AccountId, Group, Micros, Slot, Unit};
use castback_store::SliceRows;
use castback_store::object::encode;

use super::{Account, NOW};

/// A value of a row.
#[derive(Debug, Clone)]
pub(super) enum Cell {
    Text(String),
    Int(i64),
    Bool(bool),
    /// A hash, all of whose bytes are this.
    Hash(u8),
    Bytes(Vec<u8>),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for Cell {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

impl From<bool> for Cell {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

/// A row: columns not named are null, or zero, false or empty.
pub(super) type Row = HashMap<&'static str, Cell>;

/// An instant of 2026-11.
pub(super) fn at(day_and_time: &str) -> i64 {
    format!("2026-11-{day_and_time}:00Z").parse::<Micros>().unwrap().0
}

impl Account<'_> {
    pub(super) fn account(&self) -> AccountId {
        self.id.parse().unwrap()
    }

    /// Commits rows of this account.
    pub(super) async fn commit(&self, tables: Vec<(Table, Vec<Row>)>) {
        let (app, account) = (&self.bench.app, self.account());
        let unit = Unit { group: Group::Counting, slot: Slot::of(account) };
        app.catalogue.ensure_units(&[unit]).await.unwrap();
        let held = app.catalogue.take_all("test").await.unwrap().into_iter().find(|held| held.unit == unit).unwrap();
        let own = |mut row: Row| {
            row.insert("account_id", Cell::Text(account.to_string()));
            row.entry("slot").or_insert(Cell::Int(i64::from(unit.slot.0)));
            row
        };
        let batches = tables
            .into_iter()
            .map(|(table, rows)| (table, batch(table, &rows.into_iter().map(own).collect::<Vec<_>>())));
        let object = encode(&[SliceRows { unit, tables: batches.collect() }]).unwrap();
        let key = app.store.put(app.ids.next(NOW), &object).await.unwrap();
        let commit = UnitCommit {
            unit,
            epoch: held.epoch,
            old_positions: held.positions.clone(),
            new_positions: held.positions,
            slice: Some(object.slices[0].1.to_json()),
            finish: Vec::new(),
        };
        let request = CommitRequest { object_key: Some(key), units: vec![commit] };
        assert!(app.catalogue.commit(request).await.unwrap().revision.is_some());
    }
}

fn batch(table: Table, rows: &[Row]) -> RecordBatch {
    let columns = table.spec().columns.iter().map(|column| array(column, rows)).collect();
    RecordBatch::try_new(table.spec().schema(), columns).unwrap()
}

fn array(column: &Column, rows: &[Row]) -> ArrayRef {
    let cells = rows.iter().map(|row| row.get(column.name));
    let text = |cell: Option<&Cell>| match cell {
        Some(Cell::Text(text)) => Some(text.clone()),
        _ => (!column.nullable).then(String::new),
    };
    let int = |cell: Option<&Cell>| match cell {
        Some(Cell::Int(value)) => Some(*value),
        _ => (!column.nullable).then_some(0),
    };
    let hash = |cell: Option<&Cell>| match cell {
        Some(Cell::Hash(byte)) => Some([*byte; 16]),
        _ => (!column.nullable).then_some([0; 16]),
    };
    let bytes = |cell: Option<&Cell>| match cell {
        Some(Cell::Bytes(bytes)) => Some(bytes.clone()),
        _ => (!column.nullable).then(Vec::new),
    };
    match column.column_type {
        ColumnType::Text => Arc::new(cells.map(text).collect::<StringArray>()),
        ColumnType::Int => Arc::new(cells.map(int).collect::<Int64Array>()),
        ColumnType::Time => Arc::new(cells.map(int).collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
        ColumnType::Bool => {
            Arc::new(cells.map(|cell| Some(matches!(cell, Some(Cell::Bool(true))))).collect::<BooleanArray>())
        }
        ColumnType::Bytes => Arc::new(cells.map(bytes).collect::<BinaryArray>()),
        ColumnType::Hash => {
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(cells.map(hash), 16).unwrap())
        }
    }
}
