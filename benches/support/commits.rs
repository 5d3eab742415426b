//! Rows committed to a store, as the publisher does, and compacted.

use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use castback_catalogue::Catalogue;
use castback_catalogue::commits::{CommitRequest, UnitCommit};
use castback_catalogue::units::Held;
use castback_schemas::id::{IdSource, SeededIds};
use castback_schemas::table::Table;
use castback_schemas::{AccountId, Group, ManualClock, Micros, Slot, Unit};
use castback_store::{Compactor, PinnedView, SliceRows, Store, object};

/// 2026-03-01, the day of the first rows.
pub(crate) const START: i64 = 1_772_323_200_000_000;

/// A store that one account's unit of `counting` writes to.
pub(crate) struct Commits {
    pub(crate) store: Store,
    pub(crate) catalogue: Catalogue,
    compactor: Compactor,
    ids: Arc<SeededIds>,
    held: Held,
}

impl Commits {
    pub(crate) async fn open(directory: &Path, store: Store, account: AccountId) -> Self {
        let clock = Arc::new(ManualClock::at(Micros(START)));
        let database = format!("sqlite://{}", directory.join("castback.db").display());
        let catalogue = Catalogue::open(&database, clock.clone(), [7; 32]).await.unwrap();
        let ids = Arc::new(SeededIds::new([9; 32]));
        let compactor = Compactor::new(store.clone(), catalogue.clone(), clock, ids.clone());
        let unit = Unit { group: Group::Counting, slot: Slot::of(account) };
        catalogue.ensure_units(&[unit]).await.unwrap();
        let held = catalogue.take_all("bench").await.unwrap().remove(0);
        Self { store, catalogue, compactor, ids, held }
    }

    pub(crate) async fn commit(&self, tables: Vec<(Table, RecordBatch)>) {
        let unit = self.held.unit;
        let object = object::encode(&[SliceRows { unit, tables }]).unwrap();
        let key = self.store.put(self.ids.next(Micros(START)), &object).await.unwrap();
        let positions = self.held.positions.clone();
        let commit = UnitCommit {
            unit,
            epoch: self.held.epoch,
            old_positions: positions.clone(),
            new_positions: positions,
            slice: Some(object.slices[0].1.to_json()),
            finish: Vec::new(),
        };
        self.catalogue.commit(CommitRequest { object_key: Some(key), units: vec![commit] }).await.unwrap();
    }

    pub(crate) async fn compact(&self) {
        while !self.catalogue.view(None).await.unwrap().slices.is_empty() {
            self.compactor.run().await.unwrap();
        }
    }

    pub(crate) async fn view(&self) -> Arc<PinnedView> {
        Arc::new(PinnedView::load(&self.catalogue, None).await.unwrap())
    }
}
