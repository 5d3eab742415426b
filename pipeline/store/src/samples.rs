//! Rows for tests: every column has a value, the interesting ones are given.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use castback_schemas::table::{Column, ColumnType, Table};
use castback_schemas::{AccountId, Group, Slot, Unit};
use uuid::Uuid;

/// A value of a sample row.
#[derive(Debug, Clone)]
pub(crate) enum Cell {
    Text(String),
    Int(i64),
    Bool(bool),
}

/// A sample row: columns not named are null, or zero, false or empty.
pub(crate) type Row = HashMap<&'static str, Cell>;

pub(crate) fn account(number: u128) -> AccountId {
    AccountId::from_uuid(Uuid::from_u128(number))
}

pub(crate) fn unit(slot: u16) -> Unit {
    Unit { group: Group::Counting, slot: Slot(slot) }
}

/// A listener request that counts, on 2026-03-01 unless changed.
pub(crate) fn request(account: AccountId, offset: i64) -> Row {
    Row::from([
        ("account_id", Cell::Text(account.to_string())),
        ("slot", Cell::Int(i64::from(Slot::of(account).0))),
        ("offset", Cell::Int(offset)),
        ("event_id", Cell::Text(format!("event-{offset}"))),
        ("occurred_at", Cell::Int(1_772_323_200_000_000 + offset * 1_000_000)),
        ("recorded_at", Cell::Int(1_772_323_200_000_000 + offset * 1_000_000)),
        ("podcast_id", Cell::Text("podcast".to_owned())),
        ("episode_id", Cell::Text("episode".to_owned())),
        ("source", Cell::Text("api".to_owned())),
        ("verdict", Cell::Text("counted".to_owned())),
        ("counted_utc_day", Cell::Bool(true)),
    ])
}

pub(crate) fn requests(rows: &[Row]) -> RecordBatch {
    batch(Table::Requests, rows)
}

/// Rows of any table.
pub(crate) fn batch(table: Table, rows: &[Row]) -> RecordBatch {
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
    match column.column_type {
        ColumnType::Text => Arc::new(cells.map(text).collect::<StringArray>()),
        ColumnType::Int => Arc::new(cells.map(int).collect::<Int64Array>()),
        ColumnType::Time => Arc::new(cells.map(int).collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
        ColumnType::Bool => {
            Arc::new(cells.map(|cell| Some(matches!(cell, Some(Cell::Bool(true))))).collect::<BooleanArray>())
        }
        ColumnType::Bytes => Arc::new(cells.map(|cell| text(cell).map(String::into_bytes)).collect::<BinaryArray>()),
        ColumnType::Hash => {
            let hashes = cells.map(|_| (!column.nullable).then_some([7; 16]));
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(hashes, 16).unwrap())
        }
    }
}
