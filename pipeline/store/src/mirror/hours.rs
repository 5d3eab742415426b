//! `listener_metrics`: a podcast's hours of requests, summed from ledger rows as the SQL table of that name sums them.
//!
//! An hour is summed anew as a whole when a row of it is new or has a new verdict. Hours of what
//! was never a podcast are left out: whoever posts would make as many series as they have names.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::datatypes::TimestampMicrosecondType;
use castback_rules::filter::FilterReason;
use castback_schemas::table::Table;
use castback_schemas::time::HOUR;
use castback_schemas::{Day, Micros, PodcastId, Revision, Series};

use super::points::{Place, Point, texts};
use crate::columns::COMMIT;
use crate::error::{Result, StoreError};
use crate::scan::{Scan, Versions};
use crate::store::Store;
use crate::view::PinnedView;

/// What a row adds to.
const COLUMNS: &[&str] = &[
    "account_id",
    "podcast_id",
    "occurred_at",
    "source",
    "verdict",
    "reason",
    "counted_utc_day",
    "counted_first_touch",
    "counted_last_touch",
];

/// Hours of accounts to be summed, by day.
type Hours = BTreeMap<Day, BTreeSet<(Micros, String)>>;

/// The hours with rows or verdicts newer than a commit.
pub(super) async fn changed(
    store: &Store,
    view: &Arc<PinnedView>,
    place: &Place,
    after: Revision,
) -> Result<Vec<Point>> {
    let mut hours = Hours::new();
    for table in [Table::Requests, Table::Verdicts] {
        let scan = Scan {
            slot: Some(place.slot),
            days: place.days.clone(),
            versions: Versions::All,
            after,
            columns: Some(vec!["account_id", "occurred_at", COMMIT]),
            ..Scan::new(table)
        };
        store.each_batch(view, scan, |batch| note(&batch, table, &mut hours)).await?;
    }
    let mut points = Vec::new();
    for (day, wanted) in hours {
        let place = Place { slot: place.slot, days: day..=day };
        points.extend(sums(store, view, &place, |hour, account| wanted.contains(&(hour, account.to_owned()))).await?);
    }
    Ok(points)
}

/// Every hour.
pub(super) async fn all(store: &Store, view: &Arc<PinnedView>, place: &Place) -> Result<Vec<Point>> {
    sums(store, view, place, |_, _| true).await
}

fn note(batch: &RecordBatch, table: Table, hours: &mut Hours) -> Result<()> {
    let accounts = text(batch, "account_id", table)?;
    let times = times(batch, table)?;
    for (row, time) in times.iter().enumerate() {
        let hour = Micros(*time).floor(HOUR);
        hours.entry(hour.day()).or_default().insert((hour, accounts.value(row).to_owned()));
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Sum {
    fields: [i64; 9],
    /// Whether it was ever a podcast's.
    known: bool,
}

async fn sums(
    store: &Store,
    view: &Arc<PinnedView>,
    place: &Place,
    wanted: impl Fn(Micros, &str) -> bool,
) -> Result<Vec<Point>> {
    let scan = Scan {
        slot: Some(place.slot),
        days: place.days.clone(),
        columns: Some(COLUMNS.to_vec()),
        ..Scan::new(Table::Requests)
    };
    let mut sums: HashMap<(Micros, String, String), Sum> = HashMap::new();
    store
        .each_batch(view, scan, |batch| {
            let rows = Rows::new(&batch)?;
            for row in 0..batch.num_rows() {
                let hour = Micros(rows.times[row]).floor(HOUR);
                let (account, podcast) = (rows.accounts.value(row), rows.podcasts.value(row));
                if wanted(hour, account) {
                    rows.add(row, sums.entry((hour, account.to_owned(), podcast.to_owned())).or_default());
                }
            }
            Ok(())
        })
        .await?;
    let known =
        |((_, _, podcast), sum): &((Micros, String, String), Sum)| sum.known && podcast.parse::<PodcastId>().is_ok();
    let point = |((time, account, podcast), sum): ((Micros, String, String), Sum)| Point {
        series: Series::ListenerMetrics,
        tags: vec![account, podcast],
        time,
        fields: sum.fields.to_vec(),
    };
    Ok(sums.into_iter().filter(known).map(point).collect())
}

struct Rows<'a> {
    accounts: &'a StringArray,
    podcasts: &'a StringArray,
    times: &'a [i64],
    sources: &'a StringArray,
    verdicts: &'a StringArray,
    reasons: &'a StringArray,
    counted: [&'a BooleanArray; 3],
}

impl<'a> Rows<'a> {
    fn new(batch: &'a RecordBatch) -> Result<Self> {
        let table = Table::Requests;
        let flag = |name: &str| batch.column_by_name(name).and_then(|column| column.as_boolean_opt());
        let counted = |name: &str| flag(name).ok_or_else(|| misfit(table, name));
        Ok(Self {
            accounts: text(batch, "account_id", table)?,
            podcasts: text(batch, "podcast_id", table)?,
            times: times(batch, table)?,
            sources: text(batch, "source", table)?,
            verdicts: text(batch, "verdict", table)?,
            reasons: text(batch, "reason", table)?,
            counted: [counted("counted_utc_day")?, counted("counted_first_touch")?, counted("counted_last_touch")?],
        })
    }

    /// Adds a row to its hour, in the order of the series' fields.
    fn add(&self, row: usize, sum: &mut Sum) {
        let [utc_day, first_touch, last_touch] = self.counted.map(|column| column.is_valid(row) && column.value(row));
        let verdict = self.verdicts.value(row);
        let because = |reason: FilterReason| self.reasons.is_valid(row) && self.reasons.value(row) == reason.as_str();
        let adds = [
            true,
            utc_day,
            first_touch,
            last_touch,
            self.sources.value(row) == "prefix" && because(FilterReason::BelowThreshold),
            verdict == "counted",
            verdict == "duplicate",
            verdict == "filtered",
            verdict == "late",
        ];
        for (field, add) in sum.fields.iter_mut().zip(adds) {
            *field += i64::from(add);
        }
        sum.known |= !because(FilterReason::UnknownPodcast);
    }
}

fn misfit(table: Table, name: &str) -> StoreError {
    StoreError::Misfit { table: table.name(), detail: format!("no {name} for a point") }
}

fn text<'a>(batch: &'a RecordBatch, name: &str, table: Table) -> Result<&'a StringArray> {
    texts(batch, name).ok_or_else(|| misfit(table, name))
}

fn times(batch: &RecordBatch, table: Table) -> Result<&[i64]> {
    let times = batch.column_by_name("occurred_at").and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
    Ok(times.ok_or_else(|| misfit(table, "occurred_at"))?.values())
}
