//! Retention: ledger rows past their account's time go, and the verdicts over them.
//!
//! Time counts from `recorded_at`. Conversions (those that can't be read, too), frozen days and
//! carries are outside retention: ids are unique for life, and a frozen day must stay frozen. Rows of a day that is open still
//! are held back: its state is folded from them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch, StringArray};
use arrow::datatypes::TimestampMicrosecondType;
use castback_catalogue::CatalogueError;
use castback_catalogue::segments::{CompactRequest, Segment, View};
use castback_schemas::table::Table;
use castback_schemas::{AccountId, Day, Micros, Slot, Topic};

use super::{ATTEMPTS, Compacted, Compactor};
use crate::columns::{ints, retain};
use crate::error::{Result, StoreError};
use crate::overlay::topic_of;
use crate::scan::Scan;
use crate::view::{PinnedView, SegmentBody};

/// The ledger tables that retention applies to.
pub(crate) const RETAINED: [Table; 3] = [Table::Requests, Table::AppEvents, Table::DeadLetters];

/// Rounds of compaction before rows go; what is uncompacted after them is not that old.
const ROUNDS: usize = 8;

/// What is past its retention, by account: recorded before the end of the range. What was recorded
/// before its start has gone already.
pub type Expired = HashMap<AccountId, Range<Micros>>;

/// What a round of retention did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Retained {
    /// Segments replaced and written.
    pub compacted: Compacted,
    /// Rows that went.
    pub removed: u64,
    /// When the oldest row was recorded that had to stay, by account: its day is open.
    pub held: HashMap<AccountId, Micros>,
    /// The day to go on from; none when all is done.
    pub next: Option<Day>,
}

impl Retained {
    /// Adds what another round did.
    pub fn add(&mut self, other: Self) {
        self.compacted.add(other.compacted);
        self.removed += other.removed;
        self.next = other.next;
        for (account, at) in other.held {
            self.hold(account, at);
        }
    }

    fn hold(&mut self, account: AccountId, at: Micros) {
        let held = self.held.entry(account).or_insert(at);
        *held = at.min(*held);
    }
}

/// One day's rows, as they are looked through.
struct OfDay<'a> {
    expired: &'a HashMap<String, (AccountId, i64)>,
    /// Account and key of what is open on the day, by topic.
    open: HashMap<String, HashSet<(String, String)>>,
    done: Retained,
    gone: BTreeMap<&'static str, HashSet<i64>>,
}

impl Compactor {
    /// Removes a slot's ledger rows that are past their retention, with every verdict over them:
    /// from a day on, at most `days` days of event time, so that each call's work is bounded.
    ///
    /// # Errors
    /// The catalogue's or the object store's; what was done before stays done.
    pub async fn retain(&self, slot: Slot, expired: &Expired, (from, days): (Option<Day>, usize)) -> Result<Retained> {
        let mut rounds = 0;
        while from.is_none() && rounds < ROUNDS && self.slot(slot).await?.slices > 0 {
            rounds += 1;
        }
        let mut done = Retained::default();
        let texts: HashMap<String, (AccountId, i64)> =
            expired.iter().map(|(account, range)| (account.to_string(), (*account, range.end.0))).collect();
        let view = self.catalogue.view(None).await?;
        let mut places = BTreeSet::new();
        for segment in view.segments.iter().filter(|segment| segment.slot == slot) {
            if from.is_none_or(|from| from <= segment.day) && may_expire(segment, expired)? {
                places.insert(segment.day);
            }
        }
        for (examined, day) in places.into_iter().enumerate() {
            if examined == days {
                done.next = Some(day);
                break;
            }
            done.add(self.retain_day((slot, day), &texts).await?);
        }
        Ok(done)
    }

    async fn retain_day(&self, place: (Slot, Day), expired: &HashMap<String, (AccountId, i64)>) -> Result<Retained> {
        for _ in 0..ATTEMPTS {
            let view = self.catalogue.view(None).await?;
            let open = self.open(&view, place).await?;
            let mut of_day = OfDay { expired, open, done: Retained::default(), gone: BTreeMap::new() };
            let request = self.without_expired(&view, place, &mut of_day).await?;
            let mut done = of_day.done;
            if request.replaced.is_empty() {
                return Ok(done);
            }
            match self.replace(request).await {
                Err(StoreError::Catalogue(CatalogueError::Stale)) => {}
                other => {
                    done.compacted = other?;
                    return Ok(done);
                }
            }
        }
        Err(CatalogueError::Stale.into())
    }

    /// Who has that day open: (account, key), by topic.
    async fn open(&self, view: &View, (slot, day): (Slot, Day)) -> Result<HashMap<String, HashSet<(String, String)>>> {
        let view = Arc::new(PinnedView::new(view)?);
        let scan = Scan { slot: Some(slot), days: day..=day, ..Scan::new(Table::Days) };
        let mut open: HashMap<String, HashSet<(String, String)>> = HashMap::new();
        for batch in self.store.rows(&view, scan).await? {
            let text = |name| texts(&batch, name, Table::Days);
            let (accounts, topics, keys, states) = (text("account_id")?, text("topic")?, text("key")?, text("state")?);
            for row in (0..batch.num_rows()).filter(|row| states.value(*row) == "open") {
                let key = (accounts.value(row).to_owned(), keys.value(row).to_owned());
                open.entry(topics.value(row).to_owned()).or_default().insert(key);
            }
        }
        Ok(open)
    }

