use std::net::SocketAddr;

use axum::body::Body;
use castback_schemas::Topic;
use http::Request;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{Answer, Bench};
use crate::peer::Peer;
use crate::redirects::queue::{Sighting, Visit, flush};

/// A visitor from this address.
async fn visit(bench: &Bench, line: &str, headers: &[(&str, &str)]) -> Answer {
    let (method, path) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(Body::empty()).unwrap();
    request.extensions_mut().insert(Peer("192.0.2.7:4711".parse::<SocketAddr>().unwrap()));
    bench.send(request).await
}

/// Writes what was seen until now.
async fn flushed(bench: &mut Bench) {
    let stop = CancellationToken::new();
    stop.cancel();
    let sightings = bench.sightings();
    flush(bench.app.clone(), sightings, stop).await;
}

async fn connected(bench: &Bench) -> (String, String) {
    let account = bench.sign_up("ada").await;
    let body = json!({"feed_url": super::feeds::host().await});
    let podcast = account.post("/v1/podcasts", &body).await.is(201).json();
    let body = json!({
        "name": "Autumn", "currency": "USD", "data_set_ids": ["shop"], "starts_on": "2026-11-20", "ends_on": "2026-12-20",
        "budget": {"amount": 1, "currency": "USD"}, "landing_url": "https://shop.example/welcome",
        "placements": [{"id": "a", "position": "pre_roll"}],
    });
    let campaign = account.post("/v1/campaigns", &body).await.is(201).json();
    let path = format!("/v1/campaigns/{}", campaign["id"].as_str().unwrap());
    let attribution = json!({"vanity_slug": "Welcome-Pod", "pixel": "shown"});
    account.put(&format!("{path}/attribution"), &attribution).await.is(200);
    visit(bench, "GET /r/welcome-pod", &[]).await.refused(404, "not_found");
    account.post(&format!("{path}/launch"), &json!({})).await.is(200);
    let text = |value: &Value| value["id"].as_str().unwrap().to_owned();
    (text(&podcast), text(&campaign))
}

#[tokio::test]
async fn a_prefix_leads_to_hosts_of_the_podcast_only_and_is_seen() {
    let mut bench = Bench::new().await;
    let (podcast, _) = connected(&bench).await;
    let path = format!("/e/{podcast}/media.example/1.mp3?source=a%20b");
    for method in ["GET", "HEAD"] {
        let answer = visit(&bench, &format!("{method} {path}"), &[("user-agent", "Pod/1.0"), ("range", "bytes=0-")])
            .await
            .is(302);
        assert_eq!(answer.header("location"), "https://media.example/1.mp3?source=a%20b");
    }
    for path in [
        format!("/e/{podcast}/evil.example/1.mp3"),
        format!("/e/{podcast}/media.example@evil.example/1.mp3"),
        format!("/e/{podcast}/media.example.evil.example/1.mp3"),
        "/e/no-such-podcast/media.example/1.mp3".to_owned(),
        "/e/01890000-0000-7000-8000-000000000001/media.example/1.mp3".to_owned(),
    ] {
        visit(&bench, &format!("GET {path}"), &[]).await.refused(404, "not_found");
    }
    flushed(&mut bench).await;
    let values = bench.values(Topic::ListenerRequests).await;
    assert_eq!(values.len(), 2);
    assert_eq!(
        (&values[0]["source"], &values[0]["method"], &values[1]["method"]),
        (&json!("prefix"), &json!("GET"), &json!("HEAD"))
    );
    assert_eq!(values[0]["enclosure_url"], "https://media.example/1.mp3?source=a%20b");
    assert_eq!((&values[0]["user_agent"], &values[0]["network"]), (&json!("Pod/1.0"), &json!("other")));
    assert_eq!(values[0]["bytes_sent"], 0, "a redirect sends no byte of the file");
    assert_ne!(values[0]["event_id"], values[1]["event_id"]);
}

