//! Days of a key (podcast, user, data set): open, frozen, and due for a recount.
//!
//! A day opens with its first record, however old. It freezes once the key's watermark is past
//! it by the lateness and no record of it came for a day of log time, or nothing came for the
//! key for a week of log time. `late` means: that day is frozen, nothing else.

use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;
use castback_schemas::table::Table;
use castback_schemas::time::{DAY, MINUTE};
use castback_schemas::{AccountId, Day, Micros, Topic};

use crate::change::Changes;
use crate::ledger::unreadable;

/// Log time without a record of a day before it may freeze.
pub const QUIET: i64 = DAY;

/// Log time without any record of a key after which all its days freeze.
pub const ABANDONED: i64 = 7 * DAY;

/// Open days of a key at most; the quietest freezes first, so that a log of many years can't
/// hold memory for ever.
pub const MAX_OPEN: usize = 400;

/// Log time after the last late record before a recount.
pub const SETTLING: i64 = MINUTE;

/// How a day of a key stands, in the table of days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DayState {
    /// Records of it are judged as they come.
    Open,
    /// Records of it are late.
    Frozen,
    /// Late records of it wait for a recount.
    RecountDue,
}

impl DayState {
    /// The word in the table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Frozen => "frozen",
            Self::RecountDue => "recount_due",
        }
    }
}

/// A row of the table of days.
#[derive(Debug, Clone, Copy)]
pub struct DayRow<'a> {
    /// The account.
    pub account: AccountId,
    /// The topic whose records it files.
    pub topic: Topic,
    /// Podcast, user or data set.
    pub key: &'a str,
    /// The day.
    pub day: Day,
    /// The log time of what is noted.
    pub noted_at: Micros,
    /// How it stands.
    pub state: DayState,
}

impl<'a> DayRow<'a> {
    /// Notes it.
    ///
    /// # Errors
    /// None that a sound table could give.
    pub fn write(&self, out: &mut Changes) -> Result<(), ArrowError> {
        let account = self.account.to_string();
        out.row(
            Table::Days,
            &[
                account.as_str().into(),
                self.topic.name().into(),
                self.key.into(),
                self.day.start().into(),
                self.noted_at.into(),
                self.state.as_str().into(),
                false.into(),
            ],
        )
    }

    /// The rows of a batch that are of `topic`.
    ///
    /// # Errors
    /// A row can't be read.
    pub fn read(batch: &'a RecordBatch, topic: Topic) -> Result<Vec<Self>, ArrowError> {
        let text = |name: &str| {
            batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>()).ok_or_else(|| unreadable(name))
        };
        let time = |name: &str| {
            let column = batch.column_by_name(name).and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
            column.ok_or_else(|| unreadable(name))
        };
        let (accounts, topics, keys, states) = (text("account_id")?, text("topic")?, text("key")?, text("state")?);
        let (days, noted) = (time("day")?, time("noted_at")?);
        let row = |row: usize| {
            let states_known = [DayState::Open, DayState::Frozen, DayState::RecountDue];
            Ok(Self {
                account: accounts.value(row).parse().map_err(|_| unreadable("account_id"))?,
                topic,
                key: keys.value(row),
                day: Micros(days.value(row)).day(),
                noted_at: Micros(noted.value(row)),
                state: states_known
                    .into_iter()
                    .find(|state| state.as_str() == states.value(row))
                    .ok_or_else(|| unreadable("state"))?,
            })
        };
        (0..batch.num_rows()).filter(|&index| topics.value(index) == topic.name()).map(row).collect()
    }
}

/// The days of one key.
#[derive(Debug, Clone)]
pub struct KeyDays {
    /// Open days and the log time of their newest record.
    open: BTreeMap<Day, Micros>,
    /// Frozen days, and the log time of the newest late record that waits for a recount.
    frozen: BTreeMap<Day, Option<Micros>>,
    /// The latest event time seen.
    watermark: Micros,
    /// The log time of the newest record.
    newest: Micros,
}

impl Default for KeyDays {
    fn default() -> Self {
        Self { open: BTreeMap::new(), frozen: BTreeMap::new(), watermark: Micros(i64::MIN), newest: Micros(i64::MIN) }
    }
}

impl KeyDays {
    /// Whether `day` is frozen.
    #[must_use]
    pub fn is_frozen(&self, day: Day) -> bool {
        self.frozen.contains_key(&day)
    }

    /// Whether `day` is open.
    #[must_use]
    pub fn is_open(&self, day: Day) -> bool {
        self.open.contains_key(&day)
    }

    /// A record was read at `log_time`: its day opens, unless it is frozen. Answers whether it
    /// opened just now.
    pub fn record(&mut self, occurred: Micros, log_time: Micros) -> bool {
        let day = occurred.day();
        self.watermark = self.watermark.max(occurred);
        self.newest = self.newest.max(log_time);
        if self.is_frozen(day) {
            return false;
        }
        let opened = !self.is_open(day);
        let newest = self.open.entry(day).or_insert(log_time);
        *newest = (*newest).max(log_time);
        opened
    }

