use serde_json::{Value, json};

use super::{Bench, JSON};

#[tokio::test]
async fn another_accounts_id_is_not_found_on_any_route() {
    let bench = Bench::new().await;
    let (owner, stranger) = (bench.sign_up("owner").await, bench.sign_up("stranger").await);
    let podcast = owner.podcast("kanarienvogel").await;
    let body = json!({"name": "kanarienvogel", "currency": "USD"});
    let campaign = owner.post("/v1/campaigns", &body).await.is(201).json()["id"].as_str().unwrap().to_owned();
    let keys = owner.get("/v1/users/me/api-keys").await.json();
    let key = keys["items"][0]["id"].as_str().unwrap();

    let document = bench.call("GET /openapi.json", &[], "").await.json();
    let mut asked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        if !path.starts_with("/v1/") || !path.contains('{') {
            continue;
        }
        for method in operations.as_object().unwrap().keys().filter(|name| name.len() <= 6) {
            for id in [podcast.as_str(), campaign.as_str(), key] {
                let line = format!("{} {}", method.to_uppercase(), filled(path, id));
                let answer = stranger
                    .call(&line, &[JSON], r#"{"name": "mine", "promo_codes": ["MINE"], "window": "utc_day"}"#)
                    .await;
                asked += 1;
                assert!(
                    matches!(answer.status.as_u16(), 404 | 405 | 422),
                    "{line}: {} {}",
                    answer.status,
                    answer.text()
                );
                assert!(!answer.text().contains("kanarienvogel"), "{line}: {}", answer.text());
            }
        }
    }
    assert!(asked > 30, "only {asked} calls");
    for path in ["/v1/podcasts", "/v1/campaigns", "/v1/users/me/api-keys"] {
        let listed = stranger.get(path).await.is(200).text();
        assert!(!listed.contains("kanarienvogel") && !listed.contains(key), "{listed}");
    }
    owner.get(&format!("/v1/podcasts/{podcast}")).await.is(200);
    assert_eq!(owner.get(&format!("/v1/campaigns/{campaign}")).await.is(200).json()["name"], "kanarienvogel");
    owner.get("/v1/podcasts").await.is(200);
}

fn filled(path: &str, id: &str) -> String {
    let mut rest = path;
    let mut whole = String::new();
    while let Some((head, tail)) = rest.split_once('{') {
        whole = whole + head + id;
        rest = tail.split_once('}').map_or("", |(_, tail)| tail);
    }
    whole + rest
}

#[tokio::test]
async fn only_an_operator_names_another_account() {
    let bench = Bench::new().await;
    let (owner, stranger) = (bench.sign_up("owner").await, bench.sign_up("stranger").await);
    let podcast = owner.podcast("one").await;
    for wanted in [owner.id.as_str(), "all"] {
        for path in ["/v1/podcasts".to_owned(), format!("/v1/podcasts/{podcast}")] {
            stranger.get(&format!("{path}?account={wanted}")).await.refused(403, "forbidden");
        }
    }
    let own = stranger.get(&format!("/v1/podcasts?account={}", stranger.id)).await.is(200).json();
    assert_eq!(own["items"], json!([]));
    stranger.get("/v1/podcasts?account=nonsense").await.refused(422, "invalid_fields");

    let operator = bench.operator().await;
    let listed = operator.get(&format!("/v1/podcasts?account={}", owner.id)).await.is(200).json();
    assert_eq!(listed["items"][0]["id"], json!(podcast));
    operator.get(&format!("/v1/podcasts/{podcast}?account=all")).await.is(200);
    operator.get(&format!("/v1/podcasts/{podcast}")).await.refused(404, "not_found");
    let other = bench.sign_up("other").await;
    let theirs = other.podcast("other").await;
    let all = operator.get("/v1/podcasts?account=all").await.is(200).json();
    let of = |id: &String| all["items"].as_array().unwrap().iter().find(|item| item["id"] == id.as_str()).unwrap();
    assert_eq!((&of(&podcast)["account_id"], &of(&theirs)["account_id"]), (&json!(owner.id), &json!(other.id)));
    let status = of(&theirs)["status"].as_str().unwrap();
    let path = format!("/v1/podcasts?account=all&q=OTHER.XML&status={status}");
    assert_eq!(operator.get(&path).await.is(200).json()["items"], json!([of(&theirs)]));
    operator.get("/v1/podcasts?status=sleepy").await.refused(422, "invalid_fields");
    let page = operator.get("/v1/podcasts?account=all&limit=1").await.is(200).json();
    let next = page["next_cursor"].as_str().unwrap();
    let rest = operator.get(&format!("/v1/podcasts?account=all&cursor={next}")).await.is(200).json();
    assert_eq!(rest["items"].as_array().unwrap().len() + 1, all["items"].as_array().unwrap().len());
    other.get("/v1/podcasts?account=all").await.refused(403, "forbidden");
    for account in [&owner, &other] {
        account.post("/v1/campaigns", &json!({"name": "of one", "currency": "USD"})).await.is(201);
    }
    let campaigns = operator.get("/v1/campaigns?account=all&q=of+one").await.is(200).json();
    assert_eq!(campaigns["items"].as_array().unwrap().len(), 2, "{campaigns}");
    let wanted = json!({"kind": "downloads", "from": "2026-11-18", "to": "2026-11-28"});
    for account in [&owner, &other] {
        let report = account.post("/v1/reports", &wanted).await.is(202).json();
        let path = format!("/v1/reports/{}", report["id"].as_str().unwrap());
        assert_eq!(operator.get(&format!("{path}?account=all")).await.is(200).json()["id"], report["id"]);
        operator.get(&format!("{path}/download?account=all")).await.refused(409, "wrong_state");
        operator.get(&path).await.refused(404, "not_found");
    }
    let nothing = format!("/v1/reports/{}?account=all", owner.id);
    operator.get(&nothing).await.refused(404, "not_found");
    let reports = operator.get("/v1/reports?account=all").await.is(200).json();
    assert_eq!(reports["items"].as_array().unwrap().len(), 2, "{reports}");
    assert_eq!(operator.get("/v1/conversions?account=all").await.is(200).json()["items"], json!([]));
    for path in ["/v1/reports", "/v1/conversions"] {
        other.get(&format!("{path}?account=all")).await.refused(403, "forbidden");
    }
    let write = operator.delete(&format!("/v1/podcasts/{podcast}?account={}", owner.id)).await;
    write.refused(404, "not_found");
}

#[tokio::test]
async fn a_campaign_can_not_name_another_accounts_podcast() {
    let bench = Bench::new().await;
    let (owner, stranger) = (bench.sign_up("owner").await, bench.sign_up("stranger").await);
    let podcast = owner.podcast("one").await;
    let body = json!({"name": "x", "currency": "USD", "podcast_ids": [podcast]});
    let refused = stranger.post("/v1/campaigns", &body).await.refused(422, "invalid_fields").json();
    assert_eq!(refused["errors"][0]["field"], "podcast_ids");
    let own: Value = stranger.post("/v1/campaigns", &json!({"name": "x", "currency": "USD"})).await.is(201).json();
    let path = format!("/v1/campaigns/{}", own["id"].as_str().unwrap());
    stranger.patch(&path, &json!({"podcast_ids": [podcast]})).await.refused(422, "invalid_fields");
    let log = format!("/v1/listener-requests?podcast_id={podcast}");
    let posted = stranger.call(&format!("POST {log}"), &[("content-type", "text/plain")], "").await;
    posted.refused(404, "not_found");
}
