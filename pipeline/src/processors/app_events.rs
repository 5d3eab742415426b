//! `app_events`: the verdicts of app events. Friction and measurement build on them.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use castback_rules::filter::FilterReason;
use castback_rules::verdict::Reason;
use castback_schemas::edge::{HashKey, fingerprint};
use castback_schemas::table::Table;
use castback_schemas::time::DAY;
use castback_schemas::{AccountId, Day, Group, Micros, Slot, Topic};

use crate::change::{Changes, Value};
use crate::days::{DayRow, DayState, KeyDays};
use crate::directory::Directory;
use crate::group::{Making, ProcessorSpec};
use crate::ledger::ids::Ids;
use crate::ledger::judged::Judged;
use crate::ledger::{self, RULE_VERSION, unreadable};

/// The processor's row.
pub const SPEC: ProcessorSpec =
    ProcessorSpec { name: "app_events", group: Group::Experience, judges: Some(Topic::AppEvents) };

/// How long after a day its events may come before it freezes.
const LATENESS: i64 = DAY;

#[derive(Debug, Default)]
struct AccountState {
    ids: Ids<(Box<str>, Day)>,
    /// Days of users.
    users: BTreeMap<Box<str>, KeyDays>,
}

/// The processor of one slot.
#[derive(Debug)]
pub struct AppEvents {
    slot: Slot,
    ids_key: HashKey,
    accounts: BTreeMap<AccountId, AccountState>,
}

/// The columns that verdicts need.
struct Columns<'a> {
    account: &'a StringArray,
    user: &'a StringArray,
    event_id: &'a StringArray,
    occurred_at: &'a TimestampMicrosecondArray,
    recorded_at: &'a TimestampMicrosecondArray,
    /// Of rows read back from the ledger.
    committed: Option<(&'a StringArray, &'a Int64Array)>,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, ArrowError> {
        let text = |name: &str| {
            batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>()).ok_or_else(|| unreadable(name))
        };
        let time = |name: &str| {
            let column = batch.column_by_name(name).and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
            column.ok_or_else(|| unreadable(name))
        };
        let offset = batch.column_by_name("offset").and_then(|column| column.as_primitive_opt::<Int64Type>());
        Ok(Self {
            account: text("account_id")?,
            user: text("user")?,
            event_id: text("event_id")?,
            occurred_at: time("occurred_at")?,
            recorded_at: time("recorded_at")?,
            committed: text("verdict").ok().zip(offset),
        })
    }

    fn verdict(&self, row: usize) -> Result<&'a str, ArrowError> {
        self.committed.map(|(verdicts, _)| verdicts.value(row)).ok_or_else(|| unreadable("verdict"))
    }

    fn offset(&self, row: usize) -> Result<i64, ArrowError> {
        self.committed.map(|(_, offsets)| offsets.value(row)).ok_or_else(|| unreadable("offset"))
    }

    fn id(&self, key: &HashKey, row: usize) -> [u8; 16] {
        *fingerprint(key, self.event_id.value(row).as_bytes()).as_bytes()
    }
}

impl AppEvents {
    /// A processor without state.
    #[must_use]
    pub fn new(making: &Making) -> Self {
        Self { slot: making.slot, ids_key: making.key(), accounts: BTreeMap::new() }
    }

    /// The account, if the record lies in its slot.
    fn account_of(&self, columns: &Columns<'_>, row: usize) -> Option<AccountId> {
        columns.account.value(row).parse().ok().filter(|id| Slot::of(*id) == self.slot)
    }

    fn admit(&mut self, columns: &Columns<'_>, row: usize, out: &mut Changes) -> Result<Judged, ArrowError> {
        let Some(account) = self.account_of(columns, row) else { return Ok(Judged::filtered(FilterReason::Rerouted)) };
        let (occurred, log_time) = (Micros(columns.occurred_at.value(row)), Micros(columns.recorded_at.value(row)));
        let state = self.accounts.entry(account).or_default();
        let user = columns.user.value(row);
        let days = state.users.entry(user.into()).or_default();
        let note = |state| DayRow {
            account,
            topic: Topic::AppEvents,
            key: user,
            day: occurred.day(),
            noted_at: log_time,
            state,
        };
        if days.is_frozen(occurred.day()) {
            if days.late(occurred.day(), log_time) {
                note(DayState::RecountDue).write(out)?;
            }
            return Ok(Judged::LATE);
        }
        if days.record(occurred, log_time) {
            note(DayState::Open).write(out)?;
        }
        let first = state.ids.first(columns.id(&self.ids_key, row), (user.into(), occurred.day()));
        Ok(if first { Judged::COUNTED } else { Judged::SAME_EVENT })
    }

    /// How days of users stand, as read back.
    ///
    /// # Errors
    /// A row can't be read.
    pub fn know_days(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        for row in DayRow::read(batch, Topic::AppEvents)? {
            let days = self.accounts.entry(row.account).or_default().users.entry(row.key.into()).or_default();
            match row.state {
                DayState::Open => days.open_since(row.day, row.noted_at),
                DayState::Frozen => days.freeze(row.day, None),
                DayState::RecountDue => days.freeze(row.day, Some(row.noted_at)),
            }
        }
        Ok(())
    }

    /// Days that are open for somebody.
    #[must_use]
    pub fn open_days(&self) -> BTreeSet<Day> {
        let users = self.accounts.values().flat_map(|state| state.users.values());
        users.flat_map(KeyDays::open).collect()
    }

