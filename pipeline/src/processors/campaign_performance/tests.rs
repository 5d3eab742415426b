//! What campaigns are told: deliveries, credits and minutes, whatever comes when.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use castback_schemas::campaign::{CampaignState, CampaignTerms, CampaignVersion};
use castback_schemas::edge::HashKey;
use castback_schemas::table::Table;
use castback_schemas::time::{DAY, HOUR, MINUTE};
use castback_schemas::{CampaignId, Day, Micros};
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::CampaignPerformance;
use crate::change::{Changes, Value};
use crate::directory::Directory;
use crate::processors::downloads::{Downloads, RuleSets, Settled};
use crate::processors::samples::{ACCOUNT, Book, LENGTH, MARCH, PODCAST, Request, at, batch, cell, directory_at, hash};
use crate::processors::samples::{lists, slot, unjudged};

const MODELS: [&str; 4] = ["first", "last", "equal", "time_decay"];

fn campaign_id(number: u128) -> CampaignId {
    CampaignId::from_uuid(Uuid::from_u128(0xca00 + number))
}

/// A launched campaign in the flight of March.
fn campaign(number: u128, more: &Json) -> CampaignVersion {
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
struct Sale {
    offset: i64,
    id: String,
    at: Micros,
    kind: &'static str,
    value: Option<i64>,
    currency: Option<&'static str>,
    transaction: Option<String>,
    coupon: Option<String>,
    customer: Option<u8>,
    household: Option<u8>,
    campaign: Option<CampaignId>,
    pixel: bool,
}

impl Sale {
    fn new(offset: i64, at: Micros) -> Self {
        Self {
            offset,
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
            "set".into(),
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

struct Bench {
    downloads: Downloads,
    performance: CampaignPerformance,
    book: Book,
    directory: Directory,
}

fn downloads() -> Downloads {
    Downloads::new(slot(), HashKey::from_bytes([3; 32]), RuleSets::new(lists()))
}

impl Bench {
    fn new(campaigns: &[CampaignVersion]) -> Self {
        let (downloads, performance) = (downloads(), CampaignPerformance::new(slot()));
        Self { downloads, performance, book: Book::default(), directory: directory_at(1, 2, campaigns) }
    }

    fn finish(&mut self, settled: &[Settled], mut out: Changes) -> usize {
        self.performance.settled(settled, &self.directory, &mut out).unwrap();
        self.performance.finish(&self.directory, &mut out).unwrap();
        let said = self.book.keep(out);
        self.check();
        said
    }

    fn requests(&mut self, requests: &[Request]) {
        let mut out = Changes::default();
        let settled = self.downloads.step(&batch(requests), &self.directory, &mut out).unwrap();
        self.finish(&settled, out);
    }

    fn sales(&mut self, batch: &[Sale]) {
        let mut out = Changes::default();
        self.performance.step(&sales(batch), &self.directory, &mut out).unwrap();
        self.finish(&[], out);
    }

    /// Everything made anew from the book, believed and then judged again; answers how many rows that says.
    fn recover(&mut self) -> usize {
        self.recover_and_reopen(false) + self.recover_and_reopen(true)
    }

    fn recover_and_reopen(&mut self, all: bool) -> usize {
        let (mut downloads, mut performance) = (downloads(), CampaignPerformance::new(slot()));
        let mut out = Changes::default();
        for days in self.book.all(Table::Days) {
            downloads.know_days(&days).unwrap();
            performance.know_days(&days).unwrap();
        }
        let each = |table: Table, known: &mut dyn FnMut(&RecordBatch)| self.book.all(table).iter().for_each(known);
        each(Table::AdDeliveries, &mut |rows| performance.know_deliveries(rows).unwrap());
        each(Table::Conversions, &mut |rows| performance.know_conversions(rows).unwrap());
        performance.know_attribution(&self.book.all(Table::Touches), &self.book.all(Table::Credits)).unwrap();
        each(Table::CampaignPerformance, &mut |rows| performance.know_minutes(rows).unwrap());
        for rows in self.book.all(Table::Requests) {
            downloads.put_back(&rows, &self.directory).unwrap();
        }
        let differing = downloads.differing(&self.directory);
        let reopened = if all { downloads.open_days() } else { differing };
        downloads.reopen(&reopened);
        for rows in self.book.all(Table::Requests) {
            downloads.judge_back(&rows, &reopened, &self.directory, &mut out).unwrap();
        }
        let settled = downloads.settle_back(&self.directory, &mut out).unwrap();
        performance.settled(&settled, &self.directory, &mut out).unwrap();
        performance.restored(&self.directory);
        (self.downloads, self.performance) = (downloads, performance);
        self.finish(&[], out)
    }

    /// Minutes are the sums of deliveries and credits; credits of a conversion are one or none.
    fn check(&self) {
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
                "lead" | "refund" => {}
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
    fn total(&self, campaign: u128, name: &str) -> i64 {
        let rows = self.book.rows(Table::CampaignPerformance);
        let own = rows.iter().filter(|row| cell(row, "campaign_id") == campaign_id(campaign).to_string());
        own.map(|row| number(row, name)).sum()
    }
}

fn number(row: &RecordBatch, name: &str) -> i64 {
    cell(row, name).parse().unwrap()
}

fn time(row: &RecordBatch, name: &str) -> Micros {
    cell(row, name).parse().unwrap()
}

fn one() -> Bench {
    Bench::new(&[campaign(1, &json!({}))])
}

#[test]
fn an_ad_is_delivered_inside_a_download_and_taken_back_with_it() {
    let mut bench = one();
    let shared = |n: i64| Request {
        url: format!("https://cdn.example.com/{}.mp3", n % 2),
        household: 200,
        ..Request::new(n, at(MARCH, 1.0).plus(n), u8::try_from(n / 2).unwrap())
    };
    bench.requests(&(0..300).map(shared).collect::<Vec<_>>());
    assert_eq!(bench.total(1, "impressions_utc_day"), 300);
    bench.requests(&[shared(300)]);
    assert_eq!(bench.book.all(Table::AdDeliveries).len(), 0, "the address asked for too much");
    assert_eq!(bench.book.all(Table::CampaignPerformance).len(), 0, "an empty minute is withdrawn");
    assert_eq!(bench.recover(), 0);
}

#[test]
fn the_sale_may_come_before_the_exposure() {
    let mut bench = one();
    bench.sales(&[Sale::new(0, at(MARCH, 12.0))]);
    assert_eq!(bench.total(1, "unattributed_conversions"), 1);
    assert_eq!(bench.total(1, "revenue_last_minor"), 0);
    bench.requests(&[Request::new(0, at(MARCH, 9.0), 1)]);
    assert_eq!([bench.total(1, "unattributed_conversions"), bench.total(1, "revenue_last_minor")], [0, 1_000]);
    assert_eq!(bench.recover(), 0);
    // An exposure after the sale is none.
    bench.sales(&[Sale { household: Some(2), ..Sale::new(1, at(MARCH, 8.0)) }]);
    bench.requests(&[Request::new(1, at(MARCH, 9.0), 2)]);
    assert_eq!(bench.total(1, "unattributed_conversions"), 1);
}

#[test]
fn a_refund_follows_its_order_whatever_comes_first() {
    let transaction = Some("t-1".to_owned());
    let order = Sale { transaction: transaction.clone(), ..Sale::new(0, at(MARCH, 12.0)) };
    let refund = Sale { kind: "refund", household: None, transaction, ..Sale::new(1, at(MARCH, 20.0)) };
    let request = Request::new(0, at(MARCH, 9.0), 1);
    for turn in 0..6 {
        let mut bench = one();
        let mut steps = [0, 1, 2];
        steps.rotate_left(turn % 3);
        if turn >= 3 {
            steps.swap(0, 1);
        }
        for step in steps {
            match step {
                0 => bench.sales(std::slice::from_ref(&order)),
                1 => bench.sales(std::slice::from_ref(&refund)),
                _ => bench.requests(std::slice::from_ref(&request)),
            }
        }
        assert_eq!(bench.total(1, "revenue_equal_minor"), 0, "turn {turn}");
        assert_eq!(bench.total(1, "conversions_equal_micro"), 1_000_000, "turn {turn}");
        assert_eq!(bench.recover(), 0, "turn {turn}");
    }
}

#[test]
fn a_signed_post_replaces_a_pixel_of_the_same_id() {
    for signed_first in [false, true] {
        let mut bench = one();
        let pixel = Sale {
            id: "x".into(),
            pixel: true,
            value: Some(99),
            campaign: Some(campaign_id(1)),
            ..Sale::new(0, at(MARCH, 9.0))
        };
        let signed = Sale { id: "x".into(), coupon: Some("code1".into()), ..Sale::new(1, at(MARCH, 10.0)) };
        let both = if signed_first { [&signed, &pixel] } else { [&pixel, &signed] };
        for sale in both {
            bench.sales(std::slice::from_ref(sale));
        }
        assert_eq!(bench.total(1, "revenue_first_minor"), 1_000);
        let verdicts = bench.book.verdicts(Table::Conversions);
        assert_eq!([verdicts[&0].as_str(), verdicts[&1].as_str()], ["duplicate same_event_id", "counted"]);
        assert_eq!(bench.recover(), 0);
    }
}

#[test]
fn each_campaign_looks_back_as_far_as_its_own_days() {
    let mut bench = Bench::new(&[campaign(1, &json!({ "lookback_days": 3 })), campaign(2, &json!({}))]);
    bench.requests(&[Request::new(0, at(MARCH, 0.0), 1)]);
    bench.sales(&[Sale::new(0, MARCH.start().plus(3 * DAY))]);
    assert_eq!([bench.total(1, "revenue_equal_minor"), bench.total(2, "revenue_equal_minor")], [500, 500]);
    bench.sales(&[Sale::new(1, MARCH.start().plus(3 * DAY + 1))]);
    assert_eq!([bench.total(1, "revenue_equal_minor"), bench.total(2, "revenue_equal_minor")], [500, 1_500]);
    assert_eq!(bench.recover(), 0);
}

#[test]
fn money_of_another_currency_is_listed_and_never_added() {
    let mut bench = one();
    bench.sales(&[Sale { currency: Some("NOK"), coupon: Some("CODE1".into()), ..Sale::new(0, at(MARCH, 9.0)) }]);
    assert_eq!(bench.total(1, "revenue_last_minor"), 0);
    assert_eq!(bench.total(1, "conversions_last_micro"), 1_000_000);
    let credits = bench.book.rows(Table::Credits);
    assert!(credits.iter().all(|row| number(row, "revenue_minor") == 1_000 && cell(row, "currency") == "NOK"));
    assert_eq!(bench.recover(), 0);
}

#[test]
fn a_prior_customer_is_nobodys() {
    let mut bench = Bench::new(&[campaign(1, &json!({ "exclusions": { "prior_customers": true } }))]);
    bench.requests(&[Request::new(0, at(MARCH, 9.0), 1)]);
    let later = Sale { customer: Some(7), ..Sale::new(0, at(MARCH, 12.0)) };
    bench.sales(std::slice::from_ref(&later));
    assert_eq!(bench.total(1, "revenue_last_minor"), 1_000);
    // Only now it is known that they bought before they heard of it.
    bench.sales(&[Sale { customer: Some(7), household: None, ..Sale::new(1, at(MARCH, 1.0)) }]);
    assert_eq!(bench.total(1, "revenue_last_minor"), 0);
    assert_eq!(bench.recover(), 0);
}

#[test]
fn a_refund_follows_an_order_that_turns_out_to_be_a_prior_customers() {
    let exclusive = campaign(1, &json!({ "exclusions": { "prior_customers": true } }));
    let mut bench = Bench::new(&[exclusive, campaign(2, &json!({}))]);
    bench.requests(&[Request::new(0, at(MARCH, 9.0), 1)]);
    let order = Sale { customer: Some(7), transaction: Some("t".into()), ..Sale::new(0, at(MARCH, 12.0)) };
    bench.sales(std::slice::from_ref(&order));
    // Sent without what would connect it to the customer: only the transaction does.
    bench.sales(&[Sale { id: "back".into(), kind: "refund", customer: None, household: None, offset: 1, ..order }]);
    assert_eq!([bench.total(1, "revenue_equal_minor"), bench.total(2, "revenue_equal_minor")], [0, 0]);
    bench.sales(&[Sale { customer: Some(7), household: None, ..Sale::new(2, at(MARCH, 1.0)) }]);
    assert_eq!([bench.total(1, "revenue_equal_minor"), bench.total(2, "revenue_equal_minor")], [0, 0]);
    assert_eq!(bench.recover(), 0);
}

#[test]
fn a_campaign_launched_later_counts_what_is_nobodys_after_a_restart() {
    let mut bench = one();
    bench.sales(&[Sale::new(0, at(MARCH, 9.0))]);
    bench.directory = directory_at(2, 2, &[campaign(1, &json!({})), campaign(2, &json!({}))]);
    bench.recover();
    assert_eq!([bench.total(1, "unattributed_conversions"), bench.total(2, "unattributed_conversions")], [1, 1]);
    bench.requests(&[Request::new(0, at(MARCH, 8.0), 1)]);
    assert_eq!([bench.total(1, "unattributed_conversions"), bench.total(2, "unattributed_conversions")], [0, 0]);
    assert_eq!(bench.recover(), 0);
}

#[test]
fn a_late_sale_is_taken_in_by_a_recount() {
    let mut bench = one();
    bench.requests(&[Request::new(0, at(MARCH, 9.0), 1)]);
    bench.sales(&[Sale { household: None, ..Sale::new(0, at(MARCH, 1.0)) }]);
    let end = Day(MARCH.0 + 29);
    bench.sales(&[Sale { household: None, ..Sale::new(1, at(Day(MARCH.0 + 32), 1.0)) }]);
    let mut out = Changes::default();
    bench.performance.freeze(at(Day(MARCH.0 + 40), 1.0), &mut out).unwrap();
    bench.book.keep(out);
    let late = [Sale::new(2, at(MARCH, 10.0)), Sale { id: "sale-2".into(), ..Sale::new(3, at(MARCH, 11.0)) }];
    bench.sales(&late);
    assert_eq!(bench.book.verdicts(Table::Conversions)[&2], "late day_frozen");
    let now = at(end, 12.0);
    assert_eq!(bench.performance.due(now), [MARCH]);
    let (rows, mut out) = (bench.book.day(Table::Conversions, MARCH), Changes::default());
    bench.performance.recount((MARCH, now), &rows, &bench.directory, &mut out).unwrap();
    bench.finish(&[], out);
    let verdicts = bench.book.verdicts(Table::Conversions);
    assert_eq!([verdicts[&2].as_str(), verdicts[&3].as_str()], ["counted", "duplicate same_event_id"]);
    assert_eq!(bench.total(1, "revenue_first_minor"), 1_000);
    assert!(bench.performance.due(now).is_empty());
    assert_eq!(bench.recover(), 0);
}

#[derive(Debug, Clone)]
enum Step {
    Request(Request),
    Sale(Sale),
}

fn hours() -> impl Strategy<Value = Micros> {
    (0..96_i64, 0..10_i64).prop_map(|(hours, minutes)| MARCH.start().plus(hours * HOUR + minutes * MINUTE))
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let request = (hours(), 0..3_u8, prop::option::of(1..40_i64)).prop_map(|(at, listener, part)| {
        let request = Request::new(0, at, listener);
        Step::Request(part.map_or(request.clone(), |part| request.range(0, LENGTH / 60 * part)))
    });
    let kinds = prop::sample::select(vec!["purchase", "purchase", "refund", "lead"]);
    let sale = (hours(), kinds, (0..4_u8, 0..3_u8), prop::option::of(0..3_u8), 1..5_000_i64).prop_map(
        |(at, kind, (household, customer), transaction, value)| {
            Step::Sale(Sale {
                kind,
                value: Some(value),
                household: (household < 3).then_some(household),
                customer: Some(customer),
                transaction: transaction.map(|n| format!("t{n}")),
                coupon: (value % 7 == 0).then(|| "code2".to_owned()),
                ..Sale::new(0, at)
            })
        },
    );
    let numbered = |steps: Vec<Step>| {
        let number = |(n, step): (i64, Step)| match step {
            Step::Request(r) => {
                Step::Request(Request { event_id: format!("r{n}"), at: r.at.plus(n), recorded: r.at.plus(n), ..r })
            }
            Step::Sale(s) => Step::Sale(Sale { id: format!("s{n}"), at: s.at.plus(n), ..s }),
        };
        (0..).zip(steps).map(number).collect()
    };
    prop::collection::vec(prop_oneof![request, sale], 1..24).prop_map(numbered)
}

fn run(steps: &[Step], restart: usize) -> Bench {
    let mut bench = Bench::new(&[
        campaign(1, &json!({ "lookback_days": 1 })),
        campaign(2, &json!({ "exclusions": { "prior_customers": true } })),
    ]);
    for (offset, step) in (0..).zip(steps) {
        match step {
            Step::Request(request) => bench.requests(&[Request { offset, ..request.clone() }]),
            Step::Sale(sale) => bench.sales(&[Sale { offset, ..sale.clone() }]),
        }
        if usize::try_from(offset) == Ok(restart) {
            assert_eq!(bench.recover(), 0);
        }
    }
    bench
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_and_restarts_are_of_no_account(steps in steps(), order in prop::collection::vec(any::<u32>(), 24), restart in 0..24_usize) {
        let straight = run(&steps, restart);
        let mut shuffled: Vec<(u32, Step)> = order.into_iter().zip(steps).collect();
        shuffled.sort_by_key(|(place, _)| *place);
        let shuffled: Vec<Step> = shuffled.into_iter().map(|(_, step)| step).collect();
        let other = run(&shuffled, usize::MAX);
        let minutes = |bench: &Bench| {
            let rows = bench.book.rows(Table::CampaignPerformance);
            let text = |row: &RecordBatch| (4..20).map(|i| cell(row, row.schema().field(i).name())).collect::<Vec<_>>();
            rows.iter().map(|r| (cell(r, "campaign_id"), cell(r, "bucket_start"), text(r))).collect::<Vec<_>>()
        };
        prop_assert_eq!(minutes(&straight), minutes(&other));
    }
}
