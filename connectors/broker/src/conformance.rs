//! What every log promises, checked against each of them.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use crate::{
    AppendError, EmbeddedLog, EmbeddedOptions, Ends, KafkaLog, KafkaOptions, Log, MAX_APPEND_BYTES, MAX_RECORD_BYTES,
    NewRecord, ReadError, ReadLimits, Record,
};
use async_trait::async_trait;
use bytes::Bytes;
use castback_schemas::id::AccountId;
use castback_schemas::time::SystemClock;
use castback_schemas::topic::{SLOTS, Slot, Topic};
use uuid::Uuid;

const TOPIC: Topic = Topic::ListenerRequests;
const SLOT: Slot = Slot(3);
/// Longer than anything here takes; a test that needs it has failed.
const LONG: Duration = Duration::from_mins(1);

/// A log to be tested, and what only its kind can do.
#[async_trait(?Send)]
trait Bed {
    /// Opens the log, the same one each time.
    async fn open(&self) -> Arc<dyn Log>;
    /// Closes every log opened.
    async fn close(&self);
}

struct Embedded {
    dir: tempfile::TempDir,
    open: RefCell<Vec<Arc<EmbeddedLog>>>,
}

impl Embedded {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), open: RefCell::default() }
    }
}

#[async_trait(?Send)]
impl Bed for Embedded {
    async fn open(&self) -> Arc<dyn Log> {
        let options = EmbeddedOptions::default();
        let log = EmbeddedLog::open(self.dir.path(), Arc::new(SystemClock), options).unwrap();
        let log = Arc::new(log);
        self.open.borrow_mut().push(Arc::clone(&log));
        log
    }

    async fn close(&self) {
        for log in self.open.take() {
            log.close().await;
        }
    }
}

struct Kafka {
    options: KafkaOptions,
    open: RefCell<Vec<Arc<KafkaLog>>>,
}

impl Kafka {
    fn mock(case: &str) -> Self {
        Self::on(crate::kafka::mock::topics(&format!("{case}.")))
    }

    /// Topics of one's own on a real cluster, reached over TLS by a user with a password.
    fn real(case: &str) -> Self {
        Self::on(crate::kafka::real::over_tls(case))
    }

    fn on(options: KafkaOptions) -> Self {
        Self { options, open: RefCell::default() }
    }
}

#[async_trait(?Send)]
impl Bed for Kafka {
    async fn open(&self) -> Arc<dyn Log> {
        let log = KafkaLog::new(self.options.clone(), Arc::new(SystemClock)).unwrap();
        let log = Arc::new(log);
        // A busy cluster may take longer to answer at first than a log waits for one that is not there.
        let end = tokio::time::Instant::now() + Duration::from_mins(1);
        while let Err(error) = log.ends(Topic::Conversions, Slot(0)).await {
            assert!(tokio::time::Instant::now() < end, "{error:?}");
        }
        self.open.borrow_mut().push(Arc::clone(&log));
        log
    }

    async fn close(&self) {
        for log in self.open.take() {
            log.close().await;
        }
    }
}

macro_rules! conformance {
    ($($case:ident)+) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let bed = super::Embedded::new();
                super::$case(&bed).await;
                super::Bed::close(&bed).await;
            })+
        }

        mod kafka {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let bed = super::Kafka::mock(stringify!($case));
                super::$case(&bed).await;
                super::Bed::close(&bed).await;
            })+
        }

        mod real_kafka {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let bed = super::Kafka::real(stringify!($case));
                super::$case(&bed).await;
                super::Bed::close(&bed).await;
                crate::kafka::real::remove(&bed.options).await;
            })+
        }
    };
}

conformance! {
    an_empty_slot_has_no_records
    records_are_read_back_in_order_with_all_they_had
    a_read_may_begin_and_end_anywhere
    slots_and_topics_are_apart
    a_waiting_reader_wakes_on_an_append
    a_position_outside_the_log_is_an_error
    concurrent_appends_each_stay_in_order
    a_big_append_is_all_there
    too_much_is_refused_whole
    a_slot_that_does_not_exist_is_refused
    opening_again_finds_everything
    advice_changes_nothing
}

fn account(n: u8) -> AccountId {
    AccountId::from_uuid(Uuid::from_bytes([n; 16]))
}

fn record(value: impl Into<Bytes>) -> NewRecord {
    NewRecord {
        topic: TOPIC,
        slot: SLOT,
        account: account(1),
        key: Bytes::from_static(b"podcast"),
        value: value.into(),
    }
}

fn numbered(numbers: std::ops::Range<u32>) -> Vec<NewRecord> {
    numbers.map(|n| record(n.to_be_bytes().to_vec())).collect()
}

fn numbers(records: &[Record]) -> Vec<u32> {
    records.iter().map(|r| u32::from_be_bytes(r.value[..].try_into().unwrap())).collect()
}

fn limits(max_bytes: usize, wait: Duration) -> ReadLimits {
    ReadLimits { max_bytes, wait }
}

