//! `tally`: the other side of the balance.
//!
//! It counts what lies on the log by account and hour from headers alone, never beyond what the
//! unit that gives the verdicts has committed, and shares no code with it: where the two
//! differ, a record was lost or counted twice.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use castback_schemas::table::Table;
use castback_schemas::time::HOUR;
use castback_schemas::{AccountId, Group, Micros, Topic};

use crate::change::Changes;
use crate::group::{Input, ProcessorSpec};
use crate::ledger::unreadable;

/// The processor's row.
pub const SPEC: ProcessorSpec = ProcessorSpec { name: "tally", group: Group::Tally, judges: None };

/// The processor of one slot.
#[derive(Debug)]
pub struct Tally {
    /// Whose the records without an account are.
    installation: AccountId,
    counts: BTreeMap<(Topic, AccountId, Micros), i64>,
}

impl Tally {
    /// A tally without counts; records without an account are `installation`'s.
    #[must_use]
    pub fn new(installation: AccountId) -> Self {
        Self { installation, counts: BTreeMap::new() }
    }

    /// Puts counts back.
    ///
    /// # Errors
    /// A row can't be read.
    pub fn know(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let column = |name: &str| batch.column_by_name(name).ok_or_else(|| unreadable(name));
        let text = |name: &str| column(name)?.as_string_opt::<i32>().ok_or_else(|| unreadable(name));
        let (accounts, topics) = (text("account_id")?, text("topic")?);
        let hours = column("hour")?.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(|| unreadable("hour"))?;
        let counts = column("accepted")?.as_primitive_opt::<Int64Type>().ok_or_else(|| unreadable("accepted"))?;
        for row in 0..counts.len() {
            let account = accounts.value(row).parse().map_err(|_| unreadable("account_id"))?;
            let topic = topics.value(row).parse().map_err(|_| unreadable("topic"))?;
            self.counts.insert((topic, account, Micros(hours.value(row))), counts.value(row));
        }
        Ok(())
    }

    /// Counts records as they lie on the log.
    ///
    /// # Errors
    /// A row can't be written.
    pub fn step(&mut self, input: &Input<'_>, out: &mut Changes) -> Result<(), ArrowError> {
        let mut touched = BTreeSet::new();
        for record in input.records {
            let account = record.account.unwrap_or(self.installation);
            let key = (input.topic, account, record.appended_at.floor(HOUR));
            *self.counts.entry(key).or_default() += 1;
            touched.insert(key);
        }
        for key @ (topic, account, hour) in touched {
            let account = account.to_string();
            let accepted = self.counts.get(&key).copied().unwrap_or(0);
            out.row(
                Table::Tallies,
                &[account.as_str().into(), topic.name().into(), hour.into(), accepted.into(), false.into()],
            )?;
        }
        Ok(())
    }
}
