//! Putting state back from committed rows, freezing days, and recounting late conversions.

use std::sync::Arc;

use arrow::array::{
    Array, BooleanArray, FixedSizeBinaryArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::error::ArrowError;
use castback_rules::credit::{Model, TouchKind};
use castback_schemas::time::MINUTE;
use castback_schemas::{AccountId, CampaignId, Day, Micros, Topic};

use super::attribution::{Attributed, Credit, Touch, adds_up, campaigns_of, open_for};
use super::conversions::{Columns, LATENESS};
use super::{CampaignPerformance, Carrier, Delivered, Hash, minutes, rows};
use crate::change::Changes;
use crate::days::{DayRow, DayState};
use crate::directory::Directory;
use crate::ledger::judged::Judged;
use crate::ledger::unreadable;

/// Typed access to one batch of stored rows.
struct Stored<'a>(&'a RecordBatch);

impl<'a> Stored<'a> {
    fn column<T: Array + 'static>(&self, name: &str) -> Result<&'a T, ArrowError> {
        let column = self.0.column_by_name(name).and_then(|column| column.as_any().downcast_ref());
        column.ok_or_else(|| unreadable(name))
    }

    fn text(&self, name: &str, row: usize) -> Result<&'a str, ArrowError> {
        self.column::<StringArray>(name).map(|column| column.value(row))
    }

    fn some_text(&self, name: &str, row: usize) -> Result<Option<&'a str>, ArrowError> {
        self.column(name).map(|column| some(column, row))
    }

    fn id<T: std::str::FromStr>(&self, name: &str, row: usize) -> Result<T, ArrowError> {
        self.text(name, row)?.parse().map_err(|_| unreadable(name))
    }

    fn int(&self, name: &str, row: usize) -> Result<i64, ArrowError> {
        self.column::<Int64Array>(name).map(|column| column.value(row))
    }

    fn time(&self, name: &str, row: usize) -> Result<Micros, ArrowError> {
        self.column::<TimestampMicrosecondArray>(name).map(|column| Micros(column.value(row)))
    }

    fn hash(&self, name: &str, row: usize) -> Result<Option<Hash>, ArrowError> {
        self.column(name).map(|column| hash(column, row))
    }
}

fn some(column: &StringArray, row: usize) -> Option<&str> {
    (!column.is_null(row)).then(|| column.value(row))
}

fn hash(column: &FixedSizeBinaryArray, row: usize) -> Option<Hash> {
    (!column.is_null(row)).then(|| column.value(row).try_into().unwrap_or_default())
}

/// A column of few texts that stand in runs: what is the same as in the row before is not made again.
struct Repeated<'a, T> {
    name: &'static str,
    column: &'a StringArray,
    last: Option<(&'a str, T)>,
}

impl<'a, T: Clone> Repeated<'a, T> {
    fn of(stored: &Stored<'a>, name: &'static str) -> Result<Self, ArrowError> {
        Ok(Self { name, column: stored.column(name)?, last: None })
    }

    fn get(&mut self, row: usize, make: impl FnOnce(&str) -> Option<T>) -> Result<T, ArrowError> {
        let text = self.column.value(row);
        match &self.last {
            Some((last, made)) if *last == text => Ok(made.clone()),
            _ => {
                let made = make(text).ok_or_else(|| unreadable(self.name))?;
                self.last = Some((text, made.clone()));
                Ok(made)
            }
        }
    }

    fn id(&mut self, row: usize) -> Result<T, ArrowError>
    where
        T: std::str::FromStr,
    {
        self.get(row, |text| text.parse().ok())
    }
}

