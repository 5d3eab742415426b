//! `castback_balance_difference`: whether the books balance, looked at again and again.
//!
//! The tally and the verdicts are seldom at the same record, so what lies between their positions is taken off. The
//! positions are those of the view that is weighed if they are the same before and after it.

use std::sync::Arc;
use std::time::Duration;

use castback_catalogue::units::{Positions, UnitStatus};
use castback_schemas::{Group, Slot, Topic, Unit};
use castback_store::balance::{Balances, Cutoffs};
use prometheus::{IntGaugeVec, Opts};
use tokio_util::sync::CancellationToken;

use super::balance::{JUDGED, kept, position};
use crate::App;
use crate::identity::Scope;
use crate::problem::Result;

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(15);

/// Looks at most, until no position moves meanwhile; then the next round has its turn.
const LOOKS: usize = 10;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// Tells the difference of each topic until `stop`; what can't be known stays as it was.
///
/// # Errors
/// The metric is registered already.
pub async fn run(app: Arc<App>, stop: CancellationToken) -> std::result::Result<(), prometheus::Error> {
    let told = Opts::new("balance_difference", "Accepted records less verdicts: 0, or records were lost or doubled");
    let told = IntGaugeVec::new(told.namespace("castback"), &["topic"])?;
    app.registry.register(Box::new(told.clone()))?;
    for (topic, _) in JUDGED {
        told.with_label_values(&[topic.name()]).set(0);
    }
    loop {
        match look(&app).await {
            Ok(found) => {
                for (topic, difference) in found {
                    told.with_label_values(&[topic.name()]).set(difference);
                    if difference != 0 {
                        tracing::error!(topic = topic.name(), difference, "the balance is broken");
                    }
                }
            }
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
    for _ in 0..LOOKS {
        let kept_before = kept(app, Scope::All).await?;
        let before = app.catalogue.units().await?;
        let view = app.reads.pinned(&app.catalogue).await?;
        let after = app.catalogue.units().await?;
        let kept_after = kept(app, Scope::All).await?;
        // While rows before a cut-off go, the two sides may be of different hours.
        let is_clean = kept_before == kept_after && kept_after.iter().all(|kept| kept.cleaned_to >= kept.kept_from);
        if is_clean && places(&before) == places(&after) {
            let cutoffs: Cutoffs = kept_before.into_iter().map(|kept| (kept.account, kept.kept_from)).collect();
            let balances = app.store.balance_of_all(&view, Scope::All.into(), &cutoffs).await?;
            return Ok(balances.map(|balances| differences(&balances, &before)).unwrap_or_default());
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(Vec::new())
}

/// Where each unit stands, whoever holds it.
fn places(units: &[UnitStatus]) -> Vec<(Unit, &Positions)> {
    let mut places: Vec<_> = units.iter().map(|status| (status.unit, &status.positions)).collect();
    places.sort_unstable_by_key(|(unit, _)| *unit);
    places
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
    use castback_store::balance::Balance;

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

    #[tokio::test]
    async fn an_idle_installation_balances() {
        let bench = Bench::new().await;
        let found = look(&bench.app).await.unwrap();
        assert_eq!(found, JUDGED.map(|(topic, _)| (topic, 0)));
    }
}
