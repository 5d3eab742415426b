//! Figures against what was reckoned by hand, and against their own SQL.

use std::sync::Arc;

use castback_rules::credit::Model;
use castback_rules::window::Window;
use castback_schemas::table::Table;
use castback_schemas::time::DAY;
use castback_store::Compactor;
use serde_json::{Value, json};

use super::committed::{Cell, Row, at};
use super::play::NAME;
use super::{Account, Bench, NOW};
use crate::figures::{Figures, Heard, NAMED, Question, shown};
use crate::identity::Scope;
use crate::query::Ask;
use crate::render::Value as Shown;

fn near(actual: &Value, expected: f64) {
    let actual = actual.as_f64().unwrap_or_else(|| panic!("{actual} is no number"));
    assert!((actual - expected).abs() < 1e-9, "{actual}, expected {expected}");
}

#[tokio::test]
async fn what_a_pixel_tells_of_and_is_only_shown_is_no_revenue() {
    let bench = Bench::new().await;
    let account = bench.sign_up("pixel").await;
    let body = json!({
        "name": "shown", "data_set_ids": ["shop"], "starts_on": "2026-11-18", "ends_on": "2026-11-27",
        "budget": {"amount": 100_000, "currency": "USD"}, "attribution": {"pixel": "shown"},
    });
    let campaign = account.post("/v1/campaigns", &body).await.is(201).json()["id"].as_str().unwrap().to_owned();
    let told = |offset: i64, kind: &str, value: i64, verdict: &str| {
        Row::from([
            ("offset", offset.into()),
            ("event_id", format!("shop/{offset}").as_str().into()),
            ("occurred_at", at("20T10:00").into()),
            ("data_set_id", "shop".into()),
            ("conversion_id", format!("{offset}").as_str().into()),
            ("event_type", kind.into()),
            ("value_minor", value.into()),
            ("currency", "USD".into()),
            ("campaign_id", campaign.as_str().into()),
            ("source", "pixel".into()),
            ("verdict", verdict.into()),
        ])
    };
    let rows = vec![
        told(0, "purchase", 5_000, "counted"),
        told(1, "refund", 1_500, "counted"),
        told(2, "purchase", 9_000, "duplicate"),
        told(3, "lead", 700, "counted"),
    ];
    account.commit(vec![(Table::Conversions, rows)]).await;
    let performance = account.get(&format!("/v1/campaigns/{campaign}/performance")).await.is(200).json();
    assert_eq!(performance["unverified_revenue"], json!({"amount": 3_500, "currency": "USD"}));
    assert_eq!(performance["revenue"]["amount"], 0);
    assert!(performance["warnings"].to_string().contains("only shown"), "{performance}");
}

