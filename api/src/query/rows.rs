//! Rows as plain values, in the notation of the API: whole numbers exact, times RFC 3339, hashes
//! hexadecimal.

use std::fmt::Write;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, SchemaRef, TimeUnit, TimestampMicrosecondType, UInt64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use castback_schemas::Micros;
use serde_json::{Value, json};

/// An answer of a statement of our own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    columns: Vec<String>,
    rows: Vec<Vec<Value>>,
}

impl Rows {
    /// The rows of an answer.
    pub(crate) fn of(batches: &[RecordBatch]) -> Self {
        let schema = batches.first().map(RecordBatch::schema);
        let columns = schema.iter().flat_map(|schema| schema.fields().iter().map(|field| field.name().clone()));
        Self { columns: columns.collect(), rows: rows_of(batches) }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// A value; null where there is no such row or column.
    pub(crate) fn value(&self, row: usize, column: &str) -> &Value {
        let column = self.columns.iter().position(|name| name == column);
        column.and_then(|column| self.rows.get(row)?.get(column)).unwrap_or(&Value::Null)
    }

    /// A whole number; 0 for null: the sum of nothing.
    pub(crate) fn int(&self, row: usize, column: &str) -> i64 {
        self.value(row, column).as_i64().unwrap_or(0)
    }

    /// The only value of an answer of one; 0 for null.
    pub(crate) fn first_int(&self) -> i64 {
        self.rows.first().and_then(|row| row.first()).and_then(Value::as_i64).unwrap_or(0)
    }

    /// The same as a real number; none for null.
    #[cfg(test)]
    pub(crate) fn first_real(&self) -> Option<f64> {
        self.rows.first().and_then(|row| row.first()).and_then(Value::as_f64)
    }

    /// A count.
    pub(crate) fn count(&self, row: usize, column: &str) -> u64 {
        self.value(row, column).as_u64().unwrap_or(0)
    }

    /// A real number; 0 for null.
    pub(crate) fn real(&self, row: usize, column: &str) -> f64 {
        self.value(row, column).as_f64().unwrap_or(0.0)
    }

    /// A text; empty for null.
    pub(crate) fn text(&self, row: usize, column: &str) -> &str {
        self.value(row, column).as_str().unwrap_or_default()
    }

    /// A text that may be null.
    pub(crate) fn some_text(&self, row: usize, column: &str) -> Option<&str> {
        self.value(row, column).as_str()
    }

    /// A truth value; false for null.
    pub(crate) fn truth(&self, row: usize, column: &str) -> bool {
        self.value(row, column).as_bool().unwrap_or(false)
    }

    /// A time that the statement gives in microseconds.
    pub(crate) fn micros(&self, row: usize, column: &str) -> Micros {
        Micros(self.int(row, column))
    }
}

/// `{name, type}` of every column.
pub(crate) fn columns_of(schema: &SchemaRef) -> Vec<Value> {
    let column =
        |field: &arrow::datatypes::FieldRef| json!({"name": field.name(), "type": type_name(field.data_type())});
    schema.fields().iter().map(column).collect()
}

/// A type in the words of SQL.
fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Timestamp(..) => "timestamp".to_owned(),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => "double".to_owned(),
        DataType::FixedSizeBinary(_) | DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            "bytes".to_owned()
        }
        integer if integer.is_integer() => "bigint".to_owned(),
        other => other.to_string().to_lowercase(),
    }
}

/// Every row of the batches, one value per column.
pub(crate) fn rows_of(batches: &[RecordBatch]) -> Vec<Vec<Value>> {
    let mut rows = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
    for batch in batches {
        let mut columns: Vec<_> = batch.columns().iter().map(|column| values(column).into_iter()).collect();
        for _ in 0..batch.num_rows() {
            rows.push(columns.iter_mut().map(|column| column.next().unwrap_or_default()).collect());
        }
    }
    rows
}

