//! What is in memory: deliveries and minutes of the days that records of open days can reach.
//!
//! An exposure and its conversion are at most the longest look-back apart. So a request of a day
//! needs the days around it, a conversion those before it; what lies farther from every open day is
//! forgotten, and read back before a record that reaches it is taken in. That changes nothing of
//! what is said: memory is the ledger's, only smaller.

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use castback_rules::credit::MAX_LOOKBACK_DAYS;
use castback_schemas::{Day, Micros};

use super::conversions::{Columns, Conversion, Kind};
use super::{AccountState, CampaignPerformance};
use crate::days::KeyDays;

/// The days at hand; `None`: every day there is.
#[derive(Debug, Default)]
pub(super) struct AtHand(Option<BTreeSet<Day>>);

impl AtHand {
    pub(super) fn holds(&self, day: Day) -> bool {
        self.0.as_ref().is_none_or(|days| days.contains(&day))
    }

    /// Whether everything is at hand that a conversion may be attributed to.
    pub(super) fn reaches(&self, conversion: Micros) -> bool {
        before(conversion).all(|day| self.holds(day))
    }
}

/// The days whose exposures and downloads a request can change, or be changed by.
fn around(day: Day) -> impl Iterator<Item = Day> {
    let reach = i32::from(MAX_LOOKBACK_DAYS);
    (day.0.saturating_sub(reach)..=day.0.saturating_add(reach)).map(Day)
}

/// The days of the exposures that a conversion may be attributed to, and its own.
fn before(conversion: Micros) -> impl Iterator<Item = Day> {
    let day = conversion.day();
    (day.0.saturating_sub(i32::from(MAX_LOOKBACK_DAYS))..=day.0).map(Day)
}

impl CampaignPerformance {
    /// Of the days that requests of these days reach, those that are not at hand.
    #[must_use]
    pub fn lacks(&self, days: impl IntoIterator<Item = Day>) -> BTreeSet<Day> {
        let days: BTreeSet<Day> = days.into_iter().collect();
        days.into_iter().flat_map(around).filter(|day| !self.at_hand.holds(*day)).collect()
    }

    /// Of the days that these conversions reach, those that are not at hand.
    ///
    /// # Errors
    /// The batch is not in the ledger's shape.
    pub fn lacks_for(&self, batch: &RecordBatch) -> Result<BTreeSet<Day>, ArrowError> {
        let mut days = BTreeSet::new();
        let columns = Columns::of(batch)?;
        for row in 0..batch.num_rows() {
            let Some(account) = self.account_of(columns.account.value(row)) else { continue };
            let conversion = columns.conversion(row)?;
            days.extend(before(conversion.at));
            let Some(state) = self.accounts.get(&account) else { continue };
            state.reach_of(&conversion, &mut days);
            let holder = state.by_key.get(&columns.key(row)?).and_then(|offset| state.conversions.get(offset));
            if let Some(holder) = holder {
                days.insert(holder.at.day());
                state.reach_of(holder, &mut days);
            }
        }
        days.retain(|day| !self.at_hand.holds(*day));
        Ok(days)
    }

    /// The days that records of open days can reach: those of conversions, and `requests`.
    #[must_use]
    pub fn needs(&self, requests: impl IntoIterator<Item = Day>) -> BTreeSet<Day> {
        let requests: BTreeSet<Day> = requests.into_iter().collect();
        let data_sets = self.accounts.values().flat_map(|state| state.days.values());
        let conversions: BTreeSet<Day> = data_sets.flat_map(KeyDays::open).collect();
        let conversions = conversions.into_iter().flat_map(|day| before(day.start()));
        requests.into_iter().flat_map(around).chain(conversions).collect()
    }

    /// Takes back days that are not at hand: what of them is committed, which is all of them.
    ///
    /// # Errors
    /// A row can't be read.
    pub fn recall(
        &mut self,
        days: &BTreeSet<Day>,
        (deliveries, minutes): (&[RecordBatch], &[RecordBatch]),
    ) -> Result<(), ArrowError> {
        deliveries.iter().try_for_each(|batch| self.know_deliveries(batch))?;
        minutes.iter().try_for_each(|batch| self.know_minutes(batch))?;
        if let Some(at_hand) = &mut self.at_hand.0 {
            at_hand.extend(days);
        }
        Ok(())
    }

    /// Days of refunds that follow orders which exposures have changed, and that are not at hand: a refund
    /// may be any time after its order. Once recalled, [`Self::finish`] attributes them.
    #[must_use]
    pub fn waits(&self) -> BTreeSet<Day> {
        let waiting = self.dirty.iter().filter_map(|(account, offset)| {
            let state = self.accounts.get(account)?;
            state.waits(*offset, &self.at_hand).then_some(())?;
            Some(state.conversions.get(offset)?.at.day())
        });
        waiting.collect()
    }

    /// Forgets all but these days. What was said of them must be committed before they are recalled.
    pub fn keep(&mut self, mut days: BTreeSet<Day>) {
        days.retain(|day| self.at_hand.holds(*day));
        for state in self.accounts.values_mut() {
            state.keep(&days);
        }
        self.at_hand = AtHand(Some(days));
    }
}

impl AccountState {
    /// Days of what a conversion may change: refunds and orders of its transaction and customer.
    fn reach_of(&self, conversion: &Conversion, days: &mut BTreeSet<Day>) {
        for other in self.related(conversion).iter().filter_map(|offset| self.conversions.get(offset)) {
            if other.kind() == Kind::Refund || conversion.at <= other.at {
                days.extend(before(other.at));
            }
        }
    }

    /// Whether a conversion lies so far from what is open that nothing which comes now can change it:
    /// what it, or the order that it takes back, may be attributed to is not at hand.
    pub(super) fn is_settled(&self, offset: i64, at_hand: &AtHand) -> bool {
        let Some(conversion) = self.conversions.get(&offset) else { return false };
        let order = self.refunded(conversion).and_then(|order| self.conversions.get(&order));
        let is_new = !self.attributed.contains_key(&offset);
        !(at_hand.reaches(order.unwrap_or(conversion).at) || order.is_some() && is_new)
    }

    /// Whether a conversion is to be attributed again, but its own day is not at hand.
    pub(super) fn waits(&self, offset: i64, at_hand: &AtHand) -> bool {
        let day = self.conversions.get(&offset).map(|conversion| conversion.at.day());
        day.is_some_and(|day| !at_hand.holds(day)) && !self.is_settled(offset, at_hand)
    }

    fn keep(&mut self, days: &BTreeSet<Day>) {
        let kept = |at: &Micros| days.contains(&at.day());
        self.carriers.retain(|_, carrier| carrier.delivered.first().is_some_and(|delivered| kept(&delivered.at)));
        self.exposures.retain(|_, exposures| {
            exposures.retain(|(at, _)| kept(at));
            !exposures.is_empty()
        });
        self.unnamed.retain(|day| days.contains(day));
        self.minutes.keep(days);
    }
}
