//! SQL over a pinned view: one session per query, for one account or for an operator.
//!
//! ```text
//! text ─guard─▶ statement ─plan─▶ plan over public views ─scan─▶ the account's rows
//! ```
//! What a caller may see is decided in [`provider`], inside the scan, from the scope that was
//! passed here and never from SQL text. The public tables ([`public`]) are views over stored
//! ones that SQL can't name; nothing else is there to be named: no files, no URLs, no settings
//! that change anything, no functions that make rows from nothing.

mod catalogue_tables;
mod guard;
mod provider;
mod public;
mod query;
mod schema;
#[cfg(test)]
mod tests;
mod views;

use std::collections::HashMap;
use std::sync::Arc;

use castback_schemas::AccountId;
use castback_schemas::table::TABLES;
use datafusion::catalog::{CatalogProvider, MemTable, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider};
use datafusion::common::{DataFusionError, Result as PlanResult};
use datafusion::datasource::TableProvider;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::object_store::ObjectStoreRegistry;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::{SessionConfig, SessionContext};
use object_store::ObjectStore;
use serde::{Deserialize, Serialize};
use url::Url;

pub use catalogue_tables::{CATALOGUE_TABLES, CatalogueTable, CatalogueTables};
pub use guard::MAX_TEXT;
pub use public::{ColumnDoc, TableDoc, tables};
pub use query::{Answer, SqlError, query, run};

use schema::PublicSchema;

use crate::kept::{Kept, KeptColumns};
use crate::scan::Versions;
use crate::store::Store;
use crate::view::PinnedView;

/// Whose rows a session sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// One account's.
    Account(AccountId),
    /// Everyone's: an operator asks.
    All,
}

impl Scope {
    /// The one account, unless it is everyone's.
    #[must_use]
    pub fn account(self) -> Option<AccountId> {
        match self {
            Self::Account(account) => Some(account),
            Self::All => None,
        }
    }
}

/// What sessions read: one view, for one scope.
#[derive(Debug, Clone)]
pub struct Source {
    store: Store,
    view: Arc<PinnedView>,
    scope: Scope,
    kept: Option<Arc<Kept>>,
}

impl Source {
    /// Every statement reads for itself.
    #[must_use]
    pub fn new(store: Store, view: Arc<PinnedView>, scope: Scope) -> Self {
        Self { store, view, scope, kept: None }
    }

    /// What a statement reads of these columns is kept for the next ones, as far as there is room.
    #[must_use]
    pub fn keeping(self, columns: KeptColumns) -> Self {
        let kept = Kept::new(self.store.room(), columns);
        Self { kept: Some(Arc::new(kept)), ..self }
    }

    /// Where rows are read.
    #[must_use]
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The view.
    #[must_use]
    pub fn view(&self) -> &Arc<PinnedView> {
        &self.view
    }

    /// Whose rows are seen.
    #[must_use]
    pub fn scope(&self) -> Scope {
        self.scope
    }
}

/// Threads that a query uses; also its scans' readers.
const PARTITIONS: usize = 2;

/// A session over a source: `memory` bytes for sorts, joins and groups, nothing spilled to disk.
///
/// # Errors
/// Catalogue rows that don't have their columns.
pub fn session(source: &Source, catalogue: &CatalogueTables, memory: usize) -> Result<SessionContext, SqlError> {
    let runtime = runtime(memory).map_err(SqlError::Session)?;
    let stored = stored_session(source, &runtime).map_err(SqlError::Session)?;
    let mut lent: HashMap<String, Arc<dyn TableProvider>> = HashMap::new();
    for (table, batch) in catalogue.visible(source.scope)? {
        let rows = MemTable::try_new(batch.schema(), vec![vec![batch]]).map_err(SqlError::Session)?;
        lent.insert(table.name.to_owned(), Arc::new(rows));
    }
    let context = SessionContext::new_with_config_rt(config(), runtime);
    install(&context, Arc::new(PublicSchema::new(stored, lent))).map_err(SqlError::Session)?;
    for makes_rows in ["generate_series", "range"] {
        context.deregister_udtf(makes_rows);
        context.deregister_udf(makes_rows);
    }
    Ok(context)
}

/// The session in which the public views are planned: it alone can name stored tables.
fn stored_session(source: &Source, runtime: &Arc<RuntimeEnv>) -> PlanResult<SessionContext> {
    let schema = MemorySchemaProvider::new();
    for spec in TABLES {
        for (suffix, versions) in [("", Versions::Current), ("__all", Versions::All)] {
            let table = provider::StoredTable::new(source.clone(), spec.table, versions);
            schema.register_table(format!("{}{suffix}", spec.name), Arc::new(table))?;
        }
    }
    let context = SessionContext::new_with_config_rt(config(), Arc::clone(runtime));
    install(&context, Arc::new(schema))?;
    Ok(context)
}

fn install(context: &SessionContext, schema: Arc<dyn SchemaProvider>) -> PlanResult<()> {
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema("public", schema)?;
    context.register_catalog("castback", Arc::new(catalog));
    Ok(())
}

fn config() -> SessionConfig {
    SessionConfig::new()
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema("castback", "public")
        .with_information_schema(true)
        .with_target_partitions(PARTITIONS)
        .with_batch_size(crate::segment::BATCH_ROWS)
        // Parts of a union carry comments of their own on the same column; the planner drops
        // them, the executor keeps the first's, and an aggregate would refuse the difference.
        .set_bool("datafusion.execution.skip_physical_aggregate_schema_check", true)
}

fn runtime(memory: usize) -> PlanResult<Arc<RuntimeEnv>> {
    RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(GreedyMemoryPool::new(memory)))
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
        .with_object_store_registry(Arc::new(NoObjectStores))
        .build_arc()
}

/// SQL reaches no object store by URL: scans bring their own.
#[derive(Debug)]
struct NoObjectStores;

impl ObjectStoreRegistry for NoObjectStores {
    fn register_store(&self, _: &Url, _: Arc<dyn ObjectStore>) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn get_store(&self, _: &Url) -> PlanResult<Arc<dyn ObjectStore>> {
        Err(DataFusionError::Plan("there are no files or addresses here".to_owned()))
    }
}
