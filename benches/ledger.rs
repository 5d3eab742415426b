//! From the log to the committed ledger: `cargo bench --bench ledger [requests]`.
//!
//! A log holds listener requests of four accounts (10,000,000 unless told otherwise): ten of a listener and an
//! episode, of which two are sent again. A runtime begins at its start, with every group and compaction; measured is
//! until all is judged, tallied and committed and no commit object waits for compaction. Then a new runtime takes the
//! same rows back: measured is until records that every account sends again are judged. Downloads are checked. All this
//! with every part in a directory, and with the log on Kafka and objects on S3, against one another.
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

mod support {
    pub(crate) mod anew;
    pub(crate) mod figure;
    pub(crate) mod log;
    pub(crate) mod meter;
    pub(crate) mod parts;
    pub(crate) mod servers;
    pub(crate) mod slow;
    pub(crate) mod store;
}

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use castback_broker::{Log, NewRecord};
use castback_catalogue::Catalogue;
use castback_catalogue::episodes::{EpisodeFacts, PolledEpisode};
use castback_catalogue::feed_polls::PollUpdate;
use castback_catalogue::people::NewUser;
use castback_catalogue::podcasts::{NewPodcast, PodcastStatus};
use castback_catalogue::poll_log::PollNote;
use castback_pipeline::group::GROUPS;
use castback_pipeline::metrics::Metrics;
use castback_pipeline::{LedgerDays, Runtime, RuntimeParts};
use castback_rules::lists::{DatedLists, ListTexts, Lists};
use castback_schemas::codec::{Encoder, schema_fingerprint};
use castback_schemas::event::ListenerRequest;
use castback_schemas::id::{IdSource, SeededIds};
use castback_schemas::table::Table;
use castback_schemas::time::{Clock, DAY, HOUR, SECOND, SystemClock};
use castback_schemas::{AccountId, Micros, PodcastId, Slot, Topic, Unit};
use castback_store::{Compactor, PinnedView, Scan, Store};
use support::meter::{Meter, Outcome};
use support::{anew, figure, log, parts, store};

const TOPIC: Topic = Topic::ListenerRequests;
const ACCOUNTS: usize = 4;
const EPISODES: u64 = 50;
/// Requests of a listener and an episode, and how many of them are no repeated sends.
const GROUP: u64 = 10;
const PIECES: u64 = 8;
/// Listeners of an account that load at the same time.
const WIDTH: u64 = 1_000;
/// Bytes of an episode of ten minutes, so that the first piece is a download.
const LENGTH: u64 = 4_800_000;
const DAYS: i64 = 3;
const APPEND: u64 = 2_000;
const LOOK: Duration = Duration::from_millis(20);

#[tokio::main(worker_threads = 2)]
async fn main() -> Outcome<()> {
    if !anew::is_child() {
        return parts::run_each(&[], &[&["kafka"], &["kafka", "s3-slow"]]);
    }
    let requests: u64 = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(10_000_000);
    let each = (requests / u64::try_from(ACCOUNTS)?).next_multiple_of(WIDTH * GROUP);
    let folder = tempfile::tempdir()?;
    let house = House::open(folder.path()).await?;
    house.fill(each).await?;
    let count = each * u64::try_from(ACCOUNTS)?;

    let meter = Meter::start("self")?;
    let runtime = house.runtime(1).await?;
    house.judged().await?;
    println!("  judged, tallied and committed  {}", meter.used(count)?);
    runtime.stop().await;
    house.compacted().await?;
    let used = meter.used(count)?;
    println!("  and compacted                  {used}");
    // The same wherever they lie, and counted where that is easy.
    let commits = folder.path().join("objects/commits");
    if commits.exists() {
        let (committed, compacted) = (bytes_in(&commits)? / count, house.segment_bytes().await? / count);
        println!("  committed {committed} bytes a request, compacted {compacted}");
    }
    figure::tell(used.rate())?;
    house.check(count / GROUP).await?;

    let meter = Meter::start("self")?;
    house.append_last(each).await?;
    let runtime = house.runtime(2).await?;
    house.judged().await?;
    println!("  taken back                     {}", meter.used(count)?);
    runtime.stop().await;
    house.check(count / GROUP).await
}

