//! The group `tally`: the other side of the balance, alone, so that it shares nothing with the first.

use std::collections::BTreeSet;

use arrow::error::ArrowError;
use async_trait::async_trait;
use castback_schemas::table::Table;
use castback_schemas::{Day, Group, Topic};

use crate::change::Changes;
use crate::directory::Directory;
use crate::group::{GroupSpec, GroupState, Input};
use crate::ledger::{FoldError, Ledger};
use crate::processors::tally::Tally;

/// The group's row.
pub(crate) const GROUP: GroupSpec = GroupSpec {
    group: Group::Tally,
    inputs: &[Topic::ListenerRequests, Topic::Conversions, Topic::AppEvents],
    decoded: false,
    make: |making| Box::new(Counts { tally: Tally::new(making.installation) }),
};

#[derive(Debug)]
struct Counts {
    tally: Tally,
}

#[async_trait]
impl GroupState for Counts {
    /// Nothing: days are taken back when their records come.
    async fn restore(&mut self, _: &Ledger, _: &Directory, _: &mut Changes) -> Result<(), FoldError> {
        Ok(())
    }

    fn lacks(&self, input: &Input<'_>) -> Result<BTreeSet<Day>, ArrowError> {
        Ok(self.tally.lacks(input))
    }

    async fn recall(&mut self, days: &BTreeSet<Day>, ledger: &Ledger) -> Result<(), FoldError> {
        Ok(self.tally.recall(days, &ledger.days(Table::Tallies, days).await?)?)
    }

    fn step(&mut self, input: &Input<'_>, _: &Directory, out: &mut Changes) -> Result<(), ArrowError> {
        self.tally.step(input, out)
    }
}
