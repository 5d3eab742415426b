//! Minute values of campaigns: what adds up, absolute, written anew when anything in them changed.

use std::collections::{BTreeMap, BTreeSet};

use arrow::error::ArrowError;
use castback_rules::credit::Model;
use castback_schemas::table::Table;
use castback_schemas::time::MINUTE;
use castback_schemas::{AccountId, CampaignId, Day, Micros};

use super::Delivered;
use super::attribution::{Attributed, Credit};
use super::conversions::{Conversion, Kind};
use super::memory::AtHand;
use crate::change::{Changes, Value};
use crate::directory::Directory;

/// Sums of one minute, in the order of the table's columns after `currency`.
const SUMS: usize = 16;

const UTC_DAY: usize = 0;
const POSITION_UNKNOWN: usize = 3;
const DOWNLOADS: usize = 4;
const VISITS: usize = 5;
const LEADS: usize = 6;
const UNATTRIBUTED: usize = 7;
const CONVERSIONS: usize = 8;
const REVENUE: usize = 12;

/// Minutes of an account's campaigns.
#[derive(Debug, Default)]
pub(super) struct Minutes {
    sums: BTreeMap<(CampaignId, Micros), [i64; SUMS]>,
    dirty: BTreeSet<(CampaignId, Micros)>,
}

impl Minutes {
    fn at(&mut self, campaign: CampaignId, at: Micros) -> &mut [i64; SUMS] {
        let minute = (campaign, at.floor(MINUTE));
        self.dirty.insert(minute);
        self.sums.entry(minute).or_default()
    }

    /// A minute read back: it is what was said, nothing to say again.
    pub(super) fn know(&mut self, campaign: CampaignId, minute: Micros, sums: [i64; SUMS]) {
        self.sums.insert((campaign, minute), sums);
    }

    /// Sets how many conversions nobody is credited for, by campaign and minute of the days at hand: that
    /// is kept in no row of its own and follows from the Directory.
    pub(super) fn set_unattributed<'a>(&mut self, attributed: impl Iterator<Item = &'a Attributed>, at_hand: &AtHand) {
        let mut counts: BTreeMap<(CampaignId, Micros), i64> = BTreeMap::new();
        let counted = attributed.flat_map(unattributed);
        for (campaign, conversion) in counted.filter(|(_, conversion)| at_hand.holds(conversion.at.day())) {
            *counts.entry((campaign, conversion.at.floor(MINUTE))).or_default() += 1;
        }
        let known = self.sums.iter().filter(|(_, sums)| sums[UNATTRIBUTED] != 0).map(|(minute, _)| *minute);
        let minutes: BTreeSet<(CampaignId, Micros)> = known.chain(counts.keys().copied()).collect();
        for minute in minutes {
            let count = counts.get(&minute).copied().unwrap_or(0);
            if self.sums.get(&minute).map_or(0, |sums| sums[UNATTRIBUTED]) != count {
                self.at(minute.0, minute.1)[UNATTRIBUTED] = count;
            }
        }
    }

    /// Forgets all but these days.
    pub(super) fn keep(&mut self, days: &BTreeSet<Day>) {
        self.sums.retain(|(_, minute), _| days.contains(&minute.day()));
    }

    /// A delivery came (`sign` 1) or went (−1).
    pub(super) fn delivered(&mut self, delivered: &Delivered, sign: i64) {
        let sums = self.at(delivered.campaign, delivered.at);
        for (window, in_window) in delivered.windows.iter().enumerate() {
            sums[UTC_DAY + window] += sign * i64::from(*in_window);
        }
        sums[POSITION_UNKNOWN] += sign * i64::from(delivered.position_unknown && delivered.exposure);
        sums[DOWNLOADS] += sign * i64::from(delivered.exposure);
    }

    /// What is said of a conversion changed.
    pub(super) fn conversions(&mut self, old: &Attributed, new: &Attributed) {
        self.add(old, -1);
        self.add(new, 1);
    }

    fn add(&mut self, attributed: &Attributed, sign: i64) {
        let Some(conversion) = &attributed.conversion else { return };
        for (campaign, conversion) in unattributed(attributed) {
            self.at(campaign, conversion.at)[UNATTRIBUTED] += sign;
        }
        for credit in &attributed.credits {
            self.credit(credit, conversion.kind(), (conversion.at, sign));
        }
    }

    fn credit(&mut self, credit: &Credit, kind: Kind, (at, sign): (Micros, i64)) {
        let model = Model::ALL.iter().position(|model| *model == credit.model).unwrap_or_default();
        let last = credit.model == Model::Last;
        let sums = self.at(credit.campaign, at);
        match kind {
            Kind::Visit => sums[VISITS] += sign * credit.micro * i64::from(last),
            Kind::Lead => sums[LEADS] += sign * credit.micro * i64::from(last),
            Kind::Order | Kind::Other => sums[CONVERSIONS + model] += sign * credit.micro,
            Kind::Refund => {}
        }
        sums[REVENUE + model] += sign * credit.money * i64::from(credit.adds_up);
    }

    /// Writes the minutes that changed.
    pub(super) fn write(
        &mut self,
        account: AccountId,
        directory: &Directory,
        out: &mut Changes,
    ) -> Result<(), ArrowError> {
        let dirty = std::mem::take(&mut self.dirty);
        if dirty.is_empty() {
            return Ok(());
        }
        let account_id = account.to_string();
        for (campaign, minute) in dirty {
            let sums = self.sums.get(&(campaign, minute)).copied().unwrap_or_default();
            let empty = sums == [0; SUMS];
            let terms = directory.account(account).and_then(|a| a.campaign(campaign)).and_then(|c| c.in_force(minute));
            let currency = terms.map_or_else(String::new, |version| version.terms.currency.to_string());
            let campaign_id = campaign.to_string();
            let mut row: Vec<Value<'_>> =
                vec![account_id.as_str().into(), campaign_id.as_str().into(), minute.into(), currency.as_str().into()];
            row.extend(sums.iter().map(|sum| Value::Int(*sum)));
            row.push(empty.into());
            out.row(Table::CampaignPerformance, &row)?;
            if empty {
                self.sums.remove(&(campaign, minute));
            }
        }
        Ok(())
    }
}

/// The campaigns that a conversion is counted for as nobody's.
fn unattributed(attributed: &Attributed) -> impl Iterator<Item = (CampaignId, &Conversion)> {
    let counts = |conversion: &&Conversion| !matches!(conversion.kind(), Kind::Visit | Kind::Lead | Kind::Refund);
    let conversion = attributed.conversion.as_ref().filter(counts);
    attributed.unattributed.iter().filter_map(move |campaign| Some((*campaign, conversion?)))
}

/// The columns of the table that hold a minute's sums, in order.
pub(super) fn columns() -> impl Iterator<Item = &'static str> {
    let columns = Table::CampaignPerformance.spec().columns;
    let names = columns.iter().map(|column| column.name).skip_while(|name| *name != "impressions_utc_day");
    names.take(SUMS)
}