#[tokio::test]
async fn performance_is_what_was_reckoned_by_hand() {
    let bench = Bench::new().await;
    let (account, play) = bench.play("hand").await;
    let path = format!("/v1/campaigns/{}/performance", play.campaign);
    let flight = account.get(&path).await.is(200).json();
    for (name, expected) in [
        ("impressions", 3),
        ("downloads", 3),
        ("reach_device", 2),
        ("reach_household", 2),
        ("reach_months", 1),
        ("visits", 1),
        ("leads", 0),
        ("conversions", 2),
        ("unattributed_conversions", 1),
    ] {
        assert_eq!(flight[name], json!(expected), "{name} of {flight}");
    }
    // 3 × 2512 / 1000 = 7.536 → 8.
    assert_eq!(flight["spend"], json!({"amount": 8, "currency": "USD"}));
    assert_eq!(flight["revenue"], json!({"amount": 8_000, "currency": "USD"}));
    assert_eq!(flight["other_currency_revenue"], json!([{"amount": 3_000, "currency": "EUR"}]));
    near(&flight["roas"]["value"], 1_000.0);
    near(&flight["roi"]["value"], 999.0);
    let half = 1.959_964 * (10_000.0_f64.powi(2) + 2_000.0_f64.powi(2)).sqrt();
    near(&flight["roas"]["high"], (8_000.0 + half) / 8.0);
    near(&flight["roas"]["low"], 0.0);
    near(&flight["frequency"]["value"], 1.5);
    near(&flight["conversion_rate"]["value"], 0.5);
    near(&flight["usable_address_share"]["value"], 2.0 / 3.0);
    near(&flight["aov"]["value"], 8_000.0);
    near(&flight["cpa"]["value"], 4.0);
    near(&flight["pacing"]["value"], 8.0 / 100_000.0 / (6.0 + 10.0 / 24.0) * 10.0);
    assert_eq!(
        (&flight["thin"], &flight["final"], &flight["window"]),
        (&json!(true), &json!(false), &json!("utc_day"))
    );
    assert_eq!(flight["warnings"].as_array().unwrap().len(), 2, "{flight}");
    let first = account.get(&format!("{path}?window=first_touch_24h&model=equal")).await.is(200).json();
    assert_eq!((&first["impressions"], &first["window"]), (&json!(4), &json!("first_touch_24h")));
    let last = account.get(&format!("{path}?window=last_touch_24h")).await.is(200).json();
    assert_eq!(last["impressions"], json!(2));
    let day = account.get(&format!("{path}?period=24h")).await.is(200).json();
    assert_eq!((&day["impressions"], &day["visits"], &day["spend"]["amount"]), (&json!(0), &json!(1), &json!(0)));
    assert_eq!(day["from"], json!("2026-11-23T10:00:00Z"));
    assert!(day["roas"]["value"].is_null());
    account.get(&format!("{path}?period=1y")).await.refused(422, "invalid_fields");
}

#[tokio::test]
async fn what_only_a_prefix_redirect_saw_is_estimated_and_no_impression() {
    let bench = Bench::new().await;
    let account = bench.sign_up("prefix").await;
    let podcast = account.podcast("prefix").await;
    let seen = |offset: i64, when: &str, listener: u8, (source, reason): (&str, &str)| {
        Row::from([
            ("offset", offset.into()),
            ("event_id", format!("seen-{offset}").as_str().into()),
            ("occurred_at", at(when).into()),
            ("podcast_id", podcast.as_str().into()),
            ("episode_id", "one".into()),
            ("listener", Cell::Hash(listener)),
            ("source", source.into()),
            ("verdict", "filtered".into()),
            ("reason", reason.into()),
        ])
    };
    let rows = vec![
        seen(0, "20T10:00", 1, ("prefix", "below_threshold")),
        seen(1, "20T23:59", 1, ("prefix", "below_threshold")),
        seen(2, "21T00:00", 1, ("prefix", "below_threshold")),
        seen(3, "21T00:00", 2, ("prefix", "below_threshold")),
        seen(4, "21T01:00", 3, ("prefix", "bot")),
        seen(5, "21T01:00", 4, ("api", "below_threshold")),
        seen(6, "30T01:00", 5, ("prefix", "below_threshold")),
    ];
    account.commit(vec![(Table::Requests, rows)]).await;
    let placement = json!({"id": "pre", "position": "pre_roll"});
    let elsewhere = json!({"id": "mid", "position": "mid_roll", "episode_guids": ["another"]});
    let dynamic = json!({"id": "dynamic", "position": "mid_roll", "dynamic": true});
    for (placements, expected) in [
        (json!([placement, elsewhere, dynamic]), 3),
        (json!([placement, {"id": "post", "position": "post_roll"}]), 6),
        (json!([dynamic]), 0),
    ] {
        let body = json!({
            "name": "prefix", "podcast_ids": [podcast], "starts_on": "2026-11-18", "ends_on": "2026-11-27",
            "currency": "USD", "placements": placements,
        });
        let campaign = account.post("/v1/campaigns", &body).await.is(201).json()["id"].as_str().unwrap().to_owned();
        let performance = account.get(&format!("/v1/campaigns/{campaign}/performance")).await.is(200).json();
        assert_eq!(performance["impressions_prefix_estimated"], expected, "{placements}");
        assert_eq!(performance["impressions"], 0);
    }
}

