//! What a document says, in no format.

use castback_schemas::Micros;
use serde::{Serialize, Serializer};

use super::value::Value;

/// A finished answer for people: a report, an export, a printed dashboard.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Document {
    /// What this is, on one line.
    pub title: String,
    /// Whose it is and for which time, on one line.
    pub subtitle: String,
    /// When it was made; the only time a format may print as its own.
    pub created_at: Micros,
    /// A few words for the foot of every page, such as the revision.
    pub footer: String,
    /// What frames the answer: account, period, time zone, campaign.
    pub facts: Vec<Fact>,
    /// The answer, in reading order.
    #[serde(serialize_with = "without_page_breaks")]
    pub blocks: Vec<Block>,
}

/// Page breaks mean nothing where there are no pages.
fn without_page_breaks<S: Serializer>(blocks: &[Block], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(blocks.iter().filter(|block| !matches!(block, Block::PageBreak)))
}

/// One line of what frames the answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fact {
    /// What it is.
    pub label: String,
    /// Its value.
    pub value: Value,
}

impl Fact {
    /// The fact that `label` is `value`.
    pub fn new(label: impl Into<String>, value: Value) -> Self {
        Self { label: label.into(), value }
    }
}

/// A part of the answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Block {
    /// The title of what follows.
    Heading(String),
    /// Prose; a line feed begins a new line.
    Paragraph(String),
    /// Key figures.
    Figures(Vec<Figure>),
    /// A series over time.
    Chart(Chart),
    /// Rows and columns.
    Table(Table),
    /// The SQL behind what was said.
    Sql(Vec<Statement>),
    /// What follows begins on a new page.
    PageBreak,
}

/// One number with its 95 % interval and the SQL that reproduces it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// What it is.
    pub label: String,
    /// Its value.
    pub value: Value,
    /// The lower end of the 95 % interval; null where there is none.
    pub low: Value,
    /// The upper end of the 95 % interval; null where there is none.
    pub high: Value,
    /// What a reader must know to read it rightly (`thin`, `unverified`, a time frame); may be empty.
    pub note: String,
    /// The SQL whose only value it is; may be empty.
    pub sql: String,
}

/// A labelled SQL statement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Statement {
    /// What it reproduces.
    pub label: String,
    /// The statement; line feeds and indentation are kept.
    pub sql: String,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Table {
    /// What it lists.
    pub title: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows, each with one value per column.
    pub rows: Vec<Vec<Value>>,
    /// The row below the line, with one value per column.
    pub total: Option<Vec<Value>>,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Column {
    /// What it holds.
    pub label: String,
    /// How it is set and exported.
    pub kind: ColumnKind,
}

impl Column {
    /// A column of words or times.
    pub fn text(label: impl Into<String>) -> Self {
        Self { label: label.into(), kind: ColumnKind::Text }
    }

    /// A column of numbers.
    pub fn number(label: impl Into<String>) -> Self {
        Self { label: label.into(), kind: ColumnKind::Number }
    }

    /// A column of money, possibly of several currencies.
    pub fn money(label: impl Into<String>) -> Self {
        Self { label: label.into(), kind: ColumnKind::Money }
    }
}

/// How a column is set and exported. It belongs to the table, not to its rows, so that an empty
/// table exports the same columns as a full one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// Words, times, days: set from the left.
    Text,
    /// Numbers: set from the right.
    Number,
    /// Money: set from the right; in CSV two columns, minor units and currency.
    Money,
}

/// A series over time, drawn.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// What one unit of its values is (`downloads`, `USD`); may be empty.
    pub unit: String,
    /// How it is drawn.
    pub kind: ChartKind,
    /// Its points, one per step of time.
    pub points: Vec<Point>,
}

/// How a chart is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChartKind {
    /// Amounts per step of time; bands become whiskers.
    Bars,
    /// A level over time; bands become an area. An absent value breaks the line.
    Line,
}

/// A point of a chart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// The start of its step of time.
    pub at: Micros,
    /// Its value; absent where there is none.
    pub value: Option<f64>,
    /// The lower and upper end of its 95 % interval.
    pub band: Option<(f64, f64)>,
}