/// An installation in a directory.
struct House {
    log: Arc<dyn Log>,
    catalogue: Catalogue,
    store: Store,
    encoder: Encoder,
    senders: Vec<(AccountId, PodcastId)>,
    start: Micros,
}

impl House {
    async fn open(folder: &Path) -> Outcome<Self> {
        let clock = Arc::new(SystemClock);
        let url = format!("sqlite://{}", folder.join("castback.db").display());
        let catalogue = Catalogue::open(&url, clock, [1; 32]).await?;
        let (log, store) = (log::open(folder)?, store::open(folder)?);
        let schema = TOPIC.spec().schema;
        let known = catalogue.register_schema(&format!("{TOPIC}-value"), schema, &schema_fingerprint(schema)).await?;
        let encoder = Encoder::new(TOPIC, u32::try_from(known.id)?)?;
        let mut senders = Vec::new();
        for number in 0..ACCOUNTS {
            senders.push(sender(&catalogue, number).await?);
        }
        let start = SystemClock.now().day().start().plus(-DAYS * DAY);
        Ok(Self { log, catalogue, store, encoder, senders, start })
    }

    async fn fill(&self, each: u64) -> Outcome<()> {
        let meter = Meter::start("self")?;
        for from in (0..each).step_by(usize::try_from(APPEND)?) {
            for (account, podcast) in &self.senders {
                let record = |number| self.record((*account, *podcast), number, each);
                self.log.append((from..each.min(from + APPEND)).map(record).collect::<Outcome<_>>()?).await?;
            }
        }
        println!("  encoded and on the log         {}", meter.used(each * u64::try_from(ACCOUNTS)?)?);
        Ok(())
    }

    /// The records of a listener of every account again.
    async fn append_last(&self, each: u64) -> Outcome<()> {
        for sender in &self.senders {
            let again = |number| self.record(*sender, each - GROUP * WIDTH + number * WIDTH, each);
            self.log.append((0..GROUP).map(again).collect::<Outcome<_>>()?).await?;
        }
        Ok(())
    }

    fn record(&self, (account, podcast): (AccountId, PodcastId), number: u64, each: u64) -> Outcome<NewRecord> {
        let (block, within) = (number / (WIDTH * GROUP), number % (WIDTH * GROUP));
        let (piece, listener) = (within / WIDTH % PIECES, block * WIDTH + within % WIDTH);
        let day = i64::try_from(listener)? * DAYS / i64::try_from(each / GROUP)?;
        let second = i64::try_from(mixed(listener) % 80_000 + piece)?;
        let at = self.start.plus(day * DAY + HOUR + second * SECOND);
        let (from, to) = (piece * LENGTH / PIECES, (piece + 1) * LENGTH / PIECES - 1);
        let event = ListenerRequest {
            event_id: format!("{:016x}{:016x}", mixed(listener * PIECES + piece), mixed(!(listener * PIECES + piece))),
            account_id: account,
            occurred_at: at,
            recorded_at: at,
            revision: 0,
            podcast_id: podcast,
            enclosure_url: enclosure(listener % EPISODES),
            method: "GET".into(),
            status: 206,
            range: Some(format!("bytes={from}-{to}")),
            bytes_sent: i64::try_from(LENGTH / PIECES).ok(),
            file_bytes: None,
            user_agent: Some(format!(
                "AppleCoreMedia/1.0.0.19A{} (iPhone; U; CPU OS 15_0 like Mac OS X; en_us)",
                300 + mixed(listener + 1) % 200
            )),
            network: "other".into(),
            network_version: "seed".into(),
            referer: None,
            country: None,
            listener: hash(listener),
            household: hash(u64::MAX - listener / 5),
            listener_previous: None,
            safe_listed: false,
            source: "api".into(),
            ads: Vec::new(),
        };
        let value = self.encoder.encode(&event)?.into();
        let key = hash(listener).to_vec().into();
        Ok(NewRecord { topic: TOPIC, slot: Slot::of(account), account, key, value })
    }

