use castback_schemas::{Group, Slot, Unit};
use serde_json::{Value, json};

use super::{Account, Bench, JSON};
use crate::app::Part;

fn whole() -> Value {
    json!({
        "name": "Autumn", "advertiser": "Example", "currency": "USD", "data_set_ids": ["shop"],
        "starts_on": "2026-11-20", "ends_on": "2026-12-20", "budget": {"amount": 100_000, "currency": "USD"},
        "price_model": {"cpm": {"amount": 2_500, "currency": "USD"}}, "landing_url": "https://shop.example/",
        "placements": [{"id": "a", "position": "pre_roll", "from_byte": 0, "to_byte": 1_000}], "lookback_days": 30,
    })
}

async fn made(account: &Account<'_>) -> String {
    account.post("/v1/campaigns", &whole()).await.is(201).json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn from_draft_to_launch() {
    let bench = Bench::new().await;
    let account = bench.sign_up("ada").await;
    let mut body = whole();
    body["state"] = json!("active");
    body["account_id"] = json!("someone else's");
    let created = account.post("/v1/campaigns", &body).await.is(201);
    assert_eq!(created.header("etag"), "\"1\"");
    let campaign = created.json();
    assert_eq!((&campaign["state"], &campaign["account_id"]), (&json!("draft"), &json!(account.id)));
    for (name, value) in whole().as_object().unwrap().iter().filter(|(name, _)| *name != "placements") {
        assert_eq!(&campaign[name], value, "{name}");
    }
    let path = format!("/v1/campaigns/{}", campaign["id"].as_str().unwrap());
    let early = account.post(&format!("{path}/launch"), &json!({})).await.refused(409, "wrong_state").json();
    assert_eq!(early["missing"], json!(["attribution.complete"]));
    let set = account.put(&format!("{path}/attribution"), &json!({"promo_codes": ["AUTUMN"]})).await.is(200).json();
    assert_eq!((&set["attribution"]["complete"], &set["version"]), (&json!(true), &json!(2)));
    let launched = account.post(&format!("{path}/launch"), &json!({})).await.is(200).json();
    assert_eq!(launched["state"], "active");
    let unit = Unit { group: Group::Counting, slot: Slot::of(account.id.parse().unwrap()) };
    let asked = bench.app.catalogue.unit_requests(&[unit]).await.unwrap();
    let body: Value = serde_json::from_str(&asked[0].body).unwrap();
    let expected = json!({"account": account.id, "podcast": null, "from": "2026-11-20", "to": "2026-11-24"});
    assert_eq!((asked.len(), body), (1, expected), "launched late, its first days are counted");
    for (action, state) in [("pause", "paused"), ("resume", "active"), ("complete", "completed")] {
        assert_eq!(account.post(&format!("{path}/{action}"), &json!({})).await.is(200).json()["state"], state);
    }
    account.post(&format!("{path}/cancel"), &json!({})).await.refused(409, "wrong_state");
    account.delete(&path).await.refused(409, "wrong_state");
    account.patch(&path, &json!({"name": "x"})).await.refused(409, "wrong_state");
}

#[tokio::test]
async fn changes_are_merged_and_guarded_by_the_entity_tag() {
    let bench = Bench::new().await;
    let account = bench.sign_up("ada").await;
    let path = format!("/v1/campaigns/{}", made(&account).await);
    let patched = account.patch(&path, &json!({"advertiser": "Other", "landing_url": null})).await.is(200);
    assert_eq!(patched.header("etag"), "\"2\"");
    let campaign = patched.json();
    assert_eq!((&campaign["advertiser"], &campaign["landing_url"]), (&json!("Other"), &Value::Null));
    assert_eq!((&campaign["name"], &campaign["budget"]["amount"]), (&json!("Autumn"), &json!(100_000)));
    let change = async |tag: &str| {
        account.call(&format!("PATCH {path}"), &[JSON, ("if-match", tag)], r#"{"name": "Winter"}"#).await
    };
    let stale = change("\"1\"").await.refused(412, "precondition_failed").json();
    assert!(stale["detail"].as_str().unwrap().contains("\"2\""), "{stale}");
    change("nonsense").await.refused(412, "precondition_failed");
    assert_eq!(change("\"2\"").await.is(200).json()["name"], "Winter");
    let put = account.call(&format!("PUT {path}/attribution"), &[JSON, ("if-match", "\"1\"")], "{}").await;
    put.refused(412, "precondition_failed");
    account.patch(&path, &json!({"lookback_days": 61})).await.refused(422, "invalid_fields");
    account.patch(&path, &json!({"name": null})).await.refused(422, "invalid_fields");
    account.patch(&path, &json!([])).await.refused(400, "malformed_body");
    account.delete(&path).await.is(204);
    account.get(&path).await.refused(404, "not_found");
}

#[tokio::test]
async fn what_a_launch_demands_stays_while_the_campaign_runs() {
    let bench = Bench::new().await;
    let (account, play) = bench.play("kept").await;
    let path = format!("/v1/campaigns/{}", play.campaign);
    for (patch, missing) in [
        (json!({"placements": []}), "placements"),
        (json!({"placements": null}), "placements"),
        (json!({"attribution": {"promo_codes": []}}), "attribution.complete"),
        (json!({"budget": null}), "budget"),
    ] {
        let refused = account.patch(&path, &patch).await.refused(409, "wrong_state").json();
        assert_eq!((&refused["missing"], &refused["state"]), (&json!([missing]), &json!("active")), "{patch}");
    }
    let refused = account.put(&format!("{path}/attribution"), &json!({})).await.refused(409, "wrong_state").json();
    assert_eq!(refused["missing"], json!(["attribution.complete"]));
    account.put(&format!("{path}/attribution"), &json!({"promo_codes": ["OTHER"]})).await.is(200);
    account.patch(&path, &json!({"name": "Winter"})).await.is(200);
    let podcast = format!("/v1/podcasts/{}", play.podcast);
    let used = account.delete(&podcast).await.refused(409, "in_use").json();
    assert_eq!(used["campaign_id"], json!(play.campaign));
    assert!(used["detail"].as_str().unwrap().contains("Winter"), "{used}");
    account.post(&format!("{path}/pause"), &json!({})).await.is(200);
    account.delete(&podcast).await.refused(409, "in_use");
    account.get(&podcast).await.is(200);
    account.post(&format!("{path}/cancel"), &json!({})).await.is(200);
    account.delete(&podcast).await.is(204);
}

#[tokio::test]
async fn lists_are_paged_and_narrowed() {
    let bench = Bench::new().await;
    let account = bench.sign_up("ada").await;
    for number in 0..5 {
        bench.clock.advance(1_000);
        let mut body = whole();
        body["name"] = json!(format!("Campaign {number}"));
        account.post("/v1/campaigns", &body).await.is(201);
    }
    let mut names = Vec::new();
    let mut next = String::new();
    loop {
        let page = account.get(&format!("/v1/campaigns?limit=2&sort=-created_at{next}")).await.is(200).json();
        names.extend(page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        next = format!("&cursor={cursor}");
    }
    assert_eq!(names, [4, 3, 2, 1, 0].map(|number| format!("Campaign {number}")));
    let found = account.get("/v1/campaigns?q=CAMPAIGN%203&state=draft").await.is(200).json();
    assert_eq!((found["items"].as_array().unwrap().len(), &found["next_cursor"]), (1, &Value::Null));
    let none = account.get("/v1/campaigns?state=active").await.is(200).json();
    assert_eq!(none["items"], json!([]));
}

#[tokio::test]
async fn words_lead_to_one_campaign() {
    let bench = Bench::new().await;
    let (account, other) = (bench.sign_up("ada").await, bench.sign_up("bob").await);
    let (first, second, foreign) = (made(&account).await, made(&account).await, made(&other).await);
    let words = json!({"promo_codes": ["autumn"], "vanity_slug": "pod"});
    account.put(&format!("/v1/campaigns/{first}/attribution"), &words).await.is(200);
    let path = format!("/v1/campaigns/{second}/attribution");
    account.put(&path, &json!({"promo_codes": ["AUTUMN"]})).await.refused(409, "in_use");
    other.put(&format!("/v1/campaigns/{foreign}/attribution"), &json!({"promo_codes": ["AUTUMN"]})).await.is(200);
    other
        .put(&format!("/v1/campaigns/{foreign}/attribution"), &json!({"vanity_slug": "POD"}))
        .await
        .refused(409, "in_use");
}

#[tokio::test]
async fn a_tier_admits_as_many_as_it_allows() {
    let bench = Bench::with(|settings| settings.off = vec![Part::Metrics]).await;
    let account = bench.sign_up("ada").await;
    let mut calls = Vec::new();
    for number in 0..4 {
        let path = format!("/v1/campaigns/{}", made(&account).await);
        account.put(&format!("{path}/attribution"), &json!({"promo_codes": [format!("CODE{number}")]})).await.is(200);
        calls.push(format!("{path}/launch"));
    }
    let body = json!({});
    let answers = futures::future::join_all(calls.iter().map(|path| account.post(path, &body))).await;
    let admitted = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(admitted, 1);
    let refused = answers.into_iter().find(|answer| answer.status != 200).unwrap();
    let problem = refused.refused(402, "limit_reached").json();
    let members = ["limit", "used", "allowed", "upgrade_to"].map(|name| problem[name].clone());
    assert_eq!(members, [json!("active_campaigns"), json!(1), json!(1), json!("starter")]);
    account.podcast("one").await;
    let second = account.post("/v1/podcasts", &json!({"feed_url": "http://10.0.0.1/two.xml"})).await;
    assert_eq!(second.refused(402, "limit_reached").json()["upgrade_to"], "starter");
}
