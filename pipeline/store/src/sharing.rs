//! How many listeners share an address on a day, remembered: the one figure of a campaign that looks
//! at every request.
//!
//! Listener and household of a ledger row never change, so who shares an address can only grow: each
//! call reads the rows of commits after the last one.

use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, FixedSizeBinaryArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use castback_schemas::table::Table;
use castback_schemas::{AccountId, Day, Micros, Revision};
use hashbrown::{HashMap, HashSet};
use tokio::sync::Mutex;

use crate::error::{Result, StoreError};
use crate::scan::{Scan, Versions};
use crate::session::Source;
use crate::store::Store;
use crate::view::PinnedView;

/// Pairs of address and listener remembered, about 100 MB. With more, days are forgotten; a question
/// that needs more by itself is not answered from memory.
const MAX_PAIRS: usize = 4_000_000;

/// Whose deliveries are asked about.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// The account.
    pub account: AccountId,
    /// The campaign, as it stands in rows.
    pub campaign: String,
    /// The column that says whether a delivery counts.
    pub flag: &'static str,
    /// The first instant.
    pub from: Micros,
    /// The first instant no longer asked about.
    pub to: Micros,
}

/// What is remembered.
#[derive(Debug, Default)]
pub(crate) struct Sharing(Mutex<Days>);

#[derive(Debug, Default)]
struct Days {
    days: HashMap<(AccountId, Day), OfDay>,
    pairs: usize,
}

/// Addresses of an account's day. Hashes stand by their first eight bytes: they are keyed, so that
/// two being the same is a matter of 2^-64.
#[derive(Debug, Default)]
struct OfDay {
    seen: Revision,
    pairs: HashSet<(u64, u64)>,
    listeners: HashMap<u64, u16>,
}

impl Source {
    /// Deliveries at addresses that at most `most` listeners shared on that day. None where that is
    /// more than is remembered, or the view is older than what is.
    ///
    /// # Errors
    /// Rows that can't be read.
    pub async fn usable(&self, of: &Delivered, most: u16) -> Result<Option<u64>> {
        let mut delivered: HashMap<(Day, u64), u64> = HashMap::new();
        let columns = Some(vec!["campaign_id", "occurred_at", "household", of.flag]);
        let days = of.from.day()..=of.to.day();
        let scan = Scan { account: Some(of.account), days, columns, ..Scan::new(Table::AdDeliveries) };
        self.each_batch(scan, |batch| add(&mut delivered, &batch, of)).await?;
        let mut days: Vec<Day> = delivered.keys().map(|(day, _)| *day).collect();
        days.sort_unstable();
        days.dedup();
        let mut known = self.store().sharing().0.lock().await;
        for day in days {
            if !known.follow(self.store(), self.view(), (of.account, day), most).await? {
                return Ok(None);
            }
        }
        let usable = |((day, household), _): &(&(Day, u64), &u64)| {
            let of_day = known.days.get(&(of.account, *day));
            of_day.and_then(|of_day| of_day.listeners.get(household)).is_some_and(|listeners| *listeners <= most)
        };
        Ok(Some(delivered.iter().filter(usable).map(|(_, deliveries)| deliveries).sum()))
    }
}

impl Days {
    /// Reads what is new of a day; false where that can't be remembered.
    async fn follow(
        &mut self,
        store: &Store,
        view: &Arc<PinnedView>,
        (account, day): (AccountId, Day),
        most: u16,
    ) -> Result<bool> {
        if self.days.get(&(account, day)).is_some_and(|known| known.seen > view.revision()) {
            return Ok(false);
        }
        let mut of_day = self.days.remove(&(account, day)).unwrap_or_default();
        self.pairs -= of_day.pairs.len();
        let columns = Some(vec!["household", "listener"]);
        let (after, versions) = (of_day.seen, Versions::All);
        let scan =
            Scan { account: Some(account), days: day..=day, after, versions, columns, ..Scan::new(Table::Requests) };
        store.each_batch(view, scan, |batch| of_day.add(&batch, most)).await?;
        of_day.seen = view.revision();
        if of_day.pairs.len() > MAX_PAIRS {
            return Ok(false);
        }
        if self.pairs + of_day.pairs.len() > MAX_PAIRS {
            // Other accounts' days, or a flight of too many listeners: then it is read again each time.
            let others = self.days.keys().any(|(other, _)| *other != account);
            self.days.retain(|(other, _), _| *other == account);
            self.pairs = self.days.values().map(|day| day.pairs.len()).sum();
            if !others || self.pairs + of_day.pairs.len() > MAX_PAIRS {
                *self = Self::default();
                return Ok(false);
            }
        }
        self.pairs += of_day.pairs.len();
        self.days.insert((account, day), of_day);
        Ok(true)
    }
}

impl OfDay {
    fn add(&mut self, batch: &RecordBatch, most: u16) -> Result<()> {
        let (households, listeners) =
            (hashes(batch, "household", Table::Requests)?, hashes(batch, "listener", Table::Requests)?);
        for row in 0..batch.num_rows() {
            let (household, listener) = (first_bytes(households.value(row)), first_bytes(listeners.value(row)));
            let count = self.listeners.entry(household).or_default();
            // Who the others are no longer matters.
            if *count <= most && self.pairs.insert((household, listener)) {
                *count += 1;
            }
        }
        Ok(())
    }
}

fn add(delivered: &mut HashMap<(Day, u64), u64>, batch: &RecordBatch, of: &Delivered) -> Result<()> {
    let table = Table::AdDeliveries;
    let misfit = |name: &str| StoreError::Misfit { table: table.name(), detail: format!("{name} is missing") };
    let campaigns = batch.column_by_name("campaign_id").and_then(|column| column.as_string_opt::<i32>());
    let campaigns = campaigns.ok_or_else(|| misfit("campaign_id"))?;
    let flags: Option<&BooleanArray> = batch.column_by_name(of.flag).and_then(|column| column.as_boolean_opt());
    let flags = flags.ok_or_else(|| misfit(of.flag))?;
    let times = batch.column_by_name("occurred_at").and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
    let times = times.ok_or_else(|| misfit("occurred_at"))?;
    let households = hashes(batch, "household", table)?;
    for row in 0..batch.num_rows() {
        let at = Micros(times.value(row));
        if flags.value(row) && of.from <= at && at < of.to && campaigns.value(row) == of.campaign {
            *delivered.entry((at.day(), first_bytes(households.value(row)))).or_default() += 1;
        }
    }
    Ok(())
}

fn hashes<'a>(batch: &'a RecordBatch, name: &str, table: Table) -> Result<&'a FixedSizeBinaryArray> {
    let column = batch.column_by_name(name).and_then(|column| column.as_fixed_size_binary_opt());
    column.ok_or_else(|| StoreError::Misfit { table: table.name(), detail: format!("no hashes in {name}") })
}

fn first_bytes(hash: &[u8]) -> u64 {
    hash.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
