//! A bench with downloads and campaigns, the book that keeps what they say, and what must always hold.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;
use castback_schemas::campaign::{CampaignState, CampaignTerms, CampaignVersion};
use castback_schemas::edge::HashKey;
use castback_schemas::table::Table;
use castback_schemas::time::MINUTE;
use castback_schemas::{CampaignId, Day, Micros};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::change::{Changes, Value};
use crate::directory::Directory;
use crate::processors::campaign_performance::{CampaignPerformance, Names};
use crate::processors::downloads::{Downloads, RuleSets, Settled};
use crate::samples::{ACCOUNT, Book, MARCH, PODCAST, Request, batch, cell, directory_at, hash};
use crate::samples::{lists, slot, unjudged};

const MODELS: [&str; 4] = ["first", "last", "equal", "time_decay"];

pub(super) fn campaign_id(number: u128) -> CampaignId {
    CampaignId::from_uuid(Uuid::from_u128(0xca00 + number))
}

/// A launched campaign in the flight of March.
pub(super) fn campaign(number: u128, more: &Json) -> CampaignVersion {
    let mut terms = json!({
        "name": "c", "currency": "USD", "budget": 100_000, "podcast_ids": [PODCAST], "data_set_ids": ["set"],
        "starts_on": "2026-02-20", "ends_on": "2026-03-31", "placements": [{ "id": "a", "position": "pre_roll",
        "from_byte": 0, "to_byte": 1000 }], "attribution": { "promo_codes": [format!("CODE{number}")], "pixel": "counted" },
    });
    if let (Some(terms), Some(more)) = (terms.as_object_mut(), more.as_object()) {
        terms.extend(more.clone());
    }
    let terms: CampaignTerms = serde_json::from_value(terms).unwrap();
    CampaignVersion { campaign: campaign_id(number), valid_from: Micros(i64::MIN), state: CampaignState::Active, terms }
}

/// A conversion: a purchase of 10.00 by the household 1, unless said otherwise.
#[derive(Debug, Clone)]
pub(super) struct Sale {
    pub(super) offset: i64,
    pub(super) data_set: String,
    pub(super) id: String,
    pub(super) at: Micros,
    pub(super) kind: &'static str,
    pub(super) value: Option<i64>,
    pub(super) currency: Option<&'static str>,
    pub(super) transaction: Option<String>,
    pub(super) coupon: Option<String>,
    pub(super) customer: Option<u8>,
    pub(super) household: Option<u8>,
    pub(super) campaign: Option<CampaignId>,
    pub(super) pixel: bool,
}

impl Sale {
    pub(super) fn new(offset: i64, at: Micros) -> Self {
        Self {
            offset,
            data_set: "set".to_owned(),
            id: format!("sale-{offset}"),
            at,
            kind: "purchase",
            value: Some(1_000),
            currency: Some("USD"),
            transaction: None,
            coupon: None,
            customer: None,
            household: Some(1),
            campaign: None,
            pixel: false,
        }
    }
}

fn sales(sales: &[Sale]) -> RecordBatch {
    let mut out = Changes::default();
    for sale in sales {
        let account = ACCOUNT.to_string();
        let households: Vec<(i32, String)> =
            sale.household.iter().map(|h| (24_314, format!("{:032x}", u128::from_be_bytes(hash(*h))))).collect();
        let households = serde_json::to_string(&households).unwrap();
        let campaign = sale.campaign.map(|id| id.to_string());
        let values: [Value<'_>; 29] = [
            account.as_str().into(),
            i64::from(slot().0).into(),
            sale.offset.into(),
            sale.id.as_str().into(),
            sale.at.into(),
            sale.at.into(),
            sale.data_set.as_str().into(),
            sale.id.as_str().into(),
            sale.kind.into(),
            sale.value.into(),
            sale.currency.into(),
            sale.transaction.as_deref().into(),
            sale.coupon.as_deref().into(),
            Value::Null,
            sale.customer.map(hash).into(),
            "other".into(),
            "test".into(),
            households.as_str().into(),
            campaign.as_deref().into(),
            Value::Null,
            Value::Null,
            Value::Null,
            if sale.pixel { "pixel" } else { "api" }.into(),
            (!sale.pixel).into(),
            "counted".into(),
            Value::Null,
            Value::Null,
            0.into(),
            0.into(),
        ];
        out.row(Table::Conversions, &values).unwrap();
    }
    unjudged(&out.finish().unwrap().remove(0).1)
}

