//! What tests of processors are made of: requests and conversions in the ledger's shape, a
//! Directory, and a [`Book`] that keeps what was said as the store would.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use arrow::util::display::array_value_to_string;
use castback_catalogue::directory::{DirectoryRows, EpisodeVersion, PodcastVersion};
use castback_catalogue::episodes::EpisodeFacts;
use castback_catalogue::podcasts::DownloadWindow;
use castback_rules::lists::{DatedLists, ListTexts, Lists};
use castback_schemas::campaign::CampaignVersion;
use castback_schemas::table::{Kind, Table, VERDICT_COLUMNS};
use castback_schemas::{AccountId, Day, EpisodeId, Micros, PodcastId, Slot};
use uuid::Uuid;

use crate::change::{Changes, Value};
use crate::directory::Directory;

pub(crate) const ACCOUNT: AccountId = AccountId::from_uuid(Uuid::from_u128(0xacc0));
pub(crate) const PODCAST: PodcastId = PodcastId::from_uuid(Uuid::from_u128(0xb0d));
pub(crate) const PLAYER: &str = "AppleCoreMedia/1.0.0.21A329 (iPhone; U; CPU OS 17_0 like Mac OS X; en_us)";

/// The first of March 2026, a Sunday.
pub(crate) const MARCH: Day = Day(20_513);

/// The length of every episode; a minute of it, which a download needs, is a thirtieth.
pub(crate) const LENGTH: i64 = 28_800_000;

pub(crate) fn slot() -> Slot {
    Slot::of(ACCOUNT)
}

pub(crate) fn lists() -> DatedLists {
    static LISTS: OnceLock<DatedLists> = OnceLock::new();
    LISTS.get_or_init(|| DatedLists::new(Arc::new(Lists::new(&ListTexts::seed(), Micros(0)).unwrap()))).clone()
}

/// An instant of a day, by the hour.
#[expect(clippy::cast_possible_truncation, reason = "hours of a few days")]
pub(crate) fn at(day: Day, hours: f64) -> Micros {
    day.start().plus((hours * 3_600_000_000.0) as i64)
}

pub(crate) fn episode_id(number: u128) -> EpisodeId {
    EpisodeId::from_uuid(Uuid::from_u128(0xe000 + number))
}

pub(crate) fn url(episode: u128) -> String {
    format!("https://cdn.example.com/{episode}.mp3")
}

/// One podcast with so many episodes of half an hour, and these campaigns.
pub(crate) fn directory(episodes: u128, campaigns: &[CampaignVersion]) -> Directory {
    directory_at(1, episodes, campaigns)
}

/// The same as of a change.
pub(crate) fn directory_at(change: i64, episodes: u128, campaigns: &[CampaignVersion]) -> Directory {
    let podcast = PodcastVersion {
        account: ACCOUNT,
        podcast: PODCAST,
        valid_from: Micros(i64::MIN),
        window: DownloadWindow::UtcDay,
        deleted: false,
        change,
    };
    let episode = |number| EpisodeVersion {
        account: ACCOUNT,
        podcast: PODCAST,
        episode: episode_id(number),
        valid_from: Micros(i64::MIN),
        facts: EpisodeFacts {
            guid: format!("guid-{number}"),
            title: None,
            enclosure_url: url(number),
            length: u64::try_from(LENGTH).ok(),
            duration_ms: Some(1_800_000),
            published_at: None,
        },
        change,
    };
    Directory::default().with(DirectoryRows {
        change,
        podcasts: vec![podcast],
        episodes: (0..episodes).map(episode).collect(),
        campaigns: campaigns.iter().map(|version| (ACCOUNT, version.clone())).collect(),
    })
}

/// A listener request: a whole file, unless said otherwise.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) account: AccountId,
    pub(crate) offset: i64,
    pub(crate) event_id: String,
    pub(crate) at: Micros,
    pub(crate) recorded: Micros,
    pub(crate) podcast: String,
    pub(crate) url: String,
    pub(crate) range: Option<(i64, i64)>,
    pub(crate) user_agent: Option<String>,
    pub(crate) method: &'static str,
    pub(crate) status: i64,
    pub(crate) listener: u8,
    pub(crate) previous: Option<u8>,
    pub(crate) household: u8,
    pub(crate) safe_listed: bool,
    pub(crate) ads: Option<String>,
    pub(crate) file_bytes: Option<i64>,
}

