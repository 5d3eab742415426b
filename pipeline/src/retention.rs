//! Retention: ledger rows that an account's tier no longer keeps go, and objects that never came
//! into force.
//!
//! ```text
//! tier, clock ─▶ cut-off (a UTC day's start) ─raised in the catalogue─▶ rows before it go ─▶ cleaned
//! ```
//! One process at a time, a few days of one slot at a time, once a day. The cut-off is raised first,
//! so that whoever reads from it on misses nothing; a crash in between leaves rows that the next
//! round finds. A slot whose records of that time are not judged yet waits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use castback_broker::{Log, ReadError, ReadLimits};
use castback_catalogue::retention::Kept;
use castback_catalogue::{Catalogue, CatalogueError};
use castback_schemas::time::{DAY, MINUTE};
use castback_schemas::{AccountId, Clock, Day, Micros, Slot, Unit};
use castback_store::{Compactor, Expired, Retained, StoreError};
use tokio_util::sync::CancellationToken;

use crate::group::GROUPS;
use crate::metrics::Metrics;
use crate::task::chain;

/// How often it is looked whether something is to be done.
const LOOK: Duration = Duration::from_secs(5);

/// Days of event time looked through at once: between two of these pieces of work the process may stop.
const DAYS_AT_ONCE: usize = 8;

/// The lease under which one process does this, much longer than a piece of work takes.
const LEASE: i64 = 10 * MINUTE;

/// The lease's name.
const NAME: &str = "retention";

/// How many days of the ledger each tier keeps.
#[derive(Debug, Clone, Default)]
pub struct LedgerDays(BTreeMap<String, i64>);

impl LedgerDays {
    /// From tiers and days.
    #[must_use]
    pub fn new(days: impl IntoIterator<Item = (String, i64)>) -> Self {
        Self(days.into_iter().collect())
    }

    /// The cut-off of a tier: the start of the UTC day that lies so many days back. A tier that the
    /// table does not know keeps as much as any; with an empty table nothing ever goes.
    fn cutoff(&self, tier: &str, now: Micros) -> Option<Micros> {
        let days = self.0.get(tier).or_else(|| self.0.values().max())?;
        Some(now.plus(days.saturating_mul(-DAY)).day().start())
    }
}

