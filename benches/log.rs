//! What the embedded log does on this disk: `cargo bench --bench log [directory]`.
//!
//! Durable records a second in batches of 1,000 × 100 bytes from several writers, what a reader
//! drains, the time of a single append against a bare fsync, processor time, bytes written and peak memory.
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]
#![expect(clippy::cast_precision_loss, reason = "figures for the eye")]

mod support {
    pub(crate) mod anew;
    pub(crate) mod meter;
    pub(crate) mod slow;
}

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use castback_broker::{EmbeddedLog, EmbeddedOptions, Log, NewRecord, ReadLimits};
use castback_schemas::id::AccountId;
use castback_schemas::time::{Clock, SystemClock};
use castback_schemas::topic::{Slot, Topic};
use support::anew::{self, Case};
use support::meter::{Meter, Outcome};
use uuid::Uuid;

const TOPIC: Topic = Topic::ListenerRequests;
const WRITERS: u16 = 8;
const BATCH: usize = 1_000;
const BATCHES: usize = 1_000;
const VALUE: usize = 100;

fn main() -> Outcome<()> {
    if !anew::is_child() {
        return anew::run(Case::each_fsync()?);
    }
    let scratch = tempfile::tempdir()?;
    let chosen = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).map(PathBuf::from);
    let dir = chosen.unwrap_or_else(|| scratch.path().to_owned());
    let fsync = bare_fsync(&dir)?;
    println!("bare fsync of 4 KiB       p50 {} µs, p99 {} µs", fsync.p50, fsync.p99);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(&dir.join("log"), &fsync))
}

async fn run(dir: &Path, fsync: &Times) -> Outcome<()> {
    let log = EmbeddedLog::open(dir, Arc::new(SystemClock), EmbeddedOptions::default())?;
    let log = Arc::new(log);
    let single = single_appends(&log).await?;
    let ratio = single.p99 as f64 / fsync.p99.max(1) as f64;
    println!("one record, durable       p50 {} µs, p99 {} µs ({ratio:.1} × fsync)", single.p50, single.p99);
    let count = append_all(&log).await?;
    drain_all(&log, count).await?;
    log.close().await;
    Ok(())
}

async fn append_all(log: &Arc<EmbeddedLog>) -> Outcome<usize> {
    let count = BATCH * BATCHES * usize::from(WRITERS);
    let meter = Meter::start("self")?;
    let mut writers = tokio::task::JoinSet::new();
    for slot in 1..=WRITERS {
        let log = Arc::clone(log);
        writers.spawn(async move {
            let batch = batch(Slot(slot), BATCH);
            for _ in 0..BATCHES {
                log.append(batch.clone()).await?;
            }
            Outcome::Ok(())
        });
    }
    while let Some(writer) = writers.join_next().await {
        writer??;
    }
    println!("{WRITERS} writers × {BATCH} × {VALUE} bytes  {}", meter.used(u64::try_from(count)?)?);
    Ok(count)
}

async fn drain_all(log: &Arc<EmbeddedLog>, count: usize) -> Outcome<()> {
    let meter = Meter::start("self")?;
    let mut readers = tokio::task::JoinSet::new();
    for slot in 1..=WRITERS {
        let log = Arc::clone(log);
        readers.spawn(async move {
            let limits = ReadLimits { max_bytes: 1 << 20, wait: Duration::ZERO };
            let (mut from, mut count) = (0, 0);
            loop {
                let records = log.read(TOPIC, Slot(slot), from, limits).await?;
                let Some(last) = records.last() else { return Outcome::Ok(count) };
                from = last.offset + 1;
                count += records.len();
            }
        });
    }
    let mut drained = 0;
    while let Some(reader) = readers.join_next().await {
        drained += reader??;
    }
    if drained != count {
        return Err(format!("{drained} records read of {count}").into());
    }
    println!("drained                   {}", meter.used(u64::try_from(count)?)?);
    Ok(())
}

async fn single_appends(log: &EmbeddedLog) -> Outcome<Times> {
    let mut times = Vec::new();
    for _ in 0..2_000 {
        let record = batch(Slot(0), 1);
        let start = SystemClock.now();
        log.append(record).await?;
        times.push(SystemClock.now().0 - start.0);
    }
    Ok(Times::of(times))
}

fn bare_fsync(dir: &Path) -> Outcome<Times> {
    std::fs::create_dir_all(dir)?;
    let mut file = File::create(dir.join("fsync"))?;
    let mut times = Vec::new();
    for _ in 0..2_000 {
        let start = SystemClock.now();
        file.write_all(&[0x5a; 4096])?;
        file.sync_all()?;
        times.push(SystemClock.now().0 - start.0);
    }
    Ok(Times::of(times))
}

/// Records that do not compress, so that bytes are what they seem.
fn batch(slot: Slot, count: usize) -> Vec<NewRecord> {
    let mut state = u64::from(slot.0) + 1;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    };
    let account = AccountId::from_uuid(Uuid::from_u128(u128::from(slot.0)));
    let mut record = || NewRecord {
        topic: TOPIC,
        slot,
        account,
        key: (0..16).map(|_| noise()).collect(),
        value: (0..VALUE).map(|_| noise()).collect(),
    };
    (0..count).map(|_| record()).collect()
}

struct Times {
    p50: i64,
    p99: i64,
}

impl Times {
    fn of(mut times: Vec<i64>) -> Self {
        times.sort_unstable();
        let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or(0);
        Self { p50: at(50), p99: at(99) }
    }
}
