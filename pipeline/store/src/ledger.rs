//! What became of a record: its verdict and every one before it.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use castback_schemas::table::Table;
use castback_schemas::{Micros, Revision, Slot, Topic};
use serde::Serialize;

use crate::columns::COMMIT;
use crate::error::Result;
use crate::overlay::topic_of;
use crate::scan::{Scan, Versions};
use crate::session::Scope;
use crate::store::Store;
use crate::view::PinnedView;

/// The ledger tables whose records have events and verdicts.
pub(crate) const JUDGED: [Table; 3] = [Table::Requests, Table::Conversions, Table::AppEvents];

/// A record and a verdict on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LedgerRow {
    /// Whose it is.
    pub account_id: String,
    /// The event.
    pub event_id: String,
    /// The record's topic.
    pub topic: &'static str,
    /// The record's slot.
    pub slot: u16,
    /// The record's offset.
    pub offset: i64,
    /// The podcast asked for.
    pub podcast_id: Option<String>,
    /// The episode matched.
    pub episode_id: Option<String>,
    /// The verdict.
    pub verdict: String,
    /// Why it is not counted.
    pub reason: Option<String>,
    /// Offset of the row it repeats or helped, same topic and slot.
    pub duplicate_of: Option<i64>,
    /// Completes a download by UTC day.
    pub counted_utc_day: bool,
    /// Completes a download by the first-touch window.
    pub counted_first_touch: bool,
    /// Completes a download by the last-touch window.
    pub counted_last_touch: bool,
    /// Version of the rules that judged.
    pub rule_version: i64,
    /// Change number of the directory that judged.
    pub config_version: i64,
    /// Event time.
    pub occurred_at: Micros,
    /// Append time on the log.
    pub recorded_at: Micros,
    /// Commit of the verdict.
    pub revision: Revision,
}

impl Store {
    /// The records of an event with their current verdicts: usually one, more if it was sent again.
    ///
    /// # Errors
    /// Rows that can't be read.
    pub async fn ledger_rows(&self, view: &Arc<PinnedView>, scope: Scope, event_id: &str) -> Result<Vec<LedgerRow>> {
        let mut found = Vec::new();
        for table in JUDGED {
            let (account, event_id) = (scope.account(), Some(event_id.to_owned()));
            for batch in self.rows(view, Scan { account, event_id, ..Scan::new(table) }).await? {
                found.extend(ledger_rows(&batch, table));
            }
        }
        found.sort_by_key(|row| (row.recorded_at, row.topic, row.offset));
        Ok(found)
    }

    /// Every verdict that a record ever had, the first one first.
    ///
    /// # Errors
    /// Rows that can't be read.
    pub async fn ledger_history(&self, view: &Arc<PinnedView>, row: &LedgerRow) -> Result<Vec<LedgerRow>> {
        let Some(table) =
            JUDGED.into_iter().find(|table| topic_of(*table).is_some_and(|topic| topic.name() == row.topic))
        else {
            return Ok(Vec::new());
        };
        let day = row.occurred_at.day();
        let all = Scan { versions: Versions::All, slot: Some(Slot(row.slot)), days: day..=day, ..Scan::new(table) };
        let same = |other: &LedgerRow| other.offset == row.offset && other.account_id == row.account_id;
        let mut history = Vec::new();
        let first = Scan { event_id: Some(row.event_id.clone()), ..all.clone() };
        for batch in self.rows(view, first).await? {
            history.extend(ledger_rows(&batch, table).filter(same));
        }
        for batch in self.rows(view, Scan { table: Table::Verdicts, ..all }).await? {
            let topics = batch.column_by_name("topic").and_then(|column| column.as_string_opt::<i32>()).cloned();
            for (index, mut revised) in ledger_rows(&batch, table).enumerate() {
                if same(&revised) && topics.as_ref().is_some_and(|topics| topics.value(index) == row.topic) {
                    revised.event_id.clone_from(&row.event_id);
                    revised.podcast_id.clone_from(&row.podcast_id);
                    revised.recorded_at = row.recorded_at;
                    history.push(revised);
                }
            }
        }
        history.sort_by_key(|verdict| verdict.revision);
        Ok(history)
    }
}

