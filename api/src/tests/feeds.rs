use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::Bench;

/// A host that answers everything with one small feed.
pub(super) async fn host() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let items: Vec<String> = (1..=3)
        .map(|number| {
            format!(
                "<item><guid>g-{number}</guid><title>Episode {number}</title>\
                 <enclosure url=\"https://media.example/{number}.mp3\" length=\"4800000\" type=\"audio/mpeg\"/></item>"
            )
        })
        .collect();
    let body = format!("<rss version=\"2.0\"><channel><title>Show</title>{}</channel></rss>", items.concat());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4096];
            if stream.read(&mut head).await.unwrap_or(0) > 0 {
                let head = format!("HTTP/1.1 200 X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                stream.write_all((head + &body).as_bytes()).await.unwrap();
            }
        }
    });
    format!("http://{address}/feed.xml")
}

#[tokio::test]
async fn a_feed_is_connected_with_its_episodes() {
    let bench = Bench::new().await;
    let account = bench.sign_up("ada").await;
    let url = host().await;
    let podcast = account.post("/v1/podcasts", &json!({"feed_url": url})).await.is(201).json();
    assert_eq!((&podcast["status"], &podcast["title"]), (&json!("active"), &json!("Show")));
    assert_eq!((&podcast["last_poll"]["error"], &podcast["window"]), (&Value::Null, &json!("utc_day")));
    let path = format!("/v1/podcasts/{}", podcast["id"].as_str().unwrap());
    let episodes = account.get(&format!("{path}/episodes?limit=2")).await.is(200).json();
    assert_eq!(episodes["items"].as_array().unwrap().len(), 2);
    assert_eq!(episodes["items"][0]["length"], 4_800_000);
    assert!(episodes["next_cursor"].is_string());
    account.post("/v1/podcasts", &json!({"feed_url": url})).await.refused(409, "in_use");
    let families = bench.app.registry.gather();
    let onboarding = families.iter().find(|family| family.name() == "castback_onboarding_duration_seconds").unwrap();
    assert_eq!(onboarding.get_metric()[0].get_histogram().get_sample_count(), 1);
    let database = families.iter().find(|family| family.name() == "castback_database_query_duration_seconds").unwrap();
    let timed = |operation| database.get_metric().iter().any(|metric| metric.get_label()[0].value() == operation);
    assert!(timed("read") && timed("change"));
    account.post(&format!("{path}/poll"), &json!({})).await.is(202);
    let changed = account.patch(&path, &json!({"window": "last_touch_24h"})).await.is(200).json();
    assert_eq!(changed["window"], "last_touch_24h");
    account.patch(&path, &json!({"window": "a week"})).await.refused(422, "invalid_fields");
    account.patch(&path, &json!({})).await.is(200);
    account.delete(&path).await.is(204);
    account.get(&path).await.refused(404, "not_found");
}

#[tokio::test]
async fn addresses_that_are_nobodys_business_are_refused_in_one_text() {
    let bench = Bench::new().await;
    let account = bench.sign_up("ada").await;
    for url in
        ["file:///etc/passwd", "ftp://media.example/feed.xml", "data:text/xml,x", "not a url", "http://me@10.0.0.1/"]
    {
        account.post("/v1/podcasts", &json!({"feed_url": url})).await.refused(422, "invalid_fields");
    }
    for host in
        ["10.0.0.1", "[::1]", "169.254.169.254", "0x0a000002", "[fd00::1]", "172.16.0.1:22", "[::ffff:10.0.0.3]"]
    {
        let podcast = account.post("/v1/podcasts", &json!({"feed_url": format!("http://{host}/feed.xml")})).await;
        let podcast = podcast.is(201).json();
        assert_eq!((&podcast["status"], &podcast["title"]), (&json!("failing"), &Value::Null), "{host}");
        assert_eq!(podcast["last_poll"]["error"], "the address could not be reached", "{host}");
    }
}
