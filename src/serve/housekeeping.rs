//! Housekeeping, at the start and every `UPDATE_INTERVAL`: what has expired goes, and the embedded log is shortened
//! behind what every unit has read. With each new UTC day, campaigns begin and end.

use std::sync::Arc;
use std::time::Duration;

use castback_broker::{EmbeddedLog, Floors};
use castback_catalogue::units::UnitStatus;
use castback_catalogue::{Catalogue, CatalogueError};
use castback_pipeline::group::GROUPS;
use castback_schemas::time::MINUTE;
use castback_schemas::{Clock, Day, Slot, Unit};
use tokio_util::sync::CancellationToken;

use super::metrics::AgentMetrics;
use super::parts::OpenLog;

/// The agent's name in `agent_runs` and in metrics.
const NAME: &str = "housekeeping";

/// How often it is looked whether another UTC day has begun: a campaign that ends makes room for another one.
const LOOK: Duration = Duration::from_secs(1);

/// How long to wait before campaigns that could not be moved on are tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// The lease under which one process at a time moves campaigns on, in microseconds.
const LEASE: i64 = MINUTE;

/// What housekeeping needs.
#[derive(Debug)]
pub(crate) struct Housekeeping {
    pub(crate) catalogue: Catalogue,
    pub(crate) log: OpenLog,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: AgentMetrics,
    pub(crate) interval: Duration,
    /// This process, as leases name it.
    pub(crate) owner: String,
}

impl Housekeeping {
    /// Keeps house until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        tokio::join!(self.rounds(&stop), self.days(&stop));
    }

    /// Campaigns begin and end with the days of their flights.
    async fn days(&self, stop: &CancellationToken) {
        let mut done: Option<Day> = None;
        loop {
            let today = self.clock.now().day();
            let mut pause = LOOK;
            if done != Some(today) {
                match self.advance().await {
                    Ok(true) => done = Some(today),
                    Ok(false) => pause = AGAIN,
                    Err(error) => {
                        pause = AGAIN;
                        tracing::warn!(error = %error, "campaigns could not be moved on");
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Moves campaigns on; false while another process does.
    async fn advance(&self) -> Result<bool, CatalogueError> {
        if !self.catalogue.take_lease("campaigns", &self.owner, LEASE).await? {
            return Ok(false);
        }
        for campaign in self.catalogue.advance_campaigns(self.clock.now()).await? {
            tracing::info!(campaign.id = %campaign.id, campaign.state = campaign.state.as_str(), "a campaign moved on");
        }
        self.catalogue.release_lease("campaigns", &self.owner).await?;
        Ok(true)
    }

    async fn rounds(&self, stop: &CancellationToken) {
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
        self.catalogue.prune_feed_polls().await?;
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
    use castback_broker::EmbeddedOptions;
    use castback_catalogue::campaigns::Campaign;
    use castback_catalogue::hash_keys::MonthKey;
    use castback_catalogue::people::NewUser;
    use castback_catalogue::transitions::Transition;
    use castback_catalogue::units::Positions;
    use castback_schemas::campaign::CampaignState;
    use castback_schemas::time::DAY;
    use castback_schemas::{Group, ManualClock, Micros, Topic};

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

    /// Waits until the campaign stands there.
    async fn becomes(catalogue: &Catalogue, campaign: &Campaign, state: CampaignState) {
        let end = tokio::time::Instant::now() + Duration::from_mins(1);
        while catalogue.campaign(campaign.account, campaign.id).await.unwrap().state != state {
            assert!(tokio::time::Instant::now() < end, "it does not become {state:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn keys_die_at_the_start_and_campaigns_move_with_the_days() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at("2026-03-01T12:00:00Z".parse::<Micros>().unwrap()));
        let url = format!("sqlite://{}", folder.path().join("castback.db").display());
        let catalogue = Catalogue::open(&url, clock.clone(), [1; 32]).await.unwrap();
        let log = EmbeddedLog::open(&folder.path().join("log"), clock.clone(), EmbeddedOptions::default()).unwrap();
        let person = NewUser { email: "ada@example.com".into(), password: "long enough".into(), name: String::new() };
        let account = catalogue.sign_up(person).await.unwrap().user.account;
        let terms = serde_json::from_value(serde_json::json!({
            "name": "spring", "currency": "USD", "budget": 100_000, "starts_on": "2026-03-02", "ends_on": "2026-03-03",
            "placements": [{ "id": "a", "position": "pre_roll" }], "attribution": { "promo_codes": ["SPRING"] },
        }));
        let campaign = catalogue.create_campaign(account, terms.unwrap()).await.unwrap();
        let campaign = catalogue.transition(account, campaign.id, Transition::Launch, None).await.unwrap();
        assert_eq!(campaign.state, CampaignState::Scheduled);
        let month = "2025-10-01".parse::<Day>().unwrap().month();
        clock.set(month.first_day().start());
        assert!(matches!(catalogue.month_key(month).await.unwrap(), MonthKey::Alive(_)));
        clock.set("2026-03-01T23:59:00Z".parse().unwrap());

        let house = Housekeeping {
            catalogue: catalogue.clone(),
            log: OpenLog::Embedded(Arc::new(log)),
            clock: clock.clone(),
            metrics: AgentMetrics::new(&prometheus::Registry::new()).unwrap(),
            interval: Duration::from_hours(1),
            owner: "test".to_owned(),
        };
        let stop = CancellationToken::new();
        let running = tokio::spawn(house.run(stop.clone()));
        let end = tokio::time::Instant::now() + Duration::from_mins(1);
        while catalogue.month_key(month).await.unwrap() != MonthKey::Dead {
            assert!(tokio::time::Instant::now() < end, "the key does not die");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        clock.advance(MINUTE);
        becomes(&catalogue, &campaign, CampaignState::Active).await;
        clock.advance(2 * DAY);
        becomes(&catalogue, &campaign, CampaignState::Completed).await;
        stop.cancel();
        running.await.unwrap();
    }
}
