//! Removing what nothing refers to.

use castback_schemas::Micros;
use castback_schemas::time::HOUR;

use super::Compactor;
use crate::error::Result;

/// How long a replaced object lives on: longer than any query that pinned a view with it.
const GRACE: i64 = HOUR;

impl Compactor {
    /// Removes the objects that were replaced more than an hour before `now`; returns how many.
    ///
    /// # Errors
    /// The catalogue's or the object store's; the rest waits for the next sweep.
    pub async fn sweep(&self, now: Micros) -> Result<usize> {
        let keys = self.catalogue.removed_before(now.plus(-GRACE)).await?;
        for key in &keys {
            self.store.objects().remove(key).await?;
        }
        if !keys.is_empty() {
            self.catalogue.forget_objects(&keys).await?;
        }
        Ok(keys.len())
    }

    /// Removes objects that never came into force (a crash or a fenced commit left them), once
    /// they are older than an hour; returns how many. Asks the catalogue for every object: nightly.
    ///
    /// # Errors
    /// The catalogue's or the object store's; the rest waits for the next sweep.
    pub async fn sweep_orphans(&self, now: Micros) -> Result<usize> {
        let mut removed = 0;
        for prefix in ["commits", "segments"] {
            for key in self.store.objects().written_before(prefix, now.plus(-GRACE)).await? {
                if !self.catalogue.knows_object(&key).await? {
                    self.store.objects().remove(&key).await?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }
}