    /// A day is known to be open (read back), since `log_time` at least.
    pub fn open_since(&mut self, day: Day, log_time: Micros) {
        self.watermark = self.watermark.max(day.start());
        self.open.entry(day).or_insert(log_time);
        self.newest = self.newest.max(log_time);
    }

    /// A late record came: the frozen day is due for a recount. Answers whether it is only now.
    pub fn late(&mut self, day: Day, log_time: Micros) -> bool {
        self.newest = self.newest.max(log_time);
        let Some(due) = self.frozen.get_mut(&day) else { return false };
        let only_now = due.is_none();
        *due = Some(due.map_or(log_time, |earlier| earlier.max(log_time)));
        only_now
    }

    /// A day is known to be frozen (read back, or just frozen). It has had a record: the watermark
    /// is not before it, which is all that whole days of lateness ask.
    pub fn freeze(&mut self, day: Day, due: Option<Micros>) {
        self.watermark = self.watermark.max(day.start());
        self.newest = self.newest.max(due.unwrap_or(self.newest));
        self.open.remove(&day);
        self.frozen.insert(day, due);
    }

    /// Whether a frozen day waits for a recount, settled or not.
    #[must_use]
    pub fn is_due(&self, day: Day) -> bool {
        self.frozen.get(&day).is_some_and(Option::is_some)
    }

    /// The recount of a day was done.
    pub fn recounted(&mut self, day: Day) {
        if let Some(due) = self.frozen.get_mut(&day) {
            *due = None;
        }
    }

    /// Days that freeze at `log_time`, oldest first.
    #[must_use]
    pub fn ripe(&self, log_time: Micros, lateness: i64) -> Vec<Day> {
        let abandoned = self.newest.plus(ABANDONED) <= log_time;
        let ripe = |(day, newest): (&Day, &Micros)| {
            let past = day.next().start().plus(lateness) <= self.watermark;
            (abandoned || past && newest.plus(QUIET) <= log_time).then_some(*day)
        };
        let mut days: Vec<Day> = self.open.iter().filter_map(ripe).collect();
        if self.open.len() - days.len() > MAX_OPEN {
            let mut quiet: Vec<(Micros, Day)> = self.open.iter().map(|(day, newest)| (*newest, *day)).collect();
            quiet.retain(|(_, day)| !days.contains(day));
            quiet.sort_unstable();
            let excess = quiet.len() - MAX_OPEN;
            days.extend(quiet.into_iter().take(excess).map(|(_, day)| day));
            days.sort_unstable();
        }
        days
    }

    /// Frozen days whose late records have settled by `log_time`, oldest first.
    #[must_use]
    pub fn due(&self, log_time: Micros) -> Vec<Day> {
        let settled =
            |(day, due): (&Day, &Option<Micros>)| due.filter(|late| late.plus(SETTLING) <= log_time).map(|_| *day);
        self.frozen.iter().filter_map(settled).collect()
    }

    /// Open days, oldest first.
    pub fn open(&self) -> impl Iterator<Item = Day> {
        self.open.keys().copied()
    }

    /// Frozen days, oldest first.
    pub fn frozen(&self) -> impl Iterator<Item = Day> {
        self.frozen.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEEK: i64 = 7 * DAY;

    fn at(day: i32) -> Micros {
        Day(day).start()
    }

    #[test]
    fn a_day_freezes_when_it_is_past_and_quiet() {
        let mut days = KeyDays::default();
        days.record(at(10), at(10));
        days.record(at(18), at(18));
        assert_eq!(days.ripe(at(18), WEEK), [Day(10)], "8 days later, a day without records");
        days.record(at(10), at(18));
        assert_eq!(days.ripe(at(18), WEEK), [], "a record just came");
        assert_eq!(days.ripe(at(19), WEEK), [Day(10)]);
        assert_eq!(days.ripe(at(25), WEEK), [Day(10), Day(18)], "abandoned");
    }

    #[test]
    fn last_years_log_after_todays_traffic_is_not_late() {
        let mut days = KeyDays::default();
        days.record(at(400), at(400));
        days.record(at(35), at(400));
        assert!(!days.is_frozen(Day(35)));
        assert_eq!(days.ripe(at(400).plus(DAY - 1), WEEK), []);
        assert_eq!(days.ripe(at(401), WEEK), [Day(35)]);
    }

    #[test]
    fn late_records_settle_for_a_minute() {
        let mut days = KeyDays::default();
        days.record(at(1), at(1));
        days.freeze(Day(1), None);
        days.record(at(1), at(20));
        assert!(!days.is_open(Day(1)));
        days.late(Day(1), at(20));
        assert_eq!(days.due(at(20)), []);
        assert_eq!(days.due(at(20).plus(MINUTE)), [Day(1)]);
        days.recounted(Day(1));
        assert_eq!(days.due(at(21)), []);
    }

    #[test]
    fn the_quietest_of_too_many_open_days_freezes() {
        let mut days = KeyDays::default();
        for day in 0..=i32::try_from(MAX_OPEN).unwrap() {
            days.record(at(day), at(500).plus(if day == 3 { -1 } else { 0 }));
        }
        days.watermark = at(0);
        assert_eq!(days.ripe(at(500), WEEK), [Day(3)]);
    }
}
