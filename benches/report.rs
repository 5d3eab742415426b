//! What a report of ninety days costs: `cargo bench --bench report [rows]`.
//!
//! One account's campaign with 10,000,000 ledger rows (unless told otherwise) over the ninety days, and purchases. The
//! time is from the call to the ready files, in which the maker may look for a job half a second late; the memory is
//! that of the whole server, started anew, before and at its peak.
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

mod support {
    pub(crate) mod client;
    pub(crate) mod meter;
    pub(crate) mod scene;
    pub(crate) mod server;
    pub(crate) mod slow;
    pub(crate) mod traffic;
}

use std::path::Path;
use std::time::Duration;

use castback_schemas::time::{DAY, SECOND};
use rustix::process::Signal;
use serde_json::{Value, json};
use support::client::{Client, until};
use support::meter::{Meter, Outcome};
use support::scene::{Account, send, serve_feed};
use support::server::Server;
use support::slow::Fsync;
use support::traffic::{GROUP, Traffic, address, first_day};
use tokio::time::Instant;

const DAYS: i32 = 90;
/// Listeners that load at the same time.
const WIDTH: u64 = 1_000;
/// One purchase for this many listeners.
const LISTENERS: u64 = 500;
/// Reports made one after the other.
const REPORTS: usize = 3;
/// Between two looks at a job.
const LOOK: Duration = Duration::from_millis(10);

#[tokio::main(worker_threads = 2)]
async fn main() -> Outcome<()> {
    let rows = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(10_000_000);
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let (account, traffic) = fill(&data, rows).await?;
    for fsync in Fsync::both() {
        println!("{}", fsync.name());
        report(&data, fsync, (&account, &traffic)).await?;
    }
    Ok(())
}

async fn fill(data: &Path, rows: u64) -> Outcome<(Account, Traffic)> {
    let feed = serve_feed().await?;
    let server = Server::start(data, Fsync::AsItIs).await?;
    let days = (first_day(DAYS), DAYS);
    let account = Account::new(&server, ("reports", &format!("{feed}/feed.xml")), days).await?;
    let groups = (rows / GROUP).next_multiple_of(WIDTH);
    let traffic = Traffic { podcast: account.podcast.clone(), first: 0, groups, width: WIDTH, days };
    let meter = Meter::start(&server.process())?;
    send(&server, &[(account.clone(), traffic.clone())]).await?;
    let client = server.client(Some(&account.key))?;
    let purchases: Vec<Value> = (0..groups / LISTENERS).map(|number| purchase(&traffic, number * LISTENERS)).collect();
    for part in purchases.chunks(1_000) {
        client.post("/v1/conversions", &json!(part)).await?;
    }
    server.settled().await?;
    println!("accepted, judged and committed: {}", meter.used(traffic.records())?);
    server.end(Signal::TERM).await?;
    Ok((account, traffic))
}

/// A listener buys something on the day after the episode.
fn purchase(traffic: &Traffic, listener: u64) -> Value {
    let (start, days) = traffic.days;
    let day = i64::try_from(listener).unwrap_or(0) * i64::from(days) / i64::try_from(traffic.groups).unwrap_or(1);
    json!({
        "data_set_id": "shop", "id": format!("order-{listener}"), "event_type": "purchase",
        "timestamp": start.plus((day + 1).min(i64::from(days) - 1) * DAY).0 / SECOND + 86_000,
        "value": 42.50, "currency_code": "USD",
        "user_data": {
            "event_ip_address": address(listener),
            "event_user_agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"
        },
        "properties": {"transaction_id": format!("order-{listener}")},
    })
}

async fn report(data: &Path, fsync: Fsync, (account, traffic): (&Account, &Traffic)) -> Outcome<()> {
    let server = Server::start(data, fsync).await?;
    let client = server.client(Some(&account.key))?;
    until(("every impression is there", Duration::from_millis(100)), async || {
        let (start, _) = traffic.days;
        let found = (account.downloads(&client, start).await?, account.impressions(&client).await?);
        Ok((found == (traffic.groups, traffic.groups)).then_some(()))
    })
    .await?;
    // Nor are the units done with taking their state back before they judge something new.
    let probe = format!("probe-{}", server.process());
    let request = json!([{
        "id": probe, "podcast_id": account.podcast, "enclosure_url": "https://media.example/episodes/0.mp3",
        "occurred_at": traffic.days.0.to_string(), "method": "HEAD", "status": 200, "user_agent": "probe",
    }]);
    client.post("/v1/listener-requests", &request).await?;
    let path = format!("/v1/ledger?event_id={probe}");
    until(("the probe is judged", LOOK), async || Ok(client.json(&path).await.ok())).await?;
    // What was used for starting is not the report's: from here on the peak counts anew.
    std::fs::write(format!("/proc/{}/clear_refs", server.process()), "5")?;
    println!("  before the first: {}", resident(&server)?);
    for _ in 0..REPORTS {
        let meter = Meter::start(&server.process())?;
        let took = make(&client, (account, traffic)).await?;
        println!("  ready {:.2} s after the call: {}", took.as_secs_f64(), meter.used(1)?);
    }
    println!("  after the last: {}", resident(&server)?);
    server.end(Signal::TERM).await
}

fn resident(server: &Server) -> Outcome<String> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    Ok(format!("resident {} MiB", line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024))
}

/// Asks for the report of all days and waits for it.
async fn make(client: &Client, (account, traffic): (&Account, &Traffic)) -> Outcome<Duration> {
    let (start, days) = traffic.days;
    let wanted = json!({
        "kind": "roi", "campaign_id": account.campaign,
        "from": start.day().to_string(), "to": start.plus(i64::from(days) * DAY).day().to_string(),
    });
    let started = Instant::now();
    let job = client.post("/v1/reports", &wanted).await?;
    let path = format!("/v1/reports/{}", job["id"].as_str().unwrap_or_default());
    let took = until(("the report is ready", LOOK), async || {
        let job = client.json(&path).await?;
        match job["state"].as_str() {
            Some("failed") => Err(format!("the report failed: {job}").into()),
            state => Ok((state == Some("ready")).then(|| started.elapsed())),
        }
    })
    .await?;
    let json = client.get(&format!("{path}/download?format=json")).await?;
    if !json.contains(&traffic.groups.to_string()) {
        return Err(format!("the report has no {} impressions", traffic.groups).into());
    }
    if !client.get(&format!("{path}/download?format=pdf")).await?.starts_with("%PDF-") {
        return Err("the report is no PDF".into());
    }
    Ok(took)
}
