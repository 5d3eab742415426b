//! Feeds at addresses that are none of a stranger's business are refused before anything is dialled.

use std::time::Duration;

use serde_json::json;

use crate::support::client::Account;
use crate::support::feed_host::{FeedHost, rss};
use crate::support::server::Server;
use crate::support::traffic::episodes;

/// Refused without waiting for anybody; a test machine may be slow, a connection that times out takes far longer.
const AT_ONCE: Duration = Duration::from_secs(5);

/// The ways to write an address of this machine or of a private network.
fn hosts() -> Vec<&'static str> {
    vec![
        "127.0.0.1",
        "127.1",
        "0.0.0.0",
        "0",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0x7f.1",
        "localhost",
        "LOCALHOST.",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[fe80::1]",
        "[fc00::1]",
        "[2002:7f00:1::]",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn private_addresses_are_refused() {
    let trap = FeedHost::start().await;
    trap.publish("/feed.xml", &rss("Trap", &episodes()));
    let server = Server::start_with(&[("OUTBOUND_ALLOW", "")]).await;
    let account = server.client().sign_up("outbound").await;
    for host in hosts() {
        refused(&account, &format!("http://{host}:{}/feed.xml", trap.port())).await;
        refused(&account, &format!("http://{host}/feed.xml")).await;
    }
    for url in ["file:///etc/passwd", "ftp://media.example/feed.xml", "gopher://127.0.0.1/", "data:text/xml,x"] {
        refused(&account, url).await;
    }
    refused(&account, &format!("http://someone@127.0.0.1:{}/feed.xml", trap.port())).await;
    assert_eq!(trap.asked(), Vec::<String>::new(), "the trap was asked");
    server.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirects_to_private_addresses_are_refused() {
    let host = FeedHost::start().await;
    let server = Server::start().await;
    let account = server.client().sign_up("redirected").await;
    host.publish("/secret.xml", &rss("Secret", &episodes()));
    for (number, target) in
        ["http://10.0.0.1/secret.xml", "http://[::1]/secret.xml", "file:///etc/passwd", "http://169.254.169.254/"]
            .into_iter()
            .enumerate()
    {
        refused(&account, &host.redirect(&format!("/to-{number}.xml"), target)).await;
    }
    let around = host.redirect("/around.xml", "/around.xml");
    refused(&account, &around).await;
    assert!(host.asked().iter().filter(|path| *path == "/around.xml").count() <= 4, "at most three hops");
    let good = host.redirect("/good.xml", "/secret.xml");
    account.connect(&good).await;
    server.finish().await;
}

/// A problem, or a podcast whose poll failed; never its content.
async fn refused(account: &Account, url: &str) {
    let body = json!({"feed_url": url});
    let asking = account.client.post("/v1/podcasts", &body);
    let answer =
        tokio::time::timeout(AT_ONCE, asking).await.unwrap_or_else(|_| panic!("{url} was not refused at once"));
    if answer.status == 201 {
        let podcast = answer.json();
        assert!(
            podcast["status"] != "active" && podcast["title"].as_str().unwrap_or_default().is_empty(),
            "{url}: {podcast}"
        );
        let id = podcast["id"].as_str().expect("an id");
        let deleted = account.client.delete(&format!("/v1/podcasts/{id}")).await;
        assert!(deleted.status < 300, "{}", deleted.text());
    } else {
        assert!((400..500).contains(&answer.status), "{url}: {} {}", answer.status, answer.text());
        assert!(answer.kind.starts_with("application/problem+json"), "{url}: {}", answer.text());
    }
}