pub(crate) fn hash(number: u8) -> [u8; 16] {
    // Spread like a real one: the first bytes decide where it is looked for.
    let mut bytes = [number; 16];
    bytes[0] = number.wrapping_mul(151);
    bytes
}

impl Request {
    /// The request at `offset` by a listener for the first episode.
    pub(crate) fn new(offset: i64, at: Micros, listener: u8) -> Self {
        Self {
            account: ACCOUNT,
            offset,
            event_id: format!("request-{offset}"),
            at,
            recorded: at,
            podcast: PODCAST.to_string(),
            url: url(0),
            range: None,
            user_agent: Some(PLAYER.to_owned()),
            method: "GET",
            status: 200,
            listener,
            previous: None,
            household: listener,
            safe_listed: false,
            ads: None,
            file_bytes: None,
        }
    }

    /// Only `[from, to)` of the file.
    pub(crate) fn range(self, from: i64, to: i64) -> Self {
        Self { range: Some((from, to)), status: 206, ..self }
    }

    fn write(&self, out: &mut Changes) {
        let range = self.range.map(|(from, to)| format!("bytes={from}-{}", to - 1));
        let bytes = self.range.map_or(LENGTH, |(from, to)| to - from);
        let account = self.account.to_string();
        let values: [Value<'_>; 34] = [
            account.as_str().into(),
            i64::from(slot().0).into(),
            self.offset.into(),
            self.event_id.as_str().into(),
            self.at.into(),
            self.recorded.into(),
            self.podcast.as_str().into(),
            Value::Null,
            self.url.as_str().into(),
            self.method.into(),
            self.status.into(),
            range.as_deref().into(),
            bytes.into(),
            self.file_bytes.into(),
            self.user_agent.as_deref().into(),
            Value::Null,
            "other".into(),
            "test".into(),
            Value::Null,
            Value::Null,
            hash(self.listener).into(),
            self.previous.map(hash).into(),
            hash(self.household).into(),
            self.safe_listed.into(),
            "api".into(),
            self.ads.as_deref().into(),
            "counted".into(),
            Value::Null,
            Value::Null,
            false.into(),
            false.into(),
            false.into(),
            0.into(),
            0.into(),
        ];
        out.row(Table::Requests, &values).unwrap();
    }
}

/// New requests as they come from the decoder.
pub(crate) fn batch(requests: &[Request]) -> RecordBatch {
    let mut out = Changes::default();
    for request in requests {
        request.write(&mut out);
    }
    unjudged(&out.finish().unwrap().remove(0).1)
}

/// A batch without the columns that a verdict adds.
pub(crate) fn unjudged(batch: &RecordBatch) -> RecordBatch {
    let kept: Vec<usize> =
        (0..batch.num_columns()).filter(|&i| !crate::decode::is_judged(batch.schema().field(i).name())).collect();
    batch.project(&kept).unwrap()
}

/// What was said, as the store keeps it: current rows, newest verdicts laid over.
#[derive(Debug, Default, Clone)]
pub(crate) struct Book {
    rows: BTreeMap<Table, BTreeMap<Vec<String>, RecordBatch>>,
    /// Revised verdicts, as text, in order.
    pub(crate) revisions: Vec<String>,
}

pub(crate) fn cell(row: &RecordBatch, column: &str) -> String {
    let column = row.column_by_name(column).unwrap();
    if column.is_null(0) { String::new() } else { array_value_to_string(column, 0).unwrap() }
}

impl Book {
    /// Takes in what was said; answers how many rows that was.
    pub(crate) fn keep(&mut self, said: Changes) -> usize {
        let mut count = 0;
        for (table, batch) in said.finish().unwrap() {
            for row in 0..batch.num_rows() {
                count += 1;
                let row = batch.slice(row, 1);
                if table == Table::Verdicts {
                    self.revise(&row);
                    continue;
                }
                let key = table.spec().key.iter().map(|column| cell(&row, column)).collect();
                let new = self.rows.entry(table).or_default().insert(key, row).is_none();
                assert!(new || table.spec().kind == Kind::Versioned, "a ledger row was written twice");
            }
        }
        count
    }

