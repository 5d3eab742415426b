//! Opening, reopening, refusing.

use std::sync::Arc;

use castback_catalogue::installation::Common;
use castback_catalogue::{Catalogue, CatalogueError};
use castback_schemas::{ManualClock, Revision};

use crate::commits::{request, step};
use crate::harness::House;

on_every_database! {
    async fn an_installation_is_recorded_once(house) {
        let again = house.neighbour(9).await;
        assert_eq!(again.installation(), house.catalogue.installation());
        assert_eq!(house.catalogue.account(again.installation().account).await.unwrap().tier, "enterprise");
        again.readiness().await.unwrap();
    }

    async fn another_number_of_slots_is_refused(house) {
        house.sql("UPDATE meta SET value = '7' WHERE name = 'slots'").await;
        let refused = Catalogue::open(&house.url, Arc::new(ManualClock::default()), [0; 32]).await;
        let Err(CatalogueError::Refused(why)) = refused else { panic!("{refused:?}") };
        assert!(why.contains("7 slots") && why.contains("16"), "{why}");
    }

    async fn what_processes_have_in_common_is_what_the_first_recorded(house) {
        let (first, second) = (&house.catalogue, house.neighbour(9).await);
        assert_eq!(first.common(Common::Secret).await.unwrap(), None);
        let (a, b) = tokio::join!(first.record_common(Common::Secret, "a"), second.record_common(Common::Secret, "b"));
        let recorded = a.unwrap();
        assert_eq!(b.unwrap(), recorded, "both are told the same");
        assert_eq!(first.common(Common::Secret).await.unwrap(), Some(recorded));
        assert_eq!(second.common(Common::Objects).await.unwrap(), None, "another thing");
        second.replace_common(Common::Secret, "c").await.unwrap();
        assert_eq!(first.record_common(Common::Secret, "a").await.unwrap(), "c");
    }

    async fn the_operators_keys_see_across_accounts(house) {
        for _ in 0..2 {
            let key = house.catalogue.create_operator_key().await.unwrap();
            let caller = house.catalogue.authenticate(&key).await.unwrap().unwrap();
            assert!(caller.operator);
            assert_eq!(caller.account, house.catalogue.installation().account);
        }
        assert_eq!(house.catalogue.sign_in("operator@castback.invalid", "".into()).await.unwrap(), None);
    }

    async fn closing_finishes_what_was_handed_over(house) {
        house.account("ada").await;
        house.catalogue.close().await.unwrap();
        assert!(house.catalogue.readiness().await.is_err());
        assert_eq!(house.neighbour(2).await.accounts().await.unwrap().len(), 2);
    }

    async fn what_was_committed_is_there_after_a_restart(house) {
        let held = house.held(1, "a").await;
        house.catalogue.commit(request("one", vec![step(&held[0], 4)])).await.unwrap();
        let reopened = house.neighbour(2).await;
        let view = reopened.view(None).await.unwrap();
        assert_eq!((view.revision, view.slices.len()), (Revision(1), 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_the_files_of_a_running_catalogue_holds_what_was_acknowledged() {
    let house = House::sqlite().await;
    let mut held = house.held(1, "a").await.remove(0);
    for offset in 1..=5 {
        house.catalogue.commit(request(&format!("o{offset}"), vec![step(&held, offset)])).await.unwrap();
        held.positions = crate::commits::at(offset);
        // Nothing was closed: this is what a process killed now leaves behind.
        let copy = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(house.directory()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "db-shm") {
                std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
            }
        }
        let url = format!("sqlite://{}/castback.db", copy.path().display());
        let survivor = Catalogue::open(&url, house.clock.clone(), [3; 32]).await.unwrap();
        assert_eq!(survivor.newest_commit().await.unwrap(), Revision(offset));
        assert_eq!(survivor.units().await.unwrap()[0].positions, held.positions);
    }
}

#[tokio::test]
async fn a_url_of_another_kind_is_refused() {
    for url in ["mysql://localhost/x", "castback.db", ""] {
        let refused = Catalogue::open(url, Arc::new(ManualClock::default()), [0; 32]).await;
        assert!(matches!(refused, Err(CatalogueError::Refused(_))), "{url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_whose_caller_has_gone_is_made_all_the_same() {
    let house = House::sqlite().await;
    let account = house.account("ada").await;
    {
        let creating = house.podcast(account, "gone");
        tokio::pin!(creating);
        // Polled until it has been handed to the writer, then dropped.
        while house.catalogue.count_podcasts(account).await.unwrap() == 0 {
            tokio::select! {
                biased;
                _ = &mut creating => break,
                () = std::future::ready(()) => {}
            }
        }
    }
    assert_eq!(house.catalogue.count_podcasts(account).await.unwrap(), 1);
}
