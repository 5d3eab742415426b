//! A write that really fails: the store refuses all further ones until it is reopened, and
//! nothing acknowledged is lost.
//!
//! The disk is "full" by a limit on the size of files, which needs no privileges. The limit holds
//! for a whole process and comes with a signal, so the test runs itself again as a child in which
//! that signal is ignored.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::{AppendError, EmbeddedLog, EmbeddedOptions, Log, NewRecord, ReadLimits, Record};
use bytes::Bytes;
use castback_schemas::id::AccountId;
use castback_schemas::time::SystemClock;
use castback_schemas::topic::{Slot, Topic};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use uuid::Uuid;

const CHILD: &str = "CASTBACK_FULL_DISK_CHILD";
const LIMIT: u64 = 2 << 20;
const SLOT: Slot = Slot(0);
const TOPIC: Topic = Topic::AppEvents;

#[test]
fn after_a_failed_write_the_log_goes_on_without_loss() {
    if std::env::var_os(CHILD).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(child());
        return;
    }
    let status = Command::new("sh")
        .args(["-c", "trap '' XFSZ; exec \"$0\" --exact --nocapture \"$1\""])
        .arg(std::env::current_exe().unwrap())
        .arg("embedded::full_disk::after_a_failed_write_the_log_goes_on_without_loss")
        .env(CHILD, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
}

fn limit_file_size(current: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current, maximum }).unwrap();
}

fn record(n: u32) -> NewRecord {
    // Not compressible, so that sizes are what they seem.
    let mut state = u64::from(n) + 1;
    let mut value = n.to_be_bytes().to_vec();
    value.extend((0..50_000).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    }));
    let account = AccountId::from_uuid(Uuid::nil());
    NewRecord { topic: TOPIC, slot: SLOT, account, key: Bytes::new(), value: value.into() }
}

async fn numbers(log: &EmbeddedLog) -> Vec<(i64, u32)> {
    let number = |r: &Record| u32::from_be_bytes(r.value[..4].try_into().unwrap());
    let limits = ReadLimits { max_bytes: usize::MAX, wait: Duration::ZERO };
    let records = log.read(TOPIC, SLOT, 0, limits).await.unwrap();
    records.iter().map(|record| (record.offset, number(record))).collect()
}

async fn child() {
    let dir = tempfile::tempdir().unwrap();
    let open = || EmbeddedLog::open(dir.path(), Arc::new(SystemClock), EmbeddedOptions::default()).unwrap();
    let log = open();
    let mut acknowledged = Vec::new();
    let mut failed = Vec::new();
    limit_file_size(Some(LIMIT));
    for n in 0..80 {
        match log.append(vec![record(n)]).await {
            Ok(offsets) => acknowledged.push((offsets[0], n)),
            Err(error) => {
                assert!(matches!(error, AppendError::Unavailable { .. }) && error.retryable());
                failed.push(n);
            }
        }
    }
    assert!(acknowledged.len() > 10, "only {} before the limit", acknowledged.len());
    assert!(failed.len() > 10, "the limit did not bite");
    limit_file_size(getrlimit(Resource::Fsize).maximum);

    for n in 1_000..1_010 {
        let offsets = log.append(vec![record(n)]).await.unwrap();
        acknowledged.push((offsets[0], n));
    }
    check(&numbers(&log).await, &acknowledged, &failed);
    log.close().await;
    let log = open();
    check(&numbers(&log).await, &acknowledged, &failed);
    log.close().await;
}

/// All that was acknowledged is there; nothing else is, but what failed may be.
fn check(read: &[(i64, u32)], acknowledged: &[(i64, u32)], failed: &[u32]) {
    for record in acknowledged {
        assert!(read.contains(record), "{record:?} is lost");
    }
    for record in read {
        assert!(acknowledged.contains(record) || failed.contains(&record.1), "{record:?}");
    }
    assert!((0..).zip(read).all(|(n, (offset, _))| n == *offset), "not dense");
}