impl CampaignPerformance {
    /// Puts deliveries back.
    ///
    /// # Errors
    /// A row can't be read.
    pub fn know_deliveries(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let stored = Stored(batch);
        let mut accounts = Repeated::<AccountId>::of(&stored, "account_id")?;
        let mut campaigns = Repeated::of(&stored, "campaign_id")?;
        let mut placements = Repeated::<Arc<str>>::of(&stored, "placement_id")?;
        let mut podcasts = Repeated::of(&stored, "podcast_id")?;
        let mut episodes = Repeated::of(&stored, "episode_id")?;
        let (listeners, households) = (stored.column("listener")?, stored.column("household")?);
        let times: &TimestampMicrosecondArray = stored.column("occurred_at")?;
        let offsets: &Int64Array = stored.column("request_offset")?;
        let truths = |name| stored.column::<BooleanArray>(name);
        let (unknown, exposures) = (truths("position_unknown")?, truths("exposure")?);
        let windows = [truths("window_utc_day")?, truths("window_first_touch")?, truths("window_last_touch")?];
        let events = stored.column("event_id")?;
        for row in 0..batch.num_rows() {
            let delivered = Delivered {
                campaign: campaigns.id(row)?,
                placement: placements.get(row, |text| Some(Arc::from(text)))?,
                podcast: podcasts.id(row)?,
                episode: episodes.id(row)?,
                at: Micros(times.value(row)),
                listener: hash(listeners, row).ok_or_else(|| unreadable("listener"))?,
                household: hash(households, row).ok_or_else(|| unreadable("household"))?,
                position_unknown: unknown.value(row),
                windows: windows.map(|window| window.value(row)),
                exposure: exposures.value(row),
            };
            let offset = offsets.value(row);
            let state = self.accounts.entry(accounts.id(row)?).or_default();
            let carrier = state.carriers.remove(&offset);
            let mut carrier = carrier.unwrap_or_else(|| {
                let event_id = some(events, row).map(Arc::from);
                Carrier { event_id, delivered: Vec::with_capacity(1) }
            });
            carrier.delivered.push(delivered);
            carrier.delivered.sort_by(|a, b| (a.campaign, &a.placement).cmp(&(b.campaign, &b.placement)));
            state.carry(offset, carrier);
        }
        Ok(())
    }

    /// Puts conversions back, all that ever counted.
    ///
    /// # Errors
    /// A row can't be read.
    pub fn know_conversions(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let columns = Columns::of(batch)?;
        for row in 0..batch.num_rows() {
            let Some(account) = self.account_of(columns.account.value(row)) else { continue };
            let verdict = columns.text("verdict", row)?;
            let conversion = columns.conversion(row)?;
            let offset = columns.offset.value(row);
            let state = self.accounts.entry(account).or_default();
            let days = state.days.entry(conversion.data_set.as_str().into()).or_default();
            days.record(conversion.at, columns.time("recorded_at", row)?);
            if verdict == Some("counted") {
                state.by_key.insert(columns.key(row)?, offset);
                state.remember(offset, conversion);
            }
        }
        Ok(())
    }

    /// Puts back what was said of conversions: touches and credits. Call after
    /// [`Self::know_conversions`].
    ///
    /// # Errors
    /// A row can't be read.
    pub fn know_attribution(&mut self, touches: &[RecordBatch], credits: &[RecordBatch]) -> Result<(), ArrowError> {
        for batch in touches {
            let stored = Stored(batch);
            for row in 0..batch.num_rows() {
                let kind = stored.text("kind", row)?;
                let touch = Touch {
                    campaign: stored.id("campaign_id", row)?,
                    kind: TouchKind::ALL.into_iter().find(|k| k.name() == kind).ok_or_else(|| unreadable("kind"))?,
                    at: stored.time("touched_at", row)?,
                    event_id: stored.some_text("event_id", row)?.map(Arc::from),
                    placement: stored.some_text("placement_id", row)?.map(Arc::from),
                    request: stored.int("request_offset", row)?,
                };
                self.said(&stored, row)?.touches.push(touch);
            }
        }
        for batch in credits {
            let stored = Stored(batch);
            for row in 0..batch.num_rows() {
                let Some(model) = Model::named(stored.text("model", row)?) else {
                    self.said(&stored, row)?;
                    continue;
                };
                let household = stored.hash("household", row)?;
                let month = household.map(|_| stored.int("household_month", row)).transpose()?;
                let credit = Credit {
                    campaign: stored.id("campaign_id", row)?,
                    model,
                    micro: stored.int("credit_micro", row)?,
                    money: stored.int("revenue_minor", row)?,
                    adds_up: true,
                    household: month.and_then(|month| i32::try_from(month).ok()).zip(household),
                };
                self.said(&stored, row)?.credits.push(credit);
            }
        }
        Ok(())
    }

    fn said(&mut self, stored: &Stored<'_>, row: usize) -> Result<&mut Attributed, ArrowError> {
        let state = self.accounts.entry(stored.id("account_id", row)?).or_default();
        let offset = stored.int("conversion_offset", row)?;
        let conversion = state.conversions.get(&offset).cloned();
        let said = state.attributed.entry(offset).or_default();
        said.conversion = conversion;
        Ok(said)
    }

    /// Puts minutes back.
    ///
    /// # Errors
    /// A row can't be read.
    pub fn know_minutes(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let stored = Stored(batch);
        for row in 0..batch.num_rows() {
            let mut sums = [0; 16];
            for (sum, column) in sums.iter_mut().zip(minutes::columns()) {
                *sum = stored.int(column, row)?;
            }
            let (campaign, minute): (CampaignId, Micros) =
                (stored.id("campaign_id", row)?, stored.time("bucket_start", row)?);
            let state = self.accounts.entry(stored.id("account_id", row)?).or_default();
            state.minutes.know(campaign, minute.floor(MINUTE), sums);
        }
        Ok(())
    }

