//! `castback_balance_difference`: whether the books balance, looked at again and again, and
//! `castback_balance_checked_timestamp_seconds`: when that was last seen.
//!
//! The tally and the verdicts are seldom at the same record, so what lies between their positions is taken off. Rows and
//! positions are those of one commit, so that it can be seen under any load.

use std::sync::Arc;
use std::time::Duration;

use castback_catalogue::units::UnitStatus;
use castback_schemas::time::SECOND;
use castback_schemas::{Group, Micros, Slot, Topic, Unit};
use castback_store::balance::{Balances, Cutoffs};
use prometheus::{IntGaugeVec, Opts, Registry};
use tokio_util::sync::CancellationToken;

use super::balance::{JUDGED, kept, position};
use crate::App;
use crate::identity::Scope;
use crate::problem::Result;

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(15);

/// What is told, by topic.
#[derive(Debug)]
struct Told {
    difference: IntGaugeVec,
    checked: IntGaugeVec,
}

impl Told {
    /// Nothing is known to be wrong at the start, and it is looked from then on.
    fn register(registry: &Registry, now: Micros) -> std::result::Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| {
            let gauge = IntGaugeVec::new(Opts::new(name, help).namespace("castback"), &["topic"])?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let told = Self {
            difference: gauge(
                "balance_difference",
                "Accepted records less verdicts: 0, or records were lost or doubled",
            )?,
            checked: gauge(
                "balance_checked_timestamp_seconds",
                "When the difference was last known, as Unix time; at first, since when it is looked for",
            )?,
        };
        told.tell(&JUDGED.map(|(topic, _)| (topic, 0)), now);
        Ok(told)
    }

    /// Tells what was found; what was not stays as old as it is.
    fn tell(&self, found: &[(Topic, i64)], now: Micros) {
        for (topic, difference) in found {
            self.difference.with_label_values(&[topic.name()]).set(*difference);
            self.checked.with_label_values(&[topic.name()]).set(now.0 / SECOND);
            if *difference != 0 {
                tracing::error!(topic = topic.name(), difference, "the balance is broken");
            }
        }
    }
}

/// Tells the difference of each topic, and when it was known, until `stop`.
///
/// # Errors
/// A metric is registered already.
pub async fn run(app: Arc<App>, stop: CancellationToken) -> std::result::Result<(), prometheus::Error> {
    let told = Told::register(&app.registry, app.clock.now())?;
    loop {
        let now = app.clock.now();
        let found = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            found = look(&app) => found,
        };
        match found {
            Ok(found) => told.tell(&found, now),
            Err(problem) => tracing::warn!(problem = ?problem, "the balance can't be weighed"),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

/// The differences, as far as they can be known now.
async fn look(app: &App) -> Result<Vec<(Topic, i64)>> {
    let before = kept(app, Scope::All).await?;
    let (view, units) = app.reads.pinned_with_units(&app.catalogue).await?;
    let after = kept(app, Scope::All).await?;
    // While rows before a cut-off go, the two sides may be of different hours.
    let is_clean = before == after && after.iter().all(|kept| kept.cleaned_to >= kept.kept_from);
    if !is_clean {
        return Ok(Vec::new());
    }
    let cutoffs: Cutoffs = after.into_iter().map(|kept| (kept.account, kept.kept_from)).collect();
    let balances = app.store.balance_of_all(&view, Scope::All.into(), &cutoffs).await?;
    Ok(balances.map(|balances| differences(&balances, &units)).unwrap_or_default())
}

/// Accepted less judged, less what the tally is ahead: of the topics of which every position is known.
fn differences(balances: &Balances, units: &[UnitStatus]) -> Vec<(Topic, i64)> {
    let of_topic = |(topic, judges): (Topic, Group)| {
        let mut ahead = 0;
        for slot in Slot::all() {
            let at = |group| position(units, Unit { group, slot }, topic);
            match (at(Group::Tally), at(judges)) {
                (Some(tally), Some(judged)) => ahead += tally - judged,
                (None, None) => {}
                _ => return None,
            }
        }
        let balance = balances.get(&topic).copied().unwrap_or_default();
        Some((topic, balance.accepted - balance.judged() - ahead))
    };
    JUDGED.into_iter().filter_map(of_topic).collect()
}

#[cfg(test)]
mod tests {
    use castback_catalogue::units::Positions;
    use castback_store::balance::Balance;
    use futures::FutureExt;

    use super::*;
    use crate::tests::Bench;

    const TOPIC: Topic = Topic::ListenerRequests;

    fn unit(group: Group, position: i64) -> UnitStatus {
        let positions = Positions([(TOPIC.name().to_owned(), position)].into());
        UnitStatus { unit: Unit { group, slot: Slot(3) }, owner: None, epoch: 1, positions }
    }

    fn difference(accepted: i64, counted: i64, units: &[UnitStatus]) -> Option<i64> {
        let balances = [(TOPIC, Balance { accepted, counted, ..Balance::default() })].into();
        differences(&balances, units).into_iter().find(|(topic, _)| *topic == TOPIC).map(|(_, difference)| difference)
    }

    #[test]
    fn what_the_tally_has_not_come_to_is_no_difference() {
        let (tally, judges) = (unit(Group::Tally, 8), unit(Group::Counting, 10));
        assert_eq!(difference(8, 10, &[tally.clone(), judges.clone()]), Some(0));
        assert_eq!(difference(8, 9, &[tally.clone(), judges.clone()]), Some(1), "a record has no verdict");
        assert_eq!(difference(8, 11, &[tally, judges.clone()]), Some(-1), "a record has two");
        assert_eq!(difference(0, 10, &[judges]), None, "nothing is tallied yet");
    }

    #[test]
    fn what_is_not_known_is_as_old_as_it_is() {
        let told = Told::register(&Registry::new(), Micros(5 * SECOND)).unwrap();
        told.tell(&[(TOPIC, -2)], Micros(9 * SECOND));
        let of = |topic: Topic| {
            [&told.difference, &told.checked].map(|gauge| gauge.with_label_values(&[topic.name()]).get())
        };
        assert_eq!(of(TOPIC), [-2, 9]);
        assert_eq!(of(Topic::Conversions), [0, 5]);
    }

    #[tokio::test]
    async fn a_stop_waits_for_no_look() {
        let bench = Bench::new().await;
        let stop = CancellationToken::new();
        stop.cancel();
        let ended = run(Arc::clone(&bench.app), stop).now_or_never();
        assert!(matches!(ended, Some(Ok(()))), "{ended:?}");
    }

    #[tokio::test]
    async fn an_idle_installation_balances() {
        let bench = Bench::new().await;
        let found = look(&bench.app).await.unwrap();
        assert_eq!(found, JUDGED.map(|(topic, _)| (topic, 0)));
    }
}
