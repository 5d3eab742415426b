//! The Yahoo streaming query over our own parts: `cargo bench --bench streaming [events]`.
//!
//! Events of seven fields (user, page, ad, kind of ad, kind of event, time, session for the address, which no topic
//! keeps) lie on the log as app events, in Avro. Read are those of kind `view`; each ad is looked up in its campaign;
//! views are counted per campaign and ten seconds. The figure is how much of the speed of reading and decoding alone is
//! left: from the embedded log by its own reader, from Kafka by a bare client of librdkafka. Both are run in turn, each
//! slot by a task of its own; counts are checked. Only filling the log syncs anything to the disk.
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

mod support {
    pub(crate) mod anew;
    pub(crate) mod bare;
    pub(crate) mod log;
    pub(crate) mod meter;
    pub(crate) mod parts;
    pub(crate) mod servers;
    pub(crate) mod slow;
}

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use castback_broker::{KafkaLog, Log, NewRecord, ReadLimits};
use castback_schemas::codec::{BatchDecoder, Encoder};
use castback_schemas::event::AppEvent;
use castback_schemas::time::{SECOND, SystemClock};
use castback_schemas::{AccountId, Micros, Slot, Topic};
use support::bare::BareReader;
use support::meter::{Meter, Outcome, Used};
use support::{anew, log, parts};
use tokio::task::JoinSet;
use uuid::Uuid;

const TOPIC: Topic = Topic::AppEvents;
/// One reader a core.
const SLOTS: u16 = 2;
const ADS: u64 = 1_000;
const CAMPAIGNS: u64 = 100;
const KINDS: [&str; 3] = ["view", "click", "purchase"];
/// The registry's id of the schema.
const SCHEMA: u32 = 1;
/// Events of an append.
const APPEND: u64 = 1_000;
/// Events of a second of event time, in a slot.
const EACH_SECOND: u64 = 10_000;
const WINDOW: i64 = 10 * SECOND;
/// 2026-03-01.
const START: i64 = 1_772_323_200_000_000;
/// Bytes of a read.
const READ_BYTES: usize = 1 << 20;
/// Turns of both.
const TURNS: usize = 5;

/// Views per campaign and window (its start in microseconds).
type Counts = HashMap<(u64, i64), u64>;

#[tokio::main(worker_threads = 2)]
async fn main() -> Outcome<()> {
    if !anew::is_child() {
        return parts::run_each(&[], &[&["kafka"]]);
    }
    let events: u64 = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(4_000_000);
    let each = (events / u64::from(SLOTS)).next_multiple_of(APPEND);
    let folder = tempfile::tempdir()?;
    let log = log::open(folder.path())?;
    let meter = Meter::start("self")?;
    let expected = fill(log.as_ref(), each).await?;
    println!("encoded and durable: {}", meter.used(each * u64::from(SLOTS))?);
    let (mut by_time, mut by_cpu) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let (alone, _) = turn(&log, each, false).await?;
        let (query, counts) = turn(&log, each, true).await?;
        if counts != expected {
            return Err("the counts are wrong".into());
        }
        by_time.push(alone.seconds / query.seconds);
        by_cpu.push(cpu(&alone) / cpu(&query));
    }
    for (what, mut ratios) in [("time", by_time), ("processor time", by_cpu)] {
        ratios.sort_by(f64::total_cmp);
        println!("drain and decode alone to all, by {what}: {:.2} (median of {ratios:.2?})", ratios[TURNS / 2]);
    }
    Ok(())
}

fn cpu(used: &Used) -> f64 {
    u32::try_from(used.cpu_micros).map_or(f64::INFINITY, f64::from)
}

/// Runs through the log once; what it took, and the counts.
async fn turn(log: &Arc<dyn Log>, each: u64, query: bool) -> Outcome<(Used, Counts)> {
    // What nobody reads any more is still fetched for a while, so that each turn has readers of its own.
    let log = match log::kafka() {
        Some(options) => Arc::new(KafkaLog::new(options, Arc::new(SystemClock))?),
        None => Arc::clone(log),
    };
    log.ends(TOPIC, Slot(0)).await?;
    let meter = Meter::start("self")?;
    let mut readers = JoinSet::new();
    for slot in 0..SLOTS {
        let decoder = decoder()?;
        match log::kafka() {
            Some(options) if !query => {
                let bare = BareReader::new(&options, (TOPIC, Slot(slot)))?;
                readers.spawn_blocking(move || Ok((bare.run(decoder)?, Counts::new())));
            }
            _ => {
                let reader = Reader { log: Arc::clone(&log), slot: Slot(slot), decoder };
                readers.spawn(reader.run(query.then(Query::new)));
            }
        }
    }
    let (mut read, mut counts) = (0, Counts::new());
    while let Some(reader) = readers.join_next().await {
        let (events, part) = reader??;
        read += events;
        for (key, count) in part {
            *counts.entry(key).or_default() += count;
        }
    }
    if read != each * u64::from(SLOTS) {
        return Err(format!("{read} events read").into());
    }
    let used = meter.used(read)?;
    println!("{}: {used}", if query { "drain, decode and query " } else { "drain and decode alone  " });
    Ok((used, counts))
}

