//! Points of committed rows: what changed since a commit, and samples of what holds.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use castback_schemas::series::{SeriesSpec, Source};
use castback_schemas::table::Table;
use castback_schemas::time::HOUR;
use castback_schemas::{Day, Micros, Revision, Series, Slot};

use super::check::Sample;
use super::hours;
use crate::columns::{COMMIT, ints};
use crate::error::{Result, StoreError};
use crate::scan::{ALL_DAYS, Scan, Versions};
use crate::store::Store;
use crate::view::PinnedView;

/// Rows read at once; above it, a day at a time.
const ROWS: u64 = 500_000;

/// Days of slots of a series that are looked into by one sample.
const SAMPLED_PLACES: usize = 4;

/// Hours of each of them.
const SAMPLED_HOURS: usize = 6;

/// All fields of a series at a time under its tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// The series.
    pub series: Series,
    /// The tags' values, in the order of the series' row.
    pub tags: Vec<String>,
    /// The start of its minute or hour.
    pub time: Micros,
    /// The fields' values, in the order of the series' row.
    pub fields: Vec<i64>,
}

/// Where rows lie: days of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The slot.
    pub slot: Slot,
    /// The days.
    pub days: RangeInclusive<Day>,
}

/// The tables whose rows make a series.
fn tables(series: Series) -> &'static [Table] {
    match series.spec().source {
        Source::Requests => &[Table::Requests, Table::Verdicts],
        Source::Rows(Table::Tallies) => &[Table::Tallies],
        Source::Rows(_) => &[Table::CampaignPerformance],
    }
}

/// Where rows of a series lie that are newer than a commit; the newest days first, which people look at.
#[must_use]
pub fn changed_places(view: &PinnedView, series: Series, after: Revision) -> Vec<Place> {
    let mut places = Vec::new();
    for slot in Slot::all() {
        let pieces = tables(series).iter().flat_map(|table| view.pieces(*table, slot));
        let newer: Vec<_> = pieces.filter(|piece| piece.max_revision > after.0).collect();
        if newer.iter().map(|piece| piece.rows()).sum::<u64>() > ROWS {
            let days: BTreeSet<Day> = newer.iter().flat_map(|piece| days(piece.days())).collect();
            places.extend(days.into_iter().map(|day| Place { slot, days: day..=day }));
        } else if !newer.is_empty() {
            places.push(Place { slot, days: ALL_DAYS });
        }
    }
    places.sort_by_key(|place| std::cmp::Reverse(*place.days.end()));
    places
}

fn days((first, last): (Day, Day)) -> impl Iterator<Item = Day> {
    (first.0..=last.0).map(Day)
}

/// The points that changed after a commit, as they stand in the view; those that hold nothing any more are all zero.
///
/// # Errors
/// Those of [`Store::rows`].
pub async fn changed_points(
    store: &Store,
    view: &Arc<PinnedView>,
    (series, place): (Series, &Place),
    after: Revision,
) -> Result<Vec<Point>> {
    let table = match series.spec().source {
        Source::Requests => return hours::changed(store, view, place, after).await,
        Source::Rows(table) => table,
    };
    let scan =
        Scan { slot: Some(place.slot), days: place.days.clone(), versions: Versions::All, after, ..Scan::new(table) };
    read(store, view, (series, scan)).await
}

/// The points of rows, the newest version of each.
async fn read(store: &Store, view: &Arc<PinnedView>, (series, scan): (Series, Scan)) -> Result<Vec<Point>> {
    let (table, after) = (scan.table, scan.after);
    let mut newest: BTreeMap<(Micros, Vec<String>), (i64, Vec<i64>)> = BTreeMap::new();
    store
        .each_batch(view, scan, |batch| {
            let rows = Rows::new(&batch, series.spec(), table)?;
            for row in (0..batch.num_rows()).filter(|row| rows.commits[*row] > after.0) {
                let (commit, fields) = (rows.commits[row], rows.fields(row));
                let point = newest.entry((rows.time(row), rows.tags(row))).or_insert((commit, Vec::new()));
                if point.0 <= commit {
                    *point = (commit, fields);
                }
            }
            Ok(())
        })
        .await?;
    let point = |((time, tags), (_, fields))| Point { series, tags, time, fields };
    Ok(newest.into_iter().map(point).collect())
}

