//! Positions to the log as advice, so that lag tools can show how far each group has come.

use std::sync::Arc;
use std::time::Duration;

use castback_broker::{Log, ReadError};
use castback_catalogue::units::UnitStatus;
use castback_schemas::{Group, Slot, Topic};
use tokio_util::sync::CancellationToken;

use crate::group::{GROUPS, PROCESSORS, judge_of};
use crate::task::Shared;

/// How often positions are advised: lag tools look every few seconds.
const EVERY: Duration = Duration::from_secs(5);

pub(super) async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        let Ok(units) = shared.catalogue.units().await else { continue };
        lag(&shared, &units).await;
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

/// Tells how many records of each topic wait for their verdicts. What is not known stays as it was.
async fn lag(shared: &Shared, units: &[UnitStatus]) {
    for topic in PROCESSORS.iter().filter_map(|processor| processor.judges) {
        match waiting(shared.log.as_ref(), units, topic).await {
            Ok(Some(records)) => shared.metrics.lags(topic, records),
            Ok(None) => {}
            Err(error) => tracing::debug!(topic = %topic, error = %error, "relay.lag_unknown"),
        }
    }
}

/// How many records of a topic wait for their verdicts, if any group judges them.
async fn waiting(log: &dyn Log, units: &[UnitStatus], topic: Topic) -> Result<Option<i64>, ReadError> {
    let Some(group) = judge_of(topic) else { return Ok(None) };
    let mut waiting = 0;
    for status in units.iter().filter(|status| status.unit.group == group) {
        let position = status.positions.0.get(topic.name()).copied().unwrap_or(0);
        waiting += (log.ends(topic, status.unit.slot).await?.end - position).max(0);
    }
    Ok(Some(waiting))
}

/// The group's name among consumer groups.
fn name(group: Group) -> String {
    format!("castback-{}", group.as_str())
}