    fn revise(&mut self, verdict: &RecordBatch) {
        let topic = cell(verdict, "topic");
        let table = match topic.as_str() {
            "listener-requests" => Table::Requests,
            "conversions" => Table::Conversions,
            _ => Table::AppEvents,
        };
        let key = vec![cell(verdict, "slot"), cell(verdict, "offset")];
        let row = self.rows.get_mut(&table).and_then(|rows| rows.get_mut(&key)).expect("revises a row that is there");
        let text = |row: &RecordBatch| {
            let counted = ["counted_utc_day", "counted_first_touch", "counted_last_touch"];
            let has = |column: &&&str| row.column_by_name(column).is_some();
            let columns = ["verdict", "reason", "duplicate_of"].iter().chain(counted.iter().filter(has));
            columns.map(|column| cell(row, column)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(cell(verdict, "previous"), cell(row, "verdict"), "{key:?}: what it takes the place of");
        let before = text(row);
        let schema = row.schema();
        let columns = schema.fields().iter().zip(row.columns()).map(|(field, column)| {
            let newer = VERDICT_COLUMNS.contains(&field.name().as_str()).then(|| verdict.column_by_name(field.name()));
            Arc::clone(newer.flatten().unwrap_or(column))
        });
        *row = RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap();
        let after = text(row);
        assert_ne!(before, after, "a revision of {key:?} says nothing new");
        self.revisions.push(format!("{topic} {}: {before} → {after}", key[1]));
    }

    /// Current rows of a table.
    pub(crate) fn all(&self, table: Table) -> Vec<RecordBatch> {
        let rows = self.rows.get(&table).into_iter().flat_map(BTreeMap::values);
        let current =
            |row: &&RecordBatch| row.column_by_name("withdrawn").is_none() || cell(row, "withdrawn") == "false";
        let rows: Vec<RecordBatch> = rows.filter(current).cloned().collect();
        match rows.first() {
            None => Vec::new(),
            Some(first) => vec![concat_batches(&first.schema(), &rows).unwrap()],
        }
    }

    /// Current rows that are filed under a day.
    pub(crate) fn day(&self, table: Table, day: Day) -> Vec<RecordBatch> {
        let filed = |row: &RecordBatch| {
            let times = row.column_by_name(table.spec().filed_by).unwrap();
            Micros(times.as_primitive::<TimestampMicrosecondType>().value(0)).day() == day
        };
        let all: Vec<RecordBatch> = self.rows(table).into_iter().filter(filed).collect();
        match all.first() {
            None => Vec::new(),
            Some(first) => vec![concat_batches(&first.schema(), &all).unwrap()],
        }
    }

    /// Current rows, one by one.
    pub(crate) fn rows(&self, table: Table) -> Vec<RecordBatch> {
        self.all(table).iter().flat_map(|batch| (0..batch.num_rows()).map(|row| batch.slice(row, 1))).collect()
    }

    /// Days that requests are filed under.
    pub(crate) fn days(&self) -> Vec<Day> {
        let mut days: Vec<Day> = Vec::new();
        for batch in self.all(Table::Requests) {
            let times = batch.column_by_name("occurred_at").unwrap().as_primitive::<TimestampMicrosecondType>();
            days.extend(times.values().iter().map(|at| Micros(*at).day()));
        }
        days.sort_unstable();
        days.dedup();
        days
    }

    /// Verdict and reason of each row, with the windows in which it counts, by offset.
    pub(crate) fn verdicts(&self, table: Table) -> BTreeMap<i64, String> {
        let mut verdicts = BTreeMap::new();
        for row in self.rows(table) {
            let offset = row.column_by_name("offset").unwrap().as_primitive::<Int64Type>().value(0);
            let counted: String = ["counted_utc_day", "counted_first_touch", "counted_last_touch"]
                .iter()
                .filter(|name| row.column_by_name(name).is_some())
                .map(|name| if cell(&row, name) == "true" { '1' } else { '0' })
                .collect();
            let text = format!("{} {} {counted}", cell(&row, "verdict"), cell(&row, "reason"));
            verdicts.insert(offset, text.replace("  ", " ").trim_end().to_owned());
        }
        verdicts
    }

    /// Counted rows in each window.
    pub(crate) fn totals(&self) -> [usize; 3] {
        ["counted_utc_day", "counted_first_touch", "counted_last_touch"].map(|window| {
            self.all(Table::Requests).iter().map(|b| b.column_by_name(window).unwrap().as_boolean().true_count()).sum()
        })
    }
}
