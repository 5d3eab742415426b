//! Relays: what happens after a commit, each with its own position, at least once.

mod advice;
mod encoders;
mod outbox;
mod reroute;
mod topics;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::task::Shared;

/// Starts every relay.
pub(crate) fn start(services: &TaskTracker, shared: &Arc<Shared>, owner: &str, stop: &CancellationToken) {
    services.spawn(outbox::run(Arc::clone(shared), owner.to_owned(), stop.clone()));
    services.spawn(topics::run(Arc::clone(shared), owner.to_owned(), stop.clone()));
    services.spawn(reroute::run(Arc::clone(shared), owner.to_owned(), stop.clone()));
    services.spawn(advice::run(Arc::clone(shared), stop.clone()));
}
