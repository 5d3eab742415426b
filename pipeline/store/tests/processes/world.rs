//! A store and its catalogue on a directory, filled through the public interface.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use castback_catalogue::Catalogue;
use castback_catalogue::commits::{CommitRequest, UnitCommit};
use castback_schemas::id::{IdSource, SeededIds};
use castback_schemas::table::Table;
use castback_schemas::{AccountId, Group, ManualClock, Micros, Slot, Unit};
use castback_store::{Compactor, PinnedView, SliceRows, Store, object};
use url::Url;

use crate::samples;

pub(crate) struct World {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) catalogue: Catalogue,
    ids: SeededIds,
}

/// The store and the catalogue of a directory.
pub(crate) async fn open(directory: &Path) -> (Store, Catalogue) {
    let database = format!("sqlite://{}", directory.join("castback.db").display());
    let catalogue = Catalogue::open(&database, Arc::new(ManualClock::at(Micros(0))), [7; 32]).await.unwrap();
    let objects = Url::from_directory_path(directory.join("objects")).unwrap();
    (Store::open(objects.as_str()).unwrap(), catalogue)
}

/// A compactor whose names differ from those of another `seed`.
pub(crate) fn compactor(store: &Store, catalogue: &Catalogue, seed: u8) -> Compactor {
    let (clock, ids) = (Arc::new(ManualClock::at(Micros(0))), Arc::new(SeededIds::new([seed; 32])));
    Compactor::new(store.clone(), catalogue.clone(), clock, ids)
}

impl World {
    pub(crate) async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (store, catalogue) = open(directory.path()).await;
        Self { directory, store, catalogue, ids: SeededIds::new([1; 32]) }
    }

    /// Commits requests of an account.
    pub(crate) async fn commit(&self, account: AccountId, offsets: Range<i64>) {
        let unit = Unit { group: Group::Counting, slot: Slot::of(account) };
        self.catalogue.ensure_units(&[unit]).await.unwrap();
        let held = self.catalogue.take_all("test").await.unwrap().into_iter().find(|held| held.unit == unit).unwrap();
        let rows: Vec<_> = offsets.map(|offset| samples::request(account, offset)).collect();
        let slice = SliceRows { unit, tables: vec![(Table::Requests, samples::requests(&rows))] };
        let object = object::encode(&[slice]).unwrap();
        let key = self.store.put(self.ids.next(Micros(0)), &object).await.unwrap();
        let commit = UnitCommit {
            unit,
            epoch: held.epoch,
            old_positions: held.positions.clone(),
            new_positions: held.positions,
            slice: Some(object.slices[0].1.to_json()),
            finish: Vec::new(),
        };
        self.catalogue.commit(CommitRequest { object_key: Some(key), units: vec![commit] }).await.unwrap();
    }

    pub(crate) async fn view(&self) -> Arc<PinnedView> {
        Arc::new(PinnedView::load(&self.catalogue, None).await.unwrap())
    }
}
