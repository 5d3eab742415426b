//! From sign-up to the ROI report, and every figure on the way.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::figures::{Figures, Play, campaign_json, conversion_json};
use crate::oracle::access_log::date_of;
use crate::oracle::credit::MODELS;
use crate::support::check::{compare_downloads, compare_verdicts};
use crate::support::client::Account;
use crate::support::feed_host::{FeedHost, rss};
use crate::support::server::{Server, command};
use crate::support::traffic::{episodes, oracle, to_json};
use crate::support::until;

/// Accents, markup, and what a spreadsheet would run.
const NAME: &str = "=1+1 Café <b>Übergröße</b>";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_sign_up_to_the_report() {
    let host = FeedHost::start().await;
    let server = Server::start().await;
    let account = server.client().sign_up("walk").await;
    let podcast = account.connect(&host.publish("/feed.xml", &rss("Walk", &episodes()))).await;
    let listed = account.list(&format!("/v1/podcasts/{podcast}/episodes")).await;
    assert_eq!(listed.len(), episodes().len(), "{listed:?}");

    let play = Play::new(&podcast);
    let mut ids = Vec::new();
    for (number, name) in [NAME, "The other one"].into_iter().enumerate() {
        ids.push(launch(&account, &play, number, name).await);
    }
    let records: Vec<Value> = play.requests.iter().map(to_json).collect();
    account.post_all("/v1/listener-requests", &records).await;
    let conversions: Vec<Value> = play.conversions.iter().map(conversion_json).collect();
    account.post_all("/v1/conversions", &conversions).await;
    account.post_all("/v1/conversions", &conversions[..2]).await;
    let accepted = u64::try_from(records.len() + conversions.len() + 2).expect("a count");
    let balance = account.settled(accepted).await;
    assert_eq!(balance["accepted"], accepted, "{balance}");

    let judge = oracle(&podcast);
    let judged = judge.judge(&play.requests);
    compare_verdicts(&account, &play.requests, &judged).await;
    compare_downloads(&account, &podcast, &judge, &play.requests, &judged).await;
    for (number, id) in ids.iter().enumerate() {
        for model in MODELS {
            performance(&account, id, model, &play.figures(number, model)).await;
        }
        timeseries(&account, id, &play, number).await;
    }
    sql_agrees(&account, &ids[0], &play.figures(0, "last")).await;
    report(&account, &ids[0], &play).await;
    command_line(&server, &play.requests[0].id);
    server.finish().await;
}

/// Creates, completes and launches a campaign.
pub(crate) async fn launch(account: &Account, play: &Play, number: usize, name: &str) -> String {
    let campaign = &play.campaigns[number];
    let created = account.client.post("/v1/campaigns", &campaign_json(campaign, name)).await.is(201).json();
    assert_eq!(created["state"], "draft");
    let id = created["id"].as_str().expect("an id").to_owned();
    let too_early = account.client.post(&format!("/v1/campaigns/{id}/launch"), &json!({})).await;
    let problem = too_early.problem(409, "wrong_state").text();
    assert!(problem.contains("attribution"), "it says what is missing: {problem}");
    let attribution = json!({"promo_codes": campaign.promo_codes, "pixel": "off"});
    let set = account.client.put(&format!("/v1/campaigns/{id}/attribution"), &attribution).await.is(200);
    let set = set.json();
    assert!(set["complete"] == true || set["attribution"]["complete"] == true, "{set}");
    let launched = account.client.post(&format!("/v1/campaigns/{id}/launch"), &json!({})).await.is(200).json();
    assert_eq!(launched["state"], "active", "its flight has begun");
    id
}

fn amount(value: &Value) -> i64 {
    value["amount"].as_i64().or_else(|| value.as_i64()).unwrap_or_else(|| panic!("no amount: {value}"))
}

