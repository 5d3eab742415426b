//! Counting downloads without the log and the store: `cargo bench --bench counting [requests]`.
//!
//! Requests in the ledger's shape go through `Downloads::step` on one thread: ten of a listener and an episode, of
//! which two are sent again, from four accounts of one slot, over two days. Then the ledger rows that this gave are
//! folded back into a fresh processor. Printed is the processor time of each, less what making the requests takes,
//! and the memory that the state takes for each listener and episode. Nothing is read or written; a slower disk
//! changes nothing.
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]
#![expect(clippy::option_option, clippy::needless_for_each, reason = "a column may be absent, or there and null")]

mod support {
    pub(crate) mod meter;
}

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, FixedSizeBinaryBuilder, Int64Array, RecordBatch, StringArray, StringBuilder,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::Schema;
use castback_catalogue::directory::{DirectoryRows, EpisodeVersion, PodcastVersion};
use castback_catalogue::episodes::EpisodeFacts;
use castback_catalogue::podcasts::DownloadWindow;
use castback_pipeline::change::Changes;
use castback_pipeline::directory::Directory;
use castback_pipeline::processors::downloads::{Downloads, RuleSets};
use castback_rules::lists::{DatedLists, ListTexts, Lists};
use castback_schemas::edge::HashKey;
use castback_schemas::table::Table;
use castback_schemas::time::DAY;
use castback_schemas::{AccountId, EpisodeId, Micros, PodcastId, Slot};
use support::meter::{Meter, Outcome};
use uuid::Uuid;

/// Requests of a listener and an episode, and how many of them are no repeated sends.
const GROUP: u64 = 10;
const DISTINCT: u64 = 8;
/// Groups that load at the same time.
const WIDTH: u64 = 10_000;
const ACCOUNTS: u64 = 4;
const EPISODES: u64 = 50;
const LENGTH: u64 = 4_800_000;
/// Rows of a batch: about what a read of the log brings.
const BATCH: u64 = 4_000;
const DAYS: i64 = 2;
/// 2026-03-10: on the first day of a month, listeners may come under two keys, which takes longer.
const START: i64 = 1_773_100_800_000_000;
/// Ledger rows that are kept to be folded, at most.
const KEPT: u64 = 2_000_000;
const AGENTS: [&str; 3] = [
    "AppleCoreMedia/1.0.0.19A583 (iPhone; U; CPU OS 15_0 like Mac OS X; en_us)",
    "Overcast/3.0 (+http://overcast.fm/; iOS podcast app)",
    "Spotify/8.6.12 Android/30 (SM-G991B)",
];

fn main() -> Outcome<()> {
    let requests: u64 = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(10_000_000);
    let scene = Scene::new(requests.next_multiple_of(WIDTH * GROUP));
    let groups = scene.requests / GROUP;
    let making = scene.making()?;

    let before = resident()?;
    let mut downloads = scene.downloads()?;
    let meter = Meter::start("self")?;
    for batch in scene.batches(scene.requests) {
        let mut out = Changes::default();
        downloads.step(&batch?, &scene.directory, &mut out)?;
        out.finish()?;
    }
    let used = meter.used(scene.requests)?;
    let state = resident()? - before;
    print(("live", &used.to_string()), used.cpu_micros, scene.requests, making);
    println!("state with ids: {} bytes a listener and episode", state / groups);
    drop(downloads);

    let kept = scene.requests.min(KEPT);
    let mut live = scene.downloads()?;
    let (mut ledger, mut days) = (Vec::new(), Vec::new());
    for batch in scene.batches(kept) {
        let mut out = Changes::default();
        live.step(&batch?, &scene.directory, &mut out)?;
        for (table, rows) in out.finish()? {
            match table {
                Table::Requests => ledger.push(rows),
                Table::Days => days.push(rows),
                other => println!("unexpected: {} rows of {}", rows.num_rows(), other.name()),
            }
        }
    }
    drop(live);
    let meter = Meter::start("self")?;
    let mut folded = scene.downloads()?;
    for rows in &days {
        folded.know_days(rows)?;
    }
    for rows in &ledger {
        folded.put_back(rows, &scene.directory)?;
    }
    let differing = folded.differing(&scene.directory);
    let used = meter.used(kept)?;
    print(("fold", &used.to_string()), used.cpu_micros, kept, 0.0);
    if differing.is_empty() { Ok(()) } else { Err(format!("recovery would judge {differing:?} again").into()) }
}

