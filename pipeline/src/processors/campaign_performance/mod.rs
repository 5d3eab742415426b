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
mod minutes;
mod restore;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::error::ArrowError;
use castback_schemas::{AccountId, CampaignId, EpisodeId, Group, Micros, PodcastId, Slot, Topic};
use hashbrown::HashMap;

use attribution::Attributed;
use conversions::Conversion;
use minutes::Minutes;

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

/// One account: its deliveries, its conversions, and the indices between them.
#[derive(Debug, Default)]
struct AccountState {
    /// By the offset of the request.
    deliveries: BTreeMap<i64, Vec<Delivered>>,
    /// Exposures of a household: when, by which request, to which campaign.
    exposures: HashMap<Hash, BTreeSet<(Micros, i64, CampaignId)>>,
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
    /// Conversions to attribute again.
    dirty: BTreeSet<(AccountId, i64)>,
}

impl CampaignPerformance {
    /// A processor without state, for the records of `slot`.
    #[must_use]
    pub fn new(slot: Slot) -> Self {
        Self { slot, accounts: HashMap::new(), dirty: BTreeSet::new() }
    }

    /// Groups of requests were settled: says which ads were delivered, or no longer.
    ///
    /// # Errors
    /// A row can't be written.
    pub fn settled(&mut self, groups: &[Settled], directory: &Directory, out: &mut Changes) -> Result<(), ArrowError> {
        for group in groups {
            let fresh = deliveries::of(group, directory);
            let state = self.accounts.entry(group.account).or_default();
            for touch in &group.touches {
                let Ok(offset) = i64::try_from(touch.row) else { continue };
                let new = fresh.get(&offset).map_or(&[][..], Vec::as_slice);
                let old = state.deliveries.remove(&offset).unwrap_or_default();
                if old != new {
                    self.dirty.extend(state.redeliver(offset, &old, new).into_iter().map(|c| (group.account, c)));
                    rows::deliveries((group.account, self.slot, offset), (&old, new), out)?;
                }
                if !new.is_empty() {
                    state.deliveries.insert(offset, new.to_vec());
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
        for (account, offset) in std::mem::take(&mut self.dirty) {
            let Some(state) = self.accounts.get_mut(&account) else { continue };
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

    /// Everything of an account (or of all) is attributed again, as after a campaign changed.
    pub fn reattribute(&mut self, account: Option<AccountId>) {
        let wanted = self.accounts.iter().filter(|(id, _)| account.is_none_or(|account| account == **id));
        for (&id, state) in wanted {
            self.dirty.extend(state.conversions.keys().map(|offset| (id, *offset)));
        }
    }
}

impl AccountState {
    /// Replaces the deliveries of a request in the indices and minutes; answers the conversions
    /// that may see it.
    fn redeliver(&mut self, offset: i64, old: &[Delivered], new: &[Delivered]) -> BTreeSet<i64> {
        let mut seen_by = BTreeSet::new();
        for delivered in old.iter().chain(new).filter(|delivered| delivered.exposure) {
            seen_by.extend(self.by_household.get(&delivered.household).into_iter().flatten().copied());
        }
        for delivered in old {
            self.minutes.delivered(delivered, -1);
            if let Some(exposures) = self.exposures.get_mut(&delivered.household) {
                exposures.remove(&(delivered.at, offset, delivered.campaign));
            }
        }
        for delivered in new {
            self.minutes.delivered(delivered, 1);
            self.expose(offset, delivered);
        }
        self.add_refunds(&mut seen_by);
        seen_by
    }

    /// Adds the refunds of those conversions: a refund follows the credit of its order, wherever
    /// either was sent from.
    fn add_refunds(&self, changed: &mut BTreeSet<i64>) {
        let orders = changed.iter().filter_map(|offset| self.conversions.get(offset));
        let refunds = orders.filter_map(|order| self.by_transaction.get(order.transaction.as_ref()?));
        let refunds: Vec<i64> = refunds.flatten().copied().collect();
        changed.extend(refunds);
    }

    fn expose(&mut self, offset: i64, delivered: &Delivered) {
        if delivered.exposure {
            let exposures = self.exposures.entry(delivered.household).or_default();
            exposures.insert((delivered.at, offset, delivered.campaign));
        }
    }
}
