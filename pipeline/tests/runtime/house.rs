//! An installation in a directory of its own, and processes that come and go in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use castback_broker::{EmbeddedLog, EmbeddedOptions, Log, NewRecord, ReadLimits, Record};
use castback_catalogue::Catalogue;
use castback_catalogue::episodes::{EpisodeFacts, PolledEpisode};
use castback_catalogue::feed_polls::PollUpdate;
use castback_catalogue::people::NewUser;
use castback_catalogue::podcasts::{NewPodcast, PodcastStatus};
use castback_catalogue::poll_log::PollNote;
use castback_catalogue::registry::{RegistryError, SchemaRegistry};
use castback_pipeline::group::GROUPS;
use castback_pipeline::metrics::Metrics;
use castback_pipeline::{LedgerDays, Runtime, RuntimeParts};
use castback_rules::lists::{DatedLists, ListTexts, Lists};
use castback_schemas::codec::Encoder;
use castback_schemas::event::{Event, ListenerRequest};
use castback_schemas::id::SeededIds;
use castback_schemas::table::Table;
use castback_schemas::{AccountId, ManualClock, Micros, PodcastId, Slot, Topic, Unit};
use castback_store::mirror::Mirror;
use castback_store::{PinnedView, Scan, Store};
use prometheus::Registry;

/// 2026-03-01, noon.
pub(crate) const NOON: Micros = Micros(1_772_366_400_000_000);

/// The length of the one episode; a minute of it is a thirtieth.
pub(crate) const LENGTH: u64 = 28_800_000;

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_mins(1);

/// An installation.
pub(crate) struct House {
    folder: tempfile::TempDir,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) log: Arc<EmbeddedLog>,
    pub(crate) catalogue: Catalogue,
    pub(crate) store: Store,
    /// Where processes mirror series.
    pub(crate) mirror: Option<Mirror>,
    /// Of the registry that processes ask.
    pub(crate) outage: Arc<Outage>,
    database: String,
    outside: tokio::runtime::Runtime,
}

/// Each test on SQLite, and the same on PostgreSQL.
macro_rules! on_every_database {
    ($($name:ident)+) => {$(
        mod $name {
            #[test]
            fn sqlite() {
                super::$name(&crate::house::House::sqlite());
            }

            #[test]
            fn postgres() {
                super::$name(&crate::house::House::postgres(stringify!($name)));
            }
        }
    )+};
}

fn lists() -> DatedLists {
    static LISTS: OnceLock<DatedLists> = OnceLock::new();
    LISTS.get_or_init(|| DatedLists::new(Arc::new(Lists::new(&ListTexts::seed(), Micros(0)).unwrap()))).clone()
}

fn threads() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap()
}

/// When a registry is away.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    pub(crate) lasts: AtomicBool,
    /// How often it was asked in vain.
    pub(crate) refused: AtomicU32,
}

/// The catalogue's registry, as far away as one of others may be.
#[derive(Debug)]
struct Registered {
    catalogue: Catalogue,
    outage: Arc<Outage>,
}

impl Registered {
    fn reached(&self) -> Result<&Catalogue, RegistryError> {
        if self.outage.lasts.load(Ordering::SeqCst) {
            self.outage.refused.fetch_add(1, Ordering::SeqCst);
            return Err(RegistryError::Unavailable("it is away".into()));
        }
        Ok(&self.catalogue)
    }
}

#[async_trait::async_trait]
impl SchemaRegistry for Registered {
    async fn register(&self, subject: &str, text: &str) -> Result<u32, RegistryError> {
        self.reached()?.register(subject, text).await
    }

    async fn look_up(&self, id: u32) -> Result<Option<String>, RegistryError> {
        self.reached()?.look_up(id).await
    }
}

/// Who sends, and of what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sender {
    pub(crate) account: AccountId,
    pub(crate) podcast: PodcastId,
}

