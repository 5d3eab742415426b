//! Parquet: every fact, figure, point and cell as one row, so that one file holds tables of any columns.
//!
//! `part` numbers the document's parts in reading order (0: facts), `line` the rows inside one. A value
//! stands in the column of its kind: money as minor units with its currency, times in UTC.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::error::ArrowError;
use castback_store::{StoreError, export};

use super::document::{Block, Chart, Document, Figure, Statement, Table};
use super::text::inert;
use super::value::Value;

/// A value with its place.
struct Cell {
    part: i64,
    kind: &'static str,
    title: String,
    line: i64,
    is_total: bool,
    column: String,
    value: Value,
}

/// `document` as a Parquet file.
pub(super) fn parquet(document: &Document) -> Result<Vec<u8>, StoreError> {
    export::parquet(&batch(&cells(document))?)
}

fn cells(document: &Document) -> Vec<Cell> {
    let mut cells = Cells { part: 0, kind: "facts", title: inert(&document.title).into_owned(), all: Vec::new() };
    for fact in &document.facts {
        cells.line((0, false), [(fact.label.as_str(), fact.value.clone())]);
    }
    for block in &document.blocks {
        match block {
            Block::Figures(figures) => cells.figures(figures),
            Block::Chart(chart) => cells.chart(chart),
            Block::Table(table) => cells.table(table),
            Block::Sql(statements) => cells.statements(statements),
            Block::Heading(_) | Block::Paragraph(_) | Block::PageBreak => {}
        }
    }
    cells.all
}

/// The cells of a document, part by part.
struct Cells {
    part: i64,
    kind: &'static str,
    title: String,
    all: Vec<Cell>,
}

impl Cells {
    fn part(&mut self, kind: &'static str, title: &str) {
        self.part += 1;
        (self.kind, self.title) = (kind, inert(title).into_owned());
    }

    fn line<'a>(&mut self, (line, is_total): (usize, bool), values: impl IntoIterator<Item = (&'a str, Value)>) {
        let line = i64::try_from(line).unwrap_or(i64::MAX);
        let cell = |(column, value): (&str, Value)| Cell {
            part: self.part,
            kind: self.kind,
            title: self.title.clone(),
            line,
            is_total,
            column: inert(column).into_owned(),
            value,
        };
        self.all.extend(values.into_iter().map(cell));
    }

    fn figures(&mut self, figures: &[Figure]) {
        self.part("figures", "Key figures");
        for (line, figure) in figures.iter().enumerate() {
            let values = [
                ("figure", Value::text(&figure.label)),
                ("value", figure.value.clone()),
                ("low", figure.low.clone()),
                ("high", figure.high.clone()),
                ("note", Value::text(&figure.note)),
                ("sql", Value::text(&figure.sql)),
            ];
            self.line((line, false), values);
        }
    }

    fn chart(&mut self, chart: &Chart) {
        self.part("chart", &chart.title);
        for (line, point) in chart.points.iter().enumerate() {
            let values = [
                ("time", Value::Time(point.at)),
                ("value", Value::rate(point.value)),
                ("low", Value::rate(point.band.map(|band| band.0))),
                ("high", Value::rate(point.band.map(|band| band.1))),
            ];
            self.line((line, false), values);
        }
    }

    fn table(&mut self, table: &Table) {
        self.part("table", &table.title);
        let labels = || table.columns.iter().map(|column| column.label.as_str());
        for (line, row) in table.rows.iter().enumerate() {
            self.line((line, false), labels().zip(row.iter().cloned()));
        }
        if let Some(total) = &table.total {
            self.line((table.rows.len(), true), labels().zip(total.iter().cloned()));
        }
    }

    fn statements(&mut self, statements: &[Statement]) {
        self.part("sql", "SQL");
        for (line, statement) in statements.iter().enumerate() {
            let values = [("figure", Value::text(&statement.label)), ("sql", Value::text(&statement.sql))];
            self.line((line, false), values);
        }
    }
}

fn batch(cells: &[Cell]) -> Result<RecordBatch, ArrowError> {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let field = |name: &str, kind: DataType, nullable: bool| Field::new(name, kind, nullable);
    let schema = Schema::new(vec![
        field("part", DataType::Int64, false),
        field("kind", DataType::Utf8, false),
        field("title", DataType::Utf8, false),
        field("line", DataType::Int64, false),
        field("is_total", DataType::Boolean, false),
        field("column", DataType::Utf8, false),
        field("text", DataType::Utf8, true),
        field("number", DataType::Float64, true),
        field("count", DataType::Int64, true),
        field("amount_minor", DataType::Int64, true),
        field("currency", DataType::Utf8, true),
        field("time", time, true),
    ]);
    let values = || cells.iter().map(|cell| &cell.value);
    let text = |value: &Value| match value {
        Value::Text(text) => Some(inert(text).into_owned()),
        _ => None,
    };
    let number = |value: &Value| match value {
        Value::Rate(number) | Value::Percent(number) if number.is_finite() => Some(*number),
        _ => None,
    };
    let count = |value: &Value| match value {
        Value::Count(count) => Some(*count),
        _ => None,
    };
    let money = |value: &Value| match value {
        Value::Money(money) => Some(*money),
        _ => None,
    };
    let time = |value: &Value| match value {
        Value::Time(at) => Some(at.0),
        Value::Day(day) => Some(day.start().0),
        _ => None,
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(cells.iter().map(|cell| cell.part))),
        Arc::new(StringArray::from_iter_values(cells.iter().map(|cell| cell.kind))),
        Arc::new(StringArray::from_iter_values(cells.iter().map(|cell| &cell.title))),
        Arc::new(Int64Array::from_iter_values(cells.iter().map(|cell| cell.line))),
        Arc::new(cells.iter().map(|cell| Some(cell.is_total)).collect::<BooleanArray>()),
        Arc::new(StringArray::from_iter_values(cells.iter().map(|cell| &cell.column))),
        Arc::new(values().map(text).collect::<StringArray>()),
        Arc::new(values().map(number).collect::<Float64Array>()),
        Arc::new(values().map(count).collect::<Int64Array>()),
        Arc::new(values().map(|value| money(value).map(|money| money.amount)).collect::<Int64Array>()),
        Arc::new(values().map(|value| money(value).map(|money| money.currency.to_string())).collect::<StringArray>()),
        Arc::new(values().map(time).collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
    ];
    RecordBatch::try_new(Arc::new(schema), columns)
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn every_value_has_one_row_in_the_column_of_its_kind() {
        let document = samples::small();
        let cells = cells(&document);
        let batch = batch(&cells).unwrap();
        assert_eq!(batch.num_rows(), cells.len());
        let kinds = ["text", "number", "count", "amount_minor", "time"].map(|name| batch.column_by_name(name).unwrap());
        for (row, cell) in cells.iter().enumerate() {
            let filled = kinds.iter().filter(|column| column.is_valid(row)).count();
            assert_eq!(filled, usize::from(!cell.value.is_null()), "{} of {}", cell.column, cell.title);
        }
        let facts = cells.iter().filter(|cell| cell.part == 0).count();
        assert_eq!(facts, document.facts.len());
    }

    #[test]
    fn the_file_is_parquet_and_the_same_every_time() {
        let file = parquet(&samples::small()).unwrap();
        assert!(file.starts_with(b"PAR1") && file.ends_with(b"PAR1"));
        assert_eq!(file, parquet(&samples::small()).unwrap());
    }
}