/// Columns of a stored table that a plan reads, by the lines of EXPLAIN.
fn named(plan: &str, table: &str) -> Vec<String> {
    let scan = format!("TableScan: {table} projection=[");
    let scans = plan.split(&scan).skip(1);
    let columns = scans.filter_map(|rest| rest.split_once(']')).flat_map(|(columns, _)| columns.split(", "));
    columns.map(str::to_owned).collect()
}

#[tokio::test]
async fn what_the_statements_of_a_question_name_is_kept_for_the_next() {
    let bench = Bench::new().await;
    let (account, play) = bench.play("kept").await;
    let id = play.campaign.parse().unwrap();
    let campaign = bench.app.catalogue.campaign(account.account(), id).await.unwrap();
    let ask = Ask::newest(&bench.app, Scope::Account(account.account())).await.unwrap();
    let question = Question::flight((id, &campaign.terms), NOW);
    let mut statements = question.statements().to_vec();
    statements.extend([question.delivered_by(DAY), question.credited_by(DAY), question.delivered_before()]);
    statements.extend([
        question.by_episode(10),
        question.by_type(),
        question.in_windows(),
        question.reach_by("listener", DAY),
    ]);
    let mut scans = 0;
    for statement in &statements {
        let plan = ask.one(&format!("EXPLAIN {statement}")).await.unwrap().text(0, "plan").to_owned();
        for (table, kept) in NAMED {
            let names = named(&plan, table.name());
            scans += usize::from(!names.is_empty());
            let missing: Vec<_> = names.iter().filter(|name| !kept.contains(&name.as_str())).collect();
            assert!(missing.is_empty(), "{missing:?} of {} in {statement}", table.name());
        }
    }
    assert!(scans >= statements.len(), "{scans} scans were found in {} statements", statements.len());
}

