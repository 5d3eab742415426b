//! Series: each bucket against the figures of its range.

use castback_schemas::Micros;
use castback_schemas::table::Table;
use castback_schemas::time::HOUR;
use serde_json::{Value, json};

use super::committed::{Cell, Row, at};
use super::play::Play;
use super::{Account, Bench, NOW};
use crate::figures::{Figures, Question, credited};
use crate::identity::Scope;
use crate::performance::estimate::Sighted;
use crate::query::Ask;

/// What the figures of a range say.
fn said(figures: &Figures, metric: &str) -> Value {
    let sums = &figures.sums;
    let rate = match metric {
        "impressions" => return json!(sums.impressions),
        "downloads" => return json!(figures.downloads),
        "reach_device" => return json!(figures.reach_device),
        "reach_household" => return json!(sums.households),
        "visits" => return credited(sums.visits_micro),
        "leads" => return credited(sums.leads_micro),
        "conversions" => return credited(sums.conversions_micro),
        "unattributed_conversions" => return json!(figures.unattributed),
        "revenue" => return json!(sums.revenue),
        "spend" => return json!(sums.spend),
        "pacing" => return json!(figures.pacing),
        "frequency" => figures.frequency(),
        "cpm" => sums.cpm(),
        "cpv" => sums.cpv(),
        "cpl" => sums.cpl(),
        "cpa" => sums.cpa(),
        "aov" => sums.aov(),
        "conversion_rate" => sums.conversion_rate(),
        "roas" => sums.roas(),
        "roi" => sums.roi(),
        other => panic!("no figure is called {other}"),
    };
    json!(rate.value)
}

/// The metrics, as the refusal of another names them.
async fn metrics(account: &Account<'_>, play: &Play) -> Vec<String> {
    let path = format!("/v1/campaigns/{}/timeseries?metric=mood", play.campaign);
    let refused = account.get(&path).await.refused(422, "invalid_fields").json();
    let detail = refused["errors"][0]["detail"].as_str().unwrap().to_owned();
    detail.strip_prefix("expected one of ").unwrap().split(", ").map(str::to_owned).collect()
}

/// Three requests of which a prefix redirect saw nothing but the address: two listeners, one on two days.
pub(super) fn sighted(play: &Play) -> Vec<Row> {
    let seen = |(offset, when, listener): (i64, &'static str, u8)| {
        Row::from([
            ("offset", offset.into()),
            ("event_id", format!("seen-{offset}").as_str().into()),
            ("occurred_at", at(when).into()),
            ("podcast_id", play.podcast.as_str().into()),
            ("episode_id", "one".into()),
            ("listener", Cell::Hash(listener)),
            ("source", "prefix".into()),
            ("verdict", "filtered".into()),
            ("reason", "below_threshold".into()),
        ])
    };
    [(40_i64, "20T10:00", 1_u8), (41, "21T03:00", 1), (42, "21T03:30", 2), (43, "21T05:00", 2)].map(seen).into()
}

#[tokio::test]
async fn every_bucket_is_the_figure_of_its_range() {
    let bench = Bench::new().await;
    let (account, play) = bench.play("buckets").await;
    account.commit(vec![(Table::Requests, sighted(&play))]).await;
    let metrics = metrics(&account, &play).await;
    assert_eq!(metrics.len(), 21);
    let id = play.campaign.parse().unwrap();
    let campaign = bench.app.catalogue.campaign(account.account(), id).await.unwrap();
    let estimate = Sighted::of(&bench.app, account.account(), &campaign.terms).await.unwrap().unwrap();
    let ask = Ask::newest(&bench.app, Scope::Account(account.account())).await.unwrap().keeping();
    for (name, step, buckets) in [("1d", 24 * HOUR, 6), ("6h", 6 * HOUR, 22)] {
        let first = Micros(at("19T00:00"));
        let mut ranges = Vec::new();
        for number in 0..buckets {
            let start = first.plus(number * step);
            let question = Question::range((id, &campaign.terms), (start, start.plus(step)), NOW);
            let estimated = estimate.read(&ask, &question).await.unwrap();
            ranges.push((Figures::read(&ask, &question).await.unwrap(), estimated));
        }
        for metric in &metrics {
            let range = format!("from={first}&to={}&step={name}", first.plus(buckets * step));
            let path = format!("/v1/campaigns/{}/timeseries?metric={metric}&{range}", play.campaign);
            let series = account.get(&path).await.is(200).json();
            assert_eq!(series["items"].as_array().unwrap().len(), ranges.len());
            for ((figures, estimated), bucket) in ranges.iter().zip(series["items"].as_array().unwrap()) {
                let expected = match metric.as_str() {
                    "impressions_prefix_estimated" => json!(estimated),
                    metric => said(figures, metric),
                };
                let values = (bucket["value"].as_f64(), expected.as_f64());
                let same = match values {
                    (Some(value), Some(expected)) => (value - expected).abs() < 1e-9,
                    (value, expected) => value.is_none() && expected.is_none(),
                };
                assert!(same, "{metric} of {} by {name}: {values:?}", bucket["t"]);
            }
        }
    }
}

#[tokio::test]
async fn what_is_distinct_is_so_within_its_bucket_and_nothing_is_0_or_null() {
    let bench = Bench::new().await;
    let (account, play) = bench.play("distinct").await;
    account.commit(vec![(Table::Requests, sighted(&play))]).await;
    let series = async |metric: &str| {
        let range = "from=2026-11-19&to=2026-11-24";
        let path = format!("/v1/campaigns/{}/timeseries?metric={metric}&{range}", play.campaign);
        let items = account.get(&path).await.is(200).json()["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["value"].clone()).collect::<Vec<Value>>()
    };
    // Listener 1 on both days, listener 2 on the second.
    assert_eq!(json!(series("reach_device").await), json!([0, 1, 2, 0, 0]));
    assert_eq!(json!(series("frequency").await), json!([null, 1.0, 1.0, null, null]));
    assert_eq!(json!(series("unattributed_conversions").await), json!([0, 0, 0, 1, 0]));
    assert_eq!(json!(series("impressions_prefix_estimated").await), json!([0, 1, 2, 0, 0]));
    // A household converts in a bucket in which it was reached.
    assert_eq!(json!(series("conversion_rate").await), json!([null, 0.0, 0.0, null, null]));
    let pacing = series("pacing").await;
    assert!(pacing.windows(2).skip(2).all(|two| two[1].as_f64() < two[0].as_f64()), "cumulated: {pacing:?}");
}

#[tokio::test]
async fn the_document_names_every_metric() {
    let bench = Bench::new().await;
    let (account, play) = bench.play("named").await;
    let document = bench.call("GET /openapi.json", &[], "").await.is(200).json();
    let parameters = &document["paths"]["/v1/campaigns/{id}/timeseries"]["get"]["parameters"];
    let metric = parameters.as_array().unwrap().iter().find(|parameter| parameter["name"] == "metric").unwrap();
    for name in metrics(&account, &play).await {
        let named = metric["description"].as_str().unwrap().contains(&format!("`{name}`"));
        assert!(named, "{name} is not in {metric}");
    }
}
