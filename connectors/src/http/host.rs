//! One request per host at a time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// Hosts remembered before those that nobody uses are forgotten. Those in use are as many as requests
/// under way, which the caller bounds.
const SWEEP_ABOVE: usize = 1024;

/// A turn at each host.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    turns: Mutex<HashMap<String, Arc<AsyncMutex<()>>>>,
}

impl Hosts {
    /// Waits for the turn at `host`; it ends when the answer is dropped.
    pub(super) async fn turn(&self, host: &str) -> OwnedMutexGuard<()> {
        let turn = self.entry(host);
        turn.lock_owned().await
    }

    fn entry(&self, host: &str) -> Arc<AsyncMutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.len() >= SWEEP_ABOVE {
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        }
        Arc::clone(turns.entry(host.to_owned()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_host_is_asked_by_one_at_a_time_and_others_do_not_wait() {
        let hosts = Arc::new(Hosts::default());
        let first = hosts.turn("a.example").await;
        let mut second = Box::pin(hosts.turn("a.example"));
        assert!(futures::poll!(&mut second).is_pending());
        let other = hosts.turn("b.example").await;
        drop(first);
        let second = second.await;
        assert!(futures::poll!(Box::pin(hosts.turn("a.example"))).is_pending());
        drop((second, other));
    }

    #[tokio::test]
    async fn hosts_without_a_request_are_forgotten() {
        let hosts = Hosts::default();
        let held = hosts.turn("held.example").await;
        for number in 0..3 * SWEEP_ABOVE {
            drop(hosts.turn(&format!("{number}.example")).await);
        }
        assert!(hosts.turns.lock().unwrap().len() <= SWEEP_ABOVE);
        assert!(futures::poll!(Box::pin(hosts.turn("held.example"))).is_pending());
        drop(held);
    }
}