#[expect(clippy::cast_precision_loss, reason = "figures for the eye")]
fn print((what, used): (&str, &str), cpu_micros: u64, count: u64, making: f64) {
    let each = cpu_micros as f64 / count as f64 - making;
    println!("{what}: {each:.2} CPU µs a request, {:.0} a second and core ({used})", 1e6 / each);
}

/// Bytes of memory in use, as the kernel sees them.
fn resident() -> Outcome<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split(' ').nth(1).unwrap_or_default().parse()?;
    Ok(pages * 4096)
}

struct Scene {
    requests: u64,
    accounts: Vec<AccountId>,
    directory: Directory,
    slot: Slot,
}

fn podcast() -> PodcastId {
    PodcastId::from_uuid(Uuid::from_u128(0xb0d))
}

impl Scene {
    fn new(requests: u64) -> Self {
        let slot = Slot(0);
        let ids = (1..).map(|n| AccountId::from_uuid(Uuid::from_u128(n))).take(10_000);
        let accounts: Vec<AccountId> = ids.filter(|id| Slot::of(*id) == slot).take(4).collect();
        let mut rows = DirectoryRows { change: 1, podcasts: Vec::new(), episodes: Vec::new(), campaigns: Vec::new() };
        for account in &accounts {
            rows.podcasts.push(PodcastVersion {
                account: *account,
                podcast: podcast(),
                valid_from: Micros(i64::MIN),
                window: DownloadWindow::UtcDay,
                deleted: false,
                change: 1,
            });
            rows.episodes.extend((0..EPISODES).map(|number| EpisodeVersion {
                account: *account,
                podcast: podcast(),
                episode: EpisodeId::from_uuid(Uuid::from_u128(u128::from(number))),
                valid_from: Micros(i64::MIN),
                facts: EpisodeFacts {
                    guid: format!("guid-{number}"),
                    title: None,
                    enclosure_url: url(number),
                    length: Some(LENGTH),
                    duration_ms: Some(600_000),
                    published_at: None,
                },
                change: 1,
            }));
        }
        Self { requests, accounts, directory: Directory::default().with(rows), slot }
    }

    fn downloads(&self) -> Outcome<Downloads> {
        let lists = DatedLists::new(Arc::new(Lists::new(&ListTexts::seed(), Micros(0))?));
        Ok(Downloads::new(self.slot, HashKey::from_bytes([5; 32]), RuleSets::new(lists)))
    }

    fn batches(&self, count: u64) -> impl Iterator<Item = Outcome<RecordBatch>> {
        (0..count / BATCH).map(|batch| self.batch(batch * BATCH..(batch + 1) * BATCH))
    }

    /// Processor time in microseconds that making one request takes.
    #[expect(clippy::cast_precision_loss, reason = "figures for the eye")]
    fn making(&self) -> Outcome<f64> {
        let count = self.requests.min(KEPT);
        let meter = Meter::start("self")?;
        for batch in self.batches(count) {
            batch?;
        }
        Ok(meter.used(count)?.cpu_micros as f64 / count as f64)
    }

    fn batch(&self, rows: std::ops::Range<u64>) -> Outcome<RecordBatch> {
        let all: Vec<Request> = rows.map(|number| Request::new(number, self.requests)).collect();
        let schema = Table::Requests.spec().schema();
        let (mut fields, mut columns) = (Vec::new(), Vec::<ArrayRef>::new());
        for field in schema.fields() {
            if let Some(column) = self.column(field.name(), &all)? {
                fields.push(Arc::clone(field));
                columns.push(column.unwrap_or_else(|| new_null_array(field.data_type(), all.len())));
            }
        }
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }

    /// A column; none inside if it is all null, none at all if a verdict adds it.
    fn column(&self, name: &str, all: &[Request]) -> Outcome<Option<Option<ArrayRef>>> {
        let text = |of: &dyn Fn(&Request) -> String| -> ArrayRef {
            let mut builder = StringBuilder::with_capacity(all.len(), all.len() * 40);
            all.iter().for_each(|request| builder.append_value(of(request)));
            Arc::new(builder.finish())
        };
        let same = |text: &str| -> ArrayRef { Arc::new(all.iter().map(|_| Some(text)).collect::<StringArray>()) };
        let ints = |of: &dyn Fn(&Request) -> u64| -> ArrayRef {
            Arc::new(all.iter().map(|request| i64::try_from(of(request)).ok()).collect::<Int64Array>())
        };
        let times =
            || TimestampMicrosecondArray::from_iter_values(all.iter().map(|request| request.at)).with_timezone("UTC");
        let column: ArrayRef = match name {
            "account_id" => {
                let accounts: Vec<String> = self.accounts.iter().map(ToString::to_string).collect();
                text(&|request| accounts[usize::try_from(request.group % ACCOUNTS).unwrap_or(0)].clone())
            }
            "slot" => ints(&|_| u64::from(self.slot.0)),
            "offset" => ints(&|request| request.number),
            "event_id" => text(&|r| format!("{:08x}-0000-7000-8000-{:012x}", r.sent, r.group)),
            "occurred_at" | "recorded_at" => Arc::new(times()),
            "podcast_id" => same(&podcast().to_string()),
            "enclosure_url" => text(&|request| url(request.group % EPISODES)),
            "method" => same("GET"),
            "status" => ints(&|_| 206),
            "range" => {
                text(&|r| format!("bytes={}-{}", r.sent * LENGTH / DISTINCT, (r.sent + 1) * LENGTH / DISTINCT - 1))
            }
            "bytes_sent" => ints(&|_| LENGTH / DISTINCT),
            "user_agent" => text(&|request| AGENTS[usize::try_from(request.group % 3).unwrap_or(0)].to_owned()),
            "network" => same("other"),
            "network_version" => same("seed"),
            "listener" | "household" => {
                let mut builder = FixedSizeBinaryBuilder::with_capacity(all.len(), 16);
                for request in all {
                    builder.append_value(hash(request.group / 2))?;
                }
                Arc::new(builder.finish())
            }
            "safe_listed" => Arc::new(all.iter().map(|_| Some(false)).collect::<BooleanArray>()),
            "source" => same("api"),
            "file_bytes" | "referer" | "country" | "listener_previous" | "ads" => return Ok(Some(None)),
            _ => return Ok(None),
        };
        Ok(Some(Some(column)))
    }
}

fn url(episode: u64) -> String {
    format!("https://media.example/episodes/{episode}.mp3")
}

/// Spread like a keyed hash.
fn hash(number: u64) -> [u8; 16] {
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (u128::from(mixed ^ (mixed >> 29)) << 64 | u128::from(number)).to_be_bytes()
}

/// What tells requests apart.
struct Request {
    number: u64,
    group: u64,
    /// Which piece of the file, and which send.
    sent: u64,
    at: i64,
}

impl Request {
    fn new(number: u64, of: u64) -> Self {
        let (block, inside) = (number / (WIDTH * GROUP), number % (WIDTH * GROUP));
        let group = block * WIDTH + inside % WIDTH;
        let elapsed = u128::from(number) * u128::from((DAYS * DAY).unsigned_abs()) / u128::from(of);
        let at = START + i64::try_from(elapsed).unwrap_or(0);
        Self { number, group, sent: inside / WIDTH % DISTINCT, at }
    }
}
