//! Conversions as they come, and as they are remembered.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, FixedSizeBinaryArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use castback_schemas::edge::{HashKey, fingerprint};
use castback_schemas::table::Table;
use castback_schemas::{AccountId, CampaignId, Currency, Micros, Slot, Topic};

use super::{AccountState, CampaignPerformance, Hash, rows};
use crate::change::Changes;
use crate::days::{DayRow, DayState};
use crate::directory::Directory;
use crate::ledger::judged::Judged;
use crate::ledger::{self, unreadable};

/// How long after a day its conversions may come before it freezes.
pub(super) const LATENESS: i64 = 30 * castback_schemas::time::DAY;

/// What a conversion is to the figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Brings money: `purchase subscribe donate`.
    Order,
    /// Takes it back.
    Refund,
    Visit,
    Lead,
    /// Any other: counts without money.
    Other,
}

/// A counted conversion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Conversion {
    /// Its event id, by which ties of time go.
    pub(super) id: Box<str>,
    pub(super) at: Micros,
    pub(super) data_set: String,
    pub(super) event_type: Arc<str>,
    value: i64,
    pub(super) currency: Option<Currency>,
    pub(super) transaction: Option<Box<str>>,
    pub(super) coupon: Option<Box<str>>,
    pub(super) referrer: Option<Box<str>>,
    pub(super) customer: Option<Hash>,
    pub(super) households: Vec<(i32, Hash)>,
    pub(super) campaign: Option<CampaignId>,
    pub(super) slug: Option<Box<str>>,
    pub(super) survey: Option<Box<str>>,
    pub(super) utm: Option<Box<str>>,
    pixel: bool,
    pub(super) verified: bool,
}

impl Conversion {
    pub(super) fn kind(&self) -> Kind {
        match &*self.event_type {
            "purchase" | "subscribe" | "donate" => Kind::Order,
            "refund" => Kind::Refund,
            "visit" | "page_view" => Kind::Visit,
            "lead" | "generate_lead" => Kind::Lead,
            _ => Kind::Other,
        }
    }

    /// Minor units that it brings: refunds negative, types without money nothing.
    pub(super) fn money(&self) -> i64 {
        match self.kind() {
            Kind::Order => self.value,
            Kind::Refund => -self.value.abs(),
            Kind::Visit | Kind::Lead | Kind::Other => 0,
        }
    }

    pub(super) fn is_pixel(&self) -> bool {
        self.pixel
    }
}

/// Columns of a batch of conversions in the ledger's shape.
pub(super) struct Columns<'a> {
    batch: &'a RecordBatch,
    pub(super) account: &'a StringArray,
    pub(super) offset: &'a Int64Array,
}

impl<'a> Columns<'a> {
    pub(super) fn of(batch: &'a RecordBatch) -> Result<Self, ArrowError> {
        let account = batch.column_by_name("account_id").and_then(|column| column.as_string_opt::<i32>());
        let offset = batch.column_by_name("offset").and_then(|column| column.as_primitive_opt::<Int64Type>());
        let (Some(account), Some(offset)) = (account, offset) else { return Err(unreadable("account_id or offset")) };
        Ok(Self { batch, account, offset })
    }

