//! What is said of campaigns is a function of the set of records and of the terms: whatever the order,
//! the restarts, and what was forgotten meanwhile.

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use castback_schemas::Micros;
use castback_schemas::table::Table;
use castback_schemas::time::{DAY, HOUR};
use proptest::prelude::*;
use serde_json::json;

use super::bench::{Bench, Sale, campaign, campaign_id};
use crate::samples::{LENGTH, MARCH, Request, cell, url};

#[derive(Debug, Clone)]
enum Step {
    Request(Request),
    Sale(Sale),
}

/// Few instants, so that ties are common: of four days, or of more than two look-backs.
fn instants() -> impl Strategy<Value = Micros> {
    let hours =
        prop_oneof![3 => 0..96_i64, 1 => (0..5_i64, 0..12_i64).prop_map(|(month, hours)| month * 31 * 24 + hours)];
    hours.prop_map(|hours| MARCH.start().plus(hours * HOUR))
}

/// Listeners 0 and 1 share an address, 2 and 3 another.
fn requests() -> impl Strategy<Value = Request> {
    let ads = prop::option::of(prop::sample::select(vec!["a", "dynamic"]));
    let request = (instants(), 0..4_u8, 0..2_u128, prop::option::of(1..40_i64), ads, 0..40_i64);
    request.prop_map(|(at, listener, episode, part, ad, from)| {
        let ads = ad.map(|id| json!([[id, LENGTH / 60 * from, LENGTH / 60 * from + 1000]]).to_string());
        let request = Request { household: listener / 2, url: url(episode), ads, ..Request::new(0, at, listener) };
        part.map_or(request.clone(), |part| request.range(0, LENGTH / 60 * part))
    })
}

fn sales() -> impl Strategy<Value = Sale> {
    let kinds = prop::sample::select(vec!["purchase", "purchase", "refund", "lead", "visit", "donate"]);
    let who = (prop::option::weighted(0.8, 0..2_u8), prop::option::of(0..3_u8), prop::option::of(0..3_u8));
    (instants(), kinds, who, prop::bool::weighted(0.2), 1..5_000_i64).prop_map(|(at, kind, who, pixel, value)| Sale {
        kind,
        value: Some(value),
        household: who.0,
        customer: who.1,
        transaction: who.2.map(|n| format!("t{n}")),
        coupon: (value % 7 == 0).then(|| "code2".to_owned()),
        campaign: pixel.then(|| campaign_id(1)),
        pixel,
        ..Sale::new(0, at)
    })
}

/// Steps with ids in another order than theirs. No two requests of a listener for an episode are of one
/// instant: of those the log's order decides. A pixel has the id of a signed sale before it, if there is one.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![requests().prop_map(Step::Request), sales().prop_map(Step::Sale)];
    prop::collection::vec(step, 1..24).prop_map(|steps| {
        let (mut taken, mut signed) = (BTreeSet::new(), None);
        let number = |(n, step): (i64, Step)| match step {
            Step::Request(mut request) => {
                while !taken.insert((request.at, request.listener, request.url.clone())) {
                    request.at = request.at.plus(1);
                }
                let event_id = format!("r{:02}", n * 7 % 24);
                Step::Request(Request { event_id, recorded: request.at, ..request })
            }
            Step::Sale(sale) => {
                let own = format!("s{:02}", n * 7 % 24);
                let id = if sale.pixel { signed.take().unwrap_or(own) } else { own };
                signed = (!sale.pixel).then(|| id.clone());
                Step::Sale(Sale { id, ..sale })
            }
        };
        (0..).zip(steps).map(number).collect()
    })
}

#[derive(Debug, Clone, Copy, Default)]
struct Mishaps {
    restart: Option<usize>,
    forget: Option<usize>,
}

fn run(steps: &[Step], mishaps: Mishaps) -> Bench {
    let ends_on = json!("2026-12-31");
    let placements = json!([
        { "id": "a", "position": "pre_roll", "from_byte": 0, "to_byte": 1000 },
        { "id": "b", "position": "mid_roll", "start_seconds": 60, "duration_seconds": 30 },
        { "id": "dynamic", "position": "mid_roll", "dynamic": true },
    ]);
    let exclusions = json!({ "prior_customers": true });
    let mut bench = Bench::new(&[
        campaign(1, &json!({ "lookback_days": 1, "ends_on": ends_on, "placements": placements })),
        campaign(2, &json!({ "exclusions": exclusions, "ends_on": ends_on })),
    ]);
    for (index, step) in steps.iter().enumerate() {
        let offset = i64::try_from(index).unwrap();
        match step {
            Step::Request(request) => bench.requests(&[Request { offset, ..request.clone() }]),
            Step::Sale(sale) => bench.sales(&[Sale { offset, ..sale.clone() }]),
        }
        if mishaps.restart == Some(index) {
            assert_eq!(bench.recover(), 0);
        }
        if mishaps.forget == Some(index) {
            bench.performance.keep(BTreeSet::new());
        }
    }
    bench
}

/// Every minute of every campaign.
fn minutes(bench: &Bench) -> Vec<Vec<String>> {
    let rows = bench.book.rows(Table::CampaignPerformance);
    let text = |row: &RecordBatch| (0..20).map(|i| cell(row, row.schema().field(i).name())).collect();
    rows.iter().map(text).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_and_restarts_are_of_no_account(steps in steps(), order in prop::collection::vec(any::<u32>(), 24), restart in 0..24_usize) {
        let straight = run(&steps, Mishaps { restart: Some(restart), ..Mishaps::default() });
        let mut shuffled: Vec<(u32, Step)> = order.into_iter().zip(steps).collect();
        shuffled.sort_by_key(|(place, _)| *place);
        let shuffled: Vec<Step> = shuffled.into_iter().map(|(_, step)| step).collect();
        prop_assert_eq!(minutes(&straight), minutes(&run(&shuffled, Mishaps::default())));
    }

    #[test]
    fn what_was_forgotten_is_of_no_account(steps in steps(), forget in 0..24_usize) {
        let forgetful = run(&steps, Mishaps { forget: Some(forget), ..Mishaps::default() });
        prop_assert_eq!(minutes(&forgetful), minutes(&run(&steps, Mishaps::default())));
    }

    #[test]
    fn credit_is_one_whatever_the_distance(days in 0..60_i64) {
        let mut bench = Bench::new(&[campaign(1, &json!({ "lookback_days": 60, "ends_on": "2026-12-31" }))]);
        bench.requests(&[Request::new(0, MARCH.start(), 1)]);
        bench.performance.keep(BTreeSet::new());
        bench.sales(&[Sale::new(0, MARCH.start().plus(days * DAY))]);
        prop_assert_eq!(bench.total(1, "conversions_last_micro"), 1_000_000);
    }
}
