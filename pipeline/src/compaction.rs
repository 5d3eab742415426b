//! Compaction: slices to segments when it is due, and what nothing refers to any more goes. One process at a time.

use std::sync::Arc;
use std::time::Duration;

use castback_catalogue::{Catalogue, CatalogueError};
use castback_schemas::Clock;
use castback_schemas::time::MINUTE;
use castback_store::{Compactor, StoreError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::task::chain;

/// How often it is looked whether it is due.
const LOOK: Duration = Duration::from_secs(5);

/// How often removed objects are looked for.
const SWEEP: Duration = Duration::from_mins(10);

/// The lease under which one process does this, longer than a round mostly takes. Should two overlap after all, the
/// catalogue takes the segments of one of them, and the other's are orphans.
const LEASE: i64 = MINUTE;

/// The lease's name.
const NAME: &str = "compaction";

/// Why a round failed; there is another one soon.
#[derive(Debug, thiserror::Error)]
enum CompactionError {
    /// The catalogue does not answer.
    #[error("the catalogue does not answer")]
    Catalogue(#[from] CatalogueError),
    /// Segments can't be written, or objects not removed.
    #[error("segments can't be written or objects not removed")]
    Store(#[from] StoreError),
}

/// What it works on and with.
#[derive(Debug)]
pub(crate) struct Compaction {
    pub(crate) compactor: Compactor,
    pub(crate) catalogue: Catalogue,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) owner: String,
    /// Whether this process holds the data directory's lock: there is no other, and a lease is a dead one's.
    pub(crate) exclusive: bool,
}

impl Compaction {
    /// Works until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut swept = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(LOOK) => {}
            }
            if let Err(error) = self.round(&mut swept).await {
                tracing::warn!(error = %chain(&error), "compaction.failed");
            }
        }
        if !self.exclusive
            && let Err(error) = self.catalogue.release_lease(NAME, &self.owner).await
        {
            tracing::warn!(error = %error, "compaction.lease_not_released");
        }
    }

    async fn round(&self, swept: &mut Option<Instant>) -> Result<(), CompactionError> {
        if !self.exclusive && !self.catalogue.take_lease(NAME, &self.owner, LEASE).await? {
            return Ok(());
        }
        let compacted = self.compactor.run_if_due().await;
        // A sweep makes room, which may be what compaction lacks.
        if swept.is_none_or(|at| at.elapsed() >= SWEEP) {
            *swept = Some(Instant::now());
            self.compactor.sweep(self.clock.now()).await?;
        }
        compacted?;
        Ok(())
    }
}