    /// Puts ledger rows of an open day back.
    ///
    /// # Errors
    /// A row can't be read.
    pub fn put_back(&mut self, day: Day, batch: &RecordBatch) -> Result<(), ArrowError> {
        let columns = Columns::of(batch)?;
        for row in 0..batch.num_rows() {
            let Some(account) = self.account_of(&columns, row) else { continue };
            let state = self.accounts.entry(account).or_default();
            let user = columns.user.value(row);
            let Some(days) = state.users.get_mut(user).filter(|days| days.is_open(day)) else { continue };
            days.record(Micros(columns.occurred_at.value(row)), Micros(columns.recorded_at.value(row)));
            // A repeat was remembered with the day of the first.
            if columns.verdict(row)? == "counted" {
                state.ids.first(columns.id(&self.ids_key, row), (user.into(), day));
            }
        }
        Ok(())
    }

    /// Judges a batch of new events and says their rows.
    ///
    /// # Errors
    /// The batch is not in the ledger's shape, or a row can't be written.
    pub fn step(&mut self, batch: &RecordBatch, directory: &Directory, out: &mut Changes) -> Result<(), ArrowError> {
        let columns = Columns::of(batch)?;
        let mut judged = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            judged.push(self.admit(&columns, row, out)?);
        }
        out.batch(Table::AppEvents, ledger::rows(Table::AppEvents, batch, (&judged, directory), |_| None)?);
        Ok(())
    }

    /// Freezes the days of users that are ripe at `log_time`.
    ///
    /// # Errors
    /// A row can't be written.
    pub fn freeze(&mut self, log_time: Micros, out: &mut Changes) -> Result<(), ArrowError> {
        for (&account, state) in &mut self.accounts {
            let mut frozen = Vec::new();
            for (user, days) in &mut state.users {
                for day in days.ripe(log_time, LATENESS) {
                    days.freeze(day, None);
                    frozen.push((user.clone(), day));
                    let (topic, state) = (Topic::AppEvents, DayState::Frozen);
                    DayRow { account, topic, key: user, day, noted_at: log_time, state }.write(out)?;
                }
            }
            state.ids.forget(frozen);
        }
        Ok(())
    }

    /// Judges the late events of a day whose users are due.
    ///
    /// # Errors
    /// A row can't be read or written.
    pub fn judge_late(
        &mut self,
        batches: &[RecordBatch],
        (day, log_time): (Day, Micros),
        (is_whole, directory): (&(dyn Fn(AccountId) -> bool + Sync), &Directory),
        out: &mut Changes,
    ) -> Result<(), ArrowError> {
        let columns: Vec<Columns<'_>> = batches.iter().map(Columns::of).collect::<Result<_, _>>()?;
        let mut ids: BTreeMap<AccountId, Ids<()>> = BTreeMap::new();
        let mut late: Vec<(i64, &Columns<'_>, usize)> = Vec::new();
        for columns in &columns {
            for row in 0..columns.account.len() {
                match (columns.verdict(row)?, self.account_of(columns, row)) {
                    // Where rows of the day have gone, what came late stays late.
                    ("late", Some(account)) if is_whole(account) => late.push((columns.offset(row)?, columns, row)),
                    ("counted", Some(account)) => {
                        ids.entry(account).or_default().first(columns.id(&self.ids_key, row), ());
                    }
                    _ => {}
                }
            }
        }
        late.sort_unstable_by_key(|(offset, ..)| *offset);
        for (_, columns, row) in late {
            let Some(account) = self.account_of(columns, row) else { continue };
            let id = columns.id(&self.ids_key, row);
            let open = self.accounts.get(&account).is_some_and(|state| state.ids.holds(&id));
            let first = ids.entry(account).or_default().first(id, ()) && !open;
            let judged = if first { Judged::COUNTED } else { Judged::SAME_EVENT };
            self.revise((columns, row), judged, directory, out)?;
        }
        for (&account, state) in &mut self.accounts {
            for (user, days) in &mut state.users {
                if days.due(log_time).contains(&day) {
                    days.recounted(day);
                    let (topic, state) = (Topic::AppEvents, DayState::Frozen);
                    DayRow { account, topic, key: user, day, noted_at: log_time, state }.write(out)?;
                }
            }
        }
        Ok(())
    }

    fn revise(
        &self,
        (columns, row): (&Columns<'_>, usize),
        judged: Judged,
        directory: &Directory,
        out: &mut Changes,
    ) -> Result<(), ArrowError> {
        out.row(
            Table::Verdicts,
            &[
                columns.account.value(row).into(),
                Topic::AppEvents.name().into(),
                i64::from(self.slot.0).into(),
                columns.offset(row)?.into(),
                Micros(columns.occurred_at.value(row)).into(),
                Value::Null,
                judged.verdict().as_str().into(),
                columns.verdict(row)?.into(),
                judged.reason.map(Reason::as_str).into(),
                judged.duplicate_of.into(),
                false.into(),
                false.into(),
                false.into(),
                RULE_VERSION.into(),
                directory.change().into(),
            ],
        )
    }

    /// Days with late events that have settled by `log_time`.
    #[must_use]
    pub fn due(&self, log_time: Micros) -> Vec<Day> {
        let users = self.accounts.values().flat_map(|state| state.users.values());
        let mut due: Vec<Day> = users.flat_map(|days| days.due(log_time)).collect();
        due.sort_unstable();
        due.dedup();
        due
    }
}
