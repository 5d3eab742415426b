//! Whether every record became something: accepted against judged, per topic.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use castback_schemas::table::Table;
use castback_schemas::{AccountId, Micros, Topic};
use serde::Serialize;

use crate::columns::ints;
use crate::error::{Result, StoreError};
use crate::ledger::JUDGED;
use crate::overlay::topic_of;
use crate::scan::{ALL_DAYS, Scan};
use crate::session::Scope;
use crate::store::Store;
use crate::view::PinnedView;

/// Records of a topic by what became of them, and how many were on the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Balance {
    /// Records on the log, tallied apart from the rules.
    pub accepted: i64,
    /// Records counted.
    pub counted: i64,
    /// Records that repeat or helped another.
    pub duplicate: i64,
    /// Records filtered.
    pub filtered: i64,
    /// Records that came after their day froze.
    pub late: i64,
    /// Records that could not be read.
    pub dead_lettered: i64,
}

impl Balance {
    /// Records with a verdict.
    #[must_use]
    pub fn judged(&self) -> i64 {
        self.counted + self.duplicate + self.filtered + self.late + self.dead_lettered
    }

    /// Adds the figures of another.
    pub(crate) fn plus(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.counted += other.counted;
        self.duplicate += other.duplicate;
        self.filtered += other.filtered;
        self.late += other.late;
        self.dead_lettered += other.dead_lettered;
    }

    /// Adds so many records of a verdict.
    pub(crate) fn add(&mut self, verdict: &str, records: i64) {
        match verdict {
            "counted" => self.counted += records,
            "duplicate" => self.duplicate += records,
            "filtered" => self.filtered += records,
            "late" => self.late += records,
            "dead_lettered" => self.dead_lettered += records,
            // No processor says anything else; what is said by none is missing from the sum, and seen.
            _ => {}
        }
    }
}

/// The balance of each topic that is judged.
pub type Balances = BTreeMap<Topic, Balance>;

/// Nothing of each topic that is judged.
pub(crate) fn empty() -> Balances {
    JUDGED.into_iter().filter_map(topic_of).map(|topic| (topic, Balance::default())).collect()
}

/// Append times, from and until.
type Span = (Micros, Micros);

/// From when on the ledger of each account is kept; of one that is not named, all is.
pub type Cutoffs = HashMap<AccountId, Micros>;

/// The rows that are weighed: appended within the span, and not before their account's cut-off;
/// conversions are kept for life.
pub(crate) struct Weighed {
    span: Span,
    cutoffs: HashMap<String, i64>,
}

impl Weighed {
    pub(crate) fn new(span: Span, cutoffs: &Cutoffs) -> Self {
        Self { span, cutoffs: cutoffs.iter().map(|(account, at)| (account.to_string(), at.0)).collect() }
    }

    pub(crate) fn holds(&self, topic: Topic, account: &str, at: i64) -> bool {
        let (from, to) = self.span;
        let kept = || self.cutoffs.get(account).is_none_or(|cutoff| *cutoff <= at);
        from.0 <= at && at < to.0 && (topic == Topic::Conversions || kept())
    }
}

impl Store {
    /// The balance of each topic over records appended in `[from, to)`, by whole hours: tallies
    /// are kept by the hour. What was appended before an account's cut-off is left out on both sides:
    /// on one of them it has gone.
    ///
    /// # Errors
    /// Rows that can't be read.
    pub async fn balance(
        &self,
        view: &Arc<PinnedView>,
        scope: Scope,
        (span, cutoffs): (Span, &Cutoffs),
    ) -> Result<Balances> {
        let mut balances = empty();
        let weighed = Weighed::new(span, cutoffs);
        // An event is recorded when or after it occurred: later days hold nothing of the span.
        let scan = |table: Table, columns: &[&'static str]| Scan {
            account: scope.account(),
            days: *ALL_DAYS.start()..=span.1.day(),
            columns: Some(columns.to_vec()),
            ..Scan::new(table)
        };
        for table in JUDGED {
            let Some(topic) = topic_of(table) else { continue };
            let Some(balance) = balances.get_mut(&topic) else { continue };
            let judged = |batch: RecordBatch| {
                let (times, verdicts) = (times(&batch, "recorded_at", table)?, texts(&batch, "verdict", table)?);
                let accounts = texts(&batch, "account_id", table)?;
                let rows =
                    (0..batch.num_rows()).filter(|row| weighed.holds(topic, accounts.value(*row), times.value(*row)));
                rows.for_each(|row| balance.add(verdicts.value(row), 1));
                Ok(())
            };
            self.each_batch(view, scan(table, &["account_id", "recorded_at", "verdict"]), judged).await?;
        }
        let dead_letters = |batch: RecordBatch| {
            let of_topic = topics(&batch, ("recorded_at", Table::DeadLetters), &weighed)?;
            each_topic(&mut balances, of_topic, |balance, _| balance.dead_lettered += 1);
            Ok(())
        };
        self.each_batch(view, scan(Table::DeadLetters, &["account_id", "topic", "recorded_at"]), dead_letters).await?;
        let tallies = |batch: RecordBatch| {
            let accepted: Int64Array = ints(&batch, "accepted", Table::Tallies)?.clone();
            let of_topic = topics(&batch, ("hour", Table::Tallies), &weighed)?;
            each_topic(&mut balances, of_topic, |balance, row| balance.accepted += accepted.value(row));
            Ok(())
        };
        self.each_batch(view, scan(Table::Tallies, &["account_id", "topic", "hour", "accepted"]), tallies).await?;
        Ok(balances)
    }
}

