//! What a listener's player or a customer's browser meets: prefix, pixel, vanity address, health.

use serde_json::json;

use super::figures::{Play, campaign_json};
use crate::support::feed_host::{FeedHost, rss};
use crate::support::server::Server;
use crate::support::traffic::{AGENTS, episodes};
use crate::support::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirects_and_pixel() {
    let host = FeedHost::start().await;
    let server = Server::start().await;
    let account = server.client().sign_up("redirects").await;
    let podcast = account.connect(&host.publish("/feed.xml", &rss("Redirects", &episodes()))).await;
    let play = Play::new(&podcast);
    let mut body = campaign_json(&play.campaigns[0], "Redirects");
    body["landing_url"] = json!("https://shop.example/welcome");
    let placement = |id: &str, guid: &str| json!({"id": id, "position": "mid_roll", "episode_guids": [guid]});
    body["placements"] = json!([placement("a", "guid-01"), placement("b", "guid-01"), placement("c", "guid-02")]);
    let campaign = account.client.post("/v1/campaigns", &body).await.is(201).json();
    let campaign = campaign["id"].as_str().expect("an id").to_owned();
    let attribution = json!({"promo_codes": [], "vanity_slug": "welcome-pod", "pixel": "shown"});
    account.client.put(&format!("/v1/campaigns/{campaign}/attribution"), &attribution).await.ok();
    account.client.post(&format!("/v1/campaigns/{campaign}/launch"), &json!({})).await.ok();

    let nobody = server.client();
    let prefix = format!("/e/{podcast}/media.example/episodes/01.mp3?source=player");
    for answer in [nobody.get(&prefix).await, nobody.head(&prefix).await] {
        let answer = answer.is(302);
        let location = answer.headers["location"].to_str().expect("a URL");
        assert!(location.ends_with("://media.example/episodes/01.mp3?source=player"), "{location}");
    }
    // The same listener twice, of an episode with two placements.
    for _ in 0..2 {
        nobody.get_by(&prefix, AGENTS[0].0).await.is(302);
    }
    nobody.get(&format!("/e/{podcast}/evil.example/episodes/01.mp3")).await.is(404);
    nobody.get("/e/no-such-podcast/media.example/episodes/01.mp3").await.is(404);

    let vanity = nobody.get("/r/welcome-pod").await.is(302);
    assert!(vanity.headers["location"].to_str().expect("a URL").starts_with("https://shop.example/welcome"));
    nobody.get("/r/no-such-slug").await.is(404);
    let pixel = nobody.get(&format!("/p.gif?c={campaign}&e=purchase&id=order-1&v=12.50&cur=USD")).await.is(200);
    assert_eq!(pixel.kind, "image/gif");
    assert!(pixel.body.starts_with(b"GIF8"));

    until("the vanity hit and the pixel are conversions", async || {
        let conversions = account.sql_number("SELECT COUNT(*) FROM conversions").await;
        (conversions == 2).then_some(())
    })
    .await;
    until("what the redirect saw is estimated, not counted", async || {
        let seen = "SELECT COUNT(*) FROM requests WHERE source = 'prefix'";
        let path = format!("/v1/campaigns/{campaign}/performance");
        let performance = account.client.get(&path).await.is(200).json();
        assert_eq!(performance["impressions"], 0, "{performance}");
        (account.sql_number(seen).await == 4 && performance["impressions_prefix_estimated"] == 2).then_some(())
    })
    .await;
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_method_and_pages() {
    let server = Server::start().await;
    let account = server.client().sign_up("health").await;
    for path in ["/healthz", "/readyz", "/openapi.json"] {
        server.client().get(path).await.is(200);
    }
    let page = server.client().get_as("/", "text/html").await;
    assert!(page.status < 400 && page.kind.starts_with("text/html"), "{} {}", page.status, page.kind);
    let metrics = server.operator().get("/metrics").await.is(200).text();
    assert!(metrics.contains("castback_"), "{metrics}");
    let method = account.client.get("/v1/methodology").await.is(200).text();
    for word in ["utc_day", "first_touch_24h", "last_touch_24h"] {
        assert!(method.contains(word), "no {word} in {method}");
    }
    assert!(!method.to_lowercase().contains("certified"), "we implement the rules; nobody has certified it");
    server.finish().await;
}