    async fn runtime(&self, seed: u8) -> Outcome<Runtime> {
        let parts = RuntimeParts {
            catalogue: self.catalogue.clone(),
            store: self.store.clone(),
            log: self.log.clone(),
            schemas: Arc::new(self.catalogue.clone()),
            clock: Arc::new(SystemClock),
            ids: Self::names(seed),
            lists: DatedLists::new(Arc::new(Lists::new(&ListTexts::seed(), Micros(0))?)),
            ledger_days: LedgerDays::default(),
            mirror: None,
            owner: "bench".to_owned(),
            exclusive: true,
            random: [seed; 32],
            metrics: Metrics::new(&prometheus::Registry::new())?,
        };
        Ok(Runtime::start(parts).await?)
    }

    fn names(seed: u8) -> Arc<dyn IdSource> {
        Arc::new(SeededIds::new([seed; 32]))
    }

    /// Waits until every unit has committed all that lies on its inputs.
    async fn judged(&self) -> Outcome<()> {
        while !self.is_judged().await? {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    async fn is_judged(&self) -> Outcome<bool> {
        let units = self.catalogue.units().await?;
        for spec in GROUPS.iter().filter(|spec| spec.inputs.contains(&TOPIC)) {
            for slot in Slot::all() {
                let end = self.log.ends(TOPIC, slot).await?.end;
                let unit = Unit { group: spec.group, slot };
                let status = units.iter().find(|status| status.unit == unit);
                let position = status.and_then(|status| status.positions.0.get(TOPIC.name()).copied());
                if position.unwrap_or(0) != end {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Compacts what is left.
    async fn compacted(&self) -> Outcome<()> {
        let clock = Arc::new(SystemClock);
        let compactor = Compactor::new(self.store.clone(), self.catalogue.clone(), clock, Self::names(9));
        while !self.catalogue.view(None).await?.slices.is_empty() {
            compactor.run().await?;
        }
        Ok(())
    }

    async fn segment_bytes(&self) -> Outcome<u64> {
        Ok(self.catalogue.view(None).await?.segments.iter().map(|segment| segment.bytes).sum())
    }

    async fn check(&self, downloads: u64) -> Outcome<()> {
        let view = Arc::new(PinnedView::load(&self.catalogue, None).await?);
        let scan = Scan { columns: Some(vec!["counted_utc_day"]), ..Scan::new(Table::Requests) };
        let mut counted = 0;
        self.store
            .each_batch(&view, scan, |batch| {
                counted += batch.column(0).as_boolean().true_count();
                Ok(())
            })
            .await?;
        if u64::try_from(counted)? != downloads {
            return Err(format!("{counted} downloads of {downloads}").into());
        }
        Ok(())
    }
}

async fn sender(catalogue: &Catalogue, number: usize) -> Outcome<(AccountId, PodcastId)> {
    let user = NewUser {
        email: format!("a{number}@listeners.example"),
        password: "a long pass phrase".into(),
        name: format!("a{number}"),
    };
    let account = catalogue.sign_up(user).await?.user.account;
    let new = NewPodcast { feed_url: format!("https://feeds.example/{number}"), allowed: None };
    let podcast = catalogue.create_podcast(account, new).await?.id;
    let episode = |number| EpisodeFacts {
        guid: format!("guid-{number}"),
        title: None,
        enclosure_url: enclosure(number),
        length: Some(LENGTH),
        duration_ms: Some(600_000),
        published_at: Some(Micros(0)),
    };
    let episodes = (0..EPISODES).map(|number| PolledEpisode { facts: episode(number), renamed_from: None }).collect();
    let update = PollUpdate {
        poll: PollNote { outcome: "fetched", status: Some(200), episodes: None, warnings: None },
        status: PodcastStatus::Active,
        feed_url: None,
        title: None,
        facts: None,
        state: serde_json::Value::Null,
        error: None,
        next_poll_at: None,
        episodes,
        changes: Vec::new(),
    };
    catalogue.apply_poll(account, podcast, update).await?;
    Ok((account, podcast))
}

fn enclosure(episode: u64) -> String {
    format!("https://media.example/episodes/{episode}.mp3")
}

fn bytes_in(folder: &Path) -> Outcome<u64> {
    let mut bytes = 0;
    for file in std::fs::read_dir(folder)? {
        bytes += file?.metadata()?.len();
    }
    Ok(bytes)
}

/// Spread like a keyed hash.
fn hash(number: u64) -> [u8; 16] {
    (u128::from(mixed(number)) << 64 | u128::from(mixed(!number))).to_be_bytes()
}

/// splitmix64.
fn mixed(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