/// The columns of a batch that make points.
struct Rows<'a> {
    batch: &'a RecordBatch,
    tags: Vec<&'a StringArray>,
    times: &'a [i64],
    fields: Vec<&'a [i64]>,
    commits: &'a [i64],
}

impl<'a> Rows<'a> {
    fn new(batch: &'a RecordBatch, spec: &SeriesSpec, table: Table) -> Result<Self> {
        let misfit = |name: &str| StoreError::Misfit { table: table.name(), detail: format!("no {name} for a point") };
        let tag = |name: &&str| texts(batch, name).ok_or_else(|| misfit(name));
        let times =
            batch.column_by_name(spec.time).and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
        let field = |name: &&str| {
            let column = batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int64Type>());
            column.map(|column| column.values().as_ref()).ok_or_else(|| misfit(name))
        };
        Ok(Self {
            batch,
            tags: spec.tags.iter().map(tag).collect::<Result<_>>()?,
            times: times.ok_or_else(|| misfit(spec.time))?.values(),
            fields: spec.fields.iter().map(field).collect::<Result<_>>()?,
            commits: ints(batch, COMMIT, table)?.values(),
        })
    }

    fn time(&self, row: usize) -> Micros {
        Micros(self.times[row])
    }

    fn tags(&self, row: usize) -> Vec<String> {
        self.tags.iter().map(|column| column.value(row).to_owned()).collect()
    }

    /// The values; a row that was withdrawn holds nothing.
    fn fields(&self, row: usize) -> Vec<i64> {
        let withdrawn = self.batch.column_by_name("withdrawn").and_then(|column| column.as_boolean_opt());
        if withdrawn.is_some_and(|withdrawn| withdrawn.is_valid(row) && withdrawn.value(row)) {
            return vec![0; self.fields.len()];
        }
        self.fields.iter().map(|column| column[row]).collect()
    }
}

/// A column of texts.
pub(super) fn texts<'a>(batch: &'a RecordBatch, name: &str) -> Option<&'a StringArray> {
    batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>())
}

/// Hours of a series as they stand in the view, drawn by a seed from all that the bucket keeps since `since`.
///
/// # Errors
/// Those of [`Store::rows`].
pub async fn sample(
    store: &Store,
    view: &Arc<PinnedView>,
    series: Series,
    (seed, since): (i64, Micros),
) -> Result<Vec<Sample>> {
    let table = tables(series)[0];
    let of_slot = |slot: Slot| {
        let all: BTreeSet<Day> = view.pieces(table, slot).iter().flat_map(|piece| days(piece.days())).collect();
        all.into_iter().map(move |day| Place { slot, days: day..=day })
    };
    let kept = |place: &Place| place.days.start().start() >= since;
    let places: Vec<Place> = Slot::all().flat_map(of_slot).filter(kept).collect();
    let mut samples = Vec::new();
    for place in drawn(places, SAMPLED_PLACES, |place| format!("{seed}/{}/{}", place.slot, place.days.start().0)) {
        let points = match series.spec().source {
            Source::Requests => hours::all(store, view, &place).await?,
            Source::Rows(table) => {
                let scan = Scan { slot: Some(place.slot), days: place.days.clone(), ..Scan::new(table) };
                read(store, view, (series, scan)).await?
            }
        };
        let mut hours: BTreeMap<(Micros, Vec<String>), Vec<Point>> = BTreeMap::new();
        for point in points {
            hours.entry((point.time.floor(HOUR), point.tags.clone())).or_default().push(point);
        }
        let hour = |((hour, tags), points)| Sample { series, place: place.clone(), tags, hour, points };
        let hours: Vec<Sample> = hours.into_iter().map(hour).collect();
        samples.extend(drawn(hours, SAMPLED_HOURS, |sample| format!("{seed}/{}/{:?}", sample.hour.0, sample.tags)));
    }
    Ok(samples)
}

/// Some of all, by the checksum of their names.
fn drawn<T>(mut all: Vec<T>, count: usize, name: impl Fn(&T) -> String) -> Vec<T> {
    all.sort_by_cached_key(|one| crc32fast::hash(name(one).as_bytes()));
    all.truncate(count);
    all
}
