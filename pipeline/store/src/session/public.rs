//! What there is to ask, in words: every public table with its columns.

use std::sync::Arc;

use serde::Serialize;

use super::catalogue_tables::CATALOGUE_TABLES;
use super::views::VIEWS;
use super::{CatalogueTables, Scope, Source, SqlError, session};
use crate::store::Store;
use crate::view::PinnedView;

/// A public table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableDoc {
    /// Its name.
    pub name: &'static str,
    /// What a row is.
    pub doc: &'static str,
    /// Its columns, in order.
    pub columns: Vec<ColumnDoc>,
}

/// A column of a public table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ColumnDoc {
    /// Its name.
    pub name: String,
    /// Its type, as `DESCRIBE` says it.
    #[serde(rename = "type")]
    pub column_type: String,
    /// Whether it may be null.
    pub nullable: bool,
    /// What it means.
    pub doc: String,
}

/// Memory for planning: nothing is read.
const PLANNING_BYTES: usize = 16 * 1024 * 1024;

/// Every public table, by name, with the comments of its columns.
///
/// # Errors
/// [`SqlError::Session`]: a defect.
pub async fn tables(store: &Store) -> Result<Vec<TableDoc>, SqlError> {
    let nothing = CatalogueTables::default();
    let source = Source::new(store.clone(), Arc::new(PinnedView::empty()), Scope::All);
    let context = session(&source, &nothing, PLANNING_BYTES)?;
    let views = VIEWS.iter().map(|view| (view.name, view.doc, view.docs));
    let lent = CATALOGUE_TABLES.iter().map(|table| (table.name, table.doc, &[][..]));
    let mut tables = Vec::new();
    for (name, doc, docs) in views.chain(lent) {
        let provider = context.table_provider(name).await.map_err(SqlError::Session)?;
        let column = |field: &Arc<arrow::datatypes::Field>| {
            let said = docs.iter().find(|(column, _)| column == field.name()).map(|(_, doc)| (*doc).to_owned());
            let doc = said.or_else(|| field.metadata().get("doc").cloned()).unwrap_or_default();
            let column_type = field.data_type().to_string();
            ColumnDoc { name: field.name().clone(), column_type, nullable: field.is_nullable(), doc }
        };
        tables.push(TableDoc { name, doc, columns: provider.schema().fields().iter().map(column).collect() });
    }
    tables.sort_by_key(|table| table.name);
    Ok(tables)
}