fn near(actual: &Value, expected: f64, what: &str) {
    let actual = actual.as_f64().unwrap_or_else(|| panic!("{what} is {actual}"));
    assert!((actual - expected).abs() <= 1e-5 * expected.abs().max(1.0), "{what}: {actual}, expected {expected}");
}

async fn performance(account: &Account, id: &str, model: &str, expected: &Figures) {
    let path = format!("/v1/campaigns/{id}/performance?period=flight&model={model}&window=utc_day");
    let actual = until("the figures are there", async || {
        let answer = account.client.get(&path).await.is(200).json();
        (answer["impressions"].as_u64() == u64::try_from(expected.impressions).ok()
            && amount(&answer["revenue"]) == expected.revenue)
            .then_some(answer)
    })
    .await;
    let count = |value: usize| json!(value);
    assert_eq!(actual["impressions"], count(expected.impressions), "{path}");
    assert_eq!(actual["reach_device"], count(expected.reach.0), "{path}");
    assert_eq!(actual["reach_household"], count(expected.reach.1), "{path}");
    assert_eq!(actual["unattributed_conversions"], count(expected.unattributed), "{path}");
    assert_eq!(amount(&actual["revenue"]), expected.revenue, "{path}");
    assert_eq!(amount(&actual["spend"]), expected.spend, "{path}");
    near(&actual["conversions"], expected.conversions, "conversions");
    let (revenue, spend) = (amount(&actual["revenue"]), amount(&actual["spend"]));
    let ratio =
        |above: i64| f64::from(i32::try_from(above).expect("small")) / f64::from(i32::try_from(spend).expect("small"));
    near(&actual["roas"]["value"], ratio(revenue), "roas");
    near(&actual["roi"]["value"], ratio(revenue - spend), "roi");
    assert_eq!(actual["thin"], true, "fewer than ten conversions");
    if expected.roas_bounds.0 > 0.0 && expected.roas_bounds.1 > 0.0 {
        let (low, high) = (actual["roas"]["low"].as_f64(), actual["roas"]["high"].as_f64());
        assert!(low <= actual["roas"]["value"].as_f64() && actual["roas"]["value"].as_f64() <= high, "{actual}");
    }
}

/// The buckets add up to the total.
async fn timeseries(account: &Account, id: &str, play: &Play, number: usize) {
    let flight = play.campaigns[number].flight;
    let range = format!("from={}&to={}", date_of(flight.0), date_of(flight.1 + 1));
    let path = format!("/v1/campaigns/{id}/timeseries?metric=impressions&{range}&step=1h");
    let answer = account.client.get(&path).await.is(200).json();
    let buckets = answer["items"].as_array().expect("items");
    assert!(!buckets.is_empty() && buckets.len() <= 5_000, "{} buckets", buckets.len());
    let total: f64 = buckets.iter().map(|bucket| bucket["value"].as_f64().expect("empty buckets are 0")).sum();
    let expected = u32::try_from(play.figures(number, "last").impressions).expect("few");
    assert!((total - f64::from(expected)).abs() < 1e-9, "{path}: {total}, expected {expected}");
}

/// SQL over the tables gives the same figures.
async fn sql_agrees(account: &Account, id: &str, expected: &Figures) {
    let revenue = format!("SELECT SUM(revenue_minor) FROM credits WHERE campaign_id = '{id}' AND model = 'last'");
    assert_eq!(account.sql_number(&revenue).await, expected.revenue);
    let delivered = format!("SELECT COUNT(*) FROM ad_deliveries WHERE campaign_id = '{id}'");
    assert_eq!(usize::try_from(account.sql_number(&delivered).await).ok(), Some(expected.impressions));
}