/// The values of a column; what has no plain form is written as Arrow shows it.
fn values(column: &ArrayRef) -> Vec<Value> {
    plain(column).unwrap_or_else(|| shown(column))
}

fn plain(column: &ArrayRef) -> Option<Vec<Value>> {
    let to = |data_type: DataType| cast(column, &data_type).ok();
    Some(match column.data_type() {
        DataType::Null => vec![Value::Null; column.len()],
        DataType::Boolean => column.as_boolean().iter().map(Value::from).collect(),
        DataType::UInt64 => column.as_primitive::<UInt64Type>().iter().map(Value::from).collect(),
        integer if integer.is_integer() => {
            to(DataType::Int64)?.as_primitive::<Int64Type>().iter().map(Value::from).collect()
        }
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            to(DataType::Float64)?.as_primitive::<Float64Type>().iter().map(Value::from).collect()
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            to(DataType::Utf8)?.as_string::<i32>().iter().map(Value::from).collect()
        }
        DataType::Timestamp(_, zone) => {
            let micros = to(DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))?;
            let times = micros.as_primitive::<TimestampMicrosecondType>();
            times.iter().map(|at| at.map_or(Value::Null, |at| Value::from(Micros(at).to_string()))).collect()
        }
        DataType::FixedSizeBinary(_) => column.as_fixed_size_binary().iter().map(hexadecimal).collect(),
        DataType::Binary => column.as_binary::<i32>().iter().map(hexadecimal).collect(),
        _ => return None,
    })
}

fn hexadecimal(bytes: Option<&[u8]>) -> Value {
    let Some(bytes) = bytes else { return Value::Null };
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").unwrap_or_default();
    }
    Value::from(text)
}

fn shown(column: &ArrayRef) -> Vec<Value> {
    let options = FormatOptions::default();
    let Ok(formatter) = ArrayFormatter::try_new(column, &options) else { return vec![Value::Null; column.len()] };
    let text = |row| if column.is_null(row) { Value::Null } else { Value::from(formatter.value(row).to_string()) };
    (0..column.len()).map(text).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BooleanArray, Date32Array, FixedSizeBinaryArray, Float64Array, Int32Array, StringArray,
        TimestampMicrosecondArray,
    };
    use arrow::datatypes::{Field, Schema};

    use super::*;

    #[test]
    fn every_kind_of_column_has_its_notation() {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("n", Arc::new(Int32Array::from(vec![Some(-5), None]))),
            ("x", Arc::new(Float64Array::from(vec![Some(0.5), Some(f64::NAN)]))),
            ("s", Arc::new(StringArray::from(vec![Some("é"), None]))),
            ("b", Arc::new(BooleanArray::from(vec![Some(true), None]))),
            ("t", Arc::new(TimestampMicrosecondArray::from(vec![Some(1_500_000), None]).with_timezone("UTC"))),
            ("h", Arc::new(FixedSizeBinaryArray::try_from_iter([[1, 171], [0, 0]].into_iter()).unwrap())),
            ("d", Arc::new(Date32Array::from(vec![Some(1), None]))),
        ];
        let fields: Vec<_> =
            columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
        let schema = Arc::new(Schema::new(fields));
        let batch =
            RecordBatch::try_new(schema.clone(), columns.into_iter().map(|(_, column)| column).collect()).unwrap();
        let first = json!([-5, 0.5, "é", true, "1970-01-01T00:00:01.5Z", "01ab", "1970-01-02"]);
        let second = json!([null, null, null, null, null, "0000", null]);
        assert_eq!(json!(rows_of(std::slice::from_ref(&batch))), json!([first, second]));
        assert_eq!(columns_of(&schema)[4], json!({"name": "t", "type": "timestamp"}));
        let rows = Rows::of(&[batch]);
        assert_eq!((rows.int(0, "n"), rows.int(1, "n"), rows.text(0, "s"), rows.len()), (-5, 0, "é", 2));
        assert!(rows.truth(0, "b") && rows.value(7, "n").is_null() && rows.value(0, "none").is_null());
    }
}
