//! A compaction killed at any step leaves every answer as it was, and nothing behind for long.

use std::path::Path;
use std::process::Command;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use castback_schemas::Micros;
use castback_schemas::table::Table;
use castback_store::Scan;

use crate::samples;
use crate::world::{World, compactor, open};

const STEPS: [&str; 7] = [
    "put.before",
    "put.after",
    "compact.before_put",
    "compact.before_put:2",
    "compact.after_put",
    "compact.after_commit",
    "compact.after_commit:2",
];

/// The process that is killed: one round of compaction.
pub(crate) async fn compact(directory: &Path) {
    let (store, catalogue) = open(directory).await;
    let seed = std::process::id().to_le_bytes()[0];
    compactor(&store, &catalogue, seed).run().await.unwrap();
}

pub(crate) async fn check() {
    let mut offset = 0;
    let world = World::new().await;
    for step in STEPS {
        for owner in 1..=3 {
            world.commit(samples::account(owner), offset..offset + 5).await;
            offset += 5;
        }
        let before = answers(&world).await;
        assert_eq!(before.len(), usize::try_from(offset).unwrap());
        let run = |failpoint: &str| {
            let program = std::env::current_exe().unwrap();
            let mut command = Command::new(program);
            command.arg("compact").arg(world.directory.path()).env("CASTBACK_FAILPOINT", failpoint);
            command.status().unwrap()
        };
        assert!(!run(step).success(), "{step} was not reached");
        assert_eq!(answers(&world).await, before, "killed at {step}");
        assert!(run("none").success());
        assert_eq!(answers(&world).await, before, "compacted after {step}");
        assert!(world.catalogue.view(None).await.unwrap().slices.is_empty());
    }
    nothing_is_left_behind(&world).await;
}

/// Each row's offset and commit.
async fn answers(world: &World) -> Vec<(i64, i64)> {
    let scan = Scan { columns: Some(vec!["offset", "commit"]), ..Scan::new(Table::Requests) };
    let rows: Vec<RecordBatch> = world.store.rows(&world.view().await, scan).await.unwrap();
    let pairs = |batch: &RecordBatch| {
        let column = |index: usize| batch.column(index).as_primitive::<Int64Type>().values().to_vec();
        column(0).into_iter().zip(column(1)).collect::<Vec<_>>()
    };
    let mut pairs: Vec<_> = rows.iter().flat_map(pairs).collect();
    pairs.sort_unstable();
    pairs
}

async fn nothing_is_left_behind(world: &World) {
    let before = answers(world).await;
    let compactor = compactor(&world.store, &world.catalogue, 255);
    let late = Micros(i64::MAX / 2);
    compactor.sweep(late).await.unwrap();
    assert_eq!(compactor.sweep_orphans(late).await.unwrap(), 0, "they are only suspects yet");
    let later = late.plus(castback_schemas::time::HOUR);
    assert!(compactor.sweep_orphans(later).await.unwrap() > 0, "kills left orphans");
    let kept = world.store.objects().written_before("segments", late).await.unwrap();
    let named: Vec<_> =
        world.catalogue.view(None).await.unwrap().segments.into_iter().map(|segment| segment.object_key).collect();
    assert_eq!(kept.len(), named.len());
    assert!(world.store.objects().written_before("commits", late).await.unwrap().is_empty());
    assert_eq!(answers(world).await, before);
}
