//! Reports from the job to the files; the ledger; dead letters; method.

use std::sync::Arc;

use castback_schemas::edge::seal::seal;
use castback_schemas::table::Table;
use castback_schemas::{Day, Slot, Topic};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::committed::{Cell, Row, at};
use super::play::Play;
use super::series::sighted;
use super::{Account, Bench};
use crate::identity::Scope;
use crate::query::Ask;
use crate::report_jobs;

/// Has a report made and answers its id.
async fn made(account: &Account<'_>, body: Value) -> String {
    let asked = account.post("/v1/reports", &body).await.is(202).json();
    let id = asked["id"].as_str().unwrap().to_owned();
    let stop = CancellationToken::new();
    let maker = tokio::spawn(report_jobs::run(Arc::clone(&account.bench.app), stop.clone()));
    let ready = tokio::time::timeout(std::time::Duration::from_mins(2), async {
        loop {
            let report = account.get(&format!("/v1/reports/{id}")).await.is(200).json();
            assert_ne!(report["state"], "failed", "{report}");
            if report["state"] == "ready" {
                return report;
            }
            tokio::task::yield_now().await;
        }
    });
    let report = ready.await.unwrap();
    assert_eq!((&report["progress"], &report["formats"]), (&json!(100), &json!(["csv", "json", "parquet", "pdf"])));
    stop.cancel();
    maker.await.unwrap().unwrap();
    id
}

