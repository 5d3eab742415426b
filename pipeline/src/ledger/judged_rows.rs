//! Ledger rows of a batch: its own columns as they are, and the verdicts beside them.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::error::ArrowError;
use castback_rules::verdict::Reason;
use castback_schemas::table::Table;

use crate::directory::Directory;
use crate::ledger::judged::Judged;

/// Version of the rules in this code; raised when the same inputs may be judged otherwise.
pub const RULE_VERSION: i64 = 1;

pub(crate) fn unreadable(column: &str) -> ArrowError {
    ArrowError::SchemaError(format!("a ledger row's {column} can't be read"))
}

/// The full rows of `table`: `extra` gives the columns that only this table has.
///
/// # Errors
/// A column is missing or of another length.
pub(crate) fn rows(
    table: Table,
    batch: &RecordBatch,
    (judged, directory): (&[Judged], &Directory),
    mut extra: impl FnMut(&str) -> Option<ArrayRef>,
) -> Result<RecordBatch, ArrowError> {
    let schema = table.spec().schema();
    let columns = schema.fields().iter().map(|field| -> Result<ArrayRef, ArrowError> {
        Ok(match field.name().as_str() {
            "verdict" => Arc::new(StringArray::from_iter_values(judged.iter().map(|j| j.verdict().as_str()))),
            "reason" => Arc::new(judged.iter().map(|j| j.reason.map(Reason::as_str)).collect::<StringArray>()),
            "duplicate_of" => Arc::new(judged.iter().map(|j| j.duplicate_of).collect::<Int64Array>()),
            "rule_version" => Arc::new(Int64Array::from_value(RULE_VERSION, judged.len())),
            "config_version" => Arc::new(Int64Array::from_value(directory.change(), judged.len())),
            name => match extra(name) {
                Some(column) => column,
                None => Arc::clone(batch.column_by_name(name).ok_or_else(|| unreadable(name))?),
            },
        })
    });
    let columns: Vec<ArrayRef> = columns.collect::<Result<_, _>>()?;
    RecordBatch::try_new(schema, columns)
}