/// Reads until `count` records are there.
async fn read(log: &dyn Log, from: i64, count: usize) -> Vec<Record> {
    let mut all: Vec<Record> = Vec::new();
    while all.len() < count {
        let next = all.last().map_or(from, |record| record.offset + 1);
        let some = log.read(TOPIC, SLOT, next, limits(usize::MAX, LONG)).await.unwrap();
        assert!(!some.is_empty(), "{} of {count} records", all.len());
        all.extend(some);
    }
    all
}

async fn an_empty_slot_has_no_records(bed: &dyn Bed) {
    let log = bed.open().await;
    assert_eq!(log.ends(TOPIC, SLOT).await.unwrap(), Ends { start: 0, end: 0 });
    assert_eq!(log.read(TOPIC, SLOT, 0, limits(1, Duration::ZERO)).await.unwrap(), []);
    assert_eq!(log.append(Vec::new()).await.unwrap(), Vec::<i64>::new());
    assert_eq!(log.ends(TOPIC, SLOT).await.unwrap(), Ends { start: 0, end: 0 });
}

async fn records_are_read_back_in_order_with_all_they_had(bed: &dyn Bed) {
    let log = bed.open().await;
    let new: Vec<NewRecord> = (0..5_u8)
        .map(|n| NewRecord {
            account: account(n / 2),
            key: Bytes::from(vec![n; usize::from(n)]),
            ..record(vec![0xff; usize::from(5 - n)])
        })
        .collect();
    let offsets = log.append(new.clone()).await.unwrap();
    assert!(offsets.is_sorted_by(|a, b| a < b), "{offsets:?}");
    let read = read(&*log, 0, 5).await;
    for ((new, record), offset) in new.iter().zip(&read).zip(offsets) {
        assert_eq!(record.offset, offset);
        assert_eq!(record.account, Some(new.account));
        assert_eq!((&record.key, &record.value), (&new.key, &new.value));
    }
    assert!(read.is_sorted_by_key(|record| record.appended_at));
    assert!(read[0].appended_at.0 > 0);
}

async fn a_read_may_begin_and_end_anywhere(bed: &dyn Bed) {
    let log = bed.open().await;
    let mut offsets = Vec::new();
    for appended in [0..7, 7..11, 11..12, 12..20] {
        offsets.extend(log.append(numbered(appended)).await.unwrap());
    }
    for (n, offset) in (0..20).zip(&offsets) {
        let rest = read(&*log, *offset, offsets.len() - n as usize).await;
        assert_eq!(rest[0].offset, *offset);
        assert_eq!(numbers(&rest), (n..20).collect::<Vec<u32>>());
    }
    // A limit ends the read at the record that reaches it, and never before the first.
    let size = b"podcast".len() + 4;
    for (max, count) in [(0, 1), (1, 1), (size, 1), (size + 1, 2), (3 * size, 3)] {
        let some = log.read(TOPIC, SLOT, offsets[1], limits(max, LONG)).await.unwrap();
        assert_eq!(some.len(), count, "at most {max} bytes");
        assert_eq!(some[0].offset, offsets[1]);
    }
}

async fn slots_and_topics_are_apart(bed: &dyn Bed) {
    let log = bed.open().await;
    let mixed: Vec<NewRecord> = (0..40_u16)
        .map(|n| NewRecord {
            slot: Slot(n % 4),
            topic: if n % 8 < 4 { TOPIC } else { Topic::AppEvents },
            ..record(u32::from(n).to_be_bytes().to_vec())
        })
        .collect();
    let offsets = log.append(mixed.clone()).await.unwrap();
    for topic in [TOPIC, Topic::AppEvents] {
        for slot in (0..4).map(Slot) {
            let here = |n: &NewRecord| n.topic == topic && n.slot == slot;
            let wanted: Vec<_> = mixed.iter().zip(&offsets).filter(|(n, _)| here(n)).collect();
            let read = log.read(topic, slot, 0, limits(usize::MAX, LONG)).await.unwrap();
            assert_eq!(read.len(), 5);
            for ((new, offset), record) in wanted.into_iter().zip(read) {
                assert_eq!((record.offset, &record.value), (*offset, &new.value));
            }
        }
    }
    assert_eq!(log.ends(Topic::AlertsLow, Slot(0)).await.unwrap(), Ends::default());
}

