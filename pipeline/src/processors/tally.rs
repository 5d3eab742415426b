//! `tally`: the other side of the balance.
//!
//! It counts what lies on the log by account and hour from headers alone, never beyond what the
//! unit that gives the verdicts has committed, and shares no code with it: where the two
//! differ, a record was lost or counted twice.
//!
//! Counts of a few days are at hand; of any other day, they are taken back from what was said.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use castback_schemas::table::Table;
use castback_schemas::time::HOUR;
use castback_schemas::{AccountId, Day, Group, Micros, Topic};

use crate::change::Changes;
use crate::group::{Input, ProcessorSpec};
use crate::ledger::unreadable;

/// The processor's row.
pub const SPEC: ProcessorSpec = ProcessorSpec { name: "tally", group: Group::Tally, judges: None };

/// Days of append time at hand, the last used: two for each of the three topics, which may be read at different
/// places, and two to spare.
const MAX_DAYS: usize = 8;

/// The processor of one slot.
#[derive(Debug)]
pub struct Tally {
    /// Whose the records without an account are.
    installation: AccountId,
    days: BTreeMap<Day, Counts>,
    /// Batches so far: by it the days are used one after the other.
    batches: u64,
}

/// All that lies on the log of a day.
#[derive(Debug, Default)]
struct Counts {
    /// The batch that used it last.
    used: u64,
    counts: BTreeMap<(Topic, AccountId, Micros), i64>,
}

impl Tally {
    /// A tally without counts; records without an account are `installation`'s.
    #[must_use]
    pub fn new(installation: AccountId) -> Self {
        Self { installation, days: BTreeMap::new(), batches: 0 }
    }

    /// All days of these records, if one of them is not at hand: they are taken back together, so that none has to go
    /// for another.
    #[must_use]
    pub fn lacks(&self, input: &Input<'_>) -> BTreeSet<Day> {
        let days: BTreeSet<Day> = input.records.iter().map(|record| record.appended_at.day()).collect();
        if days.iter().all(|day| self.days.contains_key(day)) { BTreeSet::new() } else { days }
    }

    /// Takes days back from their rows, in which everything said so far is, and lets go of those that were used
    /// longest ago.
    ///
    /// # Errors
    /// A row can't be read.
    pub fn recall(&mut self, days: &BTreeSet<Day>, rows: &[RecordBatch]) -> Result<(), ArrowError> {
        self.days.retain(|day, _| !days.contains(day));
        let mut held: Vec<(u64, Day)> = self.days.iter().map(|(day, counts)| (counts.used, *day)).collect();
        held.sort_unstable();
        let surplus = (held.len() + days.len()).saturating_sub(MAX_DAYS);
        for (_, day) in held.into_iter().take(surplus) {
            self.days.remove(&day);
        }
        for day in days {
            self.days.insert(*day, Counts { used: self.batches, ..Counts::default() });
        }
        rows.iter().try_for_each(|batch| self.know(batch, days))
    }

    /// Puts the counts of some days back.
    fn know(&mut self, batch: &RecordBatch, days: &BTreeSet<Day>) -> Result<(), ArrowError> {
        let column = |name: &str| batch.column_by_name(name).ok_or_else(|| unreadable(name));
        let text = |name: &str| column(name)?.as_string_opt::<i32>().ok_or_else(|| unreadable(name));
        let (accounts, topics) = (text("account_id")?, text("topic")?);
        let hours = column("hour")?.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(|| unreadable("hour"))?;
        let counts = column("accepted")?.as_primitive_opt::<Int64Type>().ok_or_else(|| unreadable("accepted"))?;
        for row in 0..counts.len() {
            let account = accounts.value(row).parse().map_err(|_| unreadable("account_id"))?;
            let topic = topics.value(row).parse().map_err(|_| unreadable("topic"))?;
            let hour = Micros(hours.value(row));
            if let Some(of_day) = self.days.get_mut(&hour.day()).filter(|_| days.contains(&hour.day())) {
                of_day.counts.insert((topic, account, hour), counts.value(row));
            }
        }
        Ok(())
    }

