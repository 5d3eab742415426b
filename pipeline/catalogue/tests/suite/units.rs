//! Leases of units.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::{AnyConnection, Connection};

use crate::harness::{House, units};

on_every_database! {
    async fn a_unit_has_one_owner_until_its_lease_ends(house) {
        let catalogue = &house.catalogue;
        catalogue.ensure_units(&units(4)).await.unwrap();
        catalogue.ensure_units(&units(4)).await.unwrap();
        let first = catalogue.take("a", 3).await.unwrap();
        assert_eq!(first.iter().map(|held| held.epoch).collect::<Vec<_>>(), [1, 1, 1]);
        let second = catalogue.take("b", 9).await.unwrap();
        assert_eq!(second.len(), 1);
        assert!(catalogue.take("b", 9).await.unwrap().is_empty());

        house.sql("UPDATE units SET lease_until = 0 WHERE owner = 'a'").await;
        let taken = catalogue.take("b", 9).await.unwrap();
        assert_eq!(taken.iter().map(|held| held.epoch).collect::<Vec<_>>(), [2, 2, 2]);
        let before: Vec<_> = first.iter().map(|held| (held.unit, held.epoch)).collect();
        assert!(catalogue.renew(&before).await.unwrap().is_empty(), "a's epoch is gone");
        let owners: HashSet<_> = catalogue.units().await.unwrap().into_iter().map(|unit| unit.owner).collect();
        assert_eq!(owners, HashSet::from([Some("b".to_owned())]));
    }

    async fn a_lease_is_renewed_and_given_back(house) {
        let catalogue = &house.catalogue;
        let held: Vec<_> = house.held(2, "a").await.iter().map(|held| (held.unit, held.epoch)).collect();
        house.sql("UPDATE units SET lease_until = 0").await;
        let mut renewed = catalogue.renew(&held).await.unwrap();
        renewed.sort();
        assert_eq!(renewed, units(2));
        assert!(catalogue.take("b", 2).await.unwrap().is_empty());
        catalogue.release(&held[..1]).await.unwrap();
        let taken = catalogue.take("b", 2).await.unwrap();
        assert_eq!((taken.len(), taken[0].unit), (1, held[0].0));
        assert!(catalogue.renew(&[]).await.unwrap().is_empty());
    }

    async fn processes_know_how_many_they_are(house) {
        const MINUTE: i64 = 60_000_000;
        let catalogue = &house.catalogue;
        assert_eq!(catalogue.attend("a", MINUTE).await.unwrap(), 1);
        assert_eq!(catalogue.attend("b", MINUTE).await.unwrap(), 2);
        assert_eq!(catalogue.attend("a", MINUTE).await.unwrap(), 2);
        catalogue.leave("b").await.unwrap();
        assert_eq!(catalogue.attend("a", MINUTE).await.unwrap(), 1);
        assert_eq!(catalogue.attend("c", 0).await.unwrap(), 1, "c's time is over at once");
        house.sql("UPDATE leases SET lease_until = 1 WHERE owner = 'a'").await;
        assert_eq!(catalogue.attend("d", MINUTE).await.unwrap(), 1);
        assert_eq!(house.number("SELECT COUNT(*) FROM leases WHERE owner = 'a'").await, 0, "a is forgotten");
    }

    async fn the_holder_of_the_directory_takes_all_at_once(house) {
        house.held(3, "crashed").await;
        let all = house.catalogue.take_all("b").await.unwrap();
        assert_eq!(all.len(), 3);
        assert!(all.iter().all(|held| held.epoch == 2));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_unit_that_is_being_changed_is_left_for_the_next_time_on_postgres() {
    let house = House::postgres("units_being_changed").await;
    house.catalogue.ensure_units(&units(3)).await.unwrap();
    let mut changing = AnyConnection::connect(&house.url).await.unwrap();
    sqlx::raw_sql("BEGIN; UPDATE units SET positions = positions WHERE unit = (SELECT MIN(unit) FROM units)")
        .execute(&mut changing)
        .await
        .unwrap();
    // Below the time after which a wait for a lock ends by itself.
    let taken = tokio::time::timeout(Duration::from_secs(3), house.catalogue.take("a", 9)).await;
    assert_eq!(taken.expect("it waits for nobody").unwrap().len(), 2);
    sqlx::raw_sql("COMMIT").execute(&mut changing).await.unwrap();
    assert_eq!(house.catalogue.take("a", 9).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_process_that_joins_waits_for_no_lock_on_postgres() {
    let house = House::postgres("joins_without_locks").await;
    let mut working = AnyConnection::connect(&house.url).await.unwrap();
    sqlx::raw_sql("BEGIN; UPDATE counters SET value = value").execute(&mut working).await.unwrap();
    // Below the time after which a wait for a lock ends by itself.
    let joined = tokio::time::timeout(Duration::from_secs(3), house.neighbour(2)).await;
    assert!(joined.is_ok(), "it waits for the counters");
    sqlx::raw_sql("ROLLBACK").execute(&mut working).await.unwrap();
}