/// The topics of the rows that are weighed, with the rows' numbers.
fn topics(batch: &RecordBatch, (time, table): (&str, Table), weighed: &Weighed) -> Result<Vec<(usize, Topic)>> {
    let (times, topics) = (times(batch, time, table)?, texts(batch, "topic", table)?);
    let accounts = texts(batch, "account_id", table)?;
    let of_topic = |row: usize| Some((row, topics.value(row).parse::<Topic>().ok()?));
    let rows = (0..batch.num_rows()).filter_map(of_topic);
    Ok(rows.filter(|(row, topic)| weighed.holds(*topic, accounts.value(*row), times.value(*row))).collect())
}

fn each_topic(balances: &mut Balances, rows: Vec<(usize, Topic)>, mut add: impl FnMut(&mut Balance, usize)) {
    for (row, topic) in rows {
        if let Some(balance) = balances.get_mut(&topic) {
            add(balance, row);
        }
    }
}

fn times<'a>(batch: &'a RecordBatch, name: &str, table: Table) -> Result<&'a TimestampMicrosecondArray> {
    let column = batch.column_by_name(name).and_then(|column| column.as_primitive_opt());
    column.ok_or_else(|| StoreError::Misfit { table: table.name(), detail: format!("no times in {name}") })
}

fn texts<'a>(batch: &'a RecordBatch, name: &str, table: Table) -> Result<&'a StringArray> {
    let column = batch.column_by_name(name).and_then(|column| column.as_string_opt());
    column.ok_or_else(|| StoreError::Misfit { table: table.name(), detail: format!("no texts in {name}") })
}

#[cfg(test)]
mod tests {
    use castback_schemas::time::{DAY, HOUR};

    use super::*;
    use crate::harness::{TODAY, judged};
    use crate::samples::account;

    #[tokio::test]
    async fn the_balance_counts_each_record_once_within_its_hours() {
        let harness = judged().await;
        let view = harness.view(None).await;
        let nothing = Cutoffs::new();
        let of = async |scope, span| {
            harness.store.balance(&view, scope, (span, &nothing)).await.unwrap()[&Topic::ListenerRequests]
        };
        let all = of(Scope::All, (Micros(0), TODAY.plus(DAY))).await;
        let expected = Balance { accepted: 3, counted: 1, filtered: 1, dead_lettered: 1, ..Balance::default() };
        assert_eq!(all, expected);
        assert_eq!(all.judged(), all.accepted);
        assert_eq!(of(Scope::Account(account(1)), (TODAY, TODAY.plus(HOUR))).await, expected);
        assert_eq!(of(Scope::Account(account(2)), (TODAY, TODAY.plus(HOUR))).await, Balance::default());
        assert_eq!(of(Scope::All, (TODAY.plus(HOUR), TODAY.plus(DAY))).await, Balance::default());
    }

    #[tokio::test]
    async fn what_is_past_its_retention_is_weighed_on_neither_side() {
        let harness = judged().await;
        let all = (Micros(i64::MIN), Micros(i64::MAX));
        let cutoffs = Cutoffs::from([(account(1), TODAY.plus(DAY))]);
        let balance = async || {
            let view = harness.view(None).await;
            harness.store.balance(&view, Scope::All, (all, &cutoffs)).await.unwrap()[&Topic::ListenerRequests]
        };
        assert_eq!(balance().await, Balance::default());
        harness.compactor.run().await.unwrap();
        let expired = crate::Expired::from([(account(1), Micros(0)..TODAY.plus(DAY))]);
        let slot = castback_schemas::Slot::of(account(1));
        assert_eq!(harness.compactor.retain(slot, &expired, (None, 9)).await.unwrap().removed, 3);
        assert_eq!(balance().await, Balance::default());
    }
}
