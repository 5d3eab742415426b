//! Housekeeping, every `UPDATE_INTERVAL`: what has expired goes, and the embedded log is shortened behind what every
//! unit has read.

use std::sync::Arc;
use std::time::Duration;

use castback_broker::{EmbeddedLog, Floors};
use castback_catalogue::Catalogue;
use castback_catalogue::units::UnitStatus;
use castback_pipeline::group::GROUPS;
use castback_schemas::{Clock, Slot, Unit};
use tokio_util::sync::CancellationToken;

use super::metrics::AgentMetrics;
use super::parts::OpenLog;

/// The agent's name in `agent_runs` and in metrics.
const NAME: &str = "housekeeping";

/// What housekeeping needs.
#[derive(Debug)]
pub(crate) struct Housekeeping {
    pub(crate) catalogue: Catalogue,
    pub(crate) log: OpenLog,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: AgentMetrics,
    pub(crate) interval: Duration,
}

impl Housekeeping {
    /// Keeps house until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(self.interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let done = self.round().await;
            let seconds = f64::from(u32::try_from(self.clock.now().0 / 1_000_000).unwrap_or(u32::MAX));
            self.metrics.ran(NAME, done.is_ok(), seconds);
            if let Err(error) = done {
                tracing::warn!(error = format!("{error:#}"), "housekeeping was not finished");
            }
        }
    }

    /// One round, noted in the catalogue.
    async fn round(&self) -> anyhow::Result<()> {
        let run = self.catalogue.start_agent_run(NAME).await?;
        let done = self.clean().await;
        let (outcome, detail) = match &done {
            Ok(detail) => ("succeeded", detail.clone()),
            Err(error) => ("failed", error.to_string()),
        };
        self.catalogue.finish_agent_run(run, outcome, &detail).await?;
        done.map(|_| ())
    }

    async fn clean(&self) -> anyhow::Result<String> {
        self.catalogue.prune_sessions().await?;
        self.catalogue.prune_requests().await?;
        let dead = self.catalogue.expire_keys(self.clock.now()).await?.len();
        let dropped = match &self.log {
            OpenLog::Embedded(log) => retain(&self.catalogue, log).await?,
            OpenLog::Kafka(_) => 0,
        };
        Ok(format!("{dead} monthly keys destroyed, {dropped} pieces of the log dropped"))
    }
}

async fn retain(catalogue: &Catalogue, log: &EmbeddedLog) -> anyhow::Result<usize> {
    let units = catalogue.units().await?;
    Ok(log.retain(&floors(&units)).await?)
}

/// The lowest offset that a unit of any group still needs: the whole log for a group that has not begun.
fn floors(units: &[UnitStatus]) -> Floors {
    let mut floors = Floors::new();
    for spec in GROUPS {
        for slot in Slot::all() {
            let unit = units.iter().find(|status| status.unit == Unit { group: spec.group, slot });
            for topic in spec.inputs {
                let position = unit.and_then(|unit| unit.positions.0.get(topic.name())).copied().unwrap_or(0);
                let floor = floors.entry((*topic, slot)).or_insert(position);
                *floor = position.min(*floor);
            }
        }
    }
    floors
}

#[cfg(test)]
mod tests {
    use castback_catalogue::units::Positions;
    use castback_schemas::{Group, Topic};

    use super::*;

    fn status(group: Group, slot: u16, positions: &[(Topic, i64)]) -> UnitStatus {
        let positions = positions.iter().map(|(topic, position)| (topic.name().to_owned(), *position)).collect();
        UnitStatus { unit: Unit { group, slot: Slot(slot) }, owner: None, epoch: 1, positions: Positions(positions) }
    }

    #[test]
    fn the_slowest_unit_holds_the_log() {
        let topic = Topic::ListenerRequests;
        let units = [status(Group::Counting, 3, &[(topic, 50)]), status(Group::Tally, 3, &[(topic, 20)])];
        let floors = floors(&units);
        assert_eq!(floors.get(&(topic, Slot(3))), Some(&20));
        assert_eq!(floors.get(&(topic, Slot(4))), Some(&0), "a group that has not begun holds everything");
        assert_eq!(floors.get(&(Topic::CampaignPerformance, Slot(3))), None, "nobody of ours reads it");
    }
}
