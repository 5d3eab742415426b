//! The process's Directory, brought up to date when a batch asks for it.

use std::sync::{Arc, PoisonError, RwLock};

use castback_catalogue::{Catalogue, CatalogueError};
use tokio::sync::Mutex;

use crate::directory::Directory;

/// Shares one snapshot between all units.
#[derive(Debug)]
pub struct DirectoryCache {
    catalogue: Catalogue,
    newest: RwLock<Arc<Directory>>,
    /// One refresh at a time; the others take its result.
    refreshing: Mutex<()>,
}

impl DirectoryCache {
    /// A cache that knows nothing yet.
    #[must_use]
    pub fn new(catalogue: Catalogue) -> Self {
        Self { catalogue, newest: RwLock::default(), refreshing: Mutex::new(()) }
    }

    fn held(&self) -> Arc<Directory> {
        Arc::clone(&self.newest.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A snapshot with every change that was committed before this call.
    ///
    /// # Errors
    /// The catalogue does not answer: the batch waits, since a stale Directory would judge it
    /// by what people have changed already.
    pub async fn current(&self) -> Result<Arc<Directory>, CatalogueError> {
        let _one = self.refreshing.lock().await;
        let held = self.held();
        let rows = self.catalogue.directory_since(held.change()).await?;
        if rows.change == held.change() {
            return Ok(held);
        }
        let next = Arc::new(held.with(rows));
        *self.newest.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&next);
        Ok(next)
    }
}