    /// Everything is put back: what was said is completed and brought into its order, and every
    /// conversion that is not settled is attributed again, to see whether these rules would say the same.
    pub fn restored(&mut self, directory: &Directory) {
        for (&account, state) in &mut self.accounts {
            let campaigns = campaigns_of(directory, account);
            for (&offset, said) in &mut state.attributed {
                said.touches.sort_unstable();
                said.credits.sort_by_key(|credit| (credit.model, credit.campaign));
                let Some(conversion) = &said.conversion else { continue };
                for credit in &mut said.credits {
                    credit.adds_up = adds_up(credit.campaign, &campaigns, conversion);
                }
                if said.credits.is_empty() {
                    said.unattributed = open_for(conversion, &campaigns);
                }
                self.dirty.insert((account, offset));
            }
            state.minutes.set_unattributed(state.attributed.values(), &self.at_hand);
        }
    }

    /// How days of data sets stand, as read back.
    ///
    /// # Errors
    /// A row can't be read.
    pub fn know_days(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        for row in DayRow::read(batch, Topic::Conversions)? {
            let state = self.accounts.entry(row.account).or_default();
            let days = state.days.entry(row.key.into()).or_default();
            match row.state {
                DayState::Open => days.open_since(row.day, row.noted_at),
                DayState::Frozen => days.freeze(row.day, None),
                DayState::RecountDue => days.freeze(row.day, Some(row.noted_at)),
            }
        }
        Ok(())
    }

    /// Freezes the days of data sets that are ripe at `log_time`.
    ///
    /// # Errors
    /// A row can't be written.
    pub fn freeze(&mut self, log_time: Micros, out: &mut Changes) -> Result<(), ArrowError> {
        let mut ripe: Vec<(AccountId, Box<str>, Day)> = Vec::new();
        for (&account, state) in &mut self.accounts {
            for (data_set, days) in &mut state.days {
                for day in days.ripe(log_time, LATENESS) {
                    days.freeze(day, None);
                    ripe.push((account, data_set.clone(), day));
                }
            }
        }
        ripe.sort_unstable();
        for (account, data_set, day) in ripe {
            let row = DayRow {
                account,
                topic: Topic::Conversions,
                key: &data_set,
                day,
                noted_at: log_time,
                state: DayState::Frozen,
            };
            row.write(out)?;
        }
        Ok(())
    }

    /// Days with late conversions that have settled by `log_time`.
    #[must_use]
    pub fn due(&self, log_time: Micros) -> Vec<Day> {
        let days = self.accounts.values().flat_map(|state| state.days.values());
        let mut due: Vec<Day> = days.flat_map(|days| days.due(log_time)).collect();
        due.sort_unstable();
        due.dedup();
        due
    }

    /// Takes in late conversions of a day, from the ledger rows of that day.
    ///
    /// # Errors
    /// A row can't be read or written.
    pub fn recount(
        &mut self,
        (day, log_time): (Day, Micros),
        batches: &[RecordBatch],
        directory: &Directory,
        out: &mut Changes,
    ) -> Result<(), ArrowError> {
        let columns: Vec<Columns<'_>> = batches.iter().map(Columns::of).collect::<Result<_, _>>()?;
        let mut late: Vec<(i64, &Columns<'_>, usize)> = Vec::new();
        for columns in &columns {
            for row in 0..columns.offset.len() {
                if columns.text("verdict", row)? == Some("late") {
                    late.push((columns.offset.value(row), columns, row));
                }
            }
        }
        late.sort_unstable_by_key(|(offset, ..)| *offset);
        for (offset, columns, row) in late {
            let Some(account) = self.account_of(columns.account.value(row)) else { continue };
            let conversion = columns.conversion(row)?;
            let at = conversion.at;
            let judged = self.take_in((account, offset, columns.key(row)?), conversion, directory, out)?;
            rows::verdict((account, self.slot, offset), (at, Judged::LATE, judged), directory, out)?;
        }
        for (&account, state) in &mut self.accounts {
            for (data_set, days) in &mut state.days {
                if days.due(log_time).contains(&day) {
                    days.recounted(day);
                    let (topic, state) = (Topic::Conversions, DayState::Frozen);
                    DayRow { account, topic, key: data_set, day, noted_at: log_time, state }.write(out)?;
                }
            }
        }
        Ok(())
    }
}