    pub(super) fn text(&self, name: &str, row: usize) -> Result<Option<&'a str>, ArrowError> {
        let column = self.batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
        let column: &'a StringArray = column.ok_or_else(|| unreadable(name))?;
        Ok((!column.is_null(row)).then(|| column.value(row)))
    }

    pub(super) fn time(&self, name: &str, row: usize) -> Result<Micros, ArrowError> {
        let column = self.batch.column_by_name(name).and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
        Ok(Micros(column.ok_or_else(|| unreadable(name))?.value(row)))
    }

    fn int(&self, name: &str, row: usize) -> Result<Option<i64>, ArrowError> {
        let column = self.batch.column_by_name(name).and_then(|c| c.as_primitive_opt::<Int64Type>());
        let column = column.ok_or_else(|| unreadable(name))?;
        Ok((!column.is_null(row)).then(|| column.value(row)))
    }

    fn hash(&self, name: &str, row: usize) -> Result<Option<Hash>, ArrowError> {
        let column: &FixedSizeBinaryArray = self
            .batch
            .column_by_name(name)
            .and_then(|column| column.as_fixed_size_binary_opt())
            .ok_or_else(|| unreadable(name))?;
        Ok((!column.is_null(row)).then(|| column.value(row).try_into().unwrap_or_default()))
    }

    fn truth(&self, name: &str, row: usize) -> Result<bool, ArrowError> {
        let column: Option<&BooleanArray> = self.batch.column_by_name(name).and_then(|column| column.as_boolean_opt());
        Ok(column.ok_or_else(|| unreadable(name))?.value(row))
    }

    pub(super) fn conversion(&self, row: usize) -> Result<Conversion, ArrowError> {
        let boxed = |name: &str| -> Result<Option<Box<str>>, ArrowError> { Ok(self.text(name, row)?.map(Into::into)) };
        let households = self.text("households", row)?.unwrap_or("[]");
        let households: Vec<(i32, String)> = serde_json::from_str(households).map_err(|_| unreadable("households"))?;
        let hash = |(month, text): (i32, String)| Some((month, u128::from_str_radix(&text, 16).ok()?.to_be_bytes()));
        Ok(Conversion {
            id: self.text("event_id", row)?.unwrap_or_default().into(),
            at: self.time("occurred_at", row)?,
            data_set: self.text("data_set_id", row)?.unwrap_or_default().to_owned(),
            event_type: self.text("event_type", row)?.unwrap_or_default().into(),
            value: self.int("value_minor", row)?.unwrap_or(0),
            currency: self.text("currency", row)?.and_then(|code| code.parse().ok()),
            transaction: boxed("transaction_id")?,
            coupon: boxed("coupon")?,
            referrer: boxed("referrer")?,
            customer: self.hash("customer", row)?,
            households: households.into_iter().filter_map(hash).collect(),
            campaign: self.text("campaign_id", row)?.and_then(|id| id.parse().ok()),
            slug: boxed("vanity_slug")?,
            survey: boxed("survey_answer")?,
            utm: boxed("utm")?,
            pixel: self.text("source", row)? == Some("pixel"),
            verified: self.truth("verified", row)?,
        })
    }

    /// What makes the conversion unique for life, as 16 bytes.
    pub(super) fn key(&self, row: usize) -> Result<Hash, ArrowError> {
        let data_set = self.text("data_set_id", row)?.unwrap_or_default();
        let id = self.text("conversion_id", row)?.unwrap_or_default();
        // Not secret: it never leaves memory.
        let key = fingerprint(&HashKey::from_bytes([0; 32]), format!("{data_set}\0{id}").as_bytes());
        Ok(*key.as_bytes())
    }
}

