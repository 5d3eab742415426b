//! Relays: what happens after a commit, each with its own position, at least once.

mod advice;
mod encoders;
mod influx;
mod outbox;
mod reroute;
mod topics;

use std::sync::Arc;

use castback_store::mirror::Mirror;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::task::Shared;

/// Starts every relay; that to the mirror if there is one.
pub(crate) fn start(
    services: &TaskTracker,
    (shared, mirror): (&Arc<Shared>, Option<Mirror>),
    owner: &str,
    stop: &CancellationToken,
) {
    services.spawn(outbox::run(Arc::clone(shared), owner.to_owned(), stop.clone()));
    services.spawn(topics::run(Arc::clone(shared), owner.to_owned(), stop.clone()));
    services.spawn(reroute::run(Arc::clone(shared), owner.to_owned(), stop.clone()));
    services.spawn(advice::run(Arc::clone(shared), stop.clone()));
    if let Some(mirror) = mirror {
        services.spawn(influx::run(Arc::clone(shared), mirror, owner.to_owned(), stop.clone()));
    }
}
