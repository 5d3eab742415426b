//! `campaign_performance`: ads delivered, what connects conversions to them, and what that adds
//! up to.
//!
//! Like `downloads`, what it says is a function of the set of records: a group of requests that
//! was settled again gives a new set of deliveries for its rows, the difference is said; a
//! conversion whose exposures changed is attributed again, the difference is said; a minute that
//! either touched is written anew, absolute.

mod attribution;
mod conversions;
mod deliveries;
mod memory;
mod minutes;
mod names;
mod restore;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::error::ArrowError;
use castback_rules::credit::MAX_LOOKBACK_DAYS;
use castback_schemas::{AccountId, CampaignId, Day, EpisodeId, Group, Micros, PodcastId, Slot, Topic};
use hashbrown::HashMap;

use attribution::Attributed;
use conversions::{Conversion, Kind};
use memory::AtHand;
use minutes::Minutes;
pub use names::Names;

use crate::change::Changes;
use crate::days::KeyDays;
use crate::directory::Directory;
use crate::group::ProcessorSpec;
use crate::processors::downloads::Settled;

/// The processor's row.
pub const SPEC: ProcessorSpec =
    ProcessorSpec { name: "campaign_performance", group: Group::Counting, judges: Some(Topic::Conversions) };

type Hash = [u8; 16];

/// An ad delivered, by the request that completed it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Delivered {
    campaign: CampaignId,
    placement: Arc<str>,
    podcast: PodcastId,
    episode: EpisodeId,
    at: Micros,
    listener: Hash,
    household: Hash,
    position_unknown: bool,
    windows: [bool; 3],
    exposure: bool,
}

/// A request that delivered ads.
#[derive(Debug, Clone, Default)]
struct Carrier {
    /// Its event id, by which ties of time go; `None` while nobody has asked for it.
    event_id: Option<Arc<str>>,
    delivered: Vec<Delivered>,
}

/// One account: its deliveries, its conversions, and the indices between them.
#[derive(Debug, Default)]
struct AccountState {
    /// By the offset of the request.
    carriers: BTreeMap<i64, Carrier>,
    /// Exposures of a household: when, by which request.
    exposures: HashMap<Hash, BTreeSet<(Micros, i64)>>,
    /// Days with exposures of one instant whose order hangs on an event id that is not known.
    unnamed: BTreeSet<Day>,
    /// Counted conversions, by offset.
    conversions: BTreeMap<i64, Conversion>,
    /// Conversions of a household.
    by_household: HashMap<Hash, BTreeSet<i64>>,
    /// The conversion that holds an id: (data set, id) is unique for life.
    by_key: HashMap<Hash, i64>,
    by_transaction: HashMap<Box<str>, BTreeSet<i64>>,
    by_customer: HashMap<Hash, BTreeSet<i64>>,
    /// What was said of each conversion.
    attributed: HashMap<i64, Attributed>,
    minutes: Minutes,
    /// Days of data sets.
    days: HashMap<Box<str>, KeyDays>,
}

/// The processor of one slot.
#[derive(Debug)]
pub struct CampaignPerformance {
    slot: Slot,
    accounts: HashMap<AccountId, AccountState>,
    /// Days whose deliveries and minutes are in memory.
    at_hand: AtHand,
    /// Conversions to attribute again.
    dirty: BTreeSet<(AccountId, i64)>,
}

impl CampaignPerformance {
    /// A processor without state, for the records of `slot`.
    #[must_use]
    pub fn new(slot: Slot) -> Self {
        Self { slot, accounts: HashMap::new(), at_hand: AtHand::default(), dirty: BTreeSet::new() }
    }

