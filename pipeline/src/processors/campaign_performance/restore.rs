//! Putting state back from committed rows, freezing days, and recounting late conversions.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, FixedSizeBinaryArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
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
    fn text(&self, name: &str, row: usize) -> Result<&'a str, ArrowError> {
        let column = self.0.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
        column.map(|column| column.value(row)).ok_or_else(|| unreadable(name))
    }

    fn some_text(&self, name: &str, row: usize) -> Result<Option<&'a str>, ArrowError> {
        let column = self.0.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
        let column: &'a StringArray = column.ok_or_else(|| unreadable(name))?;
        Ok((!column.is_null(row)).then(|| column.value(row)))
    }

    fn id<T: std::str::FromStr>(&self, name: &str, row: usize) -> Result<T, ArrowError> {
        self.text(name, row)?.parse().map_err(|_| unreadable(name))
    }

    fn int(&self, name: &str, row: usize) -> Result<i64, ArrowError> {
        let column: Option<&Int64Array> = self.0.column_by_name(name).and_then(|c| c.as_primitive_opt::<Int64Type>());
        column.map(|column| column.value(row)).ok_or_else(|| unreadable(name))
    }

    fn time(&self, name: &str, row: usize) -> Result<Micros, ArrowError> {
        let column = self.0.column_by_name(name).and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
        column.map(|column| Micros(column.value(row))).ok_or_else(|| unreadable(name))
    }

    fn truth(&self, name: &str, row: usize) -> Result<bool, ArrowError> {
        let column: Option<&BooleanArray> = self.0.column_by_name(name).and_then(|column| column.as_boolean_opt());
        column.map(|column| column.value(row)).ok_or_else(|| unreadable(name))
    }

    fn hash(&self, name: &str, row: usize) -> Result<Option<Hash>, ArrowError> {
        let column: Option<&FixedSizeBinaryArray> =
            self.0.column_by_name(name).and_then(|c| c.as_fixed_size_binary_opt());
        let column = column.ok_or_else(|| unreadable(name))?;
        Ok((!column.is_null(row)).then(|| column.value(row).try_into().unwrap_or_default()))
    }
}

impl CampaignPerformance {
    /// Puts deliveries back.
    ///
    /// # Errors
    /// A row can't be read.
    pub fn know_deliveries(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        let stored = Stored(batch);
        for row in 0..batch.num_rows() {
            let account: AccountId = stored.id("account_id", row)?;
            let hash = |name: &str| stored.hash(name, row)?.ok_or_else(|| unreadable(name));
            let delivered = Delivered {
                campaign: stored.id("campaign_id", row)?,
                placement: Arc::from(stored.text("placement_id", row)?),
                podcast: stored.id("podcast_id", row)?,
                episode: stored.id("episode_id", row)?,
                at: stored.time("occurred_at", row)?,
                listener: hash("listener")?,
                household: hash("household")?,
                position_unknown: stored.truth("position_unknown", row)?,
                windows: [
                    stored.truth("window_utc_day", row)?,
                    stored.truth("window_first_touch", row)?,
                    stored.truth("window_last_touch", row)?,
                ],
                exposure: stored.truth("exposure", row)?,
            };
            let offset = stored.int("request_offset", row)?;
            let event_id = stored.some_text("event_id", row)?.map(Arc::from);
            let state = self.accounts.entry(account).or_default();
            let mut carrier = state.carriers.remove(&offset).unwrap_or(Carrier { event_id, delivered: Vec::new() });
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
