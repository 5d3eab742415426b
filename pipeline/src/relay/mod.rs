//! Relays: what happens after a commit, each with its own position, at least once.

mod advice;
mod encoders;
mod influx;
mod lag;
mod outbox;
mod reroute;
mod round;
mod topics;

use std::sync::Arc;
use std::time::Duration;

use castback_store::mirror::Mirror;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::task::Shared;
use round::Relay;

/// Starts every relay; that to the mirror if there is one.
pub(crate) fn start(
    services: &TaskTracker,
    (shared, mirror): (&Arc<Shared>, Option<Mirror>),
    owner: &str,
    stop: &CancellationToken,
) {
    let relay = |name, every| {
        let (shared, owner, stop) = (Arc::clone(shared), owner.to_owned(), stop.clone());
        Relay { name, every: Duration::from_millis(every), shared, owner, stop }
    };
    services.spawn(outbox::run(relay("outbox", 250)));
    services.spawn(topics::run(relay("topics", 250)));
    // Only outside producers put records into a wrong slot, and seldom.
    services.spawn(reroute::run(relay("reroute", 2_000)));
    services.spawn(advice::run(Arc::clone(shared), stop.clone()));
    if let Some(mirror) = mirror {
        services.spawn(influx::run(Arc::clone(shared), mirror, owner.to_owned(), stop.clone()));
    }
}
