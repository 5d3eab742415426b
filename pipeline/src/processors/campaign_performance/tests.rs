//! What campaigns are told: deliveries, credits and minutes, whatever comes when.

mod bench;
mod memory;
mod properties;

use castback_schemas::Day;
use castback_schemas::campaign::{CampaignState, CampaignVersion};
use castback_schemas::table::Table;
use castback_schemas::time::DAY;
use serde_json::json;

use crate::samples::{LENGTH, MARCH, Request, at, cell, directory_at, url};
use bench::{Bench, Sale, campaign, campaign_id, number};

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
fn a_campaign_that_was_completed_early_delivers_no_more() {
    let completed = |hour| CampaignVersion {
        valid_from: at(MARCH, hour),
        state: CampaignState::Completed,
        ..campaign(1, &json!({}))
    };
    let draft = CampaignVersion { state: CampaignState::Draft, ..campaign(1, &json!({})) };
    let requests = [Request::new(0, at(MARCH, 9.0), 1), Request::new(1, at(MARCH, 11.0), 2)];
    for (versions, delivered) in [
        (vec![campaign(1, &json!({})), completed(10.0)], 1),
        // Launched when its flight was over: all of it counts.
        (vec![draft, completed(12.0)], 2),
    ] {
        let mut bench = Bench::new(&versions);
        bench.requests(&requests);
        assert_eq!(bench.total(1, "impressions_utc_day"), delivered);
        assert_eq!(bench.recover(), 0);
    }
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
fn a_refund_of_an_order_that_nobody_sent_takes_nothing_back() {
    let mut bench = one();
    bench.requests(&[Request::new(0, at(MARCH, 9.0), 1)]);
    bench.sales(&[Sale::new(0, at(MARCH, 10.0))]);
    let refund = Sale { kind: "refund", coupon: Some("CODE1".into()), ..Sale::new(1, at(MARCH, 11.0)) };
    bench.sales(&[
        refund.clone(),
        Sale { transaction: Some("never seen".into()), offset: 2, id: "other".into(), ..refund },
    ]);
    assert_eq!(bench.total(1, "revenue_last_minor"), 1_000);
    assert_eq!(bench.total(1, "unattributed_conversions"), 0, "a refund is no conversion");
    // Its order comes late: then it does.
    let order = Sale { transaction: Some("never seen".into()), ..Sale::new(3, at(MARCH, 10.5)) };
    bench.sales(&[order]);
    assert_eq!(bench.total(1, "revenue_last_minor"), 1_000, "1,000 more, and taken back");
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
    bench.freeze(at(Day(MARCH.0 + 40), 1.0));
    let late = [Sale::new(2, at(MARCH, 10.0)), Sale { id: "sale-2".into(), ..Sale::new(3, at(MARCH, 11.0)) }];
    bench.sales(&late);
    assert_eq!(bench.book.verdicts(Table::Conversions)[&2], "late day_frozen");
    let now = at(end, 12.0);
    assert_eq!(bench.performance.due(now), [MARCH]);
    bench.recount(MARCH, now);
    let verdicts = bench.book.verdicts(Table::Conversions);
    assert_eq!([verdicts[&2].as_str(), verdicts[&3].as_str()], ["counted", "duplicate same_event_id"]);
    assert_eq!(bench.total(1, "revenue_first_minor"), 1_000);
    assert!(bench.performance.due(now).is_empty());
    assert_eq!(bench.recover(), 0);
}

#[test]
fn exposures_of_one_instant_go_by_event_id_whichever_came_first() {
    let at_nine = at(MARCH, 9.0);
    let of = |offset, listener, id: &str, episode| Request {
        event_id: id.to_owned(),
        household: 1,
        url: url(episode),
        ..Request::new(offset, at_nine, listener)
    };
    for turned in [false, true] {
        let only = |number, episode: u128| {
            campaign(
                number,
                &json!({ "placements": [{ "id": "a", "position": "pre_roll", "from_byte": 0, "to_byte": 1000,
                "episode_guids": [format!("guid-{episode}")] }] }),
            )
        };
        let mut bench = Bench::new(&[only(1, 0), only(2, 1)]);
        let both = [of(0, 1, "b", 0), of(1, 2, "a", 1)];
        let both = if turned { [both[1].clone(), both[0].clone()] } else { both };
        for (request, offset) in both.into_iter().zip(0..) {
            bench.requests(&[Request { offset, ..request }]);
        }
        bench.sales(&[Sale::new(0, at(MARCH, 12.0))]);
        assert_eq!([bench.total(2, "revenue_first_minor"), bench.total(1, "revenue_last_minor")], [1_000, 1_000]);
        assert_eq!(bench.recover(), 0);
    }
}

#[test]
fn an_exposure_that_came_to_count_later_is_named_when_a_tie_asks() {
    let only = |number, episode: u128| {
        campaign(
            number,
            &json!({ "placements": [{ "id": "a", "position": "pre_roll", "from_byte": 0, "to_byte": 1000,
            "episode_guids": [format!("guid-{episode}")] }] }),
        )
    };
    let mut bench = Bench::new(&[only(1, 0), only(2, 1)]);
    let shared = |n: i64| Request {
        event_id: format!("z{n}"),
        household: 1,
        url: url(u128::from(n % 2 == 1)),
        ..Request::new(n, at(MARCH, 9.0), u8::try_from(n / 2).unwrap())
    };
    // Too much for one address, until it turns out to be on the safe list.
    bench.requests(&(0..301).map(shared).collect::<Vec<_>>());
    assert_eq!(bench.total(1, "impressions_utc_day"), 0);
    bench.requests(&[Request { safe_listed: true, event_id: "a".into(), ..shared(301) }]);
    assert_eq!([bench.total(1, "impressions_utc_day"), bench.total(2, "impressions_utc_day")], [151, 151]);
    bench.sales(&[Sale::new(0, at(MARCH, 12.0))]);
    let winner = |model: &str| [1, 2].map(|number| bench.total(number, &format!("revenue_{model}_minor")));
    assert_eq!([winner("first"), winner("last")], [[0, 1_000], [0, 1_000]], "a is first, z99 last: both odd");
    assert_eq!(bench.recover(), 0);
}

#[test]
fn an_ad_is_a_touch_of_its_own() {
    let two = json!({ "placements": [
        { "id": "a", "position": "pre_roll", "from_byte": 0, "to_byte": 1000 },
        { "id": "b", "position": "mid_roll", "from_byte": 1000, "to_byte": 2000 },
    ] });
    let mut bench = Bench::new(&[campaign(1, &two), campaign(2, &json!({}))]);
    bench.requests(&[Request::new(0, at(MARCH, 9.0), 1)]);
    bench.sales(&[Sale { value: Some(900), ..Sale::new(0, at(MARCH, 12.0)) }]);
    assert_eq!([bench.total(1, "revenue_equal_minor"), bench.total(2, "revenue_equal_minor")], [600, 300]);
    assert_eq!(bench.recover(), 0);
}

#[test]
fn an_ad_of_unknown_place_is_delivered_with_the_file_that_was_served() {
    let anywhere = json!({ "placements": [{ "id": "a", "position": "mid_roll" }] });
    let mut bench = Bench::new(&[campaign(1, &anywhere)]);
    let shorter = Some(LENGTH / 2);
    bench.requests(&[Request { file_bytes: shorter, ..Request::new(0, at(MARCH, 9.0), 1).range(0, LENGTH / 2) }]);
    assert_eq!(bench.total(1, "impressions_position_unknown"), 1);
    bench.requests(&[Request::new(1, at(MARCH, 9.0), 2).range(0, LENGTH / 2)]);
    assert_eq!(bench.total(1, "impressions_position_unknown"), 1, "the feed says twice as much");
    assert_eq!(bench.recover(), 0);
}

#[test]
fn an_ad_named_before_midnight_is_delivered_after_it() {
    let dynamic = json!({ "placements": [{ "id": "d", "position": "mid_roll", "dynamic": true }] });
    let half = LENGTH / 2;
    let ads = Some(json!([["d", half, half + 1_000]]).to_string());
    let evening = Request { ads, ..Request::new(0, at(MARCH, 23.0), 1).range(0, half) };
    let morning = Request::new(1, at(MARCH.next(), 1.0), 1).range(half, LENGTH);
    let delivered = |bench: &Bench| {
        ["utc_day", "first_touch", "last_touch"].map(|window| bench.total(1, &format!("impressions_{window}")))
    };
    for frozen in [false, true] {
        let mut bench = Bench::new(&[campaign(1, &dynamic)]);
        bench.requests(std::slice::from_ref(&evening));
        if frozen {
            let later = Day(MARCH.0 + 9);
            bench.requests(&[Request::new(2, at(later, 1.0), 9)]);
            bench.freeze(at(later, 2.0));
            assert_eq!(bench.book.rows(Table::Carries).len(), 1, "the day has left something");
        }
        assert_eq!(delivered(&bench), [0, 0, 0]);
        bench.requests(std::slice::from_ref(&morning));
        assert_eq!(delivered(&bench), [0, 1, 1], "a day begins anew");
        assert!(frozen || bench.recover() == 0);
    }
}

#[test]
fn every_request_is_judged_by_the_terms_of_its_moment() {
    let noon = at(MARCH, 12.0);
    let before = campaign(1, &json!({}));
    let mut after =
        campaign(1, &json!({ "placements": [{ "id": "b", "position": "pre_roll", "from_byte": 0, "to_byte": 1000 }] }));
    after.valid_from = noon;
    let mut bench = Bench::new(&[before, after]);
    // One listener, two episodes of which each is asked for on one side of noon; and one on both.
    let of = |offset, hour, listener, episode| Request {
        url: url(episode),
        ..Request::new(offset, at(MARCH, hour), listener)
    };
    bench.requests(&[of(0, 9.0, 1, 0), of(1, 13.0, 1, 1), of(2, 9.0, 2, 0).range(0, 500), of(3, 13.0, 2, 0)]);
    let delivered = bench.book.rows(castback_schemas::table::Table::AdDeliveries);
    let ads: Vec<_> = delivered.iter().map(|row| (number(row, "request_offset"), cell(row, "placement_id"))).collect();
    assert_eq!(ads, [(0, "a".to_owned()), (1, "b".to_owned()), (3, "b".to_owned())]);
    assert_eq!(bench.recover(), 0);
}

#[test]
fn a_customer_won_by_a_code_is_no_prior_customer() {
    let mut bench = Bench::new(&[campaign(1, &json!({ "exclusions": { "prior_customers": true } }))]);
    let with_code = |offset, hour| Sale {
        customer: Some(7),
        household: None,
        coupon: Some("CODE1".into()),
        ..Sale::new(offset, at(MARCH, hour))
    };
    bench.sales(&[with_code(0, 12.0), with_code(1, 13.0)]);
    assert_eq!(bench.total(1, "revenue_last_minor"), 2_000);
    bench.sales(&[Sale { coupon: None, ..with_code(2, 9.0) }]);
    assert_eq!(bench.total(1, "revenue_last_minor"), 0, "they had bought before");
    assert_eq!(bench.recover(), 0);
}

#[test]
fn a_customer_of_another_advertiser_is_somebody_else() {
    let mut bench = Bench::new(&[campaign(1, &json!({ "exclusions": { "prior_customers": true } }))]);
    bench.requests(&[Request::new(0, at(MARCH, 9.0), 1)]);
    let elsewhere = Sale { data_set: "another".into(), household: None, ..Sale::new(0, at(MARCH, 1.0)) };
    bench
        .sales(&[Sale { customer: Some(7), ..elsewhere }, Sale { customer: Some(7), ..Sale::new(1, at(MARCH, 12.0)) }]);
    assert_eq!(bench.total(1, "revenue_last_minor"), 1_000);
    assert_eq!(bench.recover(), 0);
}

#[test]
fn a_lead_that_nobody_is_credited_for_is_no_conversion() {
    let mut bench = one();
    bench.sales(&[Sale { kind: "lead", ..Sale::new(0, at(MARCH, 9.0)) }, Sale::new(1, at(MARCH, 9.0))]);
    assert_eq!(bench.total(1, "unattributed_conversions"), 1);
    assert_eq!(bench.recover(), 0);
}
