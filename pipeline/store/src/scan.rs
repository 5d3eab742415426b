//! Reading rows as of a view: which pieces, for whom, in which version.
//!
//! ```text
//! Scan ─Feed─▶ ReadTask (a slot's day, or one ledger segment of it) ─load─▶ Loaded ─rows─▶ batches
//! ```
//! A row's key fixes the day by which it is filed, so versions of a row and the verdicts over
//! it always meet within one (slot, day). A feed hands tasks out to any number of readers; a
//! task loads bytes asynchronously and decodes them on a blocking thread.

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use castback_schemas::table::{Kind, Table};
use castback_schemas::{AccountId, Day, Revision, Slot};
use futures::{Stream, stream};
use tokio::sync::{Mutex, OnceCell};

use crate::bloom::may_hold_event;
use crate::columns::{COMMIT, by_day, conform, stored_schema};
use crate::error::Result;
use crate::load::{Loaded, Verdicts};
use crate::newest::key_columns;
use crate::overlay::topic_of;
use crate::store::Store;
use crate::view::{Piece, PinnedView, Place};

/// Every day there is.
pub const ALL_DAYS: RangeInclusive<Day> = Day(i32::MIN)..=Day(i32::MAX);

/// Which versions of a row are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Versions {
    /// The one that holds as of the view.
    Current,
    /// Every one up to the view, as first written: ledger rows without verdicts laid over them,
    /// withdrawn rows included.
    All,
}

/// What is to be read.
#[derive(Debug, Clone)]
pub struct Scan {
    /// The table.
    pub table: Table,
    /// The versions.
    pub versions: Versions,
    /// One slot, or every slot.
    pub slot: Option<Slot>,
    /// The days by which rows are filed.
    pub days: RangeInclusive<Day>,
    /// One account's rows (read from its slot only), or everyone's.
    pub account: Option<AccountId>,
    /// One event's rows, for ledger tables that hold events.
    pub event_id: Option<String>,
    /// Rows of this `source`; of segments that hold some, the others come, too.
    pub source: Option<String>,
    /// Only rows of later commits: what is new to a reader that has seen this one.
    pub after: Revision,
    /// The columns wanted, in this order (`commit` is one); none means all.
    pub columns: Option<Vec<&'static str>>,
}

impl Scan {
    /// All current rows of a table.
    #[must_use]
    pub fn new(table: Table) -> Self {
        let (versions, days) = (Versions::Current, ALL_DAYS);
        Self {
            table,
            versions,
            slot: None,
            days,
            account: None,
            event_id: None,
            source: None,
            after: Revision(0),
            columns: None,
        }
    }

    /// The columns that the scan yields.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        let all = stored_schema(self.table);
        match &self.columns {
            None => all,
            Some(columns) => {
                let fields: Vec<_> =
                    columns.iter().filter_map(|name| all.field_with_name(name).ok()).cloned().collect();
                Arc::new(Schema::new(fields))
            }
        }
    }

    fn slots(&self) -> VecDeque<Slot> {
        let of_account = self.account.map(Slot::of);
        let wanted =
            |slot: &Slot| self.slot.is_none_or(|only| only == *slot) && of_account.is_none_or(|only| only == *slot);
        Slot::all().filter(wanted).collect()
    }
}

/// What tasks of a scan share.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) store: Store,
    pub(crate) view: Arc<PinnedView>,
    pub(crate) scan: Scan,
    /// The account as it stands in rows.
    pub(crate) account: Option<String>,
    /// What is read: what is wanted and what decides about it.
    pub(crate) read: SchemaRef,
    /// What is given.
    pub(crate) given: SchemaRef,
}

impl Plan {
    pub(crate) fn new(store: Store, view: Arc<PinnedView>, scan: Scan) -> Self {
        let given = scan.schema();
        let spec = scan.table.spec();
        let mut needed = vec!["account_id", spec.filed_by, COMMIT, "offset", "event_id", "topic"];
        if scan.versions == Versions::Current && spec.kind == Kind::Versioned {
            needed.extend(key_columns(scan.table));
            needed.push("withdrawn");
        }
        let all = stored_schema(scan.table);
        let deciding = |name: &str| match name {
            "event_id" => scan.event_id.is_some(),
            "topic" => scan.table == Table::Verdicts,
            "offset" => spec.kind == Kind::Ledger,
            _ => true,
        };
        let read = |name: &str| given.field_with_name(name).is_ok() || (deciding(name) && needed.contains(&name));
        let fields: Vec<_> = all.fields().iter().filter(|field| read(field.name())).cloned().collect();
        let account = scan.account.map(|account| account.to_string());
        Self { store, view, scan, account, read: Arc::new(Schema::new(fields)), given }
    }

    /// The pieces of a table in a slot that may hold rows of the days.
    pub(crate) fn pieces(&self, table: Table, slot: Slot) -> impl Iterator<Item = &Piece> {
        let days = self.scan.days.clone();
        // Every version is new or not by itself; the current one may be old and still decide.
        let after = if self.scan.versions == Versions::All { self.scan.after.0 } else { i64::MIN };
        self.view.pieces(table, slot).iter().filter(move |piece| {
            let (first, last) = piece.days();
            let by_source = self.scan.source.as_ref().is_none_or(|source| piece.may_come_by(source));
            first <= *days.end() && *days.start() <= last && piece.max_revision > after && by_source
        })
    }
}

