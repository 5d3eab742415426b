//! Removing what nothing refers to.

use std::collections::BTreeSet;
use std::sync::PoisonError;

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

    /// Removes objects that never came into force (a crash or a fenced commit left them): older than
    /// an hour, and unknown to the catalogue at two sweeps an hour apart. A commit whose transaction
    /// could not be made for longer than that is tried again as soon as the catalogue answers, so its
    /// object is known by the second. Returns how many went; asks for every object: nightly.
    ///
    /// # Errors
    /// The catalogue's or the object store's; the rest waits for the next sweep.
    pub async fn sweep_orphans(&self, now: Micros) -> Result<usize> {
        let mut unknown = BTreeSet::new();
        for prefix in ["commits", "segments"] {
            for key in self.store.objects().written_before(prefix, now.plus(-GRACE)).await? {
                if !self.catalogue.knows_object(&key).await? {
                    unknown.insert(key);
                }
            }
        }
        let orphans = self.suspect(unknown, now);
        for key in &orphans {
            self.store.objects().remove(key).await?;
        }
        Ok(orphans.len())
    }

    /// Remembers what nothing refers to; answers what was suspect an hour ago.
    fn suspect(&self, unknown: BTreeSet<String>, now: Micros) -> Vec<String> {
        let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        suspects.retain(|key, _| unknown.contains(key));
        let mut orphans = Vec::new();
        for key in unknown {
            let since = suspects.entry(key.clone()).or_insert(now);
            if since.plus(GRACE) <= now {
                orphans.push(key);
            }
        }
        suspects.retain(|key, _| !orphans.contains(key));
        orphans
    }
}