/// Pairs of a query and the number beside it.
fn queries(value: &Value, found: &mut Vec<(String, Option<f64>)>) {
    match value {
        Value::Object(fields) => {
            if let Some(sql) = fields.get("sql").and_then(Value::as_str) {
                let value = fields.get("value");
                let amount = value.and_then(|value| value.get("amount")).and_then(Value::as_f64);
                found.push((sql.to_owned(), amount.or_else(|| value.and_then(Value::as_f64))));
            }
            fields.values().for_each(|field| queries(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| queries(item, found)),
        _ => {}
    }
}

async fn prints_what_its_sql_answers(account: &Account<'_>, id: &str) -> Value {
    let document = account.get(&format!("/v1/reports/{id}/download?format=json")).await.is(200).json();
    let mut found = Vec::new();
    queries(&document, &mut found);
    assert!(found.len() > 3, "{document}");
    let ask = Ask::newest(&account.bench.app, Scope::Account(account.account())).await.unwrap();
    for (sql, printed) in found {
        let answer = ask.one(&sql).await.unwrap_or_else(|problem| panic!("{problem:?}: {sql}"));
        if let Some(printed) = printed {
            let value = answer.first_real().unwrap();
            assert!((value - printed).abs() < 1e-9, "{sql}: {value}, printed {printed}");
        }
    }
    document
}

#[tokio::test]
async fn an_roi_report_prints_what_its_sql_answers() {
    let bench = Bench::new().await;
    let (account, play) = bench.play("roi").await;
    let id =
        made(&account, json!({"kind": "roi", "campaign_id": play.campaign, "from": "2026-11-18", "to": "2026-11-28"}))
            .await;
    let document = prints_what_its_sql_answers(&account, &id).await;
    let text = document.to_string();
    for part in ["2026-11-18 to 2026-11-27 (UTC)", "time_decay", "Methodology", "Example & Söhne", "last_touch_24h"] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    let csv = account.get(&format!("/v1/reports/{id}/download?format=csv")).await.is(200).text();
    assert!(csv.contains("Café"), "{csv}");
    assert!(!csv.split(['\n', ',']).any(|cell| cell.trim_matches('"').starts_with('=')), "a formula in {csv}");
    let pdf = account.get(&format!("/v1/reports/{id}/download")).await.is(200);
    assert!(pdf.body.starts_with(b"%PDF-"));
    assert_eq!(pdf.header("content-disposition"), "attachment; filename=\"roi-2026-11-18.pdf\"");
    account.get(&format!("/v1/reports/{id}/download?format=exe")).await.refused(422, "invalid_fields");
    let stranger = bench.sign_up("stranger").await;
    stranger.get(&format!("/v1/reports/{id}/download")).await.refused(404, "not_found");
    let families = bench.app.registry.gather();
    let difference = families.iter().find(|family| family.name() == "castback_roi_difference_minor").unwrap();
    assert_eq!(difference.get_metric()[0].get_gauge().get_value().to_bits(), 0.0_f64.to_bits());
}

#[tokio::test]
async fn an_roi_report_tells_of_prefix_redirects_where_they_saw_anything() {
    let label = "Impressions behind prefix redirects";
    let bench = Bench::new().await;
    let (account, play) = bench.play("nothing").await;
    let wanted =
        |play: &Play| json!({"kind": "roi", "campaign_id": play.campaign, "from": "2026-11-18", "to": "2026-11-28"});
    let id = made(&account, wanted(&play)).await;
    assert!(!prints_what_its_sql_answers(&account, &id).await.to_string().contains(label));
    let bench = Bench::new().await;
    let (account, play) = bench.play("something").await;
    account.commit(vec![(Table::Requests, sighted(&play))]).await;
    let id = made(&account, wanted(&play)).await;
    assert!(prints_what_its_sql_answers(&account, &id).await.to_string().contains(label));
    let csv = account.get(&format!("/v1/reports/{id}/download?format=csv")).await.is(200).text();
    assert!(csv.lines().any(|line| line.contains(label) && line.contains(",3,")), "{csv}");
}

#[tokio::test]
async fn the_other_kinds_print_what_their_sql_answers() {
    let bench = Bench::new().await;
    let (account, play) = bench.play("kinds").await;
    let id = made(&account, json!({"kind": "downloads", "from": "2026-11-18", "to": "2026-11-28"})).await;
    let downloads = prints_what_its_sql_answers(&account, &id).await;
    assert!(downloads.to_string().contains("first_touch_24h"), "{downloads}");
    bench.app.registry.gather();
    let wanted = json!({"kind": "attribution", "from": "2026-11-18", "to": "2026-11-28"});
    account.post("/v1/reports", &wanted).await.refused(422, "invalid_fields");
    let not_ready =
        json!({"kind": "attribution", "campaign_id": play.campaign, "from": "2026-11-18", "to": "2026-11-28"});
    let queued = account.post("/v1/reports", &not_ready).await.is(202).json();
    let path = format!("/v1/reports/{}/download", queued["id"].as_str().unwrap());
    account.get(&path).await.refused(409, "wrong_state");
}

#[tokio::test]
async fn an_attribution_report_prints_what_its_sql_answers() {
    let bench = Bench::new().await;
    let (account, play) = bench.play("attribution").await;
    let body = json!({"kind": "attribution", "campaign_id": play.campaign, "from": "2026-11-18", "to": "2026-11-28"});
    let id = made(&account, body).await;
    let document = prints_what_its_sql_answers(&account, &id).await;
    assert!(document.to_string().contains("Model by look-back"), "{document}");
}

#[tokio::test]
async fn a_month_has_as_many_reports_as_the_tier_allows() {
    let bench = Bench::with(|_| {}).await;
    let account = bench.sign_up("free").await;
    let body = json!({"kind": "downloads", "from": "2026-11-18", "to": "2026-11-28"});
    for _ in 0..2 {
        account.post("/v1/reports", &body).await.is(202);
    }
    let refused = account.post("/v1/reports", &body).await.refused(402, "limit_reached").json();
    assert_eq!((&refused["limit"], &refused["upgrade_to"]), (&json!("reports"), &json!("starter")));
}

#[tokio::test]
async fn the_ledger_says_why_and_balances() {
    let bench = Bench::new().await;
    let (account, _) = bench.play("why").await;
    let why = account.get("/v1/ledger?event_id=request-20").await.is(200).json();
    let row = &why["items"][0];
    assert_eq!(
        (&row["verdict"], &row["reason"], &row["topic"]),
        (&json!("filtered"), &json!("bot"), &json!("listener-requests"))
    );
    assert_eq!(row["history"].as_array().unwrap().len(), 1, "{why}");
    account.get("/v1/ledger?event_id=nothing").await.refused(404, "not_found");
    account.get("/v1/ledger").await.refused(422, "invalid_fields");
    account.get("/v1/ledger?event_id=request-20&topic=conversions").await.refused(422, "invalid_fields");
    let balance = account.get("/v1/ledger/balance").await.is(200).json();
    let counted = [&balance["accepted"], &balance["counted"], &balance["filtered"], &balance["pending"]];
    assert_eq!(counted, [&json!(19), &json!(18), &json!(1), &json!(0)], "{balance}");
    assert_eq!(balance["balanced"], true);
    let one = account.get("/v1/ledger/balance?topic=conversions").await.is(200).json();
    assert_eq!((&one["accepted"], &one["balanced"]), (&json!(5), &json!(true)));
    assert_eq!((&balance["from"], &balance["to"]), (&Value::Null, &Value::Null));
    let inside =
        account.get("/v1/ledger/balance?from=2026-11-24T09:15:00Z&to=2026-11-24T09:30:00Z").await.is(200).json();
    let hour = (&json!("2026-11-24T09:00:00Z"), &json!("2026-11-24T10:00:00Z"));
    assert_eq!((&inside["from"], &inside["to"]), hour, "the hour that was weighed: {inside}");
    let stranger = bench.sign_up("stranger").await;
    stranger.get("/v1/ledger?event_id=request-20").await.refused(404, "not_found");
    assert_eq!(stranger.get("/v1/ledger/balance").await.is(200).json()["accepted"], 0);
    stranger.get("/v1/ledger/balance?account=all").await.refused(403, "forbidden");
}

#[tokio::test]
async fn what_is_past_its_retention_is_left_out_and_said_to_be() {
    let bench = Bench::new().await;
    let (account, play) = bench.play("kept").await;
    let cutoff: castback_schemas::Micros = "2026-11-25".parse().unwrap();
    bench.app.catalogue.keep_from(account.account(), cutoff).await.unwrap();
    for (path, scope) in [("/v1/ledger/balance", &account), ("/v1/ledger/balance?account=all", &bench.operator().await)]
    {
        let balance = scope.get(path).await.is(200).json();
        assert_eq!((&balance["kept_from"], &balance["balanced"]), (&json!("2026-11-25T00:00:00Z"), &json!(true)));
        assert_eq!(balance["accepted"], 5, "conversions are kept for life: {balance}");
    }
    let unknown = account.get("/v1/ledger?event_id=nothing").await.refused(404, "not_found").json();
    assert!(unknown["detail"].as_str().unwrap().contains("before 2026-11-25T00:00:00Z is past its retention"));
    let path = format!("/v1/podcasts/{}/downloads?to=2026-11-24&from", play.podcast);
    let downloads = account.get(&format!("{path}=2026-11-01")).await.is(200).json();
    assert_eq!((&downloads["kept_from"], &downloads["total"]), (&json!("2026-11-25T00:00:00Z"), &json!(0)));
    let performance = account.get(&format!("/v1/campaigns/{}/performance", play.campaign)).await.is(200).json();
    assert_eq!((&performance["impressions"], &performance["usable_address_share"]["value"]), (&json!(3), &Value::Null));
    assert!(performance["warnings"].to_string().contains("past their retention"), "{performance}");
    let wanted = json!({"from": "2026-11-01", "to": "2026-11-02"});
    let path = format!("/v1/recounts?account={}", account.id);
    bench.operator().await.post(&path, &wanted).await.refused(422, "invalid_fields");
    let id = made(&account, json!({"kind": "downloads", "from": "2026-11-01", "to": "2026-11-25"})).await;
    let document = prints_what_its_sql_answers(&account, &id).await.to_string();
    assert!(document.contains("Ledger kept from"), "{document}");
}

#[tokio::test]
async fn an_roi_report_over_what_is_past_its_retention_prints_what_its_sql_answers() {
    let bench = Bench::new().await;
    let (account, play) = bench.play("kept").await;
    let cutoff: castback_schemas::Micros = "2026-11-22".parse().unwrap();
    bench.app.catalogue.keep_from(account.account(), cutoff).await.unwrap();
    let wanted = json!({"kind": "roi", "campaign_id": play.campaign, "from": "2026-11-01", "to": "2026-11-25"});
    let id = made(&account, wanted).await;
    let document = prints_what_its_sql_answers(&account, &id).await.to_string();
    assert!(document.contains("are past their retention"), "{document}");
}

#[tokio::test]
async fn dead_letters_are_put_on_the_log_again_as_they_were() {
    let bench = Bench::new().await;
    let account = bench.sign_up("letters").await;
    let key = bench.app.keys.account(&bench.app.catalogue, account.account()).await.unwrap();
    let slot = Slot::of(account.account());
    let letter = |offset: i64, context: &str| {
        Row::from([
            ("topic", Cell::from("listener-requests")),
            ("offset", offset.into()),
            ("recorded_at", at("23T10:00").into()),
            ("reason", "undecodable".into()),
            ("detail", "not Avro".into()),
            ("value", Cell::Bytes(seal(&key, context.as_bytes(), b"the original bytes").unwrap())),
        ])
    };
    let good = format!("listener-requests/{slot}/5");
    account.commit(vec![(Table::DeadLetters, vec![letter(5, &good), letter(6, "of another place")])]).await;
    let listed = account.get("/v1/dead-letters?reason=undecodable").await.is(200).json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 2, "{listed}");
    assert!(!listed.to_string().contains("original"), "bytes are not shown");
    let counts = json!({"matched": 2, "replayed": 1, "unopened": 1, "left": 0, "dry_run": true});
    assert_eq!(account.post("/v1/dead-letters/replay", &json!({"dry_run": true})).await.is(200).json(), counts);
    assert!(bench.records(Topic::ListenerRequests).await.is_empty(), "a dry run changes nothing");
    let none = json!({"filter": {"topic": "conversions"}});
    assert_eq!(account.post("/v1/dead-letters/replay", &none).await.is(200).json()["matched"], 0);
    account.post("/v1/dead-letters/replay", &json!({})).await.is(200);
    let records = bench.records(Topic::ListenerRequests).await;
    assert_eq!(records.len(), 1);
    assert_eq!((&records[0].value[..], records[0].account), (&b"the original bytes"[..], Some(account.account())));
}

#[tokio::test]
async fn method_agents_and_tables() {
    let bench = Bench::new().await;
    let account = bench.sign_up("method").await;
    let method = account.get("/v1/methodology").await.is(200).json();
    assert_eq!(method["windows"].as_array().unwrap().len(), 3);
    let text = account.call("GET /v1/methodology", &[("accept", "text/markdown")], "").await.is(200);
    assert!(text.text().starts_with("# Methodology"));
    account.get("/v1/agents").await.refused(403, "forbidden");
    bench.operator().await.get("/v1/agents?limit=1").await.refused(422, "invalid_fields");
    account.get("/v1/topics/app-events/records").await.refused(403, "forbidden");
    account.get("/v1/topics/no-such-topic/records").await.refused(404, "not_found");
    let operator = bench.operator().await;
    let slotless = operator.get("/v1/topics/app-events/records?from=0").await.refused(422, "invalid_fields").json();
    assert_eq!(slotless["errors"][0]["field"], "from", "{slotless}");
    operator.get("/v1/topics/app-events/records?slot=99&from=0").await.refused(422, "invalid_fields");
    bench.app.catalogue.start_agent_run("poll_feeds").await.unwrap();
    assert_eq!(operator.get("/v1/agents").await.is(200).json()["items"][0]["agent"], "poll_feeds");
    let tables = account.get("/v1/sql/tables").await.is(200).json();
    let names: Vec<_> =
        tables["items"].as_array().unwrap().iter().map(|table| table["name"].as_str().unwrap()).collect();
    for name in ["ledger", "downloads", "ad_deliveries", "campaigns", "reports"] {
        assert!(names.contains(&name), "{names:?}");
    }
    // No worker can be started here: the caller is told, and nothing else happens.
    account.post("/v1/sql", &json!({"sql": "SELECT 1"})).await.refused(413, "too_large");
    account.post("/v1/sql", &json!({"sql": "x".repeat(70_000)})).await.refused(413, "too_large");
    for commit in [-1, 1_000_000] {
        let wanted = json!({"sql": "SELECT 1", "as_of": commit});
        let refused = account.post("/v1/sql", &wanted).await.refused(422, "invalid_fields").json();
        assert_eq!(refused["errors"][0]["field"], "as_of", "{refused}");
    }
}

#[tokio::test]
async fn a_recount_ends_before_the_day_that_it_names_last() {
    let bench = Bench::new().await;
    let account = bench.sign_up("again").await;
    let operator = bench.operator().await;
    let path = format!("/v1/recounts?account={}", account.id);
    operator.post(&path, &json!({"from": "2026-11-01", "to": "2026-11-01"})).await.refused(422, "invalid_fields");
    operator.post(&path, &json!({"from": "2026-11-01", "to": "2028-01-01"})).await.refused(422, "invalid_fields");
    let wanted = json!({"from": "2026-11-01", "to": "2026-11-03"});
    let asked = operator.post(&path, &wanted).await.is(202).json();
    let unit = asked["units"][0].as_str().unwrap().parse().unwrap();
    let requests = bench.app.catalogue.unit_requests(&[unit]).await.unwrap();
    let body: Value = serde_json::from_str(&requests.last().unwrap().body).unwrap();
    let days = ["from", "to"].map(|end| serde_json::from_value::<Day>(body[end].clone()).unwrap());
    assert_eq!(days, [day("2026-11-01"), day("2026-11-02")], "units are asked by the last day");
}

fn day(text: &str) -> Day {
    text.parse().unwrap()
}
