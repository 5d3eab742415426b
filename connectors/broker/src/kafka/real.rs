//! What only a real cluster can show: topics as they are made, retention, who may do what, lag tools, a broker that
//! goes and comes back. `tests/run` starts the cluster, or `tests/servers/all` by hand.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use castback_schemas::id::AccountId;
use castback_schemas::time::SystemClock;
use castback_schemas::topic::{SLOTS, Slot, TOPICS, Topic};
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};
use uuid::Uuid;

use super::admin::PATIENCE;
use crate::{AppendError, Ends, KafkaLog, KafkaOptions, Log, NewRecord, ReadError, ReadLimits, Record};

const TOPIC: Topic = Topic::Conversions;
const SLOT: Slot = Slot(9);
/// Longer than anything here takes.
const LONG: Duration = Duration::from_mins(2);

fn given(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: tests/run starts a cluster, or see tests/servers/all"))
}

/// A prefix that no run before has used.
fn prefix(case: &str) -> String {
    format!("{case}-{:x}.", std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros())
}

/// Topics of one's own, reached without a password.
fn plain(case: &str) -> KafkaOptions {
    KafkaOptions { brokers: given("CASTBACK_TEST_KAFKA"), prefix: prefix(case), ..KafkaOptions::default() }
}

/// Topics of one's own, reached over TLS by a user who may do all.
pub(crate) fn over_tls(case: &str) -> KafkaOptions {
    as_user("castback", "loopback", case)
}

fn as_user(user: &str, password: &str, case: &str) -> KafkaOptions {
    let certificate = given("CASTBACK_TEST_KAFKA_CA");
    let settings = [
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanism", "SCRAM-SHA-512"),
        ("sasl.username", user),
        ("sasl.password", password),
        ("ssl.ca.location", &certificate),
    ];
    KafkaOptions {
        brokers: given("CASTBACK_TEST_KAFKA_TLS"),
        prefix: prefix(case),
        settings: settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        ..KafkaOptions::default()
    }
}

/// Takes the topics away again: a small broker can't carry those of every test.
pub(crate) async fn remove(options: &KafkaOptions) {
    let admin: AdminClient<DefaultClientContext> = options.admin().create().unwrap();
    let topics: Vec<String> = TOPICS.iter().map(|spec| options.topic(spec.topic)).collect();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    admin.delete_topics(&topics, &AdminOptions::new()).await.unwrap();
}

fn open(options: &KafkaOptions) -> KafkaLog {
    KafkaLog::new(options.clone(), Arc::new(SystemClock)).unwrap()
}

fn records(count: u8, size: usize) -> Vec<NewRecord> {
    let account = AccountId::from_uuid(Uuid::from_bytes([7; 16]));
    let record = |n| NewRecord {
        topic: TOPIC,
        slot: SLOT,
        account,
        key: Bytes::from_static(b"key"),
        value: vec![n; size].into(),
    };
    (0..count).map(record).collect()
}

fn limits(wait: Duration) -> ReadLimits {
    ReadLimits { max_bytes: usize::MAX, wait }
}

/// Records that no compression makes smaller.
fn noise(count: usize, size: usize) -> Vec<NewRecord> {
    let mut state = 0x5eed_u64;
    let mut byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    let with = |record: NewRecord, value: Vec<u8>| NewRecord { value: value.into(), ..record };
    (0..count).map(|_| with(records(1, 0).remove(0), (0..size).map(|_| byte()).collect())).collect()
}

