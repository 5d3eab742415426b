//! Views and compaction.

use castback_catalogue::CatalogueError;
use castback_catalogue::segments::{CompactRequest, Segment};
use castback_schemas::time::HOUR;
use castback_schemas::{Day, Revision, Slot};

use crate::commits::{request, step};
use crate::harness::NOON;

pub(crate) fn segment(object_key: &str, revisions: (i64, i64)) -> Segment {
    Segment {
        object_key: object_key.to_owned(),
        table: "ledger".to_owned(),
        slot: Slot(3),
        day: Day(20_000),
        rows: 10,
        bytes: 1000,
        min_revision: Revision(revisions.0),
        max_revision: Revision(revisions.1),
        body: "{}".to_owned(),
    }
}

on_every_database! {
    async fn compaction_replaces_all_at_once_and_old_files_live_on(house) {
        let catalogue = &house.catalogue;
        let held = house.held(2, "a").await;
        catalogue.commit(request("one", held.iter().map(|held| step(held, 1)).collect())).await.unwrap();
        let half = CompactRequest {
            new: vec![segment("s1", (1, 1))],
            slices_done: vec![(Revision(1), held[0].unit)],
            ..CompactRequest::default()
        };
        catalogue.compact(half.clone()).await.unwrap();
        assert!(catalogue.removed_before(NOON.plus(1)).await.unwrap().is_empty(), "a slice of it is still read");

        let rest = CompactRequest {
            new: vec![segment("s2", (1, 1))],
            replaced: vec!["s1".to_owned()],
            slices_done: vec![(Revision(1), held[1].unit)],
        };
        catalogue.compact(rest).await.unwrap();
        let view = catalogue.view(None).await.unwrap();
        assert_eq!((view.stamp.revision, view.stamp.compaction), (Revision(1), 2));
        assert_eq!(catalogue.view_stamp().await.unwrap(), view.stamp);
        assert_eq!(view.segments, [segment("s2", (1, 1))]);
        assert!(view.slices.is_empty());

        assert!(catalogue.removed_before(NOON).await.unwrap().is_empty());
        house.clock.advance(HOUR);
        let mut removed = catalogue.removed_before(NOON.plus(HOUR)).await.unwrap();
        removed.sort();
        assert_eq!(removed, ["one", "s1"]);
        catalogue.forget_objects(&["one".to_owned(), "s1".to_owned(), "s2".to_owned()]).await.unwrap();
        assert!(!catalogue.knows_object("one").await.unwrap());
        assert!(catalogue.knows_object("s2").await.unwrap(), "a live one is never forgotten");

        assert!(matches!(catalogue.compact(half).await, Err(CatalogueError::Stale)));
        assert_eq!(catalogue.view_stamp().await.unwrap(), view.stamp);
    }

    async fn a_stale_compaction_replaces_nothing(house) {
        let catalogue = &house.catalogue;
        catalogue.compact(CompactRequest { new: vec![segment("a", (0, 0)), segment("b", (0, 0))], ..CompactRequest::default() }).await.unwrap();
        let stale = CompactRequest {
            new: vec![segment("c", (1, 1))],
            replaced: vec!["a".to_owned(), "gone".to_owned()],
            slices_done: Vec::new(),
        };
        assert!(matches!(catalogue.compact(stale).await, Err(CatalogueError::Stale)));
        let keys: Vec<_> = catalogue.view(None).await.unwrap().segments.into_iter().map(|s| s.object_key).collect();
        assert_eq!(keys, ["a", "b"]);
    }

    async fn an_older_view_leaves_out_what_came_later(house) {
        let catalogue = &house.catalogue;
        let mut held = house.held(1, "a").await;
        for offset in 1..=3 {
            catalogue.commit(request(&format!("o{offset}"), vec![step(&held[0], offset)])).await.unwrap();
            held[0].positions = crate::commits::at(offset);
        }
        let view = catalogue.view(Some(Revision(2))).await.unwrap();
        assert_eq!(view.revision, Revision(2));
        assert_eq!(view.slices.iter().map(|slice| slice.revision.0).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(catalogue.view(Some(Revision(99))).await.unwrap().revision, Revision(3));
    }
}