fn decoder() -> Outcome<BatchDecoder> {
    let mut decoder = BatchDecoder::new(TOPIC)?;
    decoder.learn(SCHEMA, Some(TOPIC.spec().schema));
    Ok(decoder)
}

/// Reads a slot from its start to its end.
struct Reader {
    log: Arc<dyn Log>,
    slot: Slot,
    decoder: BatchDecoder,
}

impl Reader {
    async fn run(mut self, mut query: Option<Query>) -> Outcome<(u64, Counts)> {
        let limits = ReadLimits { max_bytes: READ_BYTES, wait: Duration::from_secs(1) };
        let end = self.log.ends(TOPIC, self.slot).await?.end;
        let (mut from, mut events) = (0, 0);
        while from < end {
            let records = self.log.read(TOPIC, self.slot, from, limits).await?;
            from = records.last().map_or(from, |last| last.offset + 1);
            let values: Vec<&[u8]> = records.iter().map(|record| record.value.as_ref()).collect();
            let decoded = self.decoder.decode(&values)?;
            events += u64::try_from(decoded.batch.num_rows())?;
            if let Some(query) = &mut query {
                query.step(&decoded.batch)?;
            }
        }
        Ok((events, query.map(|query| query.counts).unwrap_or_default()))
    }
}

/// Filter, join, count.
struct Query {
    campaigns: HashMap<String, u64>,
    counts: Counts,
}

impl Query {
    fn new() -> Self {
        Self { campaigns: (0..ADS).map(|ad| (name("ad", ad), campaign(ad))).collect(), counts: Counts::new() }
    }

    fn step(&mut self, events: &RecordBatch) -> Outcome<()> {
        let column = |name: &str| events.column_by_name(name).ok_or_else(|| format!("no column {name}"));
        let kinds = column("type")?.as_string::<i32>();
        let ads = column("element")?.as_string::<i32>();
        let times = column("occurred_at")?.as_primitive::<TimestampMicrosecondType>();
        for row in 0..events.num_rows() {
            if kinds.value(row) != KINDS[0] || ads.is_null(row) {
                continue;
            }
            if let Some(campaign) = self.campaigns.get(ads.value(row)) {
                *self.counts.entry((*campaign, Micros(times.value(row)).floor(WINDOW).0)).or_default() += 1;
            }
        }
        Ok(())
    }
}

fn campaign(ad: u64) -> u64 {
    ad * CAMPAIGNS / ADS
}

/// A name as long as an id.
fn name(what: &str, number: u64) -> String {
    format!("{what}-{number:032x}")
}

/// Puts the events on the log; what the query must find.
async fn fill(log: &dyn Log, each: u64) -> Outcome<Counts> {
    let encoder = Encoder::new(TOPIC, SCHEMA)?;
    let mut expected = Counts::new();
    for slot in 0..SLOTS {
        let account = AccountId::from_uuid(Uuid::from_u128(u128::from(slot)));
        for start in (0..each).step_by(usize::try_from(APPEND)?) {
            let mut records = Vec::new();
            for number in start..start + APPEND {
                let (event, ad) = event(account, number);
                if event.event_type == KINDS[0] {
                    *expected.entry((campaign(ad), event.occurred_at.floor(WINDOW).0)).or_default() += 1;
                }
                let (key, value) = (event.user.clone().into(), encoder.encode(&event)?.into());
                records.push(NewRecord { topic: TOPIC, slot: Slot(slot), account, key, value });
            }
            log.append(records).await?;
        }
    }
    Ok(expected)
}

/// The event of this number, and its ad.
fn event(account: AccountId, number: u64) -> (AppEvent, u64) {
    let ad = mixed(number) % ADS;
    let occurred_at =
        Micros(START + i64::try_from(number).unwrap_or(0) * SECOND / i64::try_from(EACH_SECOND).unwrap_or(1));
    let event = AppEvent {
        event_id: name("event", number),
        account_id: account,
        occurred_at,
        recorded_at: occurred_at,
        revision: 0,
        event_type: KINDS[usize::try_from(mixed(number + 1) % 3).unwrap_or(0)].to_owned(),
        user: name("user", mixed(number + 2) % 100_000),
        session_id: Some(name("session", mixed(number + 3) % 100_000)),
        page: Some(name("page", mixed(number + 4) % 10_000)),
        feature: Some(
            ["banner", "modal", "sponsored-search", "mail", "mobile"][usize::try_from(ad % 5).unwrap_or(0)].to_owned(),
        ),
        element: Some(name("ad", ad)),
        properties: None,
    };
    (event, ad)
}

/// splitmix64.
fn mixed(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
