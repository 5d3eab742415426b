//! Rows in memory: for processors that fold, for lookups and small answers. Queries stream
//! through the session instead.

use std::pin::pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::StreamExt;

use crate::error::{Result, StoreError};
use crate::scan::{Feed, Plan, ReadTask, Scan};
use crate::store::Store;
use crate::view::PinnedView;

/// Tasks decoded at once. More would not be faster on the cores there are; one day's rows are
/// held per task.
pub(crate) fn readers() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get)
}

impl Store {
    /// The rows of a scan as of a view, each table's columns (or those wanted), and `commit`.
    ///
    /// # Errors
    /// A piece that is missing, damaged or can't be fetched: then no rows at all.
    pub async fn rows(&self, view: &Arc<PinnedView>, scan: Scan) -> Result<Vec<RecordBatch>> {
        let mut rows = Vec::new();
        self.each_batch(view, scan, |batch| {
            rows.push(batch);
            Ok(())
        })
        .await?;
        Ok(rows)
    }

    /// Hands on the rows of a scan, batch by batch; days are decoded in parallel and come in order.
    ///
    /// # Errors
    /// Those of [`Store::rows`], or `each`'s own; then some batches were handed on already.
    pub async fn each_batch(
        &self,
        view: &Arc<PinnedView>,
        scan: Scan,
        mut each: impl FnMut(RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let feed = Arc::new(Feed::new(Plan::new(self.clone(), Arc::clone(view), scan)));
        let mut read = pin!(feed.tasks().map(|task| async move { decoded(task?).await }).buffered(readers()));
        while let Some(batches) = read.next().await {
            batches?.into_iter().try_for_each(&mut each)?;
        }
        Ok(())
    }
}

/// The rows of a task.
pub(crate) async fn decoded(task: ReadTask) -> Result<Vec<RecordBatch>> {
    let loaded = task.load().await?;
    let decoded = tokio::task::spawn_blocking(move || {
        let mut rows = Vec::new();
        loaded.rows(&mut |batch| {
            rows.push(batch);
            Ok(true)
        })?;
        Ok(rows)
    });
    decoded.await.map_err(|_| StoreError::BrokenOff)?
}
