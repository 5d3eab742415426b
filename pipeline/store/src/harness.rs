//! A store with its catalogue on a directory of its own, for tests: commits rows as the
//! pipeline's publisher does.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use castback_catalogue::Catalogue;
use castback_catalogue::commits::{CommitRequest, UnitCommit};
use castback_catalogue::units::Held;
use castback_schemas::id::{IdSource, SeededIds};
use castback_schemas::table::Table;
use castback_schemas::{ManualClock, Micros, Revision, Slot, Unit};
use url::Url;

use crate::compaction::Compactor;
use crate::object::{SliceRows, encode};
use crate::objects::bucket_tests;
use crate::samples::{Cell, Row, account, batch, request, unit};
use crate::store::Store;
use crate::view::PinnedView;

/// 2026-03-01, the day of the samples.
pub(crate) const TODAY: Micros = Micros(1_772_323_200_000_000);

pub(crate) struct Harness {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) catalogue: Catalogue,
    pub(crate) compactor: Compactor,
    pub(crate) clock: Arc<ManualClock>,
    ids: Arc<SeededIds>,
    held: BTreeMap<Unit, Held>,
}

impl Harness {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(TODAY));
        let database = format!("sqlite://{}", directory.path().join("castback.db").display());
        let catalogue = Catalogue::open(&database, clock.clone(), [7; 32]).await.unwrap();
        let objects = Url::from_directory_path(directory.path().join("objects")).unwrap();
        // The same suite on a bucket: every harness has a prefix of its own there.
        let store = match std::env::var("CASTBACK_TEST_STORE").as_deref() {
            Ok("s3") => Store::over(bucket_tests::objects(&directory.path().display().to_string())),
            _ => Store::open(objects.as_str()).unwrap(),
        };
        let ids = Arc::new(SeededIds::new([9; 32]));
        let compactor = Compactor::new(store.clone(), catalogue.clone(), clock.clone(), ids.clone());
        let units: Vec<Unit> = Slot::all().map(|slot| unit(slot.0)).collect();
        catalogue.ensure_units(&units).await.unwrap();
        let held = catalogue.take_all("test").await.unwrap().into_iter().map(|held| (held.unit, held)).collect();
        Self { directory, store, catalogue, compactor, clock, ids, held }
    }

    /// Commits rows, each unit's in its slot.
    pub(crate) async fn commit(&self, rows: Vec<(Slot, Table, RecordBatch)>) -> Revision {
        let mut slices: BTreeMap<Unit, SliceRows> = BTreeMap::new();
        for (slot, table, batch) in rows {
            let unit = unit(slot.0);
            let slice = slices.entry(unit).or_insert_with(|| SliceRows { unit, tables: Vec::new() });
            slice.tables.push((table, batch));
        }
        let object = encode(&slices.into_values().collect::<Vec<_>>()).unwrap();
        let key = self.store.put(self.ids.next(TODAY), &object).await.unwrap();
        let commit = |(unit, body): &(Unit, crate::SliceBody)| UnitCommit {
            unit: *unit,
            epoch: self.held[unit].epoch,
            old_positions: self.held[unit].positions.clone(),
            new_positions: self.held[unit].positions.clone(),
            slice: Some(body.to_json()),
            finish: Vec::new(),
        };
        let request = CommitRequest { object_key: Some(key), units: object.slices.iter().map(commit).collect() };
        self.catalogue.commit(request).await.unwrap().revision.unwrap()
    }

    pub(crate) async fn view(&self, at: Option<Revision>) -> Arc<PinnedView> {
        Arc::new(PinnedView::load(&self.catalogue, at).await.unwrap())
    }
}

/// Rows as text, sorted: what two answers are compared by.
pub(crate) fn texts(batches: &[RecordBatch], columns: &[&str]) -> Vec<String> {
    let mut rows = Vec::new();
    for batch in batches {
        let options = FormatOptions::default();
        let formatters: Vec<_> = columns
            .iter()
            .map(|name| ArrayFormatter::try_new(batch.column_by_name(name).unwrap(), &options).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            rows.push(formatters.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join(" "));
        }
    }
    rows.sort();
    rows
}

/// Two requests, one of them revised twice, a dead letter, and the tally of all three.
pub(crate) async fn judged() -> Harness {
    let harness = Harness::new().await;
    let (owner, slot) = (account(1), Slot::of(account(1)));
    let requests = [request(owner, 0), request(owner, 1)];
    harness.commit(vec![(slot, Table::Requests, batch(Table::Requests, &requests))]).await;
    let mut rows = Vec::new();
    for verdict in ["duplicate", "filtered"] {
        let mut revised = request(owner, 1);
        revised.extend([
            ("topic", Cell::Text("listener-requests".into())),
            ("verdict", Cell::Text(verdict.into())),
            ("reason", Cell::Text("rate".into())),
        ]);
        rows.push((slot, Table::Verdicts, batch(Table::Verdicts, &[revised])));
    }
    for row in rows {
        harness.commit(vec![row]).await;
    }
    let owned = |cells: Row| {
        let mut row = Row::from([("account_id", Cell::Text(owner.to_string()))]);
        row.extend(cells);
        row
    };
    let topic = ("topic", Cell::Text("listener-requests".into()));
    let dead = owned(Row::from([topic.clone(), ("recorded_at", Cell::Int(TODAY.0)), ("offset", Cell::Int(2))]));
    let tally = owned(Row::from([topic, ("hour", Cell::Int(TODAY.0)), ("accepted", Cell::Int(3))]));
    harness
        .commit(vec![
            (slot, Table::DeadLetters, batch(Table::DeadLetters, &[dead])),
            (slot, Table::Tallies, batch(Table::Tallies, &[tally])),
        ])
        .await;
    harness
}