    async fn without_expired(
        &self,
        view: &View,
        (slot, day): (Slot, Day),
        of_day: &mut OfDay<'_>,
    ) -> Result<CompactRequest> {
        let here = |table: Table| {
            let here =
                move |segment: &&Segment| segment.table == table.name() && (segment.slot, segment.day) == (slot, day);
            view.segments.iter().filter(here)
        };
        let mut request = CompactRequest::default();
        for table in RETAINED {
            for segment in here(table) {
                let split = |batch: &RecordBatch| of_day.keep_recorded(batch, table);
                of_day.done.removed += self.rewrite((table, slot, day), segment, split, &mut request).await?;
            }
        }
        if !of_day.gone.is_empty() {
            for segment in here(Table::Verdicts) {
                let split = |batch: &RecordBatch| keep_verdicts(batch, &of_day.gone);
                self.rewrite((Table::Verdicts, slot, day), segment, split, &mut request).await?;
            }
        }
        Ok(request)
    }

    /// Writes a segment anew without the rows that are not kept; a segment that loses none stays.
    /// Answers how many it lost.
    async fn rewrite(
        &self,
        place: (Table, Slot, Day),
        segment: &Segment,
        mut keep: impl FnMut(&RecordBatch) -> Result<Vec<bool>>,
        request: &mut CompactRequest,
    ) -> Result<u64> {
        let mut rows = Vec::new();
        for batch in self.segment_rows(place.0, segment).await? {
            let keep = keep(&batch)?;
            rows.push(retain(batch, &keep)?);
        }
        let kept: u64 = rows.iter().map(|batch| batch.num_rows() as u64).sum();
        if kept == segment.rows {
            return Ok(0);
        }
        request.replaced.push(segment.object_key.clone());
        if kept > 0 {
            request.new.extend(self.write(place, rows).await?);
        }
        Ok(segment.rows - kept)
    }
}

/// Whether a segment may hold rows that are to go: only those are read.
fn may_expire(segment: &Segment, expired: &Expired) -> Result<bool> {
    if !RETAINED.iter().any(|table| table.name() == segment.table) {
        return Ok(false);
    }
    let damaged = |_| StoreError::Description { key: segment.object_key.clone() };
    let body: SegmentBody = serde_json::from_str(&segment.body).map_err(damaged)?;
    let within =
        |range: &Range<Micros>| body.recorded.is_none_or(|(first, last)| first < range.end.0 && range.start.0 <= last);
    Ok(expired.values().any(within))
}

/// The column that names the key of a day: podcast or user.
fn key_column(table: Table) -> Option<&'static str> {
    match table {
        Table::Requests => Some("podcast_id"),
        Table::AppEvents => Some("user"),
        _ => None,
    }
}

impl OfDay<'_> {
    /// Which rows are kept; the offsets of the others are noted.
    fn keep_recorded(&mut self, batch: &RecordBatch, table: Table) -> Result<Vec<bool>> {
        let accounts = texts(batch, "account_id", table)?;
        let recorded =
            batch.column_by_name("recorded_at").and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
        let recorded = recorded.ok_or_else(|| misfit(table, "recorded_at"))?;
        let offsets = ints(batch, "offset", table)?;
        let topic = topic_of(table);
        let open = topic.and_then(|topic| self.open.get(topic.name()));
        let topics = (table == Table::DeadLetters).then(|| texts(batch, "topic", table)).transpose()?;
        let for_life = |row: usize| topics.is_some_and(|topics| topics.value(row) == Topic::Conversions.name());
        let keys = key_column(table).map(|name| texts(batch, name, table)).transpose()?;
        let is_open = |row: usize| {
            open.zip(keys).is_some_and(|(open, keys)| {
                open.contains(&(accounts.value(row).to_owned(), keys.value(row).to_owned()))
            })
        };
        let mut keep = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let at = recorded.value(row);
            let past = self.expired.get(accounts.value(row)).filter(|(_, until)| at < *until && !for_life(row));
            let held = past.is_some() && is_open(row);
            if let Some((account, _)) = past.filter(|_| held) {
                self.done.hold(*account, Micros(at));
            }
            let goes = past.is_some() && !held;
            if let Some(topic) = topic.filter(|_| goes) {
                self.gone.entry(topic.name()).or_default().insert(offsets.value(row));
            }
            keep.push(!goes);
        }
        Ok(keep)
    }
}

fn keep_verdicts(batch: &RecordBatch, gone: &BTreeMap<&str, HashSet<i64>>) -> Result<Vec<bool>> {
    let topics = texts(batch, "topic", Table::Verdicts)?;
    let offsets = ints(batch, "offset", Table::Verdicts)?;
    let gone = |row: usize| gone.get(topics.value(row)).is_some_and(|of_topic| of_topic.contains(&offsets.value(row)));
    Ok((0..batch.num_rows()).map(|row| !gone(row)).collect())
}

fn texts<'a>(batch: &'a RecordBatch, name: &str, table: Table) -> Result<&'a StringArray> {
    let column = batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
    column.ok_or_else(|| misfit(table, name))
}

fn misfit(table: Table, name: &str) -> StoreError {
    StoreError::Misfit { table: table.name(), detail: format!("{name} is missing") }
}
