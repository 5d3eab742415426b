//! The one schema that a caller's SQL can name: the public views, each planned when a statement first
//! names it, and the catalogue's rows.
//!
//! Planning every view for every question took longer than most answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use datafusion::catalog::SchemaProvider;
use datafusion::common::Result;
use datafusion::datasource::{TableProvider, ViewTable};
use datafusion::prelude::SessionContext;

use super::views::VIEWS;

/// Tables by name.
type Tables = HashMap<String, Arc<dyn TableProvider>>;

/// The public tables over a session in which stored ones can be named.
pub(super) struct PublicSchema {
    stored: SessionContext,
    lent: Tables,
    planned: Mutex<Tables>,
}

impl PublicSchema {
    pub(super) fn new(stored: SessionContext, lent: Tables) -> Self {
        Self { stored, lent, planned: Mutex::default() }
    }

    fn planned(&self, name: &str) -> Option<Arc<dyn TableProvider>> {
        self.planned.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

impl std::fmt::Debug for PublicSchema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublicSchema").finish_non_exhaustive()
    }
}

#[async_trait]
impl SchemaProvider for PublicSchema {
    fn table_names(&self) -> Vec<String> {
        VIEWS.iter().map(|view| view.name.to_owned()).chain(self.lent.keys().cloned()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        if let Some(table) = self.lent.get(name).cloned().or_else(|| self.planned(name)) {
            return Ok(Some(table));
        }
        let Some(view) = VIEWS.iter().find(|view| view.name == name) else { return Ok(None) };
        let plan = self.stored.state().create_logical_plan(view.sql).await?;
        let table: Arc<dyn TableProvider> = Arc::new(ViewTable::new(plan, None));
        let mut planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Some(Arc::clone(planned.entry(name.to_owned()).or_insert(table))))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.lent.contains_key(name) || VIEWS.iter().any(|view| view.name == name)
    }
}