/// The settings of a topic as the cluster has them.
async fn settings_of(admin: &AdminClient<DefaultClientContext>, topic: &str) -> BTreeMap<String, Option<String>> {
    let asked = admin.describe_configs([&ResourceSpecifier::Topic(topic)], &AdminOptions::new()).await.unwrap();
    let found = asked.into_iter().next().unwrap().unwrap();
    found.entries.into_iter().map(|entry| (entry.name, entry.value)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_are_made_as_the_table_has_them() {
    let options = plain("made");
    let log = open(&options);
    log.append(records(1, 1)).await.unwrap();
    let admin: AdminClient<DefaultClientContext> = options.admin().create().unwrap();
    let metadata = admin.inner().fetch_metadata(None, PATIENCE).unwrap();
    for spec in TOPICS {
        let name = options.topic(spec.topic);
        let found = metadata.topics().iter().find(|topic| topic.name() == name).unwrap();
        assert_eq!(found.partitions().len(), usize::from(SLOTS), "{name}");
        let settings = settings_of(&admin, &name).await;
        let expected = Some((spec.retention / 1000).to_string());
        assert_eq!((&settings["retention.ms"], settings["cleanup.policy"].as_deref()), (&expected, Some("delete")));
        assert_eq!(settings["message.timestamp.type"].as_deref(), Some("LogAppendTime"), "{name}");
    }
    // Another process finds them there.
    let second = open(&options);
    second.append(records(1, 1)).await.unwrap();
    assert_eq!(log.ends(TOPIC, SLOT).await.unwrap(), Ends { start: 0, end: 2 });
    log.close().await;
    second.close().await;
    remove(&options).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_retention_took_is_a_gap_never_a_jump() {
    let options = plain("retention");
    let log = open(&options);
    log.append(noise(8, 200_000)).await.unwrap();
    let admin: AdminClient<DefaultClientContext> = options.admin().create().unwrap();
    let name = options.topic(TOPIC);
    let short = AlterConfig::new(ResourceSpecifier::Topic(&name))
        .set("retention.ms", "1000")
        .set("segment.bytes", "1048576")
        .set("message.timestamp.type", "LogAppendTime");
    admin.alter_configs([&short], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
    let deadline = tokio::time::Instant::now() + LONG;
    let ends = loop {
        // Only closed segments go: each append may close one.
        log.append(noise(4, 200_000)).await.unwrap();
        let ends = log.ends(TOPIC, SLOT).await.unwrap();
        if ends.start > 0 {
            break ends;
        }
        assert!(tokio::time::Instant::now() < deadline, "retention took nothing: {ends:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    let error = log.read(TOPIC, SLOT, 0, limits(Duration::ZERO)).await.unwrap_err();
    let ReadError::OutOfRange { start, end } = error else { panic!("{error:?}") };
    assert!(start >= ends.start && end >= ends.end, "{start} {end} {ends:?}");
    let error = log.read(TOPIC, SLOT, end + 1_000, limits(Duration::ZERO)).await.unwrap_err();
    assert!(matches!(error, ReadError::OutOfRange { .. }), "{error:?}");
    log.close().await;
    remove(&options).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lag_tools_see_what_was_advised() {
    let options = plain("advice");
    let log = open(&options);
    log.append(records(5, 10)).await.unwrap();
    log.advise("castback-counting", &[(TOPIC, SLOT, 2), (TOPIC, Slot(0), 0)]).await.unwrap();
    log.advise("castback-counting", &[(TOPIC, SLOT, 3)]).await.unwrap();
    // As a lag tool asks.
    let tool: BaseConsumer = options.adviser("castback-counting").create().unwrap();
    let mut asked = TopicPartitionList::new();
    asked.add_partition(&options.topic(TOPIC), i32::from(SLOT.0));
    let known = tokio::task::spawn_blocking(move || tool.committed_offsets(asked, PATIENCE)).await.unwrap().unwrap();
    assert_eq!(known.elements()[0].offset(), Offset::Offset(3));
    assert_eq!(log.read(TOPIC, SLOT, 0, limits(LONG)).await.unwrap().len(), 5);
    log.close().await;
    remove(&options).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_is_told_so() {
    for (user, password, said) in [("stranger", "loopback", "uthoriz"), ("castback", "wrong", "uthenticat")] {
        let log = open(&as_user(user, password, "refused"));
        let error = log.append(records(1, 1)).await.unwrap_err();
        let AppendError::Unavailable { source } = error else { panic!("{error:?}") };
        let mut words = source.to_string();
        let mut cause = source.source();
        while let Some(next) = cause {
            words = format!("{words}: {next}");
            cause = next.source();
        }
        assert!(words.contains(said), "{user}: {words}");
        log.close().await;
    }
}

/// A broker of a test's own, to be broken.
struct Broker(tempfile::TempDir);

impl Broker {
    fn start() -> (Self, String) {
        let broker = Self(tempfile::tempdir().unwrap());
        let address = broker.act("start");
        (broker, address)
    }

    /// What the script of this action prints.
    fn act(&self, action: &str) -> String {
        let script: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/servers/kafka");
        let acted = Command::new(script).arg(action).arg(self.0.path()).output().unwrap();
        assert!(acted.status.success(), "{action}: {}", String::from_utf8_lossy(&acted.stderr));
        String::from_utf8(acted.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.act("kill");
    }
}

/// A broker that was away leads nothing until the controller has taken it back; until then, reads say so.
async fn read_once_back(log: &KafkaLog, from: i64) -> Vec<Record> {
    let deadline = tokio::time::Instant::now() + LONG;
    loop {
        match log.read(TOPIC, SLOT, from, limits(LONG)).await {
            Ok(records) => return records,
            Err(ReadError::Unavailable { .. }) if tokio::time::Instant::now() < deadline => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_loses_nothing_and_is_gone_on_with() {
    let (broker, brokers) = Broker::start();
    let log = open(&KafkaOptions { brokers, ..KafkaOptions::default() });
    let mut acknowledged: Vec<i64> = Vec::new();
    for _ in 0..2 {
        acknowledged.extend(log.append(records(5, 100)).await.unwrap());
        broker.act("kill");
        let refused = log.append(records(5, 100)).await.unwrap_err();
        assert!(matches!(refused, AppendError::Unavailable { .. }) && refused.retryable(), "{refused:?}");
        let read = log.read(TOPIC, SLOT, 0, limits(Duration::ZERO)).await;
        assert!(read.is_err() || read.unwrap().len() <= acknowledged.len(), "more than was acknowledged");
        broker.act("start");
    }
    acknowledged.extend(log.append(records(5, 100)).await.unwrap());
    assert!(acknowledged.is_sorted_by(|a, b| a < b), "{acknowledged:?}");
    let mut there = Vec::new();
    while there.len() < acknowledged.len() {
        let next = there.last().map_or(0, |last: &i64| last + 1);
        there.extend(read_once_back(&log, next).await.iter().map(|record| record.offset));
    }
    assert!(acknowledged.iter().all(|offset| there.contains(offset)), "{acknowledged:?} {there:?}");
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_stands_still_is_waited_for() {
    let (broker, brokers) = Broker::start();
    let log = open(&KafkaOptions { brokers, ..KafkaOptions::default() });
    log.append(records(1, 100)).await.unwrap();
    broker.act("freeze");
    // The outcome of the one that was under way is unknown, and said to be.
    let under_way = log.append(records(1, 100)).await;
    broker.act("thaw");
    assert!(matches!(under_way, Err(AppendError::Unavailable { .. })), "{under_way:?}");
    let last = log.append(records(1, 100)).await.unwrap()[0];
    assert!((1..=2).contains(&last), "{last}");
    assert_eq!(read_once_back(&log, 0).await[0].offset, 0);
    log.close().await;
}