/// The rows of a ledger table, or of verdicts (what they don't hold is empty).
fn ledger_rows(batch: &RecordBatch, table: Table) -> impl Iterator<Item = LedgerRow> {
    let topic = topic_of(table).map_or("", Topic::name);
    (0..batch.num_rows()).map(move |row| {
        let text = |name: &str| text(batch, name, row);
        let int = |name: &str| int(batch, name, row);
        let at = |name: &str| Micros(time(batch, name, row).unwrap_or_default());
        let flag = |name: &str| flag(batch, name, row);
        LedgerRow {
            account_id: text("account_id").unwrap_or_default(),
            event_id: text("event_id").unwrap_or_default(),
            topic,
            slot: int("slot").and_then(|slot| u16::try_from(slot).ok()).unwrap_or_default(),
            offset: int("offset").unwrap_or_default(),
            podcast_id: text("podcast_id"),
            episode_id: text("episode_id"),
            verdict: text("verdict").unwrap_or_default(),
            reason: text("reason"),
            duplicate_of: int("duplicate_of"),
            counted_utc_day: flag("counted_utc_day"),
            counted_first_touch: flag("counted_first_touch"),
            counted_last_touch: flag("counted_last_touch"),
            rule_version: int("rule_version").unwrap_or_default(),
            config_version: int("config_version").unwrap_or_default(),
            occurred_at: at("occurred_at"),
            recorded_at: at("recorded_at"),
            revision: Revision(int(COMMIT).unwrap_or_default()),
        }
    })
}

fn text(batch: &RecordBatch, name: &str, row: usize) -> Option<String> {
    let column = batch.column_by_name(name)?.as_string_opt::<i32>()?;
    column.is_valid(row).then(|| column.value(row).to_owned())
}

fn int(batch: &RecordBatch, name: &str, row: usize) -> Option<i64> {
    let column = batch.column_by_name(name)?.as_primitive_opt::<Int64Type>()?;
    column.is_valid(row).then(|| column.value(row))
}

fn time(batch: &RecordBatch, name: &str, row: usize) -> Option<i64> {
    let column = batch.column_by_name(name)?.as_primitive_opt::<TimestampMicrosecondType>()?;
    column.is_valid(row).then(|| column.value(row))
}

fn flag(batch: &RecordBatch, name: &str, row: usize) -> bool {
    let column = batch.column_by_name(name).and_then(|column| column.as_boolean_opt());
    column.is_some_and(|column| column.is_valid(row) && column.value(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::judged;
    use crate::samples::account;

    #[tokio::test]
    async fn an_event_is_found_with_its_verdict_and_its_history() {
        let harness = judged().await;
        for _ in 0..2 {
            let view = harness.view(None).await;
            let rows = harness.store.ledger_rows(&view, Scope::Account(account(1)), "event-1").await.unwrap();
            assert_eq!(rows.len(), 1);
            assert_eq!((rows[0].verdict.as_str(), rows[0].reason.as_deref()), ("filtered", Some("rate")));
            assert_eq!(rows[0].revision, Revision(3));
            let history = harness.store.ledger_history(&view, &rows[0]).await.unwrap();
            let said: Vec<_> = history.iter().map(|row| (row.verdict.as_str(), row.revision.0)).collect();
            assert_eq!(said, [("counted", 1), ("duplicate", 2), ("filtered", 3)]);
            assert!(history.iter().all(|row| row.event_id == "event-1" && row.recorded_at == rows[0].recorded_at));
            let foreign = harness.store.ledger_rows(&view, Scope::Account(account(2)), "event-1").await.unwrap();
            assert!(foreign.is_empty());
            harness.compactor.run().await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_reader_gets_what_was_committed_after_what_it_has_seen() {
        let harness = judged().await;
        for _ in 0..2 {
            let view = harness.view(None).await;
            let scan = Scan { versions: Versions::All, after: Revision(2), ..Scan::new(Table::Verdicts) };
            let rows = harness.store.rows(&view, scan).await.unwrap();
            assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
            assert_eq!(int(&rows[0], COMMIT, 0), Some(3));
            harness.compactor.run().await.unwrap();
        }
    }
}
