//! Rows against the columns of their table: checked when written, completed when read.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, new_null_array};
use arrow::compute::{FilterBuilder, filter_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampMicrosecondType};
use castback_schemas::table::Table;
use castback_schemas::{Day, Micros};

use crate::error::{Result, StoreError};

/// The column that the store adds to every table: the number of the commit that wrote the row.
pub const COMMIT: &str = "commit";

/// The columns of a table as the store gives them back: the table's own, then `commit`.
#[must_use]
pub fn stored_schema(table: Table) -> SchemaRef {
    let schema = table.spec().schema();
    let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
    let doc = "commit that wrote the row: its revision";
    let commit = Field::new(COMMIT, DataType::Int64, false)
        .with_metadata(std::iter::once(("doc".to_owned(), doc.to_owned())).collect());
    fields.push(Arc::new(commit));
    Arc::new(Schema::new(fields))
}

/// The batch with exactly the fields of `schema`, by name: what a later version added is null.
pub(crate) fn conform(batch: &RecordBatch, schema: &SchemaRef, table: Table) -> Result<RecordBatch> {
    let misfit = |detail: String| StoreError::Misfit { table: table.name(), detail };
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let column = match batch.column_by_name(field.name()) {
            Some(column) if column.data_type() == field.data_type() => Arc::clone(column),
            Some(column) => return Err(misfit(format!("{} is {}", field.name(), column.data_type()))),
            None if field.is_nullable() => new_null_array(field.data_type(), batch.num_rows()),
            None => return Err(misfit(format!("{} is missing", field.name()))),
        };
        columns.push(column);
    }
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(|error| misfit(error.to_string()))
}

/// The batch with `commit` appended.
pub(crate) fn with_commit(batch: &RecordBatch, commit: i64) -> Result<RecordBatch> {
    let mut fields: Vec<_> = batch.schema_ref().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(COMMIT, DataType::Int64, false)));
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(Int64Array::from_value(commit, batch.num_rows())) as ArrayRef);
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// A column of whole numbers.
pub(crate) fn ints<'a>(batch: &'a RecordBatch, name: &str, table: Table) -> Result<&'a Int64Array> {
    batch
        .column_by_name(name)
        .and_then(|column| column.as_primitive_opt())
        .ok_or_else(|| StoreError::Misfit { table: table.name(), detail: format!("no whole numbers in {name}") })
}

/// The day by which each row is filed.
pub(crate) fn days(batch: &RecordBatch, table: Table) -> Result<Vec<i32>> {
    let name = table.spec().filed_by;
    let times = batch
        .column_by_name(name)
        .and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>())
        .ok_or_else(|| StoreError::Misfit { table: table.name(), detail: format!("no times in {name}") })?;
    Ok(times.values().iter().map(|micros| Micros(*micros).day().0).collect())
}

/// The rows of a batch by day, in their order, the days ascending.
pub(crate) fn by_day(batch: &RecordBatch, table: Table) -> Result<Vec<(Day, RecordBatch)>> {
    let days = days(batch, table)?;
    let mut distinct = days.clone();
    distinct.sort_unstable();
    distinct.dedup();
    if let [day] = distinct[..] {
        return Ok(vec![(Day(day), batch.clone())]);
    }
    let mut parts = Vec::with_capacity(distinct.len());
    for day in distinct {
        let of_day = days.iter().map(|other| Some(*other == day)).collect();
        parts.push((Day(day), filter_record_batch(batch, &of_day)?));
    }
    Ok(parts)
}

/// The rows of a batch for which `keep` holds; the batch itself when all do.
pub(crate) fn retain(batch: RecordBatch, keep: &[bool]) -> Result<RecordBatch> {
    if keep.iter().all(|keep| *keep) {
        return Ok(batch);
    }
    let mask = BooleanArray::from(keep.to_vec());
    let filter = FilterBuilder::new(&mask).optimize().build();
    Ok(filter.filter_record_batch(&batch)?)
}
