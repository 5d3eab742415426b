//! Many at once: one owner a unit, dense numbers, whole views, exact limits.

use std::collections::HashSet;

use castback_catalogue::podcasts::NewPodcast;
use castback_catalogue::segments::CompactRequest;
use castback_catalogue::units::{Held, UnitStatus};
use castback_catalogue::{Catalogue, CatalogueError};
use castback_schemas::Revision;

use crate::commits::{at, request, step};
use crate::harness::units;
use crate::segments::segment;

/// Commits one unit `times` times; answers the numbers it was given.
async fn commit_often(catalogue: Catalogue, mut held: Held, times: i64) -> Vec<i64> {
    let mut numbers = Vec::new();
    for offset in 1..=times {
        let outcome =
            catalogue.commit(request(&format!("{}-{offset}", held.unit), vec![step(&held, offset)])).await.unwrap();
        numbers.push(outcome.revision.unwrap().0);
        held.positions = at(offset);
    }
    numbers
}

on_every_database! {
    async fn every_unit_is_taken_once(house) {
        house.catalogue.ensure_units(&units(48)).await.unwrap();
        let processes = [house.neighbour(2).await, house.neighbour(3).await];
        let mut takers = tokio::task::JoinSet::new();
        for taker in 0..8 {
            let catalogue = processes[taker % 2].clone();
            takers.spawn(async move {
                let mut mine = Vec::new();
                loop {
                    let got = catalogue.take(&format!("owner {taker}"), 3).await.unwrap();
                    if got.is_empty() {
                        return mine;
                    }
                    mine.extend(got);
                }
            });
        }
        let taken = takers.join_all().await.concat();
        assert_eq!(taken.len(), 48);
        assert!(taken.iter().all(|held| held.epoch == 1));
        assert_eq!(taken.iter().map(|held| held.unit).collect::<HashSet<_>>().len(), 48);
    }

    async fn numbers_are_dense_and_rise(house) {
        let held = house.held(6, "a").await;
        let other = house.neighbour(2).await;
        let mut committers = tokio::task::JoinSet::new();
        for (i, held) in held.into_iter().enumerate() {
            let catalogue = if i % 2 == 0 { house.catalogue.clone() } else { other.clone() };
            committers.spawn(commit_often(catalogue, held, 20));
        }
        let numbers = committers.join_all().await;
        assert!(numbers.iter().all(|mine| mine.is_sorted()), "{numbers:?}");
        let mut all = numbers.concat();
        all.sort_unstable();
        assert_eq!(all, (1..=120).collect::<Vec<_>>());
    }

    async fn a_view_is_whole_while_compaction_goes_on(house) {
        let held = house.held(1, "a").await.remove(0);
        let unit = held.unit;
        let committing = tokio::spawn(commit_often(house.catalogue.clone(), held, 60));
        let compacting = tokio::spawn({
            let catalogue = house.catalogue.clone();
            async move {
                let mut done = 0;
                while done < 60 {
                    let view = catalogue.view(None).await.unwrap();
                    let Some(last) = view.slices.last().map(|slice| slice.revision.0) else { continue };
                    let request = CompactRequest {
                        new: vec![segment(&format!("s{done}-{last}"), (1, last))],
                        replaced: view.segments.into_iter().map(|segment| segment.object_key).collect(),
                        slices_done: view.slices.iter().map(|slice| (slice.revision, unit)).collect(),
                    };
                    catalogue.compact(request).await.unwrap();
                    done = last;
                }
            }
        });
        loop {
            let view = house.catalogue.view(None).await.unwrap();
            // What is compacted and what is not make up every commit up to the view's, once.
            let compacted = view.segments.iter().map(|segment| segment.max_revision.0).max().unwrap_or(0);
            assert!(view.segments.len() <= 1);
            let slices: Vec<_> = view.slices.iter().map(|slice| slice.revision.0).collect();
            assert_eq!(slices, (compacted + 1..=view.revision.0).collect::<Vec<_>>());
            if view.revision == Revision(60) && slices.is_empty() {
                break;
            }
        }
        committing.await.unwrap();
        compacting.await.unwrap();
    }

    async fn a_view_and_its_units_are_of_one_instant(house) {
        let held = house.held(1, "a").await.remove(0);
        let committing = tokio::spawn(commit_often(house.catalogue.clone(), held, 60));
        // The one unit moves on by one with every commit.
        let position = |units: &[UnitStatus]| units[0].positions.0.get("conversions").copied().unwrap_or(0);
        loop {
            let (stamp, units) = house.catalogue.stamp_with_units().await.unwrap();
            assert_eq!(position(&units), stamp.revision.0);
            let (view, units) = house.catalogue.view_with_units().await.unwrap();
            let position = position(&units);
            assert_eq!(position, view.revision.0);
            assert_eq!(view.slices.len(), usize::try_from(position).unwrap());
            if view.revision == Revision(60) {
                break;
            }
        }
        committing.await.unwrap();
    }

    async fn one_that_fails_takes_nobody_with_it(house) {
        let account = house.account("ada").await;
        let mut callers = tokio::task::JoinSet::new();
        for i in 0..30 {
            let catalogue = house.catalogue.clone();
            let new = NewPodcast { feed_url: format!("https://example.com/{}", i % 10), allowed: None };
            callers.spawn(async move { catalogue.create_podcast(account, new).await });
        }
        let outcomes = callers.join_all().await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 10);
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(_) | Err(CatalogueError::InUse("feed_url")))));
        assert_eq!(house.catalogue.count_podcasts(account).await.unwrap(), 10);
    }

    async fn many_callers_at_a_limit_admit_exactly_as_many(house) {
        let account = house.account("ada").await;
        let other = house.neighbour(2).await;
        let mut callers = tokio::task::JoinSet::new();
        for i in 0..12 {
            let catalogue = if i % 2 == 0 { house.catalogue.clone() } else { other.clone() };
            callers.spawn(async move {
                let new = NewPodcast { feed_url: format!("https://example.com/{i}"), allowed: Some(3) };
                catalogue.create_podcast(account, new).await
            });
        }
        let outcomes = callers.join_all().await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 3);
        for refused in outcomes.into_iter().filter_map(Result::err) {
            assert!(matches!(refused, CatalogueError::LimitReached { limit: "podcasts", used: 3, allowed: 3 }), "{refused:?}");
        }
        assert_eq!(house.catalogue.count_podcasts(account).await.unwrap(), 3);
    }
}