    /// Counts records as they lie on the log; no day of theirs may be lacking.
    ///
    /// # Errors
    /// A row can't be written.
    pub fn step(&mut self, input: &Input<'_>, out: &mut Changes) -> Result<(), ArrowError> {
        self.batches += 1;
        let mut touched = BTreeMap::new();
        for record in input.records {
            let account = record.account.unwrap_or(self.installation);
            let key = (input.topic, account, record.appended_at.floor(HOUR));
            let of_day = self.days.entry(record.appended_at.day()).or_default();
            of_day.used = self.batches;
            let accepted = of_day.counts.entry(key).or_default();
            *accepted += 1;
            touched.insert(key, *accepted);
        }
        for ((topic, account, hour), accepted) in touched {
            let account = account.to_string();
            out.row(
                Table::Tallies,
                &[account.as_str().into(), topic.name().into(), hour.into(), accepted.into(), false.into()],
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use castback_broker::Record;
    use castback_schemas::time::DAY;

    use super::*;
    use crate::samples::ACCOUNT;

    /// A tally and everything it said, which is committed at once.
    struct Bench {
        tally: Tally,
        said: Vec<RecordBatch>,
    }

    impl Bench {
        /// Records of the hours; answers what is said of them, in the order of the hours.
        fn step(&mut self, topic: Topic, hours: &[i64]) -> Vec<i64> {
            let record = |hour: &i64| Record {
                offset: 0,
                appended_at: Micros(hour * HOUR + 1),
                account: Some(ACCOUNT),
                key: Bytes::new(),
                value: Bytes::new(),
            };
            let records: Vec<Record> = hours.iter().map(record).collect();
            let input = Input { topic, records: &records, rows: None };
            let lacks = self.tally.lacks(&input);
            if !lacks.is_empty() {
                self.tally.recall(&lacks, &self.said).unwrap();
            }
            let mut out = Changes::default();
            self.tally.step(&input, &mut out).unwrap();
            let said: Vec<RecordBatch> = out.finish().unwrap().into_iter().map(|(_, batch)| batch).collect();
            self.said.extend(said.iter().cloned());
            let accepted = |batch: &RecordBatch| {
                batch.column_by_name("accepted").unwrap().as_primitive::<Int64Type>().values().to_vec()
            };
            said.iter().flat_map(accepted).collect()
        }
    }

    #[test]
    fn days_that_were_let_go_are_counted_on_from_what_was_said() {
        let mut bench = Bench { tally: Tally::new(ACCOUNT), said: Vec::new() };
        let day = DAY / HOUR;
        for topic in [Topic::ListenerRequests, Topic::AppEvents] {
            assert_eq!(bench.step(topic, &[0, 0, 1]), [2, 1]);
            for number in 1..30 {
                assert_eq!(bench.step(topic, &[number * day, number * day]), [2]);
                assert!(bench.tally.days.len() <= MAX_DAYS);
            }
            assert_eq!(bench.step(topic, &[0, 1, 1, 22 * day]), [3, 3, 3], "late ones, and one of the next to go");
        }
    }

    #[test]
    fn the_days_in_use_stay() {
        let mut bench = Bench { tally: Tally::new(ACCOUNT), said: Vec::new() };
        for number in 0..30 {
            bench.step(Topic::ListenerRequests, &[0]);
            bench.step(Topic::AppEvents, &[number * DAY / HOUR]);
            assert!(bench.tally.days.contains_key(&Micros(0).day()), "{number}");
        }
        let many: Vec<i64> = (0..20).map(|number| number * DAY / HOUR).collect();
        assert_eq!(bench.step(Topic::Conversions, &many), vec![1; 20], "a batch of more days than are kept");
    }
}