/// A unit of reading: independent of every other.
#[derive(Debug, Clone)]
pub(crate) struct ReadTask {
    pub(crate) of: (Slot, Day),
    pub(crate) plan: Arc<Plan>,
    pub(crate) segments: Vec<Piece>,
    pub(crate) parts: Vec<RecordBatch>,
    pub(crate) verdicts: Option<Arc<Verdicts>>,
}

impl ReadTask {
    /// Fetches what the task needs.
    pub(crate) async fn load(self) -> Result<Loaded> {
        Loaded::fetch(self).await
    }
}

/// Hands out the tasks of a scan, slot by slot.
#[derive(Debug)]
pub(crate) struct Feed {
    plan: Arc<Plan>,
    waiting: Mutex<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    slots: VecDeque<Slot>,
    tasks: VecDeque<ReadTask>,
}

impl Feed {
    pub(crate) fn new(plan: Plan) -> Self {
        let waiting = Mutex::new(Waiting { slots: plan.scan.slots(), tasks: VecDeque::new() });
        Self { plan: Arc::new(plan), waiting }
    }

    /// The next task, or none when all were handed out.
    pub(crate) async fn next(&self) -> Result<Option<ReadTask>> {
        let mut waiting = self.waiting.lock().await;
        loop {
            if let Some(task) = waiting.tasks.pop_front() {
                return Ok(Some(task));
            }
            let Some(slot) = waiting.slots.pop_front() else { return Ok(None) };
            waiting.tasks = tasks(&self.plan, slot).await?;
        }
    }

    /// The tasks, one after the other.
    pub(crate) fn tasks(self: Arc<Self>) -> impl Stream<Item = Result<ReadTask>> {
        stream::unfold(self, |feed| async move { feed.next().await.transpose().map(|task| (task, feed)) })
    }
}

#[derive(Debug, Default)]
struct OfDay {
    segments: Vec<Piece>,
    parts: Vec<RecordBatch>,
}

async fn tasks(plan: &Arc<Plan>, slot: Slot) -> Result<VecDeque<ReadTask>> {
    let mut days = parts_by_day(plan, plan.scan.table, slot, &plan.read).await?;
    for piece in plan.pieces(plan.scan.table, slot) {
        if let Place::Segment { day, .. } = piece.place
            && holds_event(plan, piece).await?
        {
            days.entry(Day(day)).or_default().segments.push(piece.clone());
        }
    }
    let overlaid = plan.scan.versions == Versions::Current && topic_of(plan.scan.table).is_some();
    let verdict_parts = if overlaid {
        parts_by_day(plan, Table::Verdicts, slot, &stored_schema(Table::Verdicts)).await?
    } else {
        BTreeMap::new()
    };
    let mut tasks = VecDeque::new();
    for (day, of_day) in days {
        let verdicts = overlaid.then(|| {
            let parts = verdict_parts.get(&day).map(|of_day: &OfDay| of_day.parts.clone()).unwrap_or_default();
            Arc::new(Verdicts { slot, day, parts, overlay: OnceCell::new() })
        });
        tasks.extend(of_day.into_tasks(plan, (slot, day), verdicts.as_ref()));
    }
    Ok(tasks)
}

async fn holds_event(plan: &Plan, piece: &Piece) -> Result<bool> {
    match &plan.scan.event_id {
        Some(event_id) => may_hold_event(plan.store.objects(), piece, event_id).await,
        None => Ok(true),
    }
}

/// The uncompacted rows of a table in a slot, by day.
async fn parts_by_day(plan: &Plan, table: Table, slot: Slot, read: &SchemaRef) -> Result<BTreeMap<Day, OfDay>> {
    let mut days: BTreeMap<Day, OfDay> = BTreeMap::new();
    for piece in plan.pieces(table, slot).filter(|piece| matches!(piece.place, Place::Part(_))) {
        for batch in plan.store.part(piece, table).await? {
            for (day, rows) in by_day(&conform(&batch, read, table)?, table)? {
                if plan.scan.days.contains(&day) {
                    days.entry(day).or_default().parts.push(rows);
                }
            }
        }
    }
    Ok(days)
}

impl OfDay {
    /// Versions of a row must meet; ledger rows are independent once verdicts are laid over them.
    fn into_tasks(self, plan: &Arc<Plan>, of: (Slot, Day), verdicts: Option<&Arc<Verdicts>>) -> Vec<ReadTask> {
        let (plan, verdicts) = (Arc::clone(plan), verdicts.cloned());
        let task =
            |segments, parts| ReadTask { of, plan: Arc::clone(&plan), segments, parts, verdicts: verdicts.clone() };
        if plan.scan.table.spec().kind == Kind::Versioned && plan.scan.versions == Versions::Current {
            return vec![task(self.segments, self.parts)];
        }
        let mut tasks: Vec<_> = self.segments.into_iter().map(|segment| task(vec![segment], Vec::new())).collect();
        if !self.parts.is_empty() {
            tasks.push(task(Vec::new(), self.parts));
        }
        tasks
    }
}
