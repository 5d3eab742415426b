//! Accounts with a podcast and a campaign, a host for their feeds, and what sends their requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use castback_schemas::Micros;
use castback_schemas::time::DAY;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::client::{Client, until};
use super::meter::Outcome;
use super::server::Server;
use super::traffic::{Traffic, feed};

/// Connections that send at the same time.
const CONNECTIONS: usize = 8;
/// Records of a body, one size after the other.
const BODIES: [u64; 4] = [1_000, 2_500, 5_000, 10_000];
/// Where requests are posted.
pub(crate) const REQUESTS: &str = "/v1/listener-requests";

/// Somebody with a podcast whose campaign runs.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) key: String,
    pub(crate) podcast: String,
    pub(crate) campaign: String,
}

impl Account {
    /// Signs up, connects the feed and launches a campaign that runs from `start` on for `days` and a week.
    pub(crate) async fn new(
        server: &Server,
        (name, feed): (&str, &str),
        (start, days): (Micros, i32),
    ) -> Outcome<Self> {
        let person = json!({"email": format!("{name}@listeners.example"), "password": "a long pass phrase"});
        let key = text(&server.client(None)?.post("/v1/users", &person).await?, "api_key")?;
        let client = server.client(Some(&key))?;
        let podcast = text(&client.post("/v1/podcasts", &json!({"feed_url": feed})).await?, "id")?;
        until(("the feed is polled", Duration::from_millis(50)), async || {
            let found = client.json(&format!("/v1/podcasts/{podcast}")).await?;
            Ok((found["status"] != "pending").then_some(()))
        })
        .await?;
        let terms = json!({
            "name": "A bench", "advertiser": "Somebody", "podcast_ids": [podcast], "data_set_ids": ["shop"],
            "starts_on": start.day().to_string(), "ends_on": start.plus(i64::from(days + 7) * DAY).day().to_string(),
            "currency": "USD", "budget": {"amount": 100_000_000, "currency": "USD"}, "lookback_days": 30,
            "price_model": {"cpm": {"amount": 2_500, "currency": "USD"}},
            "placements": [{"id": "pre", "position": "pre_roll", "dynamic": false, "from_byte": 0, "to_byte": 100_000}],
        });
        let campaign = text(&client.post("/v1/campaigns", &terms).await?, "id")?;
        let attribution = json!({"promo_codes": ["TENOFF"], "pixel": "off"});
        client.put(&format!("/v1/campaigns/{campaign}/attribution"), &attribution).await?;
        client.post(&format!("/v1/campaigns/{campaign}/launch"), &json!({})).await?;
        Ok(Self { key, podcast, campaign })
    }

    /// The campaign's impressions as of the newest commit.
    pub(crate) async fn impressions(&self, client: &Client) -> Outcome<u64> {
        let path = format!("/v1/campaigns/{}/performance?period=flight&window=utc_day", self.campaign);
        client.json(&path).await?["impressions"].as_u64().ok_or_else(|| "no impressions".into())
    }

    /// The podcast's downloads from `start` on.
    pub(crate) async fn downloads(&self, client: &Client, start: Micros) -> Outcome<u64> {
        let path = format!("/v1/podcasts/{}/downloads?from={}&window=utc_day", self.podcast, start.day());
        client.json(&path).await?["total"].as_u64().ok_or_else(|| "no total".into())
    }
}

fn text(value: &Value, field: &str) -> Outcome<String> {
    value[field].as_str().map(str::to_owned).ok_or_else(|| format!("no {field} in {value}").into())
}

/// Serves the same feed under every path until the runtime ends; returns its address.
pub(crate) async fn serve_feed() -> Outcome<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let body = feed()?;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/rss+xml\r\nconnection: close\r\n";
    let answer: Arc<str> = format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            tokio::spawn(async move { respond(stream, &answer).await.ok() });
        }
    });
    Ok(address)
}

async fn respond(mut stream: TcpStream, answer: &str) -> std::io::Result<()> {
    // A poll's head comes in one piece on this machine, and nobody asks for anything else.
    let mut head = vec![0; 16 * 1024];
    if stream.read(&mut head).await? == 0 {
        return Ok(());
    }
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// Sends everything, as fast as it is accepted, over several connections.
pub(crate) async fn send(server: &Server, all: &[(Account, Traffic)]) -> Outcome<()> {
    let next: Vec<Arc<AtomicU64>> = all.iter().map(|_| Arc::default()).collect();
    let mut senders = JoinSet::new();
    for connection in 0..CONNECTIONS.max(all.len()) {
        let (account, traffic) = &all[connection % all.len()];
        let next = Arc::clone(&next[connection % all.len()]);
        // A pool of its own, so that it is a connection of its own.
        senders.spawn(send_share(server.client(Some(&account.key))?, traffic.clone(), (next, connection)));
    }
    while let Some(sender) = senders.join_next().await {
        sender??;
    }
    Ok(())
}

async fn send_share(client: Client, traffic: Traffic, (next, connection): (Arc<AtomicU64>, usize)) -> Outcome<()> {
    for size in BODIES.iter().cycle().skip(connection) {
        let from = next.fetch_add(*size, Ordering::Relaxed);
        if from >= traffic.records() {
            break;
        }
        client.post_lines(REQUESTS, traffic.lines((from, from + size))?).await?;
    }
    Ok(())
}