fn empty() -> RecordBatch {
    batch(&[Request::new(0, MARCH.start(), 0)]).slice(0, 0)
}

pub(super) struct Bench {
    pub(super) downloads: Downloads,
    pub(super) performance: CampaignPerformance,
    pub(super) book: Book,
    pub(super) directory: Directory,
}

fn downloads() -> Downloads {
    Downloads::new(slot(), HashKey::from_bytes([3; 32]), RuleSets::new(lists()))
}

impl Bench {
    pub(super) fn new(campaigns: &[CampaignVersion]) -> Self {
        let (downloads, performance) = (downloads(), CampaignPerformance::new(slot()));
        Self { downloads, performance, book: Book::default(), directory: directory_at(1, 2, campaigns) }
    }

    pub(super) fn finish(&mut self, (settled, batch): (&[Settled], &RecordBatch), mut out: Changes) -> usize {
        self.performance.settled(settled, (&Names::of_batch(batch), &self.directory), &mut out).unwrap();
        self.performance.finish(&self.directory, &mut out).unwrap();
        let said = self.book.keep(out);
        self.check();
        said
    }

    pub(super) fn requests(&mut self, requests: &[Request]) {
        let batch = batch(requests);
        let lacks = self.performance.lacks(requests.iter().map(|request| request.at.day()));
        self.recall(&lacks);
        let mut out = Changes::default();
        let settled = self.downloads.step(&batch, &self.directory, &mut out).unwrap();
        self.finish((&settled, &batch), out);
        self.read_back();
    }

    pub(super) fn sales(&mut self, batch: &[Sale]) {
        let batch = sales(batch);
        let lacks = self.performance.lacks_for(&batch).unwrap();
        self.recall(&lacks);
        let mut out = Changes::default();
        self.performance.step(&batch, &self.directory, &mut out).unwrap();
        self.finish((&[], &empty()), out);
        self.read_back();
    }

    /// Takes days back from the book.
    pub(super) fn recall(&mut self, days: &BTreeSet<Day>) {
        let rows = |table: Table| days.iter().flat_map(|day| self.book.day(table, *day)).collect::<Vec<_>>();
        let (deliveries, minutes) = (rows(Table::AdDeliveries), rows(Table::CampaignPerformance));
        self.performance.recall(days, (&deliveries, &minutes)).unwrap();
    }

    /// Does what a tick would have done where something must be read back.
    fn read_back(&mut self) {
        let mut out = Changes::default();
        for day in self.performance.unnamed() {
            self.performance.name(day, &self.book.day(Table::Requests, day), &mut out).unwrap();
        }
        let waits = self.performance.waits();
        self.recall(&waits);
        self.finish((&[], &empty()), out);
        assert!(self.performance.unnamed().is_empty() && self.performance.waits().is_empty());
    }

    fn open_days(&self) -> Vec<Day> {
        self.downloads.open_days().iter().map(|day| day.day).collect()
    }

    /// Days that are ripe freeze, and what nothing open reaches is forgotten.
    pub(super) fn freeze(&mut self, log_time: Micros) {
        let mut out = Changes::default();
        self.downloads.freeze(log_time, &self.directory, &mut out).unwrap();
        self.performance.freeze(log_time, &mut out).unwrap();
        self.book.keep(out);
        self.performance.keep(self.performance.needs(self.open_days()));
    }

    /// Late sales of a day are taken in.
    pub(super) fn recount(&mut self, day: Day, log_time: Micros) {
        let (rows, mut out) = (self.book.day(Table::Conversions, day), Changes::default());
        for batch in &rows {
            let lacks = self.performance.lacks_for(batch).unwrap();
            self.recall(&lacks);
        }
        self.performance.recount((day, log_time), &rows, &self.directory, &mut out).unwrap();
        self.finish((&[], &empty()), out);
    }

    /// Everything made anew from the book; answers how many rows it says.
    pub(super) fn recover(&mut self) -> usize {
        self.recover_and_reopen(false) + self.recover_and_reopen(true)
    }

