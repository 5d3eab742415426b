//! The heartbeat: a time that goes on as long as this process works; whoever watches asks how old it is.
//!
//! With the role `process`, it is the publisher's last turn, and the pipeline's own. Other processes work when they are
//! called: theirs says that the threads are free that answer.

use std::sync::Arc;
use std::time::Duration;

use castback_schemas::Clock;
use castback_schemas::time::SECOND;
use prometheus::{IntGauge, Registry};
use tokio_util::sync::CancellationToken;

/// Between two beats: several within the minute after which a process counts as down.
const EVERY: Duration = Duration::from_secs(5);

/// Registers the heart and lets it beat once.
pub(crate) fn register(registry: &Registry, clock: &dyn Clock) -> Result<IntGauge, prometheus::Error> {
    let heart = IntGauge::new("castback_heartbeat_timestamp_seconds", "When this process last said that it works")?;
    registry.register(Box::new(heart.clone()))?;
    heart.set(clock.now().0.div_euclid(SECOND));
    Ok(heart)
}

/// Beats until `stop`.
pub(crate) async fn beat(heart: IntGauge, clock: Arc<dyn Clock>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => heart.set(clock.now().0.div_euclid(SECOND)),
        }
    }
}
