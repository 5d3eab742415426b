//! How long a killed server takes until it is right again: `cargo bench --bench recovery [rows]`.
//!
//! The rows (10,000,000 unless told otherwise) lie in the open days of four accounts. The server is killed the moment
//! the last record is accepted, and started again; then killed at rest and started again. It has recovered when a new
//! record of every account is judged, for which each unit must have its state back and have read all that lay before.
//! Then downloads and impressions must be those of all records.
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

use rustix::process::Signal;
use support::client::until;
use support::meter::{Meter, Outcome};
use support::scene::{Account, REQUESTS, send, serve_feed};
use support::server::Server;
use support::slow::Fsync;
use support::traffic::{GROUP, PIECES, Traffic, event_id, first_day};
use tokio::time::Instant;

const ACCOUNTS: u64 = 4;
const DAYS: i32 = 3;
/// Listeners of an account that load at the same time.
const WIDTH: u64 = 1_000;
/// Between two looks at what must become right.
const LOOK: Duration = Duration::from_millis(20);

#[tokio::main(worker_threads = 2)]
async fn main() -> Outcome<()> {
    let rows = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(10_000_000);
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let mut all = fill(&data, rows).await?;
    for (fsync, what) in [(Fsync::AsItIs, "killed under load"), (Fsync::AsItIs, "killed at rest")] {
        recover(&data, fsync, (what, &mut all)).await?;
    }
    if Fsync::both().contains(&Fsync::Slowed) {
        println!("{}", Fsync::Slowed.name());
        recover(&data, Fsync::Slowed, ("killed at rest", &mut all)).await?;
    }
    Ok(())
}

/// Sends the rows and kills the server as soon as they are accepted.
async fn fill(data: &Path, rows: u64) -> Outcome<Vec<(Account, Traffic)>> {
    let feed = serve_feed().await?;
    let server = Server::start(data, Fsync::AsItIs).await?;
    let days = (first_day(DAYS), DAYS);
    let groups = (rows / GROUP / ACCOUNTS).next_multiple_of(WIDTH);
    let mut all = Vec::new();
    for number in 0..ACCOUNTS {
        let account = Account::new(&server, (&format!("a{number}"), &format!("{feed}/{number}.xml")), days).await?;
        let traffic = Traffic { podcast: account.podcast.clone(), first: 0, groups, width: WIDTH, days };
        all.push((account, traffic));
    }
    let meter = Meter::start(&server.process())?;
    send(&server, &all).await?;
    println!("accepted: {}", meter.used(groups * GROUP * ACCOUNTS)?);
    server.end(Signal::KILL).await?;
    Ok(all)
}

/// Starts the server, adds a listener to every account, and waits until they are judged and all figures are right.
async fn recover(data: &Path, fsync: Fsync, (what, all): (&str, &mut [(Account, Traffic)])) -> Outcome<()> {
    let rows: u64 = all.iter().map(|(_, traffic)| traffic.records()).sum();
    let started = Instant::now();
    let server = Server::start(data, fsync).await?;
    let (meter, ready) = (Meter::start(&server.process())?, started.elapsed());
    for (account, traffic) in &mut *all {
        let last = Traffic { first: traffic.groups, groups: 1, width: 1, ..traffic.clone() };
        server.client(Some(&account.key))?.post_lines(REQUESTS, last.lines((0, GROUP))?).await?;
        traffic.groups += 1;
    }
    for (account, traffic) in &*all {
        let client = server.client(Some(&account.key))?;
        // Not found until its verdict is committed, for which its unit must have read everything before it.
        let path = format!("/v1/ledger?event_id={}", event_id(traffic.groups - 1, PIECES - 1));
        until(("the newest record is judged", LOOK), async || Ok(client.json(&path).await.ok())).await?;
    }
    let (judged, used) = (started.elapsed(), meter.used(rows)?);
    for (account, traffic) in &*all {
        let client = server.client(Some(&account.key))?;
        let (start, _) = traffic.days;
        let found = (account.downloads(&client, start).await?, account.impressions(&client).await?);
        if found != (traffic.groups, traffic.groups) {
            return Err(format!("{} listeners, {found:?} downloads and impressions", traffic.groups).into());
        }
    }
    println!(
        "{what}: answers after {:.2} s; a new record of every account is judged after {:.2} s ({:.0} rows/s); \
         all figures have been asked for and are right after {:.2} s",
        ready.as_secs_f64(),
        judged.as_secs_f64(),
        u32::try_from(rows).map_or(f64::INFINITY, f64::from) / judged.as_secs_f64(),
        started.elapsed().as_secs_f64(),
    );
    println!("  from its first answer to the verdicts: {used}");
    server.settled().await?;
    server.end(Signal::KILL).await
}
