//! What only Kafka can do to a log: fail for a while, and carry records of others.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::{AppendError, KafkaLog, KafkaOptions, Log, NewRecord, ReadError, ReadLimits, Record};
use bytes::Bytes;
use castback_schemas::id::AccountId;
use castback_schemas::time::{ManualClock, SystemClock};
use castback_schemas::topic::{SLOTS, Slot, Topic};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use uuid::Uuid;

use super::mock::{Cluster, create_topics, topics};
use super::pool::EXPIRY;

const TOPIC: Topic = Topic::Conversions;
const SLOT: Slot = Slot(9);
const LIMITS: ReadLimits = ReadLimits { max_bytes: usize::MAX, wait: Duration::from_secs(30) };

fn cluster(partitions: u16) -> Cluster {
    let cluster = MockCluster::new(1).unwrap();
    create_topics(&cluster, "test.", partitions);
    cluster
}

fn open(cluster: &Cluster) -> KafkaLog {
    let brokers = cluster.bootstrap_servers();
    let options = KafkaOptions { brokers, prefix: "test.".to_owned(), ..KafkaOptions::default() };
    KafkaLog::new(options, Arc::new(SystemClock)).unwrap()
}

fn shared(prefix: &str) -> KafkaLog {
    KafkaLog::new(topics(prefix), Arc::new(SystemClock)).unwrap()
}

