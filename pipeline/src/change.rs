//! What a processor says: new rows of stored tables, as columns being built.

use std::collections::BTreeMap;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, FixedSizeBinaryBuilder, Int64Builder, RecordBatch, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::error::ArrowError;
use castback_schemas::Micros;
use castback_schemas::table::{ColumnType, Table};
use std::sync::Arc;

/// A value of a row about to be written.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// Nothing.
    Null,
    /// Text.
    Text(&'a str),
    /// A count, an offset, minor units.
    Int(i64),
    /// A truth value.
    Bool(bool),
    /// An instant.
    Time(Micros),
    /// A keyed hash.
    Hash([u8; 16]),
    /// Opaque bytes.
    Bytes(&'a [u8]),
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<bool> for Value<'_> {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}

impl From<Micros> for Value<'_> {
    fn from(time: Micros) -> Self {
        Self::Time(time)
    }
}

impl From<[u8; 16]> for Value<'_> {
    fn from(hash: [u8; 16]) -> Self {
        Self::Hash(hash)
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

#[derive(Debug)]
enum Builder {
    Text(StringBuilder),
    Int(Int64Builder),
    Bool(BooleanBuilder),
    Time(TimestampMicrosecondBuilder),
    Hash(FixedSizeBinaryBuilder),
    Bytes(BinaryBuilder),
}

impl Builder {
    fn new(column_type: ColumnType) -> Self {
        match column_type {
            ColumnType::Text => Self::Text(StringBuilder::new()),
            ColumnType::Int => Self::Int(Int64Builder::new()),
            ColumnType::Bool => Self::Bool(BooleanBuilder::new()),
            ColumnType::Time => Self::Time(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
            ColumnType::Hash => Self::Hash(FixedSizeBinaryBuilder::new(16)),
            ColumnType::Bytes => Self::Bytes(BinaryBuilder::new()),
        }
    }

    fn push(&mut self, value: Value<'_>) -> Result<(), ArrowError> {
        match (self, value) {
            (Self::Text(builder), Value::Text(text)) => builder.append_value(text),
            (Self::Text(builder), Value::Null) => builder.append_null(),
            (Self::Int(builder), Value::Int(number)) => builder.append_value(number),
            (Self::Int(builder), Value::Null) => builder.append_null(),
            (Self::Bool(builder), Value::Bool(truth)) => builder.append_value(truth),
            (Self::Bool(builder), Value::Null) => builder.append_null(),
            (Self::Time(builder), Value::Time(time)) => builder.append_value(time.0),
            (Self::Time(builder), Value::Null) => builder.append_null(),
            (Self::Hash(builder), Value::Hash(hash)) => builder.append_value(hash)?,
            (Self::Hash(builder), Value::Null) => builder.append_null(),
            (Self::Bytes(builder), Value::Bytes(bytes)) => builder.append_value(bytes),
            (Self::Bytes(builder), Value::Null) => builder.append_null(),
            (_, value) => return Err(ArrowError::SchemaError(format!("{value:?} is not of the column's type"))),
        }
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Int(builder) => Arc::new(builder.finish()),
            Self::Bool(builder) => Arc::new(builder.finish()),
            Self::Time(builder) => Arc::new(builder.finish()),
            Self::Hash(builder) => Arc::new(builder.finish()),
            Self::Bytes(builder) => Arc::new(builder.finish()),
        }
    }
}

#[derive(Debug)]
struct Rows {
    builders: Vec<Builder>,
    count: usize,
}

/// New rows, table by table. A table's rows keep the order in which they were said.
#[derive(Debug, Default)]
pub struct Changes {
    building: BTreeMap<Table, Rows>,
    whole: Vec<(Table, RecordBatch)>,
}

impl Changes {
    /// Adds a row: one value per column of the table, in order.
    ///
    /// # Errors
    /// A value that is not of its column's type.
    pub fn row(&mut self, table: Table, values: &[Value<'_>]) -> Result<(), ArrowError> {
        let columns = table.spec().columns;
        if values.len() != columns.len() {
            return Err(ArrowError::SchemaError(format!("{} has {} columns", table.name(), columns.len())));
        }
        let new = || Rows { builders: columns.iter().map(|c| Builder::new(c.column_type)).collect(), count: 0 };
        let rows = self.building.entry(table).or_insert_with(new);
        for (builder, value) in rows.builders.iter_mut().zip(values) {
            builder.push(*value)?;
        }
        rows.count += 1;
        Ok(())
    }

    /// Adds a whole batch of a table's rows.
    pub fn batch(&mut self, table: Table, batch: RecordBatch) {
        if batch.num_rows() > 0 {
            self.whole.push((table, batch));
        }
    }

    /// Whether nothing was said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.whole.is_empty() && self.building.is_empty()
    }

    /// Rows said so far.
    #[must_use]
    pub fn len(&self) -> usize {
        let built: usize = self.building.values().map(|rows| rows.count).sum();
        built + self.whole.iter().map(|(_, batch)| batch.num_rows()).sum::<usize>()
    }

    /// The rows as batches.
    ///
    /// # Errors
    /// A null where the table allows none.
    pub fn finish(self) -> Result<Vec<(Table, RecordBatch)>, ArrowError> {
        let mut batches = self.whole;
        for (table, mut rows) in self.building {
            let columns = rows.builders.iter_mut().map(Builder::finish).collect();
            batches.push((table, RecordBatch::try_new(table.spec().schema(), columns)?));
        }
        Ok(batches)
    }
}