/// The report in each format; what it prints is what its own SQL answers.
async fn report(account: &Account, campaign: &str, play: &Play) {
    let flight = play.campaigns[0].flight;
    let body = json!({
        "kind": "roi", "campaign_id": campaign, "from": date_of(flight.0), "to": date_of(flight.1 + 1)
    });
    let job = account.client.post("/v1/reports", &body).await.is(202).json();
    let id = job["id"].as_str().expect("an id").to_owned();
    until("the report is ready", async || {
        let job = account.client.get(&format!("/v1/reports/{id}")).await.is(200).json();
        assert_ne!(job["state"], "failed", "{job}");
        (job["state"] == "ready").then_some(())
    })
    .await;
    let file =
        async |format: &str| account.client.get(&format!("/v1/reports/{id}/download?format={format}")).await.is(200);
    let document = file("json").await.json();
    let mut queries = Vec::new();
    collect_queries(&document, &mut queries);
    assert!(!queries.is_empty(), "no figure of the report says how to reproduce it");
    for (sql, printed) in queries {
        let rows = account.sql(&sql).await;
        let Some(printed) = printed else { continue };
        let value = rows.first().and_then(|row| row.first()).cloned().unwrap_or_default();
        match (value.as_f64(), printed.as_f64()) {
            (Some(value), Some(printed)) => {
                assert!((value - printed).abs() < 1e-9, "{sql}: {value}, printed {printed}");
            }
            _ => assert_eq!(value, printed, "{sql}"),
        }
    }
    let csv = file("csv").await.text();
    assert!(csv.contains("Café"), "{csv}");
    assert!(!csv.split(['\n', ',']).any(|cell| cell.trim_matches('"').starts_with('=')), "a formula in {csv}");
    pdf(&file("pdf").await.body, &play.figures(0, "last"));
}

/// Pairs of a query and the value beside it.
fn collect_queries(value: &Value, found: &mut Vec<(String, Option<Value>)>) {
    match value {
        Value::Object(fields) => {
            if let Some(sql) = fields.get("sql").and_then(Value::as_str) {
                let printed = fields.get("value").filter(|value| value.is_number()).cloned();
                found.push((sql.to_owned(), printed));
            }
            fields.values().for_each(|field| collect_queries(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_queries(item, found)),
        _ => {}
    }
}

/// Selectable text with accents, figures and the method.
fn pdf(bytes: &[u8], expected: &Figures) {
    assert!(bytes.starts_with(b"%PDF-"), "no PDF");
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("report.pdf");
    std::fs::write(&path, bytes).expect("the report can be kept");
    let text = pdf_text(&path);
    for part in ["Café", "UTC", "SELECT"] {
        assert!(text.contains(part), "no {part} in the report:\n{text}");
    }
    let revenue = format!("{}.{:02}", expected.revenue / 100, expected.revenue % 100);
    assert!(text.replace(',', "").contains(&revenue), "no revenue of {revenue} in the report:\n{text}");
}

fn pdf_text(path: &Path) -> String {
    let run = Command::new("pdftotext").arg("-layout").arg(path).arg("-").output();
    let output = run.expect("pdftotext is installed (package poppler-utils; tests/run installs it)");
    assert!(output.status.success(), "pdftotext: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The clients of a running server, with the operator's key from the data directory.
fn command_line(server: &Server, event_id: &str) {
    let run = |arguments: &[&str]| {
        let key = std::fs::read_to_string(server.data().join("operator-key")).expect("the operator's key");
        command()
            .args(arguments)
            .env("CASTBACK_URL", server.client().base())
            .env("CASTBACK_API_KEY", key.trim())
            .output()
            .expect("the binary starts")
    };
    let answer = run(&["sql", "SELECT COUNT(*) AS records FROM ledger"]);
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    assert!(String::from_utf8_lossy(&answer.stdout).contains("records"));
    let why = run(&["why", event_id]);
    assert!(why.status.success(), "{}", String::from_utf8_lossy(&why.stderr));
    assert!(String::from_utf8_lossy(&why.stdout).contains("counted"));
    let refused = run(&["sql", "DROP TABLE ledger"]);
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(run(&["no-such-command"]).status.code(), Some(2));
}