#[tokio::test]
async fn only_who_asks_several_statements_reads_more_than_the_first_of_them_names() {
    let bench = Bench::new().await;
    let (account, _) = bench.play("several").await;
    let app = &bench.app;
    let (clock, ids) = (Arc::clone(&app.clock), Arc::clone(&app.ids));
    Compactor::new(app.store.clone(), app.catalogue.clone(), clock, ids).run().await.unwrap();
    let ask = async || Ask::newest(app, Scope::Account(account.account())).await.unwrap();
    let (single, several) = (ask().await, ask().await.keeping());
    for ask in [&single, &several] {
        assert_eq!(ask.one("SELECT campaign_id FROM ad_deliveries").await.unwrap().len(), 4);
    }
    std::fs::remove_dir_all(bench.folder.path().join("objects")).unwrap();
    let other = "SELECT household FROM ad_deliveries";
    assert!(single.one(other).await.is_err(), "it was read for nobody");
    assert_eq!(several.one(other).await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_view_is_loaded_again_only_after_a_commit() {
    let bench = Bench::new().await;
    let (account, play) = bench.play("views").await;
    let (reads, catalogue) = (&bench.app.reads, &bench.app.catalogue);
    let (first, _) = reads.pinned_with_units(catalogue).await.unwrap();
    let (same, _) = reads.pinned_with_units(catalogue).await.unwrap();
    assert!(Arc::ptr_eq(&first, &same) && Arc::ptr_eq(&first, &reads.pinned(catalogue).await.unwrap()));
    account.commit(play.later()).await;
    let (newer, units) = reads.pinned_with_units(catalogue).await.unwrap();
    assert!(newer.revision() > first.revision());
    assert_eq!(units, catalogue.units().await.unwrap());
}

#[tokio::test]
async fn every_figure_is_what_its_sql_answers() {
    let bench = Bench::new().await;
    let (account, play) = bench.play("sql").await;
    let id = play.campaign.parse().unwrap();
    let mut campaign = bench.app.catalogue.campaign(account.account(), id).await.unwrap();
    let ask = Ask::newest(&bench.app, Scope::Account(account.account())).await.unwrap();
    for flat in [false, true] {
        if flat {
            campaign.terms.price_model = Some(castback_schemas::campaign::PriceModel::Flat(77_777));
        }
        for (heard, model) in [(Heard::Chosen, Model::Last), (Heard::Window(Window::FirstTouch), Model::Equal)] {
            let question = Question::flight((id, &campaign.terms), NOW).by(heard, model);
            let figures = Figures::read(&ask, &question).await.unwrap();
            for figure in shown(&figures, &question) {
                let answer = ask.one(&figure.sql).await.unwrap_or_else(|problem| panic!("{problem:?}: {}", figure.sql));
                assert_eq!(answer.len(), 1, "{}", figure.sql);
                match figure.value {
                    Shown::Count(count) => near(&json!(count), answer.first_real().unwrap()),
                    Shown::Money(money) => assert_eq!(answer.first_int(), money.amount, "{}", figure.sql),
                    Shown::Rate(rate) | Shown::Percent(rate) => near(&json!(rate), answer.first_real().unwrap()),
                    Shown::Null => assert_eq!(answer.first_real(), None, "{}", figure.sql),
                    other => panic!("{}: {other:?}", figure.label),
                }
            }
        }
    }
}

#[tokio::test]
async fn a_series_adds_up_to_the_whole() {
    let bench = Bench::new().await;
    let (account, play) = bench.play("series").await;
    let series = async |query: &str| {
        let path = format!("/v1/campaigns/{}/timeseries?from=2026-11-18&to=2026-11-28&{query}", play.campaign);
        account.get(&path).await.is(200).json()["items"].as_array().unwrap().clone()
    };
    let values =
        |items: Vec<Value>| items.iter().map(|item| item["value"].as_f64().unwrap_or(-1.0)).collect::<Vec<_>>();
    let impressions = values(series("metric=impressions&step=1h").await);
    assert_eq!(impressions.len(), 240);
    near(&json!(impressions.iter().sum::<f64>()), 3.0);
    assert_eq!(values(series("metric=revenue").await), [0.0, 0.0, 0.0, 0.0, 8_000.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    // 2.512 → 3, then 7.536 → 8 less 3: buckets add up to the whole.
    assert_eq!(values(series("metric=spend").await)[..4], [0.0, 0.0, 3.0, 5.0]);
    assert_eq!(values(series("metric=roas").await)[..4], [-1.0, -1.0, 0.0, 0.0], "null for a rate of nothing");
    let path = format!("/v1/campaigns/{}/timeseries?from=2020-01-01&step=1m", play.campaign);
    account.get(&path).await.refused(422, "invalid_fields");
}

#[tokio::test]
async fn the_grid_at_the_campaigns_own_look_back_is_the_stored_credit() {
    let bench = Bench::new().await;
    let (account, play) = bench.play("grid").await;
    let grid = account.get(&format!("/v1/campaigns/{}/attribution", play.campaign)).await.is(200).json();
    let cell = |model: &str, days: u64| {
        let cells = grid["items"].as_array().unwrap();
        let cell = cells.iter().find(|cell| cell["model"] == model && cell["lookback_days"] == days).unwrap();
        (cell["conversions"].clone(), cell["revenue"]["amount"].clone())
    };
    for model in Model::ALL {
        assert_eq!(cell(model.name(), 30), (json!(2), json!(8_000)), "{}", model.name());
    }
    // Within a day of the purchase on the 22nd lies one ad, before that on the 23rd none.
    assert_eq!(cell("last", 1), (json!(1), json!(8_000)));
}

#[tokio::test]
async fn downloads_by_everything() {
    let bench = Bench::new().await;
    let (account, play) = bench.play("downloads").await;
    let get = async |query: &str| {
        let path = format!("/v1/podcasts/{}/downloads?from=2026-11-18&to=2026-11-24&{query}", play.podcast);
        account.get(&path).await.is(200).json()
    };
    let total = get("by=total").await;
    assert_eq!((&total["total"], &total["listeners"], &total["prefix_estimated"]), (&json!(13), &json!(12), &json!(0)));
    let all = json!([{"key": "total", "label": "total", "downloads": 13, "listeners": 12}]);
    assert_eq!(total["items"], all, "who heard two is one listener");
    let days = get("by=day").await;
    let expected = json!([
        {"key": "2026-11-20", "label": "2026-11-20", "downloads": 1, "listeners": 1},
        {"key": "2026-11-21", "label": "2026-11-21", "downloads": 12, "listeners": 12},
    ]);
    assert_eq!(days["items"], expected);
    assert_eq!(get("by=app").await["items"][0]["key"], "Player");
    assert_eq!(get("by=country&window=first_touch_24h").await["items"][0]["downloads"], 13);
    let families = bench.app.registry.gather();
    let value = families.iter().find(|family| family.name() == "castback_time_to_first_value_seconds").unwrap();
    assert_eq!(value.get_metric()[0].get_histogram().get_sample_count(), 1, "of many answers, the first");
    assert_eq!(get("window=last_touch_24h").await["total"], 0);
    account.get(&format!("/v1/podcasts/{}/downloads?by=mood", play.podcast)).await.refused(422, "invalid_fields");
}

#[tokio::test]
async fn the_page_shows_the_figures_and_nothing_acts() {
    let bench = Bench::new().await;
    let (account, _) = bench.play("page").await;
    let page = account.get("/").await.is(200);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    let text = page.text();
    for part in ["80.00 USD", "Café &lt;b&gt;", "1,000.00", "balanced", "&lt;script&gt;agent", "first_touch_24h", "bot"]
    {
        assert!(text.contains(part), "no {part} in {text}");
    }
    assert!(!text.contains("<script") && !text.contains("<b>"), "{text}");
    let signed_out = bench.call("GET /", &[], "").await.is(200).text();
    assert!(signed_out.contains("Sign in") && !signed_out.contains("Café"));
    let empty = bench.sign_up("empty").await;
    assert!(empty.get("/").await.is(200).text().contains("No campaign yet"));
    bench.call("GET /style.css", &[], "").await.is(200);
}

#[tokio::test]
async fn nobody_sees_another_accounts_figures() {
    let bench = Bench::new().await;
    let (_, play) = bench.play("owner").await;
    let (stranger, _) = bench.play("stranger").await;
    for path in ["performance", "timeseries", "attribution"] {
        stranger.get(&format!("/v1/campaigns/{}/{path}", play.campaign)).await.refused(404, "not_found");
    }
    stranger.get(&format!("/v1/podcasts/{}/downloads", play.podcast)).await.refused(404, "not_found");
    let own = stranger.get("/v1/conversions").await.is(200).json();
    assert_eq!(own["items"].as_array().unwrap().len(), 5);
    let page = stranger.get(&format!("/?campaign={}", play.campaign)).await.is(200).text();
    assert!(!page.contains(&play.campaign), "the page shows one's own campaign");
    let report = json!({"kind": "roi", "campaign_id": play.campaign, "from": "2026-11-18", "to": "2026-11-28"});
    stranger.post("/v1/reports", &report).await.refused(404, "not_found");
    let ask = Ask::newest(&bench.app, Scope::Account(stranger.account())).await.unwrap();
    let campaigns = ask.one("SELECT DISTINCT campaign_id FROM ad_deliveries").await.unwrap();
    assert!((0..campaigns.len()).all(|row| campaigns.text(row, "campaign_id") != play.campaign));
    let all = Ask::newest(&bench.app, Scope::All).await.unwrap();
    assert_eq!(all.one("SELECT count(*) FROM ad_deliveries").await.unwrap().first_int(), 8, "an operator sees both");
}

/// Pages of one item hold together what a page of all holds.
async fn paged(account: &Account<'_>, path: &str, all: usize) {
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = account.get(&format!("{path}limit=2{cursor}")).await.is(200).json();
        found
            .extend(page["items"].as_array().unwrap().iter().map(|item| item["event_id"].as_str().unwrap().to_owned()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let distinct: std::collections::BTreeSet<_> = found.iter().collect();
    assert_eq!((found.len(), distinct.len()), (all, all), "{found:?}");
}

#[tokio::test]
async fn conversions_come_page_by_page_with_their_credit() {
    let bench = Bench::new().await;
    let (account, play) = bench.play("pages").await;
    paged(&account, "/v1/conversions?", 5).await;
    paged(&account, &format!("/v1/conversions?campaign_id={}&", play.campaign), 4).await;
    let visits = account.get("/v1/conversions?event_type=visit").await.is(200).json();
    assert_eq!(visits["items"][0]["credits"].as_array().unwrap().len(), 4, "{visits}");
    for unread in ["cursor=x", "cursor=1.2", "cursor=1.2.'", "sort=value", "limit=0", "state=counted"] {
        account.get(&format!("/v1/conversions?{unread}")).await.refused(422, "invalid_fields");
    }
    let (own, operator) = (account.get("/v1/conversions").await.is(200).json(), bench.operator().await);
    assert_eq!(own["items"][0]["account_id"], account.id);
    for path in ["/v1/conversions?account=all".to_owned(), format!("/v1/conversions?account={}", account.id)] {
        assert_eq!(operator.get(&path).await.is(200).json()["items"], own["items"], "{path}");
    }
    paged(&operator, &format!("/v1/conversions?account=all&campaign_id={}&", play.campaign), 4).await;
    assert!(NAME.starts_with('='), "the name is one that a spreadsheet would run");
}

/// The data of the next event of a stream.
async fn event(body: &mut axum::body::Body) -> Option<Value> {
    use http_body_util::BodyExt;
    loop {
        let frame = tokio::time::timeout(std::time::Duration::from_mins(1), body.frame()).await.unwrap()?.unwrap();
        let text = String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap();
        if let Some(data) = text.lines().find_map(|line| line.strip_prefix("data: ")) {
            return Some(serde_json::from_str(data).unwrap());
        }
    }
}

async fn streamed(account: &Account<'_>, path: &str) -> axum::body::Body {
    let request = http::Request::get(path)
        .header("authorization", format!("Bearer {}", account.key))
        .header("accept", "text/event-stream")
        .body(axum::body::Body::empty())
        .unwrap();
    let response = tower::ServiceExt::oneshot(account.bench.router.clone(), request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    response.into_body()
}

#[tokio::test]
async fn a_stream_tells_what_changed_and_ends_with_the_server() {
    let bench = Bench::new().await;
    let (account, play) = bench.play("stream").await;
    let follow = tokio::spawn(crate::query::follow(bench.app.clone(), bench.app.stopping.clone()));
    let mut body = streamed(&account, &format!("/v1/campaigns/{}/performance", play.campaign)).await;
    assert_eq!(event(&mut body).await.unwrap()["impressions"], 3);
    account.commit(play.later()).await;
    assert_eq!(event(&mut body).await.unwrap()["impressions"], 4);
    bench.app.stopping.cancel();
    assert_eq!(event(&mut body).await, None);
    follow.await.unwrap();
}

#[tokio::test]
async fn an_operator_looks_into_a_topic() {
    let bench = Bench::new().await;
    let (operator, account) = (bench.operator().await, bench.sign_up("sender").await);
    let mut body = streamed(&operator, "/v1/topics/app-events/records").await;
    let sent =
        json!({"events": [{"id": "e1", "type": "page_view", "occurred_at": "2026-11-24T09:00:00Z", "user_id": "u"}]});
    assert_eq!(account.post("/v1/events", &sent).await.is(202).json()["accepted"], 1);
    let record = event(&mut body).await.unwrap();
    assert_eq!((&record["topic"], &record["account_id"]), (&json!("app-events"), &json!(account.id)));
    assert_eq!(
        (&record["value"]["event_id"], &record["value"]["occurred_at"]),
        (&json!("e1"), &json!("2026-11-24T09:00:00Z"))
    );
    bench.app.stopping.cancel();
    assert_eq!(event(&mut body).await, None);
}
