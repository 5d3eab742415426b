//! What runs beside the answers: feeds are polled, reports made, the balance watched, the house kept.

use std::sync::Arc;
use std::time::Duration;

use castback_api::App;
use castback_connectors::agent::Polled;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::housekeeping::Housekeeping;
use super::metrics::AgentMetrics;
use super::parts::Parts;
use crate::settings::Settings;

/// Starts the agents; they end with `stop`.
pub(crate) fn start(
    settings: &Settings,
    (parts, app): (&Parts, &Arc<App>),
    metrics: AgentMetrics,
    stop: &CancellationToken,
) -> TaskTracker {
    let agents = TaskTracker::new();
    agents.spawn(poll(Arc::clone(app), parts.owner.clone(), metrics.clone(), stop.clone()));
    agents.spawn(make_reports(Arc::clone(app), stop.clone()));
    agents.spawn(watch_balance(Arc::clone(app), stop.clone()));
    let house = Housekeeping {
        catalogue: parts.catalogue.clone(),
        log: parts.log.clone(),
        clock: Arc::clone(&parts.clock),
        metrics,
        owner: parts.owner.clone(),
        interval: Duration::from_secs(settings.update_interval.into()),
    };
    agents.spawn(house.run(stop.clone()));
    agents.close();
    agents
}

async fn poll(app: Arc<App>, owner: String, metrics: AgentMetrics, stop: CancellationToken) {
    let seen = |polled: Polled| {
        metrics.polled(polled.outcome);
        if let Some(after) = polled.onboarded {
            app.metrics.onboarded(after);
        }
    };
    app.poller.run(&owner, stop, seen).await;
}

async fn make_reports(app: Arc<App>, stop: CancellationToken) {
    if let Err(error) = castback_api::report_jobs::run(app, stop).await {
        tracing::error!(error = %error, "reports are not made: their metrics can't be registered");
    }
}

async fn watch_balance(app: Arc<App>, stop: CancellationToken) {
    if let Err(error) = castback_api::watch_balance(app, stop).await {
        tracing::error!(error = %error, "the balance is not watched: its metric can't be registered");
    }
}