fn records(values: &[&'static str]) -> Vec<NewRecord> {
    let account = AccountId::from_uuid(Uuid::from_bytes([7; 16]));
    let value = |v: &&'static str| Bytes::from_static(v.as_bytes());
    let key = Bytes::from_static(b"key");
    let record = |v| NewRecord { topic: TOPIC, slot: SLOT, account, key: key.clone(), value: value(v) };
    values.iter().map(record).collect()
}

/// Reads until `count` records are there.
async fn read(log: &KafkaLog, from: i64, count: usize) -> Vec<Record> {
    let mut all: Vec<Record> = Vec::new();
    while all.len() < count {
        let next = all.last().map_or(from, |record| record.offset + 1);
        let some = log.read(TOPIC, SLOT, next, LIMITS).await.unwrap();
        assert!(!some.is_empty(), "{} of {count} records", all.len());
        all.extend(some);
    }
    all
}

fn values(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| std::str::from_utf8(&record.value).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_delivery_is_unavailable_and_the_next_append_goes_on() {
    let cluster = cluster(SLOTS);
    let log = open(&cluster);
    assert_eq!(log.append(records(&["before"])).await.unwrap(), [0]);
    let refused = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD];
    cluster.request_errors(RDKafkaApiKey::Produce, &refused);
    let error = log.append(records(&["refused"])).await.unwrap_err();
    assert!(matches!(error, AppendError::Unavailable { .. }) && error.retryable(), "{error:?}");
    log.append(records(&["after"])).await.unwrap();
    assert_eq!(values(&read(&log, 0, 2).await), ["before", "after"]);
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passing_fault_of_the_broker_is_not_even_noticed() {
    let cluster = cluster(SLOTS);
    let log = open(&cluster);
    let passing = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS; 2];
    cluster.request_errors(RDKafkaApiKey::Produce, &passing);
    assert_eq!(log.append(records(&["a", "b"])).await.unwrap(), [0, 1]);
    assert_eq!(values(&read(&log, 0, 2).await), ["a", "b"]);
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_question_or_fetch_the_same_position_goes_on() {
    let cluster = cluster(SLOTS);
    let log = open(&cluster);
    log.append(records(&["a"])).await.unwrap();
    let refused = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED];
    cluster.request_errors(RDKafkaApiKey::ListOffsets, &refused);
    let error = log.read(TOPIC, SLOT, 0, LIMITS).await.unwrap_err();
    assert!(matches!(error, ReadError::Unavailable { .. }) && error.retryable(), "{error:?}");
    assert_eq!(values(&read(&log, 0, 1).await), ["a"]);
    cluster.request_errors(RDKafkaApiKey::Fetch, &refused);
    log.append(records(&["b"])).await.unwrap();
    // Whether the fetch ahead or the read itself meets the error is open.
    let read = match log.read(TOPIC, SLOT, 1, LIMITS).await {
        Err(ReadError::Unavailable { .. }) => log.read(TOPIC, SLOT, 1, LIMITS).await,
        other => other,
    };
    assert_eq!(values(&read.unwrap()), ["b"]);
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_may_be_made_before_its_cluster_is_up() {
    let cluster = cluster(SLOTS);
    cluster.broker_down(1).unwrap();
    let log = open(&cluster);
    let error = log.append(records(&["too early"])).await.unwrap_err();
    assert!(matches!(error, AppendError::Unavailable { .. }), "{error:?}");
    cluster.broker_up(1).unwrap();
    // The client looks again within some seconds; until then it is refused again.
    let end = tokio::time::Instant::now() + LIMITS.wait;
    let appended = loop {
        match log.append(records(&["up"])).await {
            Err(AppendError::Unavailable { .. }) if tokio::time::Instant::now() < end => {}
            other => break other,
        }
    };
    assert_eq!(appended.unwrap(), [0]);
    log.close().await;
    assert!(matches!(log.append(records(&["closed"])).await, Err(AppendError::Closed)));
    assert!(matches!(log.read(TOPIC, SLOT, 0, LIMITS).await, Err(ReadError::Closed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_cluster_all_are_refused_soon_and_at_once() {
    let options = KafkaOptions { brokers: "127.0.0.1:1".to_owned(), ..KafkaOptions::default() };
    let log = Arc::new(KafkaLog::new(options, Arc::new(SystemClock)).unwrap());
    let begun = tokio::time::Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let log = Arc::clone(&log);
        callers.spawn(async move { log.append(records(&["x"])).await });
    }
    for refused in callers.join_all().await {
        let Err(AppendError::Unavailable { source }) = refused else { panic!("{refused:?}") };
        assert!(source.to_string().contains("onnection refused"), "{source}");
    }
    assert!(begun.elapsed() < Duration::from_secs(8), "one after the other: {:?}", begun.elapsed());
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_waits_shortly_for_what_no_broker_takes() {
    let cluster = cluster(SLOTS);
    let log = open(&cluster);
    log.append(records(&["before"])).await.unwrap();
    cluster.broker_down(1).unwrap();
    let given_up = tokio::time::timeout(Duration::from_millis(100), log.append(records(&["under way"]))).await;
    assert!(given_up.is_err(), "{given_up:?}");
    let begun = tokio::time::Instant::now();
    log.close().await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_readers_of_one_slot_do_not_disturb_each_other() {
    let log = shared("two_readers.");
    log.append(records(&["a", "b", "c"])).await.unwrap();
    let one = ReadLimits { max_bytes: 1, ..LIMITS };
    for (position, value) in [(0, "a"), (2, "c"), (1, "b"), (0, "a"), (1, "b"), (2, "c")] {
        let read = log.read(TOPIC, SLOT, position, one).await.unwrap();
        assert_eq!((read[0].offset, values(&read)), (position, vec![value]));
    }
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_only_looks_or_takes_less_needs_no_other_reader() {
    let log = shared("looks.");
    let one = ReadLimits { max_bytes: 1, ..LIMITS };
    for from in [0, 2, 4] {
        log.append(records(&["a", "b"])).await.unwrap();
        assert_eq!(values(&log.read(TOPIC, SLOT, from, one).await.unwrap()), ["a"]);
        assert_eq!(values(&read(&log, from, 2).await), ["a", "b"]);
        assert_eq!(values(&read(&log, from + 1, 1).await), ["b"]);
        let nothing = ReadLimits { wait: Duration::ZERO, ..LIMITS };
        assert_eq!(log.read(TOPIC, SLOT, from + 2, nothing).await.unwrap(), []);
    }
    let readers = &log.inner.readers;
    assert_eq!(readers.made.load(std::sync::atomic::Ordering::Relaxed), 1);
    // What was handed out before the last read is gone from here, and read from the log.
    assert_eq!(values(&read(&log, 0, 1).await)[0], "a");
    assert_eq!(readers.made.load(std::sync::atomic::Ordering::Relaxed), 2);
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_others_may_lack_an_account() {
    let options = topics("others.");
    let brokers = options.brokers.clone();
    let log = KafkaLog::new(options, Arc::new(SystemClock)).unwrap();
    let mut config = ClientConfig::new();
    let producer: FutureProducer = config.set("bootstrap.servers", brokers).create().unwrap();
    let header = |value| Header { key: "account_id", value: Some(value) };
    let id = "018f0000-0000-7000-8000-000000000001";
    for headers in
        [OwnedHeaders::new(), OwnedHeaders::new().insert(header("nobody")), OwnedHeaders::new().insert(header(id))]
    {
        let record = FutureRecord::<[u8], [u8]>::to("others.conversions").partition(9).headers(headers);
        producer.send(record, Duration::from_secs(30)).await.unwrap();
    }
    let read = read(&log, 0, 3).await;
    let accounts: Vec<_> = read.iter().map(|record| record.account).collect();
    assert_eq!(accounts, [None, None, Some(id.parse().unwrap())]);
    assert!(read.iter().all(|record| record.key.is_empty() && record.value.is_empty()));
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_of_another_shape_is_refused() {
    let cluster = cluster(SLOTS / 2);
    let log = open(&cluster);
    let error = log.append(records(&["x"])).await.unwrap_err();
    let AppendError::Unavailable { source } = error else { panic!("{error:?}") };
    assert!(source.to_string().contains("has 8 partitions instead of 16"), "{source}");
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_nobody_asks_are_closed_and_made_again_when_needed() {
    let clock = Arc::new(ManualClock::default());
    let log = Arc::new(KafkaLog::new(topics("idle."), clock.clone()).unwrap());
    log.append(records(&["a", "b"])).await.unwrap();
    let open = |slot: Slot| log.inner.readers.open(TOPIC, slot);
    clock.advance(EXPIRY / 2);
    read(&log, 0, 1).await;
    clock.advance(EXPIRY / 2);
    let nothing = ReadLimits { wait: Duration::ZERO, ..LIMITS };
    assert_eq!(log.read(TOPIC, Slot(0), 0, nothing).await.unwrap(), []);
    log.inner.readers.swept().await;
    assert_eq!(open(SLOT), 1);
    clock.advance(EXPIRY / 2);
    // However long it takes to close them, whoever reads does not wait for it.
    let (at_work, runtime) = (Arc::clone(&log), tokio::runtime::Handle::current());
    let read_meanwhile = move || {
        let held = at_work.inner.readers.hold(TOPIC, SLOT);
        let read = async { tokio::time::timeout(LIMITS.wait, at_work.read(TOPIC, Slot(0), 0, nothing)).await };
        let read = runtime.block_on(read);
        drop(held);
        read
    };
    assert_eq!(tokio::task::spawn_blocking(read_meanwhile).await.unwrap().unwrap().unwrap(), []);
    log.inner.readers.swept().await;
    assert_eq!((open(SLOT), open(Slot(0))), (0, 1));
    assert_eq!(values(&read(&log, 0, 2).await), ["a", "b"]);
    log.close().await;
    assert_eq!((open(SLOT), open(Slot(0))), (0, 0));
}

/// A record for each number, which is its value and, in a slot without others, its offset.
fn numbered(slot: Slot, numbers: Range<u32>) -> Vec<NewRecord> {
    let record = |n: u32| NewRecord { slot, value: n.to_be_bytes().to_vec().into(), ..records(&["x"]).remove(0) };
    numbers.map(record).collect()
}

/// Reads a slot of such records in small bites, and finds all of these there, each in its place.
async fn find(log: &KafkaLog, slot: Slot, numbers: Range<u32>) {
    let bite = ReadLimits { max_bytes: 100, ..LIMITS };
    let mut next = numbers.start;
    while next < numbers.end {
        let read = log.read(TOPIC, slot, i64::from(next), bite).await.unwrap();
        assert!(!read.is_empty(), "{slot}: nothing at {next}");
        for record in read {
            assert_eq!((record.offset, &record.value[..]), (i64::from(next), &next.to_be_bytes()[..]), "{slot}");
            next += 1;
        }
    }
}

/// Finds them in all slots at the same time, in each where `from` says.
async fn find_in_all(log: &Arc<KafkaLog>, from: impl Fn(Slot) -> u32, to: u32) {
    let mut readers = tokio::task::JoinSet::new();
    for slot in Slot::all() {
        let (log, numbers) = (Arc::clone(log), from(slot)..to);
        readers.spawn(async move { find(&log, slot, numbers).await });
    }
    readers.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_reads_all_slots_and_one_of_them_anew_while_the_others_go_on() {
    let clock = Arc::new(ManualClock::default());
    let log = Arc::new(KafkaLog::new(topics("all_slots."), clock.clone()).unwrap());
    let append = async |numbers: Range<u32>| {
        let records = Slot::all().flat_map(|slot| numbered(slot, numbers.clone())).collect();
        log.append(records).await.unwrap();
    };
    let readers = &log.inner.readers;
    let made = || (readers.made.load(std::sync::atomic::Ordering::Relaxed), readers.clients());
    append(0..300).await;
    find_in_all(&log, |_| 0, 300).await;
    assert_eq!(made(), (usize::from(SLOTS), 1));
    // One slot's reader expires with records in its queue; those of the others are in use.
    append(300..600).await;
    find(&log, SLOT, 300..301).await;
    let in_use = ReadLimits { max_bytes: 1, wait: Duration::ZERO };
    for _ in 0..2 {
        clock.advance(EXPIRY / 2);
        for slot in Slot::all().filter(|slot| *slot != SLOT) {
            log.read(TOPIC, slot, 300, in_use).await.unwrap();
        }
        readers.swept().await;
    }
    assert_eq!((readers.open(TOPIC, SLOT), readers.open(TOPIC, Slot(0))), (0, 1));
    find_in_all(&log, |slot| if slot == SLOT { 120 } else { 300 }, 600).await;
    assert_eq!(made(), (usize::from(SLOTS) + 1, 1));
    log.close().await;
    assert_eq!(readers.clients(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_read_one_slot_at_a_time_are_two_clients() {
    let log = shared("at_a_time.");
    let nothing = ReadLimits { wait: Duration::ZERO, ..LIMITS };
    log.append(records(&["a", "b"])).await.unwrap();
    read(&log, 0, 2).await;
    let (waits, other) = tokio::join!(log.read(TOPIC, SLOT, 2, LIMITS), async {
        // The first has the reader that stands here.
        let other = log.read(TOPIC, SLOT, 2, nothing).await;
        log.append(records(&["c"])).await.unwrap();
        other
    });
    assert_eq!((values(&waits.unwrap()), other.unwrap()), (vec!["c"], Vec::new()));
    assert_eq!(log.inner.readers.clients(), 2);
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_is_given_up_leaves_its_reader_where_it_stands() {
    let log = shared("given_up.");
    let nothing = ReadLimits { wait: Duration::ZERO, ..LIMITS };
    assert_eq!(log.read(TOPIC, SLOT, 0, nothing).await.unwrap(), []);
    let given_up = tokio::time::timeout(Duration::from_millis(200), log.read(TOPIC, SLOT, 0, LIMITS)).await;
    assert!(given_up.is_err(), "{given_up:?}");
    log.append(records(&["a"])).await.unwrap();
    assert_eq!(values(&read(&log, 0, 1).await), ["a"]);
    assert_eq!(log.inner.readers.made.load(std::sync::atomic::Ordering::Relaxed), 1);
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_is_given_up_while_its_reader_begins_leaves_that_one_to_the_next() {
    let log = shared("given_up_early.");
    log.append(records(&["a"])).await.unwrap();
    tokio::select! {
        biased;
        // Not by the log, which lets others have their turn first: then nothing would have begun.
        read = log.inner.readers.read((TOPIC, SLOT), 0, LIMITS) => panic!("{read:?}"),
        () = std::future::ready(()) => {}
    }
    assert_eq!(values(&read(&log, 0, 1).await), ["a"]);
    let readers = &log.inner.readers;
    assert_eq!((readers.made.load(std::sync::atomic::Ordering::Relaxed), readers.clients()), (1, 1));
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_had_no_leader_is_read_as_soon_as_it_has_one() {
    let cluster = cluster(SLOTS);
    let log = Arc::new(open(&cluster));
    log.append(records(&["a"])).await.unwrap();
    let lead = |broker: Option<i32>| cluster.partition_leader("test.conversions", i32::from(SLOT.0), broker).unwrap();
    lead(None);
    let asked = tokio::spawn({
        let log = Arc::clone(&log);
        async move { (log.ends(TOPIC, SLOT).await, log.read(TOPIC, SLOT, 0, LIMITS).await) }
    });
    // Long enough to hear that there is none, and less than it is waited for one.
    tokio::time::sleep(Duration::from_secs(2)).await;
    lead(Some(1));
    let (ends, read) = asked.await.unwrap();
    assert_eq!((ends.unwrap().end, values(&read.unwrap())), (1, vec!["a"]));
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_goes_away_is_told_to_all_who_read() {
    let cluster = cluster(SLOTS);
    let log = Arc::new(open(&cluster));
    let nothing = ReadLimits { wait: Duration::ZERO, ..LIMITS };
    let mut readers = tokio::task::JoinSet::new();
    for slot in (0..3).map(Slot) {
        assert_eq!(log.read(TOPIC, slot, 0, nothing).await.unwrap(), []);
        let log = Arc::clone(&log);
        readers.spawn(async move { log.read(TOPIC, slot, 0, LIMITS).await });
    }
    cluster.broker_down(1).unwrap();
    for read in readers.join_all().await {
        assert!(matches!(read, Err(ReadError::Unavailable { .. })), "{read:?}");
    }
    log.close().await;
}
