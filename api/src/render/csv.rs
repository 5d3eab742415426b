//! CSV [RFC 4180] that a spreadsheet can open without being attacked [OWASP, CSV injection].
//!
//! One section per fact sheet, set of figures, chart, table and list of statements, headed by a
//! row `# title` and parted by an empty line. Prose stays in the other formats. Money is written
//! in minor units with its currency in a column of its own.

use std::borrow::Cow;

use super::document::{Block, Chart, Column, ColumnKind, Document, Figure, Statement, Table};
use super::text::inert;
use super::value::Value;

type Row = Vec<String>;

/// `document` as CSV in UTF-8. The byte order mark is what makes Excel read accents right.
pub(super) fn csv(document: &Document) -> Result<Vec<u8>, csv::Error> {
    let mut out = "\u{feff}".as_bytes().to_vec();
    out.extend(write(&head(document))?);
    for block in &document.blocks {
        let rows = match block {
            Block::Figures(figures) => figure_rows(figures),
            Block::Chart(chart) => chart_rows(chart),
            Block::Table(table) => table_rows(table),
            Block::Sql(statements) => statement_rows(statements),
            Block::Heading(_) | Block::Paragraph(_) | Block::PageBreak => continue,
        };
        out.extend_from_slice(b"\r\n");
        out.extend(write(&rows)?);
    }
    Ok(out)
}

/// Every word is quoted: a spreadsheet that parts cells at semicolons then sees the same cells.
fn write(rows: &[Row]) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::WriterBuilder::new()
        .flexible(true)
        .terminator(csv::Terminator::CRLF)
        .quote_style(csv::QuoteStyle::NonNumeric)
        .from_writer(Vec::new());
    for row in rows {
        writer.write_record(row)?;
    }
    writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))
}

fn head(document: &Document) -> Vec<Row> {
    let mut rows = vec![
        vec![title(&document.title)],
        vec!["subtitle".to_owned(), words(&document.subtitle)],
        vec!["created_at".to_owned(), document.created_at.to_string()],
    ];
    for fact in &document.facts {
        let mut row = vec![words(&fact.label), cell(&fact.value)];
        row.extend(currency(&fact.value));
        rows.push(row);
    }
    rows
}

fn figure_rows(figures: &[Figure]) -> Vec<Row> {
    let names = ["figure", "kind", "value", "currency", "low", "high", "note", "sql"];
    let mut rows = vec![vec![title("Key figures")], names.map(str::to_owned).to_vec()];
    rows.extend(figures.iter().map(|figure| {
        vec![
            words(&figure.label),
            figure.value.kind().to_owned(),
            cell(&figure.value),
            currency(&figure.value).unwrap_or_default(),
            cell(&figure.low),
            cell(&figure.high),
            words(&figure.note),
            words(&figure.sql),
        ]
    }));
    rows
}

fn chart_rows(chart: &Chart) -> Vec<Row> {
    let value = if chart.unit.is_empty() { "value".to_owned() } else { format!("value ({})", inert(&chart.unit)) };
    let names = vec!["time".to_owned(), value, "low".to_owned(), "high".to_owned()];
    let number = |number: Option<f64>| Value::rate(number).raw();
    let mut rows = vec![vec![title(&chart.title)], names];
    rows.extend(chart.points.iter().map(|point| {
        vec![
            point.at.to_string(),
            number(point.value),
            number(point.band.map(|band| band.0)),
            number(point.band.map(|band| band.1)),
        ]
    }));
    rows
}

fn table_rows(table: &Table) -> Vec<Row> {
    let names = table.columns.iter().flat_map(|column| match column.kind {
        ColumnKind::Text | ColumnKind::Number => vec![words(&column.label)],
        ColumnKind::Money => {
            vec![words(&format!("{} (minor units)", column.label)), words(&format!("{} (currency)", column.label))]
        }
    });
    let mut rows = vec![vec![title(&table.title)], names.collect()];
    rows.extend(table.rows.iter().chain(&table.total).map(|values| table_row(&table.columns, values)));
    rows
}

fn table_row(columns: &[Column], values: &[Value]) -> Row {
    let cells = columns.iter().zip(values).flat_map(|(column, value)| match (column.kind, value) {
        (ColumnKind::Money, _) => vec![cell(value), currency(value).unwrap_or_default()],
        // Minor units without their currency would be read as major ones.
        (_, Value::Money(money)) => vec![money.to_string()],
        _ => vec![cell(value)],
    });
    cells.collect()
}

fn statement_rows(statements: &[Statement]) -> Vec<Row> {
    let mut rows = vec![vec![title("SQL")], vec!["figure".to_owned(), "sql".to_owned()]];
    rows.extend(statements.iter().map(|statement| vec![words(&statement.label), words(&statement.sql)]));
    rows
}

fn title(text: &str) -> String {
    format!("# {}", inert(text))
}

fn cell(value: &Value) -> String {
    match value {
        Value::Text(text) => words(text),
        other => other.raw(),
    }
}

fn currency(value: &Value) -> Option<String> {
    match value {
        Value::Money(money) => Some(money.currency.to_string()),
        _ => None,
    }
}

/// Words that no spreadsheet takes for a formula: the apostrophe marks them as text. Numbers that
/// we wrote never come here, so a negative one stays a number.
fn words(text: &str) -> String {
    let text: Cow<'_, str> = inert(text);
    let formula = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];
    if text.starts_with(formula) { format!("'{text}") } else { text.into_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn a_document_is_written_in_sections() {
        insta::assert_snapshot!(String::from_utf8(csv(&samples::small()).unwrap()).unwrap());
    }

    #[test]
    fn formulas_get_an_apostrophe_and_our_numbers_do_not() {
        for text in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"] {
            assert_eq!(words(text), format!("'{text}"));
        }
        assert_eq!(cell(&Value::Count(-5)), "-5");
        assert_eq!(words("a=b"), "a=b");
        assert_eq!(words("\0=1"), "\u{fffd}=1");
    }

    #[test]
    fn an_empty_table_keeps_its_columns() {
        let mut table = samples::episodes(1);
        let full = table_rows(&table);
        table.rows.clear();
        table.total = None;
        assert_eq!(table_rows(&table), full[..2]);
    }
}