/// Why a piece of work failed; it is tried again.
#[derive(Debug, thiserror::Error)]
enum RetentionError {
    /// The catalogue does not answer.
    #[error("the catalogue does not answer")]
    Catalogue(#[from] CatalogueError),
    /// Rows or objects can't be removed.
    #[error("rows or objects can't be removed")]
    Store(#[from] StoreError),
    /// The log does not say what waits.
    #[error("the log does not say what waits for its verdict")]
    Log(#[from] ReadError),
}

/// What it works on and with.
#[derive(Debug)]
pub(crate) struct Retention {
    pub(crate) compactor: Compactor,
    pub(crate) catalogue: Catalogue,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) days: LedgerDays,
    pub(crate) owner: String,
    pub(crate) metrics: Metrics,
}

/// How far today's round has come.
#[derive(Debug, Default)]
struct Round {
    today: Option<Day>,
    /// Slots that are done.
    slots: BTreeSet<Slot>,
    /// The slot at work, what goes there, and what was done of it.
    at_work: Option<(Slot, Expired, Retained)>,
    swept: bool,
}

impl Retention {
    /// Works until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut round = Round::default();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(LOOK) => {}
            }
            let today = self.clock.now().day();
            if round.today != Some(today) {
                round = Round { today: Some(today), ..Round::default() };
            }
            while !round.is_done() && !stop.is_cancelled() {
                match self.step(&mut round, &stop).await {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        tracing::warn!(error = %chain(&error), "retention.failed");
                        break;
                    }
                }
            }
        }
        if let Err(error) = self.catalogue.release_lease(NAME, &self.owner).await {
            tracing::warn!(error = %error, "retention.lease_not_released");
        }
    }

    /// One piece of work; whether there may be another one at once. What the log says is not waited for after `stop`.
    async fn step(&self, round: &mut Round, stop: &CancellationToken) -> Result<bool, RetentionError> {
        if !self.catalogue.take_lease(NAME, &self.owner, LEASE).await? {
            return Ok(false);
        }
        let kept = self.catalogue.kept().await?;
        if let Some((slot, expired, done)) = round.at_work.take() {
            self.slot((slot, expired, done), round).await?;
            return Ok(true);
        }
        for slot in Slot::all().filter(|slot| !round.slots.contains(slot)).collect::<Vec<_>>() {
            let expired = self.expired(&kept, slot);
            if expired.is_empty() {
                round.slots.insert(slot);
                continue;
            }
            let newest = expired.values().map(|range| range.end).max().unwrap_or_default();
            let waits = tokio::select! {
                () = stop.cancelled() => return Ok(false),
                waits = self.waits(slot, newest) => waits?,
            };
            if waits {
                continue;
            }
            for (account, range) in &expired {
                self.catalogue.keep_from(*account, range.end).await?;
            }
            self.slot((slot, expired, Retained::default()), round).await?;
            return Ok(true);
        }
        if !round.swept {
            let orphans = self.compactor.sweep_orphans(self.clock.now()).await?;
            self.metrics.orphans_removed(orphans);
            round.swept = true;
        }
        Ok(false)
    }

    /// Who of a slot has rows past their retention.
    fn expired(&self, kept: &[Kept], slot: Slot) -> Expired {
        let now = self.clock.now();
        let expired = |kept: &Kept| {
            let to = self.days.cutoff(&kept.tier, now)?.max(kept.kept_from);
            (kept.cleaned_to < to && kept.created_at < to).then_some((kept.account, kept.cleaned_to..to))
        };
        kept.iter().filter(|kept| Slot::of(kept.account) == slot).filter_map(expired).collect()
    }

    /// Whether records of a slot appended before `cutoff` wait for their verdict.
    async fn waits(&self, slot: Slot, cutoff: Micros) -> Result<bool, RetentionError> {
        let units = self.catalogue.units().await?;
        let limits = ReadLimits { max_bytes: 1, wait: Duration::ZERO };
        for spec in GROUPS {
            let unit = units.iter().find(|status| status.unit == Unit { group: spec.group, slot });
            for topic in spec.inputs {
                let ends = self.log.ends(*topic, slot).await?;
                let position = unit.and_then(|unit| unit.positions.0.get(topic.name())).copied().unwrap_or(0);
                let first = self.log.read(*topic, slot, position.clamp(ends.start, ends.end), limits).await?;
                if first.first().is_some_and(|record| record.appended_at < cutoff) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// A few days of a slot; when they were the last ones, that is noted.
    async fn slot(
        &self,
        (slot, expired, mut done): (Slot, Expired, Retained),
        round: &mut Round,
    ) -> Result<(), RetentionError> {
        let piece = self.compactor.retain(slot, &expired, (done.next, DAYS_AT_ONCE)).await?;
        self.metrics.expired(piece.removed);
        done.add(piece);
        if done.next.is_some() {
            round.at_work = Some((slot, expired, done));
            return Ok(());
        }
        for (account, range) in &expired {
            // What had to stay is looked at again from its own time on.
            let to = done.held.get(account).map_or(range.end, |held| range.end.min(*held));
            self.catalogue.cleaned(*account, to).await?;
        }
        round.slots.insert(slot);
        let held = done.held.len();
        tracing::info!(%slot, retention.rows = done.removed, retention.held_accounts = held, "retention.slot_cleaned");
        Ok(())
    }
}

impl Round {
    fn is_done(&self) -> bool {
        self.swept && self.slots.len() == usize::from(castback_schemas::SLOTS)
    }
}

/// Of one account: the first UTC day whose rows are all kept. Late records of earlier days stay late
/// for good, since the rows that a recount would judge them by may have gone.
pub(crate) fn first_whole_day(cutoffs: &BTreeMap<AccountId, Micros>, account: AccountId) -> Day {
    cutoffs.get(&account).map_or(Day(i32::MIN), |cutoff| cutoff.plus(DAY - 1).day())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_off_is_the_start_of_a_day_and_unknown_tiers_keep_most() {
        let days = LedgerDays::new([("free".to_owned(), 30), ("starter".to_owned(), 180)]);
        let now = Day(200).start().plus(5);
        assert_eq!(days.cutoff("free", now), Some(Day(170).start()));
        assert_eq!(days.cutoff("gold", now), Some(Day(20).start()));
        assert_eq!(LedgerDays::default().cutoff("free", now), None);
    }

    #[test]
    fn a_day_is_whole_from_the_cut_off_on() {
        let account = AccountId::from_uuid(uuid::Uuid::nil());
        let from = |at| first_whole_day(&BTreeMap::from([(account, at)]), account);
        assert_eq!(from(Day(3).start()), Day(3));
        assert_eq!(from(Day(3).start().plus(1)), Day(4));
        assert_eq!(first_whole_day(&BTreeMap::new(), account), Day(i32::MIN));
    }
}
