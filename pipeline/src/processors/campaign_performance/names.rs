//! Event ids of requests that delivered an ad: exposures of one instant go in their order.
//!
//! An id is known while its request is at hand. A request that delivers an ad only later, when another
//! made it count, is unnamed; where an exposure of the same household and instant makes its id matter,
//! it is read back from the ledger.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;
use castback_schemas::Day;

use super::conversions::Columns;
use super::{AccountState, CampaignPerformance, Carrier, Hash, rows};
use crate::change::Changes;

/// The event ids of a batch from the log.
#[derive(Debug, Default)]
pub struct Names<'a>(Option<(&'a Int64Array, &'a StringArray)>);

impl<'a> Names<'a> {
    /// The ids of `batch`, whose rows lie in the order of the log.
    #[must_use]
    pub fn of_batch(batch: &'a RecordBatch) -> Self {
        let offsets = batch.column_by_name("offset").and_then(|column| column.as_primitive_opt::<Int64Type>());
        let ids = batch.column_by_name("event_id").and_then(|column| column.as_string_opt::<i32>());
        Self(offsets.zip(ids))
    }

    /// The event id of the request at an offset.
    pub(super) fn of(&self, offset: i64) -> Option<Arc<str>> {
        let (offsets, ids) = self.0?;
        offsets.values().binary_search(&offset).ok().map(|row| ids.value(row).into())
    }
}

impl AccountState {
    /// Puts a request that delivered ads in place.
    pub(super) fn carry(&mut self, offset: i64, carrier: Carrier) {
        let heard = carrier.delivered.iter().find(|delivered| delivered.exposure);
        let heard = heard.map(|delivered| (delivered.household, delivered.at));
        self.carriers.insert(offset, carrier);
        let Some((household, at)) = heard else { return };
        let exposures = self.exposures.entry(household).or_default();
        exposures.insert((at, offset));
        let at_once = exposures.range((at, i64::MIN)..=(at, i64::MAX)).map(|(_, offset)| offset);
        let unnamed = |offset: &i64| self.carriers.get(offset).is_some_and(|carrier| carrier.event_id.is_none());
        if at_once.clone().count() > 1 && at_once.into_iter().any(unnamed) {
            self.unnamed.insert(at.day());
        }
    }
}

impl CampaignPerformance {
    /// Days whose requests must be named ([`Self::name`]), in order.
    #[must_use]
    pub fn unnamed(&self) -> BTreeSet<Day> {
        self.accounts.values().flat_map(|state| &state.unnamed).copied().collect()
    }

    /// Names requests that delivered an ad on `day`, from the ledger rows of that day.
    ///
    /// # Errors
    /// A row can't be read or written.
    pub fn name(&mut self, day: Day, requests: &[RecordBatch], out: &mut Changes) -> Result<(), ArrowError> {
        for batch in requests {
            let columns = Columns::of(batch)?;
            for row in 0..batch.num_rows() {
                let (Some(account), offset) = (self.account_of(columns.account.value(row)), columns.offset.value(row))
                else {
                    continue;
                };
                let unnamed = |state: &&mut AccountState| state.unnamed.contains(&day);
                let Some(state) = self.accounts.get_mut(&account).filter(unnamed) else { continue };
                let Some(id) = columns.text("event_id", row)? else { continue };
                let Some(carrier) = state.carriers.get_mut(&offset).filter(|carrier| carrier.event_id.is_none()) else {
                    continue;
                };
                carrier.event_id = Some(id.into());
                rows::deliveries((account, self.slot, offset), (&[], carrier), out)?;
                let households: Vec<Hash> = carrier.delivered.iter().map(|delivered| delivered.household).collect();
                let heard_by = state.heard_by(households.into_iter());
                self.dirty.extend(heard_by.into_iter().map(|offset| (account, offset)));
            }
        }
        self.accounts.values_mut().for_each(|state| {
            state.unnamed.remove(&day);
        });
        Ok(())
    }
}
