use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use castback_schemas::id::AccountId;
use castback_schemas::time::{DAY, ManualClock, Micros};
use uuid::Uuid;

use super::*;

const TOPIC: Topic = Topic::ListenerRequests;
const SLOT: Slot = Slot(5);
const NO_WAIT: ReadLimits = ReadLimits { max_bytes: usize::MAX, wait: Duration::ZERO };

#[derive(Debug)]
struct Room(AtomicU64);

impl Space for Room {
    fn free(&self, _: &Path) -> io::Result<u64> {
        Ok(self.0.load(Ordering::SeqCst))
    }
}

struct Bed {
    dir: tempfile::TempDir,
    clock: Arc<ManualClock>,
    room: Arc<Room>,
    options: EmbeddedOptions,
}

impl Bed {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            clock: Arc::new(ManualClock::at(Micros(1_000 * DAY))),
            room: Arc::new(Room(AtomicU64::new(u64::MAX))),
            options: EmbeddedOptions::default(),
        }
    }

    fn open(&self) -> EmbeddedLog {
        let (clock, room) = (Arc::clone(&self.clock), Arc::clone(&self.room));
        EmbeddedLog::open_on(self.dir.path(), clock, self.options, room).unwrap()
    }
}

fn records(topic: Topic, values: &[&'static str]) -> Vec<NewRecord> {
    let account = AccountId::from_uuid(Uuid::from_bytes([7; 16]));
    let value = |v: &&'static str| Bytes::from_static(v.as_bytes());
    let record = |v| NewRecord { topic, slot: SLOT, account, key: Bytes::new(), value: value(v) };
    values.iter().map(record).collect()
}

async fn values(log: &EmbeddedLog, topic: Topic, from: i64) -> Vec<String> {
    let records = log.read(topic, SLOT, from, NO_WAIT).await.unwrap();
    records.iter().map(|r| String::from_utf8(r.value.to_vec()).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_opening_is_refused_until_the_first_is_closed() {
    let bed = Bed::new();
    let log = bed.open();
    let again = EmbeddedLog::open(bed.dir.path(), bed.clock.clone(), bed.options);
    assert!(matches!(again, Err(OpenError::InUse { .. })));
    log.close().await;
    assert!(matches!(log.append(records(TOPIC, &["a"])).await, Err(AppendError::Closed)));
    assert!(matches!(log.read(TOPIC, SLOT, 0, NO_WAIT).await, Err(ReadError::Closed)));
    assert!(matches!(log.retain(&Floors::new()).await, Err(RetainError::Closed)));
    bed.open().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_before_writing_and_reading_goes_on() {
    let bed = Bed::new();
    let log = bed.open();
    log.append(records(TOPIC, &["before"])).await.unwrap();
    bed.room.0.store(space::RESERVE - 1, Ordering::SeqCst);
    let refused = log.append(records(TOPIC, &["full"])).await.unwrap_err();
    assert!(matches!(refused, AppendError::StorageFull) && refused.retryable());
    assert_eq!(values(&log, TOPIC, 0).await, ["before"]);
    bed.room.0.store(space::RESERVE, Ordering::SeqCst);
    assert_eq!(log.append(records(TOPIC, &["after"])).await.unwrap(), [1]);
    assert_eq!(values(&log, TOPIC, 0).await, ["before", "after"]);
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn append_times_never_go_back_even_when_the_clock_does() {
    let bed = Bed::new();
    let log = bed.open();
    let noon = bed.clock.now();
    log.append(records(TOPIC, &["noon"])).await.unwrap();
    bed.clock.advance(-DAY);
    log.append(records(TOPIC, &["a day before"])).await.unwrap();
    log.close().await;
    let log = bed.open();
    log.append(records(TOPIC, &["and after opening again"])).await.unwrap();
    let read = log.read(TOPIC, SLOT, 0, NO_WAIT).await.unwrap();
    assert_eq!(read.iter().map(|r| r.appended_at).collect::<Vec<_>>(), [noon; 3]);
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_the_queue_is_refused_as_overloaded() {
    let bed = Bed { options: EmbeddedOptions { queue_bytes: 100, ..Default::default() }, ..Bed::new() };
    let log = bed.open();
    let too_much = "x".repeat(200).leak();
    let refused = log.append(records(TOPIC, &[too_much])).await.unwrap_err();
    assert!(matches!(refused, AppendError::Overloaded) && refused.retryable());
    log.append(records(TOPIC, &["short"])).await.unwrap();
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_drops_what_is_old_and_below_the_floors_and_nothing_else() {
    let bed = Bed::new();
    let log = bed.open();
    for day in ["one", "two", "three"] {
        log.append(records(TOPIC, &[day])).await.unwrap();
        log.append(records(Topic::AlertsLow, &[day])).await.unwrap();
        bed.clock.advance(DAY);
    }
    let floors = |floor| Floors::from([((TOPIC, SLOT), floor)]);
    assert_eq!(log.retain(&floors(3)).await.unwrap(), 0, "nothing is old yet");

    // Days one and two are older than seven days, but two is still needed.
    bed.clock.advance(6 * DAY);
    assert_eq!(log.retain(&floors(1)).await.unwrap(), 1);
    assert_eq!(log.ends(TOPIC, SLOT).await.unwrap(), Ends { start: 1, end: 3 });
    assert_eq!(values(&log, TOPIC, 1).await, ["two", "three"]);
    let below = log.read(TOPIC, SLOT, 0, NO_WAIT).await;
    assert!(matches!(below, Err(ReadError::OutOfRange { start: 1, end: 3 })));

    // Everything of the topic is old and read: only its offsets stay.
    bed.clock.advance(10 * DAY);
    assert_eq!(log.retain(&floors(3)).await.unwrap(), 2);
    assert_eq!(log.ends(TOPIC, SLOT).await.unwrap(), Ends { start: 3, end: 3 });
    assert_eq!(log.retain(&floors(3)).await.unwrap(), 0, "an empty segment is kept");
    assert_eq!(values(&log, Topic::AlertsLow, 0).await, ["one", "two", "three"]);
    log.close().await;

    let log = bed.open();
    assert_eq!(log.ends(TOPIC, SLOT).await.unwrap(), Ends { start: 3, end: 3 });
    assert_eq!(log.append(records(TOPIC, &["four"])).await.unwrap(), [3]);
    assert_eq!(values(&log, TOPIC, 3).await, ["four"]);
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_may_stand_at_a_record_or_right_behind_the_last() {
    let bed = Bed::new();
    let log = bed.open();
    assert_eq!(log.append(records(TOPIC, &["a", "b"])).await.unwrap(), [0, 1]);
    let ends = log.ends(TOPIC, SLOT).await.unwrap();
    assert!(ends.admits(0) && ends.admits(2) && !ends.admits(3) && !ends.admits(-1));
    let above = log.read(TOPIC, SLOT, 3, NO_WAIT).await;
    assert!(matches!(above, Err(ReadError::OutOfRange { start: 0, end: 2 })));
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn advice_is_kept_for_display() {
    let bed = Bed::new();
    let log = bed.open();
    log.advise("counting", &[(TOPIC, SLOT, 3)]).await.unwrap();
    log.advise("counting", &[(TOPIC, SLOT, 4)]).await.unwrap();
    assert_eq!(log.advice("counting"), [(TOPIC, SLOT, 4)]);
    assert_eq!(log.advice("watch"), []);
    log.close().await;
}
