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

#[cfg(test)]
mod tests {
    use castback_schemas::id::SeededIds;
    use castback_schemas::time::SECOND;
    use castback_schemas::{ManualClock, Micros};
    use castback_store::Store;

    use super::*;

    /// A process of an installation in `folder`.
    async fn process(folder: &tempfile::TempDir, owner: &str, seed: u8) -> Compaction {
        let clock = Arc::new(ManualClock::at(Micros(1_772_366_400_000_000)));
        let url = format!("sqlite://{}", folder.path().join("castback.db").display());
        let catalogue = Catalogue::open(&url, clock.clone(), [seed; 32]).await.unwrap();
        let store = Store::open(&format!("file://{}", folder.path().join("objects").display())).unwrap();
        let ids = Arc::new(SeededIds::new([seed; 32]));
        let compactor = Compactor::new(store, catalogue.clone(), clock.clone(), ids);
        Compaction { compactor, catalogue, clock, owner: owner.to_owned(), exclusive: false }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_process_compacts_and_another_when_its_lease_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (process(&folder, "first", 1).await, process(&folder, "second", 2).await);
        // One that has died held it for a little longer.
        assert!(first.catalogue.take_lease(NAME, "dead", 2 * SECOND).await.unwrap());
        let (mut of_first, mut of_second) = (None, None);
        first.round(&mut of_first).await.unwrap();
        assert!(of_first.is_none(), "the dead one may be at it yet");
        let end = Instant::now() + Duration::from_mins(1);
        while of_first.is_none() {
            assert!(Instant::now() < end, "the lease never ends");
            tokio::time::sleep(Duration::from_millis(20)).await;
            first.round(&mut of_first).await.unwrap();
        }
        second.round(&mut of_second).await.unwrap();
        assert!(of_second.is_none(), "both are at it");
        // One that stops as it should leaves it at once.
        let stop = CancellationToken::new();
        stop.cancel();
        first.run(stop).await;
        second.round(&mut of_second).await.unwrap();
        assert!(of_second.is_some(), "nobody is at it");
    }
}
