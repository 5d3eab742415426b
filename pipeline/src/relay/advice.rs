//! Positions to the log as advice, so that lag tools can show how far each group has come.

use std::sync::Arc;
use std::time::Duration;

use castback_schemas::{Group, Slot, Topic};
use tokio_util::sync::CancellationToken;

use super::lag::Lag;
use crate::group::GROUPS;
use crate::task::Shared;

/// How often positions are advised: lag tools look every few seconds.
const EVERY: Duration = Duration::from_secs(5);

/// Advises until `stop`, and waits for no answer then: it is asked and told anew after the next start.
pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = rounds(&shared) => {}
    }
}

async fn rounds(shared: &Shared) {
    let mut lag = Lag::default();
    loop {
        tokio::time::sleep(EVERY).await;
        let Ok(units) = shared.catalogue.units().await else { continue };
        lag.tell(shared, &units).await;
        for group in GROUPS.iter().map(|spec| spec.group) {
            let of_group = units.iter().filter(|status| status.unit.group == group);
            let positions: Vec<(Topic, Slot, i64)> = of_group
                .flat_map(|status| {
                    let positions = status.positions.0.iter();
                    positions.filter_map(|(topic, next)| Some((topic.parse().ok()?, status.unit.slot, *next)))
                })
                .collect();
            if let Err(error) = shared.log.advise(&name(group), &positions).await {
                tracing::debug!(group = group.as_str(), error = %error, "relay.advice_not_taken");
            }
        }
    }
}

/// The group's name among consumer groups.
fn name(group: Group) -> String {
    format!("castback-{}", group.as_str())
}