#[tokio::test]
async fn a_vanity_address_and_a_pixel_leave_conversions() {
    let mut bench = Bench::new().await;
    let (_, campaign) = connected(&bench).await;
    let answer = visit(&bench, "GET /r/WELCOME-pod", &[("referer", "https://social.example/")]).await.is(302);
    assert_eq!(answer.header("location"), "https://shop.example/welcome");
    let pixel = |query: &str| format!("GET /p.gif?{query}");
    for query in [
        format!("c={campaign}&e=purchase&id=order-1&v=12.50&cur=USD"),
        format!("c={campaign}&e=lead"),
        format!("c={campaign}&e=purchase&id=order-2&v=12.505&cur=USD"),
        format!("c={campaign}&e="),
        format!("c={campaign}"),
        "c=no-such-campaign&e=purchase".to_owned(),
        "c=%ff".to_owned(),
        String::new(),
    ] {
        let image = visit(&bench, &pixel(&query), &[]).await.is(200);
        assert_eq!(image.header("content-type"), "image/gif");
        assert!(image.body.starts_with(b"GIF89a") && image.body.ends_with(b";"), "{query}");
    }
    flushed(&mut bench).await;
    let values = bench.values(Topic::Conversions).await;
    assert_eq!(values.len(), 3, "{values:?}");
    let [vanity, order, lead] = &values[..] else { panic!("{values:?}") };
    assert_eq!(
        (&vanity["event_type"], &vanity["source"], &vanity["vanity_slug"]),
        (&json!("visit"), &json!("vanity"), &json!("welcome-pod"))
    );
    assert_eq!((&vanity["referrer"], &vanity["verified"]), (&json!("https://social.example/"), &json!(true)));
    assert_eq!(
        (&order["event_id"], &order["value_minor"], &order["verified"]),
        (&json!("shop/order-1"), &json!(1_250), &json!(false))
    );
    assert_eq!((&order["campaign_id"], &order["source"]), (&json!(campaign), &json!("pixel")));
    assert_eq!(lead["data_set_id"], "shop", "the campaign's first data set");
    assert_eq!(order["households"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn an_account_that_is_full_of_conversions_is_told() {
    let mut bench = Bench::new().await;
    let (_, campaign) = connected(&bench).await;
    let account = bench.operator().await;
    let any = castback_catalogue::campaigns::CampaignFilter::default();
    let campaigns = bench.app.catalogue.campaigns(None, &any, &castback_catalogue::Paging::default()).await.unwrap();
    let owner = campaigns.items[0].account;
    let full = super::Account { bench: &bench, id: owner.to_string(), key: account.key.clone() };
    let row = |offset: i64| {
        super::committed::Row::from([
            ("offset", offset.into()),
            ("data_set_id", "shop".into()),
            ("conversion_id", format!("{offset}").as_str().into()),
            ("verdict", "counted".into()),
        ])
    };
    full.commit(vec![(
        castback_schemas::table::Table::Conversions,
        (0..crate::intake::room::FOR_LIFE).map(row).collect(),
    )])
    .await;
    let refused = crate::intake::room::for_conversions(&bench.app, owner).await.unwrap_err();
    assert_eq!(refused.code(), crate::problem::Code::RateLimited);
    let stranger = castback_schemas::AccountId::from_uuid(uuid::Uuid::nil());
    crate::intake::room::for_conversions(&bench.app, stranger).await.unwrap();
    visit(&bench, &format!("GET /p.gif?c={campaign}&e=lead"), &[]).await.is(200);
    flushed(&mut bench).await;
    assert_eq!(bench.app.metrics.redirects_unlogged.get(), 1);
    assert_eq!(bench.values(Topic::Conversions).await, Vec::<Value>::new());
}

#[tokio::test]
async fn what_does_not_fit_is_counted() {
    let bench = Bench::new().await;
    let (podcast, campaign) = connected(&bench).await;
    let path = format!("GET /e/{podcast}/media.example/1.mp3");
    let mut seen = 0;
    while bench.app.metrics.redirects_unlogged.get() == 0 {
        let sighting = Sighting::Visit(Visit {
            account: bench.app.catalogue.installation().account,
            campaign: campaign.parse().unwrap(),
            data_set: "shop".to_owned(),
            id: seen.to_string(),
            event_type: "visit".to_owned(),
            value: None,
            slug: None,
            referrer: None,
            address: None,
            at: super::NOW,
        });
        bench.app.sightings.put(&bench.app.metrics, sighting);
        seen += 1;
    }
    assert_eq!(seen, 20_001);
    for _ in 0..2 {
        visit(&bench, &path, &[]).await.is(302);
    }
    assert_eq!(bench.app.metrics.redirects_unlogged.get(), 3);
}

#[tokio::test]
async fn what_the_log_does_not_take_is_counted_at_the_end() {
    let mut bench = Bench::new().await;
    let (podcast, _) = connected(&bench).await;
    visit(&bench, &format!("GET /e/{podcast}/media.example/1.mp3"), &[]).await.is(302);
    bench.log.close().await;
    flushed(&mut bench).await;
    assert_eq!(bench.app.metrics.redirects_unlogged.get(), 1);
    visit(&bench, &format!("GET /e/{podcast}/media.example/1.mp3"), &[]).await.is(302);
}