impl House {
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = format!("sqlite://{}", folder.path().join("castback.db").display());
        Self::on(folder, database)
    }

    /// On a schema of its own, made anew.
    pub(crate) fn postgres(name: &str) -> Self {
        let server = std::env::var("CASTBACK_TEST_POSTGRES_URL");
        assert!(
            server.is_ok(),
            "CASTBACK_TEST_POSTGRES_URL is not set: tests/run starts a server, or see tests/servers/all"
        );
        let server = server.unwrap();
        let schema: String = name.chars().take(60).collect();
        let anew = format!("DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}");
        let made = std::process::Command::new("psql").args(["-qX", "-d", &server, "-c", &anew]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self::on(tempfile::tempdir().unwrap(), format!("{server}?options=-csearch_path%3D{schema}"))
    }

    fn on(folder: tempfile::TempDir, database: String) -> Self {
        let clock = Arc::new(ManualClock::at(NOON));
        let outside = threads();
        let log = EmbeddedLog::open(&folder.path().join("log"), clock.clone(), EmbeddedOptions::default()).unwrap();
        let catalogue = outside.block_on(Catalogue::open(&database, clock.clone(), [1; 32])).unwrap();
        let store = Store::open(&format!("file://{}", folder.path().join("objects").display())).unwrap();
        Self {
            folder,
            clock,
            log: Arc::new(log),
            catalogue,
            store,
            mirror: None,
            outage: Arc::default(),
            database,
            outside,
        }
    }

    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.outside.block_on(future)
    }

    /// An account with a podcast of one episode.
    pub(crate) fn sender(&self, name: &str) -> Sender {
        self.wait(async {
            let email = format!("{name}@example.com");
            let user = NewUser { email, password: "long enough".into(), name: name.to_owned() };
            let account = self.catalogue.sign_up(user).await.unwrap().user.account;
            let new = NewPodcast { feed_url: format!("https://feeds.example.com/{name}"), allowed: None };
            let podcast = self.catalogue.create_podcast(account, new).await.unwrap().id;
            let facts = EpisodeFacts {
                guid: "guid-1".into(),
                title: None,
                enclosure_url: "https://cdn.example.com/1.mp3".into(),
                length: Some(LENGTH),
                duration_ms: Some(1_800_000),
                published_at: None,
            };
            let update = PollUpdate {
                poll: PollNote { outcome: "fetched", status: Some(200), episodes: None, warnings: None },
                status: PodcastStatus::Active,
                feed_url: None,
                title: None,
                facts: None,
                state: serde_json::Value::Null,
                error: None,
                next_poll_at: None,
                episodes: vec![PolledEpisode { facts, renamed_from: None }],
                changes: Vec::new(),
            };
            self.catalogue.apply_poll(account, podcast, update).await.unwrap();
            Sender { account, podcast }
        })
    }

    /// An encoder whose schema the registry knows.
    pub(crate) fn encoder(&self, topic: Topic) -> Encoder {
        let id = self.wait(self.catalogue.register(&format!("{topic}-value"), topic.spec().schema)).unwrap();
        Encoder::new(topic, id).unwrap()
    }

    pub(crate) fn append(&self, records: Vec<NewRecord>) -> Vec<i64> {
        self.wait(self.log.append(records)).unwrap()
    }

    /// All that lies on a slot of a topic.
    pub(crate) fn read(&self, topic: Topic, slot: Slot) -> Vec<Record> {
        let limits = ReadLimits { max_bytes: usize::MAX, wait: Duration::ZERO };
        self.wait(self.log.read(topic, slot, 0, limits)).unwrap()
    }

    /// Current rows of a table.
    pub(crate) fn rows(&self, table: Table) -> Vec<RecordBatch> {
        self.wait(async {
            let view = Arc::new(PinnedView::load(&self.catalogue, None).await.unwrap());
            self.store.rows(&view, Scan::new(table)).await.unwrap()
        })
    }

    /// Waits until something holds.
    pub(crate) fn until(&self, what: &str, holds: impl Fn() -> bool) {
        self.wait(async {
            let end = tokio::time::Instant::now() + PATIENCE;
            while !tokio::task::block_in_place(&holds) {
                assert!(tokio::time::Instant::now() < end, "{what} did not come true");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    }

    /// Whether every unit has committed all that lies on its inputs.
    pub(crate) fn is_caught_up(&self) -> bool {
        let units: BTreeMap<Unit, _> =
            self.wait(self.catalogue.units()).unwrap().into_iter().map(|s| (s.unit, s.positions)).collect();
        GROUPS.iter().all(|spec| {
            spec.inputs.iter().all(|topic| {
                Slot::all().all(|slot| {
                    let end = self.wait(self.log.ends(*topic, slot)).unwrap().end;
                    let unit = Unit { group: spec.group, slot };
                    let at = units.get(&unit).and_then(|positions| positions.0.get(topic.name()));
                    at.copied().unwrap_or(0) == end
                })
            })
        })
    }

    /// Accepted records by account: as the tally has them.
    pub(crate) fn tallied(&self, topic: Topic) -> BTreeMap<String, i64> {
        let mut accepted = BTreeMap::new();
        for batch in self.rows(Table::Tallies) {
            let (accounts, topics) = (text(&batch, "account_id"), text(&batch, "topic"));
            let counts = batch.column_by_name("accepted").unwrap().as_primitive::<Int64Type>();
            for row in (0..batch.num_rows()).filter(|row| topics[*row] == topic.name()) {
                *accepted.entry(accounts[row].clone()).or_default() += counts.value(row);
            }
        }
        accepted
    }

    /// Verdict and reason of every record of a topic, how often; and that each record has one,
    /// as many as lie on the log and as many as were tallied.
    pub(crate) fn balanced(&self, topic: Topic, table: Table) -> BTreeMap<String, usize> {
        let mut verdicts: BTreeMap<String, usize> = BTreeMap::new();
        let mut places = std::collections::BTreeSet::new();
        let mut by_account: BTreeMap<String, i64> = BTreeMap::new();
        for batch in self.rows(table).into_iter().chain(self.rows(Table::DeadLetters)) {
            let dead = batch.column_by_name("verdict").is_none();
            let slots = batch.column_by_name("slot").unwrap().as_primitive::<Int64Type>();
            let offsets = batch.column_by_name("offset").unwrap().as_primitive::<Int64Type>();
            let (accounts, reasons) = (text(&batch, "account_id"), text(&batch, "reason"));
            for row in 0..batch.num_rows() {
                if dead && text(&batch, "topic")[row] != topic.name() {
                    continue;
                }
                let verdict = if dead { "dead_lettered".into() } else { text(&batch, "verdict")[row].clone() };
                *verdicts.entry(format!("{verdict} {}", reasons[row]).trim_end().to_owned()).or_default() += 1;
                *by_account.entry(accounts[row].clone()).or_default() += 1;
                assert!(places.insert((slots.value(row), offsets.value(row))), "a record has two rows");
            }
        }
        let on_log: i64 = Slot::all().map(|slot| self.wait(self.log.ends(topic, slot)).unwrap().end).sum();
        assert_eq!(i64::try_from(places.len()).unwrap(), on_log, "{topic}: {verdicts:?}");
        assert_eq!(self.tallied(topic), by_account, "{topic}: the balance");
        verdicts
    }

    /// A process that takes every unit at once.
    pub(crate) fn process(&self, seed: u8) -> Process {
        self.process_on(seed, true, self.log.clone())
    }

    /// A process on its own threads, over a log that may be slow.
    pub(crate) fn process_on(&self, seed: u8, exclusive: bool, log: Arc<dyn Log>) -> Process {
        let threads = threads();
        let registry = Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        let url = self.database.clone();
        let objects = format!("file://{}", self.folder.path().join("objects").display());
        let (clock, mirror, outage) = (self.clock.clone(), self.mirror.clone(), self.outage.clone());
        let pipeline = threads.block_on(async move {
            let catalogue = Catalogue::open(&url, clock.clone(), [seed; 32]).await.unwrap();
            let parts = RuntimeParts {
                schemas: Arc::new(Registered { catalogue: catalogue.clone(), outage }),
                catalogue,
                store: Store::open(&objects).unwrap(),
                log,
                clock,
                ids: Arc::new(SeededIds::new([seed; 32])),
                lists: lists(),
                owner: format!("process {seed}"),
                exclusive,
                random: [seed; 32],
                mirror,
                metrics,
                ledger_days: LedgerDays::new([("free".to_owned(), 30), ("enterprise".to_owned(), 1_826)]),
            };
            Runtime::start(parts).await.unwrap()
        });
        Process { threads, pipeline, registry }
    }
}

/// The text of a column; nothing for null.
pub(crate) fn text(batch: &RecordBatch, name: &str) -> Vec<String> {
    let column = batch.column_by_name(name).unwrap().as_string::<i32>();
    column.iter().map(|text| text.unwrap_or_default().to_owned()).collect()
}

/// A process at work.
pub(crate) struct Process {
    threads: tokio::runtime::Runtime,
    pipeline: Runtime,
    pub(crate) registry: Registry,
}

impl Process {
    /// Ends as it should.
    pub(crate) fn stop(self) {
        self.threads.block_on(self.pipeline.stop());
        self.threads.shutdown_timeout(Duration::from_secs(5));
    }

    /// Ends wherever it is, without a word.
    pub(crate) fn kill(self) {
        self.threads.shutdown_background();
    }

    /// How many of its units somebody else had taken when they were to be committed.
    pub(crate) fn fenced(&self) -> f64 {
        let families = self.registry.gather();
        let commits = families.iter().find(|family| family.name() == "castback_unit_commits_total");
        let fenced = commits
            .into_iter()
            .flat_map(|family| family.get_metric())
            .filter(|metric| metric.get_label().iter().any(|label| label.value() == "fenced"));
        fenced.map(|metric| metric.get_counter().get_value()).sum()
    }
}

impl Sender {
    /// A whole download by a listener, `seconds` before the clock.
    pub(crate) fn request(&self, id: &str, listener: u32, at: Micros) -> ListenerRequest {
        let mut hash = [7; 16];
        hash[..4].copy_from_slice(&listener.wrapping_mul(0x9e37_79b9).to_le_bytes());
        hash[4..8].copy_from_slice(&listener.to_le_bytes());
        ListenerRequest {
            event_id: id.to_owned(),
            account_id: self.account,
            occurred_at: at,
            recorded_at: at,
            revision: 0,
            podcast_id: self.podcast,
            enclosure_url: "https://cdn.example.com/1.mp3".into(),
            method: "GET".into(),
            status: 200,
            range: None,
            bytes_sent: i64::try_from(LENGTH).ok(),
            file_bytes: None,
            user_agent: Some("AppleCoreMedia/1.0.0.21A329 (iPhone; U; CPU OS 17_0 like Mac OS X; en_us)".into()),
            network: "other".into(),
            network_version: "test".into(),
            referer: None,
            country: None,
            listener: hash,
            household: hash,
            listener_previous: None,
            safe_listed: false,
            source: "api".into(),
            ads: Vec::new(),
        }
    }

    /// An event as a record in the slot of its account.
    pub(crate) fn record<E: Event>(&self, encoder: &Encoder, event: &E) -> NewRecord {
        NewRecord {
            topic: E::TOPIC,
            slot: Slot::of(self.account),
            account: self.account,
            key: Bytes::from_static(b"key"),
            value: encoder.encode(event).unwrap().into(),
        }
    }
}