impl CampaignPerformance {
    /// Judges a batch of new conversions and says their rows.
    ///
    /// # Errors
    /// The batch is not in the ledger's shape, or a row can't be written.
    pub fn step(&mut self, batch: &RecordBatch, directory: &Directory, out: &mut Changes) -> Result<(), ArrowError> {
        let columns = Columns::of(batch)?;
        let mut judged = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            judged.push(self.admit(&columns, row, directory, out)?);
        }
        out.batch(Table::Conversions, ledger::rows(Table::Conversions, batch, (&judged, directory), |_| None)?);
        Ok(())
    }

    fn admit(
        &mut self,
        columns: &Columns<'_>,
        row: usize,
        directory: &Directory,
        out: &mut Changes,
    ) -> Result<Judged, ArrowError> {
        let Some(account) = self.account_of(columns.account.value(row)) else {
            return Ok(Judged::filtered(castback_rules::filter::FilterReason::Rerouted));
        };
        let conversion = columns.conversion(row)?;
        let (offset, log_time) = (columns.offset.value(row), columns.time("recorded_at", row)?);
        let state = self.accounts.entry(account).or_default();
        let days = state.days.entry(conversion.data_set.as_str().into()).or_default();
        if days.is_frozen(conversion.at.day()) {
            if days.late(conversion.at.day(), log_time) {
                day(account, &conversion, log_time, DayState::RecountDue).write(out)?;
            }
            return Ok(Judged::LATE);
        }
        if days.record(conversion.at, log_time) {
            day(account, &conversion, log_time, DayState::Open).write(out)?;
        }
        self.take_in((account, offset, columns.key(row)?), conversion, directory, out)
    }

    /// The account of that id, if its records belong into this slot.
    pub(super) fn account_of(&self, id: &str) -> Option<AccountId> {
        id.parse().ok().filter(|id| Slot::of(*id) == self.slot)
    }

    /// Takes in a conversion that is not late, unless its id is taken.
    pub(super) fn take_in(
        &mut self,
        (account, offset, key): (AccountId, i64, Hash),
        conversion: Conversion,
        directory: &Directory,
        out: &mut Changes,
    ) -> Result<Judged, ArrowError> {
        let state = self.accounts.entry(account).or_default();
        if let Some(&holder) = state.by_key.get(&key) {
            let replaces = conversion.verified && state.conversions.get(&holder).is_some_and(|held| !held.verified);
            if !replaces {
                return Ok(Judged { duplicate_of: Some(holder), ..Judged::SAME_EVENT });
            }
            // A signed post replaces what anyone could have sent.
            if let Some(held) = state.forget(holder) {
                self.dirty.extend(state.related(&held).into_iter().map(|offset| (account, offset)));
                let judged = Judged { duplicate_of: Some(offset), ..Judged::SAME_EVENT };
                rows::verdict((account, self.slot, holder), (held.at, Judged::COUNTED, judged), directory, out)?;
            }
            self.dirty.insert((account, holder));
        }
        state.by_key.insert(key, offset);
        self.dirty.extend(state.remember(offset, conversion).into_iter().map(|offset| (account, offset)));
        Ok(Judged::COUNTED)
    }
}

fn day(account: AccountId, conversion: &Conversion, noted_at: Micros, state: DayState) -> DayRow<'_> {
    DayRow { account, topic: Topic::Conversions, key: &conversion.data_set, day: conversion.at.day(), noted_at, state }
}

impl AccountState {
    /// Puts a conversion into the indices; answers the conversions that it may change: itself,
    /// the refunds and orders of its transaction and customer, and the refunds of those.
    pub(super) fn remember(&mut self, offset: i64, conversion: Conversion) -> BTreeSet<i64> {
        let mut changed = self.related(&conversion);
        changed.insert(offset);
        for (_, household) in &conversion.households {
            self.by_household.entry(*household).or_default().insert(offset);
        }
        if let Some(transaction) = &conversion.transaction {
            self.by_transaction.entry(transaction.clone()).or_default().insert(offset);
        }
        if let Some(customer) = conversion.customer {
            self.by_customer.entry(customer).or_default().insert(offset);
        }
        self.conversions.insert(offset, conversion);
        changed
    }

    fn forget(&mut self, offset: i64) -> Option<Conversion> {
        let conversion = self.conversions.remove(&offset)?;
        for (_, household) in &conversion.households {
            self.by_household.get_mut(household).map(|offsets| offsets.remove(&offset));
        }
        if let Some(transaction) = &conversion.transaction {
            self.by_transaction.get_mut(transaction).map(|offsets| offsets.remove(&offset));
        }
        if let Some(customer) = conversion.customer {
            self.by_customer.get_mut(&customer).map(|offsets| offsets.remove(&offset));
        }
        Some(conversion)
    }

    /// Conversions of the same transaction or customer, and the refunds of those.
    pub(super) fn related(&self, conversion: &Conversion) -> BTreeSet<i64> {
        let by_transaction = conversion.transaction.as_ref().and_then(|id| self.by_transaction.get(id));
        let by_customer = conversion.customer.and_then(|id| self.by_customer.get(&id));
        let mut related = by_transaction.into_iter().chain(by_customer).flatten().copied().collect();
        self.add_refunds(&mut related);
        related
    }
}
