//! What is stored: every table, its columns and what makes its rows the same row.
//!
//! Rows are written by a unit's commit and never changed. A table of the kind
//! [`Kind::Ledger`] has one full row per accepted record; its current verdict is the newest
//! row of [`Table::Verdicts`] for the same record, laid over it when read. In a table of the
//! kind [`Kind::Versioned`] the row of the highest commit wins per key, and a row with
//! `withdrawn` hides the key. The commit number is no column here: the store adds it.

mod rows;

use std::sync::Arc;

pub use rows::TABLES;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// How a column is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// UTF-8 text.
    Text,
    /// 64-bit integer: counts, offsets, minor units.
    Int,
    /// Truth value.
    Bool,
    /// Microseconds UTC.
    Time,
    /// A 128-bit keyed hash.
    Hash,
    /// Opaque bytes.
    Bytes,
}

impl ColumnType {
    /// The Arrow type.
    #[must_use]
    pub fn arrow(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8,
            Self::Int => DataType::Int64,
            Self::Bool => DataType::Boolean,
            Self::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Hash => DataType::FixedSizeBinary(16),
            Self::Bytes => DataType::Binary,
        }
    }
}

/// A column of a stored table.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Its name in SQL.
    pub name: &'static str,
    /// How it is kept.
    pub column_type: ColumnType,
    /// Whether it may be null.
    pub nullable: bool,
    /// What it means; the comment shown by SQL.
    pub doc: &'static str,
}

/// What makes two rows the same row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One immutable row per accepted record of a topic, by (slot, offset).
    Ledger,
    /// The newest commit wins per key; `withdrawn` hides it.
    Versioned,
}

/// What a verdict says: the columns that a judge adds to a ledger row, and that a revised verdict lays over it, where the
/// ledger table has them.
pub const VERDICT_COLUMNS: [&str; 9] = [
    "episode_id",
    "verdict",
    "reason",
    "duplicate_of",
    "counted_utc_day",
    "counted_first_touch",
    "counted_last_touch",
    "rule_version",
    "config_version",
];

/// A row of [`TABLES`].
#[derive(Debug, Clone, Copy)]
pub struct TableSpec {
    /// The table.
    pub table: Table,
    /// Its stored name.
    pub name: &'static str,
    /// What a row is.
    pub doc: &'static str,
    /// Whether rows are immutable or versioned.
    pub kind: Kind,
    /// The columns, in order; the first is always `account_id`.
    pub columns: &'static [Column],
    /// The columns that make the key (within a slot).
    pub key: &'static [&'static str],
    /// The time column by whose UTC day the rows are filed.
    pub filed_by: &'static str,
}

impl TableSpec {
    /// The Arrow schema of what a unit writes (without `commit`).
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        let fields: Vec<Field> = self
            .columns
            .iter()
            .map(|column| {
                Field::new(column.name, column.column_type.arrow(), column.nullable)
                    .with_metadata(std::iter::once(("doc".to_owned(), column.doc.to_owned())).collect())
            })
            .collect();
        Arc::new(Schema::new(fields))
    }
}

/// A stored table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Ledger rows of `listener-requests`.
    Requests,
    /// Ledger rows of `conversions`.
    Conversions,
    /// Ledger rows of `app-events`.
    AppEvents,
    /// Ledger rows of records that could not be read, of any topic.
    DeadLetters,
    /// Revised verdicts: short rows laid over ledger rows.
    Verdicts,
    /// Ads delivered inside valid downloads.
    AdDeliveries,
    /// Conversions' touches that name a campaign.
    Touches,
    /// Credit of conversions by campaign and model.
    Credits,
    /// Minute values of campaigns.
    CampaignPerformance,
    /// Days of keys: open since, frozen when.
    Days,
    /// What reached over a frozen day's midnight.
    Carries,
    /// The other side of the balance: records appended, by hour.
    Tallies,
}

impl Table {
    /// The table's row.
    #[must_use]
    pub fn spec(self) -> &'static TableSpec {
        // TABLES is in the order of the enum; kept by a test.
        &TABLES[self as usize]
    }

    /// The table's stored name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.spec().name
    }

    /// The table of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        TABLES.iter().find(|spec| spec.name == name).map(|spec| spec.table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revised_verdicts_have_every_column_of_a_verdict() {
        let has = |spec: &TableSpec, name: &str| spec.columns.iter().any(|column| column.name == name);
        for name in VERDICT_COLUMNS {
            assert!(has(Table::Verdicts.spec(), name) && has(Table::Requests.spec(), name), "{name}");
        }
    }

    #[test]
    fn tables_stand_in_the_order_of_the_enum_with_sound_keys() {
        for (index, spec) in TABLES.iter().enumerate() {
            assert_eq!(spec.table as usize, index, "{}", spec.name);
            let has = |name: &str| spec.columns.iter().any(|column| column.name == name);
            assert_eq!(spec.columns[0].name, "account_id");
            assert!(spec.key.iter().all(|key| has(key)), "{}", spec.name);
            assert!(has(spec.filed_by), "{}", spec.name);
            assert_eq!(
                has("withdrawn") || spec.table == Table::Verdicts,
                spec.kind == Kind::Versioned,
                "{}",
                spec.name
            );
        }
    }
}