async fn a_waiting_reader_wakes_on_an_append(bed: &dyn Bed) {
    let log = bed.open().await;
    let waiting = tokio::spawn({
        let log = Arc::clone(&log);
        async move { log.read(TOPIC, SLOT, 0, limits(usize::MAX, LONG)).await }
    });
    // Whether the reader is already waiting or not, it gets the record long before its wait ends.
    tokio::task::yield_now().await;
    log.append(numbered(0..1)).await.unwrap();
    let read = tokio::time::timeout(LONG / 2, waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(numbers(&read), [0]);
}

async fn a_position_outside_the_log_is_an_error(bed: &dyn Bed) {
    let log = bed.open().await;
    log.append(numbered(0..3)).await.unwrap();
    let ends = log.ends(TOPIC, SLOT).await.unwrap();
    for outside in [ends.start - 1, ends.end + 1, i64::MAX] {
        let error = log.read(TOPIC, SLOT, outside, limits(1, Duration::ZERO)).await.unwrap_err();
        assert!(!error.retryable());
        let ReadError::OutOfRange { start, end } = error else { panic!("{error:?}") };
        assert_eq!(Ends { start, end }, ends, "at {outside}");
    }
    assert_eq!(log.read(TOPIC, SLOT, ends.end, limits(1, Duration::ZERO)).await.unwrap(), []);
}

async fn concurrent_appends_each_stay_in_order(bed: &dyn Bed) {
    const EACH: u32 = 50;
    let log = bed.open().await;
    let writer = |first: u32| {
        let log = Arc::clone(&log);
        async move {
            let mut offsets = Vec::new();
            for n in (first..first + EACH * 2).step_by(2) {
                offsets.extend(log.append(numbered(n..n + 2)).await.unwrap());
            }
            offsets
        }
    };
    let (a, b) = tokio::join!(tokio::spawn(writer(0)), tokio::spawn(writer(1_000)));
    let (a, b) = (a.unwrap(), b.unwrap());
    let read = read(&*log, 0, a.len() + b.len()).await;
    assert!(read.is_sorted_by(|x, y| x.offset < y.offset));
    for (offsets, first) in [(a, 0), (b, 1_000)] {
        assert!(offsets.is_sorted_by(|x, y| x < y));
        let mine: Vec<_> = read.iter().filter(|r| offsets.contains(&r.offset)).cloned().collect();
        assert_eq!(numbers(&mine), (first..first + EACH * 2).collect::<Vec<_>>());
    }
}

async fn a_big_append_is_all_there(bed: &dyn Bed) {
    let log = bed.open().await;
    let big: Vec<NewRecord> = (0..30_000).map(|n: u32| record([&n.to_be_bytes()[..], &[0x5a; 200]].concat())).collect();
    let offsets = log.append(big.clone()).await.unwrap();
    let largest = record(vec![7; MAX_RECORD_BYTES - b"podcast".len()]);
    let last = log.append(vec![largest.clone()]).await.unwrap();
    let read = read(&*log, offsets[0], big.len() + 1).await;
    for ((new, offset), record) in big.iter().zip(&offsets).zip(&read) {
        assert_eq!((record.offset, &record.value), (*offset, &new.value));
    }
    let record = read.last().unwrap();
    assert_eq!((record.offset, &record.value), (last[0], &largest.value));
}

async fn too_much_is_refused_whole(bed: &dyn Bed) {
    let log = bed.open().await;
    let too_large = record(vec![0; MAX_RECORD_BYTES + 1]);
    let error = log.append(vec![record("fits"), too_large]).await.unwrap_err();
    assert!(matches!(error, AppendError::TooLarge { index: 1 }) && !error.retryable());
    let value = Bytes::from(vec![0; MAX_RECORD_BYTES / 2]);
    let too_many = vec![record(value); MAX_APPEND_BYTES / (MAX_RECORD_BYTES / 2) + 1];
    assert!(matches!(log.append(too_many).await, Err(AppendError::TooLarge { .. })));
    assert_eq!(log.ends(TOPIC, SLOT).await.unwrap(), Ends::default());
}

async fn a_slot_that_does_not_exist_is_refused(bed: &dyn Bed) {
    let log = bed.open().await;
    let nowhere = NewRecord { slot: Slot(SLOTS), ..record("x") };
    let error = log.append(vec![record("y"), nowhere]).await.unwrap_err();
    assert!(matches!(error, AppendError::NoSuchSlot { index: 1 }) && !error.retryable());
    let read = log.read(TOPIC, Slot(SLOTS), 0, limits(1, Duration::ZERO)).await;
    assert!(matches!(read, Err(ReadError::NoSuchSlot)));
    assert!(matches!(log.ends(TOPIC, Slot(SLOTS)).await, Err(ReadError::NoSuchSlot)));
    assert_eq!(log.ends(TOPIC, SLOT).await.unwrap(), Ends::default());
}

async fn opening_again_finds_everything(bed: &dyn Bed) {
    let log = bed.open().await;
    let before = log.append(numbered(0..10)).await.unwrap();
    let ends = log.ends(TOPIC, SLOT).await.unwrap();
    drop(log);
    bed.close().await;
    let log = bed.open().await;
    assert_eq!(log.ends(TOPIC, SLOT).await.unwrap(), ends);
    let after = log.append(numbered(10..12)).await.unwrap();
    assert!(after[0] > before[9]);
    assert_eq!(numbers(&read(&*log, 0, 12).await), (0..12).collect::<Vec<_>>());
}

async fn advice_changes_nothing(bed: &dyn Bed) {
    let log = bed.open().await;
    log.append(numbered(0..3)).await.unwrap();
    log.advise("counting", &[(TOPIC, SLOT, 2)]).await.unwrap();
    assert_eq!(numbers(&read(&*log, 0, 3).await), [0, 1, 2]);
}
