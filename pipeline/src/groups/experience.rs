//! The group `experience`: what app events are.

use arrow::error::ArrowError;
use async_trait::async_trait;
use castback_schemas::table::Table;
use castback_schemas::{Group, Micros, Topic};

use crate::change::Changes;
use crate::directory::Directory;
use crate::group::{GroupSpec, GroupState, Input, RecountRequest};
use crate::ledger::{FoldError, Ledger};
use crate::processors::app_events::AppEvents;

/// The group's row.
pub(crate) const GROUP: GroupSpec = GroupSpec {
    group: Group::Experience,
    inputs: &[Topic::AppEvents],
    decoded: true,
    make: |making| Box::new(Experience { events: AppEvents::new(making) }),
};

#[derive(Debug)]
struct Experience {
    events: AppEvents,
}

#[async_trait]
impl GroupState for Experience {
    async fn restore(&mut self, ledger: &Ledger, _: &Directory, _: &mut Changes) -> Result<(), FoldError> {
        for batch in ledger.all(Table::Days).await? {
            self.events.know_days(&batch)?;
        }
        for day in self.events.open_days() {
            for batch in ledger.day(Table::AppEvents, day).await? {
                self.events.put_back(day, &batch)?;
            }
        }
        Ok(())
    }

    fn step(&mut self, input: &Input<'_>, directory: &Directory, out: &mut Changes) -> Result<(), ArrowError> {
        let Some(rows) = input.rows.as_ref().filter(|rows| rows.num_rows() > 0) else { return Ok(()) };
        self.events.step(rows, directory, out)
    }

    fn tick(&mut self, log_time: Micros, _: &Directory, out: &mut Changes) -> Result<bool, ArrowError> {
        self.events.freeze(log_time, out)?;
        Ok(!self.events.due(log_time).is_empty())
    }

    async fn recount(
        &mut self,
        asked: Option<&RecountRequest>,
        log_time: Micros,
        (ledger, directory): (&Ledger, &Directory),
        out: &mut Changes,
    ) -> Result<(), FoldError> {
        if asked.is_some() {
            return Ok(());
        }
        for day in self.events.due(log_time) {
            let rows = ledger.day(Table::AppEvents, day).await?;
            let is_whole = |account| ledger.is_whole(account, day);
            self.events.judge_late(&rows, (day, log_time), (&is_whole, directory), out)?;
        }
        Ok(())
    }
}
