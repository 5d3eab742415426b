//! What the catalogue lends to SQL: people's things as rows, given by the caller with a query.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use castback_schemas::table::{Column, ColumnType};

use super::{Scope, SqlError};
use crate::columns::retain;

/// A table whose rows the catalogue holds.
#[derive(Debug, Clone, Copy)]
pub struct CatalogueTable {
    /// Its name in SQL.
    pub name: &'static str,
    /// What a row is.
    pub doc: &'static str,
    /// Its columns, in order.
    pub columns: &'static [Column],
}

impl CatalogueTable {
    /// The Arrow schema of its rows.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        let field = |column: &Column| {
            Field::new(column.name, column.column_type.arrow(), column.nullable)
                .with_metadata(std::iter::once(("doc".to_owned(), column.doc.to_owned())).collect())
        };
        Arc::new(Schema::new(self.columns.iter().map(field).collect::<Vec<_>>()))
    }
}

const fn column(name: &'static str, column_type: ColumnType, doc: &'static str) -> Column {
    Column { name, column_type, nullable: false, doc }
}

const fn maybe(name: &'static str, column_type: ColumnType, doc: &'static str) -> Column {
    Column { name, column_type, nullable: true, doc }
}

use ColumnType::{Int, Text, Time};

const OWNER: Column = column("account_id", Text, "whose it is");

/// The tables whose rows the catalogue holds.
pub const CATALOGUE_TABLES: &[CatalogueTable] = &[
    CatalogueTable {
        name: "agent_runs",
        doc: "a run of a background task (operators only)",
        columns: &[
            column("agent", Text, "the task"),
            column("started_at", Time, "when it began"),
            maybe("finished_at", Time, "when it ended"),
            maybe("outcome", Text, "succeeded or failed; null while it runs"),
        ],
    },
    CatalogueTable {
        name: "campaigns",
        doc: "an advertising campaign",
        columns: &[
            OWNER,
            column("id", Text, "campaign"),
            column("name", Text, "its name"),
            column("advertiser", Text, "who advertises"),
            column("state", Text, "draft, scheduled, active, paused, completed or cancelled"),
            column("currency", Text, "ISO 4217"),
            column("budget_minor", Int, "budget in minor units"),
            column("price_model", Text, "cpm or flat"),
            maybe("price_minor", Int, "price per 1,000 impressions, or flat, in minor units"),
            column("starts_on", Time, "first instant of the flight"),
            column("ends_on", Time, "first instant of the flight's last day"),
            column("lookback_days", Int, "days that an exposure reaches"),
            column("created_at", Time, "when it was created"),
        ],
    },
    CatalogueTable {
        name: "episodes",
        doc: "an episode of a podcast, as its feed last said",
        columns: &[
            OWNER,
            column("id", Text, "episode"),
            column("podcast_id", Text, "podcast"),
            column("guid", Text, "identity in the feed"),
            maybe("title", Text, "title"),
            maybe("enclosure_url", Text, "file"),
            maybe("length", Int, "bytes as the feed says"),
            maybe("duration_ms", Int, "milliseconds as the feed says"),
            maybe("published_at", Time, "when it was published"),
        ],
    },
    CatalogueTable {
        name: "feed_polls",
        doc: "a poll of a feed within the last 30 days, the newest 10,000",
        columns: &[
            OWNER,
            column("podcast_id", Text, "podcast"),
            column("polled_at", Time, "when"),
            column("outcome", Text, "fetched, not_modified, gone or failed"),
            maybe("status", Int, "HTTP status; null if no answer was read"),
            maybe("episodes", Int, "episodes of the copy that was read, null if none was"),
            maybe("warnings", Int, "warnings given about that copy"),
        ],
    },
    CatalogueTable {
        name: "podcasts",
        doc: "a connected podcast",
        columns: &[
            OWNER,
            column("id", Text, "podcast"),
            maybe("title", Text, "title"),
            column("feed_url", Text, "feed"),
            column("window", Text, "utc_day, first_touch_24h or last_touch_24h"),
            column("status", Text, "pending, active, failing, gone or complete"),
            column("created_at", Time, "when it was connected"),
        ],
    },
    CatalogueTable {
        name: "reports",
        doc: "a report job",
        columns: &[
            OWNER,
            column("id", Text, "report"),
            column("kind", Text, "roi, downloads or attribution"),
            maybe("campaign_id", Text, "campaign reported on"),
            column("state", Text, "queued, running, ready or failed"),
            maybe("from_at", Time, "first instant reported on"),
            maybe("to_at", Time, "first instant no longer reported on"),
            column("created_at", Time, "when it was asked for"),
            maybe("finished_at", Time, "when it was ready or failed"),
        ],
    },
    CatalogueTable {
        name: "users",
        doc: "a person who signs in",
        columns: &[
            OWNER,
            column("id", Text, "user"),
            column("email", Text, "e-mail address"),
            maybe("name", Text, "name"),
            column("created_at", Time, "when they signed up"),
        ],
    },
];

/// Catalogue rows given with a query; a table not given is empty.
#[derive(Debug, Clone, Default)]
pub struct CatalogueTables {
    rows: Vec<(&'static CatalogueTable, RecordBatch)>,
}

impl CatalogueTables {
    /// Adds the rows of a table.
    ///
    /// # Errors
    /// [`SqlError::CatalogueRows`] for an unknown table or rows without its columns.
    pub fn add(&mut self, name: &str, rows: &RecordBatch) -> Result<(), SqlError> {
        let table = CATALOGUE_TABLES.iter().find(|table| table.name == name).ok_or(SqlError::CatalogueRows("?"))?;
        let rows = RecordBatch::try_new(table.schema(), rows.columns().to_vec());
        self.rows.push((table, rows.map_err(|_| SqlError::CatalogueRows(table.name))?));
        Ok(())
    }

    /// What was added.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &RecordBatch)> {
        self.rows.iter().map(|(table, rows)| (table.name, rows))
    }

    /// Every table with the rows that the scope may see.
    pub(super) fn visible(&self, scope: Scope) -> Result<Vec<(&'static CatalogueTable, RecordBatch)>, SqlError> {
        let mut tables = Vec::with_capacity(CATALOGUE_TABLES.len());
        for table in CATALOGUE_TABLES {
            let mut rows = RecordBatch::new_empty(table.schema());
            for (_, given) in self.rows.iter().filter(|(of, _)| of.name == table.name) {
                let misfit = |_| SqlError::CatalogueRows(table.name);
                let given =
                    retain(given.clone(), &owned(given, scope)).map_err(|_| SqlError::CatalogueRows(table.name))?;
                rows = arrow::compute::concat_batches(&table.schema(), [&rows, &given]).map_err(misfit)?;
            }
            tables.push((table, rows));
        }
        Ok(tables)
    }
}

fn owned(rows: &RecordBatch, scope: Scope) -> Vec<bool> {
    let Some(account) = scope.account() else { return vec![true; rows.num_rows()] };
    let account = account.to_string();
    match rows.column_by_name("account_id").and_then(|column| column.as_string_opt::<i32>()) {
        Some(accounts) => accounts.iter().map(|of| of == Some(account.as_str())).collect(),
        None => vec![false; rows.num_rows()],
    }
}