    /// As [`Self::recover`], once: days are believed as far as they agree, or all are judged again.
    fn recover_and_reopen(&mut self, all: bool) -> usize {
        let (downloads, performance) = (downloads(), CampaignPerformance::new(slot()));
        (self.downloads, self.performance) = (downloads, performance);
        let mut out = Changes::default();
        for days in self.book.all(Table::Days) {
            self.downloads.know_days(&days).unwrap();
            self.performance.know_days(&days).unwrap();
        }
        self.performance.keep(BTreeSet::new());
        self.recall(&self.performance.needs(self.open_days()));
        for rows in self.book.all(Table::Conversions) {
            self.performance.know_conversions(&rows).unwrap();
        }
        let said = (self.book.all(Table::Touches), self.book.all(Table::Credits));
        self.performance.know_attribution(&said.0, &said.1).unwrap();
        for rows in self.book.all(Table::Requests) {
            self.downloads.put_back(&rows, &self.directory).unwrap();
        }
        let differing = self.downloads.differing(&self.directory);
        let reopened = if all { self.downloads.open_days() } else { differing };
        self.downloads.reopen(&reopened);
        for rows in self.book.all(Table::Requests) {
            self.downloads.judge_back(&rows, &reopened, &self.directory, &mut out).unwrap();
        }
        let settled = self.downloads.settle_back(&self.directory, &mut out).unwrap();
        self.performance.settled(&settled, (&Names::default(), &self.directory), &mut out).unwrap();
        self.performance.restored(&self.directory);
        self.recall(&self.performance.waits());
        self.finish((&[], &empty()), out)
    }

    /// Minutes are the sums of deliveries and credits; credits of a conversion are one or none.
    pub(super) fn check(&self) {
        let mut sums: BTreeMap<(String, i64, String), i64> = BTreeMap::new();
        let minute = |row: &RecordBatch, column: &str| time(row, column).floor(MINUTE).0;
        for row in self.book.rows(Table::AdDeliveries) {
            let mut add = |name: &str| {
                *sums.entry((cell(&row, "campaign_id"), minute(&row, "occurred_at"), name.into())).or_default() += 1;
            };
            for window in ["utc_day", "first_touch", "last_touch"] {
                if cell(&row, &format!("window_{window}")) == "true" {
                    add(&format!("impressions_{window}"));
                }
            }
            if cell(&row, "exposure") == "true" {
                add("downloads");
            }
        }
        let mut ones: BTreeMap<(String, String), i64> = BTreeMap::new();
        for row in self.book.rows(Table::Credits) {
            let (model, kind) = (cell(&row, "model"), cell(&row, "event_type"));
            let (micro, money) = (number(&row, "credit_micro"), number(&row, "revenue_minor"));
            if model == "none" {
                continue;
            }
            if kind != "refund" {
                *ones.entry((cell(&row, "conversion_offset"), model.clone())).or_default() += micro;
            }
            let mut add = |name: String, value: i64| {
                *sums.entry((cell(&row, "campaign_id"), minute(&row, "occurred_at"), name)).or_default() += value;
            };
            match kind.as_str() {
                "lead" if model == "last" => add("leads_micro".into(), micro),
                "visit" if model == "last" => add("visits_micro".into(), micro),
                "lead" | "visit" | "refund" => {}
                _ => add(format!("conversions_{model}_micro"), micro),
            }
            if matches!(cell(&row, "currency").as_str(), "USD" | "") {
                add(format!("revenue_{model}_minor"), money);
            }
        }
        assert!(ones.values().all(|credit| *credit == 1_000_000), "{ones:?}");
        let mut told = BTreeMap::new();
        for row in self.book.rows(Table::CampaignPerformance) {
            let names = [
                "impressions_utc_day",
                "impressions_first_touch",
                "impressions_last_touch",
                "downloads",
                "visits_micro",
                "leads_micro",
            ];
            let models = MODELS.iter().flat_map(|m| [format!("conversions_{m}_micro"), format!("revenue_{m}_minor")]);
            for name in names.iter().map(ToString::to_string).chain(models) {
                told.insert(
                    (cell(&row, "campaign_id"), minute(&row, "bucket_start"), name.clone()),
                    number(&row, &name),
                );
            }
        }
        sums.retain(|_, sum| *sum != 0);
        told.retain(|_, sum| *sum != 0);
        assert_eq!(told, sums);
    }

    /// A column of the minutes, summed over a campaign.
    pub(super) fn total(&self, campaign: u128, name: &str) -> i64 {
        let rows = self.book.rows(Table::CampaignPerformance);
        let own = rows.iter().filter(|row| cell(row, "campaign_id") == campaign_id(campaign).to_string());
        own.map(|row| number(row, name)).sum()
    }
}

pub(super) fn number(row: &RecordBatch, name: &str) -> i64 {
    cell(row, name).parse().unwrap()
}

fn time(row: &RecordBatch, name: &str) -> Micros {
    cell(row, name).parse().unwrap()
}
