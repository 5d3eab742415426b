//! Commits: positions and slices move together or not at all.

use std::collections::BTreeMap;

use castback_catalogue::commits::{CommitRequest, UnitCommit};
use castback_catalogue::unit_requests::RequestKind;
use castback_catalogue::units::{Held, Positions};
use castback_schemas::Revision;

/// What a holder commits when it has read up to `offset`.
pub(crate) fn step(held: &Held, offset: i64) -> UnitCommit {
    UnitCommit {
        unit: held.unit,
        epoch: held.epoch,
        old_positions: held.positions.clone(),
        new_positions: at(offset),
        slice: Some(format!("{}@{offset}", held.unit)),
        finish: Vec::new(),
    }
}

pub(crate) fn at(offset: i64) -> Positions {
    Positions(BTreeMap::from([("conversions".to_owned(), offset), ("listener-requests".to_owned(), offset)]))
}

pub(crate) fn request(object: &str, units: Vec<UnitCommit>) -> CommitRequest {
    CommitRequest { object_key: Some(object.to_owned()), units }
}

on_every_database! {
    async fn positions_and_slices_move_together(house) {
        let held = house.held(3, "a").await;
        let outcome = house.catalogue.commit(request("one", held.iter().map(|held| step(held, 5)).collect())).await.unwrap();
        assert_eq!((outcome.revision, outcome.accepted.len(), outcome.fenced.len()), (Some(Revision(1)), 3, 0));
        let view = house.catalogue.view(None).await.unwrap();
        assert_eq!(view.revision, Revision(1));
        assert_eq!(view.slices.len(), 3);
        assert!(view.slices.iter().all(|slice| slice.object_key == "one" && slice.body == format!("{}@5", slice.unit)));
        assert!(house.catalogue.units().await.unwrap().iter().all(|unit| unit.positions == at(5)));
        assert_eq!(house.catalogue.commit_of("one").await.unwrap(), Some(Revision(1)));
        assert_eq!(house.catalogue.commit_of("two").await.unwrap(), None);
    }

    async fn a_fenced_unit_changes_nothing_and_the_others_commit(house) {
        let mine = house.held(2, "a").await;
        house.sql("UPDATE units SET lease_until = 0 WHERE unit = 'counting/1'").await;
        let theirs = house.catalogue.take("b", 1).await.unwrap();
        let outcome = house.catalogue.commit(request("a", mine.iter().map(|held| step(held, 7)).collect())).await.unwrap();
        assert_eq!(outcome.accepted, [mine[0].unit]);
        assert_eq!(outcome.fenced, [theirs[0].unit]);
        let view = house.catalogue.view(None).await.unwrap();
        assert_eq!(view.slices.iter().map(|slice| slice.unit).collect::<Vec<_>>(), [mine[0].unit]);
        let units = house.catalogue.units().await.unwrap();
        assert_eq!(units.iter().map(|unit| unit.positions.clone()).collect::<Vec<_>>(), [at(7), Positions::default()]);
    }

    async fn a_commit_of_fenced_units_takes_no_number(house) {
        let held = house.held(1, "a").await;
        house.catalogue.take_all("b").await.unwrap();
        let outcome = house.catalogue.commit(request("lost", vec![step(&held[0], 1)])).await.unwrap();
        assert_eq!((outcome.revision, outcome.fenced.len()), (None, 1));
        assert_eq!(house.catalogue.newest_commit().await.unwrap(), Revision(0));
        assert!(!house.catalogue.knows_object("lost").await.unwrap());
        let nothing = house.catalogue.commit(request("nothing", Vec::new())).await.unwrap();
        assert_eq!(nothing.revision, None);
    }

    async fn the_same_step_twice_is_fenced_the_second_time(house) {
        let held = house.held(1, "a").await;
        let first = house.catalogue.commit(request("x", vec![step(&held[0], 3)])).await.unwrap();
        assert_eq!(first.accepted.len(), 1);
        let again = house.catalogue.commit(request("y", vec![step(&held[0], 3)])).await.unwrap();
        assert_eq!(again.fenced.len(), 1);
        assert_eq!(house.catalogue.newest_commit().await.unwrap(), Revision(1));
    }

    async fn a_request_is_finished_by_the_commit_that_answers_it(house) {
        let held = house.held(2, "a").await;
        let units: Vec<_> = held.iter().map(|held| held.unit).collect();
        let (first, second) = (units[0], units[1]);
        let recount = house.catalogue.enqueue_unit_request(first, RequestKind::Recount, "march".to_owned()).await.unwrap();
        let other = house.catalogue.enqueue_unit_request(second, RequestKind::AcceptGap, "gap".to_owned()).await.unwrap();
        let waiting = house.catalogue.unit_requests(&units[..1]).await.unwrap();
        assert_eq!(waiting.iter().map(|request| (request.id, request.body.as_str())).collect::<Vec<_>>(), [(recount, "march")]);
        // A unit finishes only its own.
        let answer = UnitCommit { finish: vec![recount, other], ..step(&held[0], 2) };
        house.catalogue.commit(request("answer", vec![answer])).await.unwrap();
        let left = house.catalogue.unit_requests(&units).await.unwrap();
        assert_eq!(left.iter().map(|request| request.id).collect::<Vec<_>>(), [other]);
        assert!(house.catalogue.finish_unit_request(other).await.unwrap());
        assert!(!house.catalogue.finish_unit_request(other).await.unwrap());
    }

    async fn an_object_that_nothing_refers_to_may_go_at_once(house) {
        let held = house.held(1, "a").await;
        let bare = UnitCommit { slice: None, ..step(&held[0], 1) };
        let outcome = house.catalogue.commit(request("bare", vec![bare])).await.unwrap();
        assert_eq!(outcome.revision, Some(Revision(1)));
        assert_eq!(house.catalogue.removed_before(castback_schemas::Micros(i64::MAX)).await.unwrap(), ["bare"]);
    }
}