    /// Groups of requests were settled: says which ads were delivered, or no longer. `names` knows the
    /// event ids of the requests at hand.
    ///
    /// # Errors
    /// A row can't be written.
    pub fn settled(
        &mut self,
        groups: &[Settled],
        (names, directory): (&Names<'_>, &Directory),
        out: &mut Changes,
    ) -> Result<(), ArrowError> {
        for group in groups {
            let mut fresh = deliveries::of(group, directory);
            let state = self.accounts.entry(group.account).or_default();
            for touch in &group.touches {
                let Ok(offset) = i64::try_from(touch.row) else { continue };
                let new = fresh.remove(&offset).unwrap_or_default();
                let old = state.carriers.get(&offset).map_or(&[][..], |carrier| &carrier.delivered);
                if old != new {
                    let place = (group.account, self.slot, offset);
                    let (old, changed) = state.redeliver(offset, (names, new));
                    self.dirty.extend(changed.into_iter().map(|conversion| (group.account, conversion)));
                    let new = state.carriers.get(&offset).cloned().unwrap_or_default();
                    rows::deliveries(place, (&old.delivered, &new), out)?;
                }
            }
        }
        Ok(())
    }

    /// Attributes what changed, and writes the minutes that changed.
    ///
    /// # Errors
    /// A row can't be written.
    pub fn finish(&mut self, directory: &Directory, out: &mut Changes) -> Result<(), ArrowError> {
        // A refund follows what is said of its order: so orders go first.
        let is_refund = |(account, offset): &(AccountId, i64)| {
            self.accounts.get(account).is_some_and(|state| state.is_refund(*offset))
        };
        let (refunds, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.dirty).into_iter().partition(is_refund);
        for (account, offset) in others.into_iter().chain(refunds) {
            let Some(state) = self.accounts.get_mut(&account) else { continue };
            if state.is_settled(offset, &self.at_hand) {
                continue;
            }
            if state.waits(offset, &self.at_hand) {
                self.dirty.insert((account, offset));
                continue;
            }
            let new = state.attribute(offset, account, directory);
            let old = state.attributed.remove(&offset).unwrap_or_default();
            if new != old {
                state.minutes.conversions(&old, &new);
                rows::attributed((account, self.slot, offset), (&old, &new), out)?;
            }
            if new != Attributed::default() {
                state.attributed.insert(offset, new);
            }
        }
        let mut accounts: Vec<_> = self.accounts.iter_mut().collect();
        accounts.sort_unstable_by_key(|(account, _)| **account);
        for (account, state) in accounts {
            state.minutes.write(*account, directory, out)?;
        }
        Ok(())
    }

    /// The conversions of some days, and all that exposures of these days reach, are attributed again,
    /// of an account or of all: as after a campaign changed.
    pub fn reattribute(&mut self, account: Option<AccountId>, (from, to): (Day, Day)) {
        let to = Day(to.0.saturating_add(i32::from(MAX_LOOKBACK_DAYS)));
        let wanted = self.accounts.iter().filter(|(id, _)| account.is_none_or(|account| account == **id));
        for (&id, state) in wanted {
            let of_them = state.conversions.iter().filter(|(_, other)| (from..=to).contains(&other.at.day()));
            let mut changed = of_them.map(|(offset, _)| *offset).collect();
            state.add_refunds(&mut changed);
            self.dirty.extend(changed.into_iter().map(|offset| (id, offset)));
        }
    }
}

impl AccountState {
    /// Replaces the deliveries of a request; answers what it had delivered, and the conversions
    /// that may see the change.
    fn redeliver(&mut self, offset: i64, (names, new): (&Names<'_>, Vec<Delivered>)) -> (Carrier, BTreeSet<i64>) {
        let old = self.carriers.remove(&offset).unwrap_or_default();
        let exposures = old.delivered.iter().chain(&new).filter(|delivered| delivered.exposure);
        let seen_by = self.heard_by(exposures.map(|delivered| delivered.household));
        for delivered in &old.delivered {
            self.minutes.delivered(delivered, -1);
            if let Some(exposures) = self.exposures.get_mut(&delivered.household) {
                exposures.remove(&(delivered.at, offset));
            }
        }
        for delivered in &new {
            self.minutes.delivered(delivered, 1);
        }
        if !new.is_empty() {
            let event_id = old.event_id.clone().or_else(|| names.of(offset));
            self.carry(offset, Carrier { event_id, delivered: new });
        }
        (old, seen_by)
    }

    /// The conversions of households, and their refunds.
    fn heard_by(&self, households: impl Iterator<Item = Hash>) -> BTreeSet<i64> {
        let conversions = households.filter_map(|household| self.by_household.get(&household));
        let mut conversions = conversions.flatten().copied().collect();
        self.add_refunds(&mut conversions);
        conversions
    }

    /// Adds the refunds of those conversions: a refund follows the credit of its order, wherever
    /// either was sent from.
    fn add_refunds(&self, changed: &mut BTreeSet<i64>) {
        let orders = changed.iter().filter_map(|offset| self.conversions.get(offset));
        let refunds = orders.filter_map(|order| self.by_transaction.get(order.transaction.as_ref()?));
        let refunds: Vec<i64> = refunds.flatten().copied().collect();
        changed.extend(refunds);
    }

    fn is_refund(&self, offset: i64) -> bool {
        self.conversions.get(&offset).is_some_and(|conversion| conversion.kind() == Kind::Refund)
    }
}
