//! From NDJSON over HTTP to durable, and from accepted to visible: `cargo bench --bench intake [records]`.
//!
//! A server in a directory of its own gets bodies of 1,000 to 10,000 records of four accounts over eight connections,
//! while it counts them, too. Then one account goes on at a steady pace, and its campaign's performance is asked again
//! and again until what was accepted is in it. Client and server share the machine.
#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

mod support {
    pub(crate) mod client;
    pub(crate) mod meter;
    pub(crate) mod scene;
    pub(crate) mod server;
    pub(crate) mod slow;
    pub(crate) mod traffic;
}

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use castback_schemas::Micros;
use rustix::process::Signal;
use support::client::Client;
use support::meter::{Meter, Outcome};
use support::scene::{Account, REQUESTS, send, serve_feed};
use support::server::Server;
use support::slow::Fsync;
use support::traffic::{GROUP, Traffic, first_day};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

const ACCOUNTS: u64 = 4;
const DAYS: i32 = 3;
/// Listeners of an account that load at the same time.
const WIDTH: u64 = 1_000;

/// The steady pace: four senders, each with a body every 200 ms, 5,000 records a second together.
const SENDERS: u32 = 4;
const BODY: u64 = 250;
const EVERY: Duration = Duration::from_millis(200);
const FOR: Duration = Duration::from_secs(30);
/// Between two looks at the performance.
const LOOK: Duration = Duration::from_millis(20);
/// Longest wait for the last of them.
const PATIENCE: Duration = Duration::from_mins(2);

#[tokio::main(worker_threads = 2)]
async fn main() -> Outcome<()> {
    let records = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(4_000_000);
    for fsync in Fsync::both() {
        println!("{}", fsync.name());
        run(fsync, records).await?;
    }
    Ok(())
}

async fn run(fsync: Fsync, records: u64) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let feed = serve_feed().await?;
    let server = Server::start(&folder.path().join("data"), fsync).await?;
    let days = (first_day(DAYS), DAYS);
    let groups = (records / GROUP / ACCOUNTS).next_multiple_of(WIDTH);
    let mut all = Vec::new();
    for number in 0..ACCOUNTS {
        let account = Account::new(&server, (&format!("a{number}"), &format!("{feed}/{number}.xml")), days).await?;
        let traffic = Traffic { podcast: account.podcast.clone(), first: 0, groups, width: WIDTH, days };
        all.push((account, traffic));
    }
    throughput(&server, &all).await?;
    let (account, _) = &all[0];
    pace(&server, account, (groups, days)).await?;
    server.settled().await?;
    server.end(Signal::TERM).await
}

async fn throughput(server: &Server, all: &[(Account, Traffic)]) -> Outcome<()> {
    let records = all.iter().map(|(_, traffic)| traffic.records()).sum();
    let (of_server, of_client) = (Meter::start(&server.process())?, Meter::start("self")?);
    send(server, all).await?;
    println!("  durable            {}", of_server.used(records)?);
    println!("  the client, beside {}", of_client.used(records)?);
    server.settled().await?;
    println!("  judged, committed  {}", of_server.used(records)?);
    for (account, traffic) in all {
        let client = server.client(Some(&account.key))?;
        let (start, _) = traffic.days;
        let counted = (account.downloads(&client, start).await?, account.impressions(&client).await?);
        if counted != (traffic.groups, traffic.groups) {
            return Err(format!("{} listeners, {counted:?} downloads and impressions", traffic.groups).into());
        }
    }
    Ok(())
}

/// When how many impressions had been accepted.
#[derive(Debug, Default)]
struct Accepted {
    impressions: u64,
    waiting: VecDeque<(Instant, u64)>,
    bodies: u64,
}

async fn pace(server: &Server, account: &Account, (first, days): (u64, (Micros, i32))) -> Outcome<()> {
    let client = server.client(Some(&account.key))?;
    // Every body is whole listeners, so it is known how many impressions it brings.
    let width = BODY / GROUP;
    let groups = u64::MAX / GROUP / width * width;
    let traffic = Traffic { podcast: account.podcast.clone(), first, groups, width, days };
    let accepted = Arc::new(Mutex::new(Accepted { impressions: first, ..Accepted::default() }));
    let next = Arc::new(AtomicU64::new(0));
    let meter = Meter::start(&server.process())?;
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let client = server.client(Some(&account.key))?;
        let steady =
            Steady { client, traffic: traffic.clone(), next: Arc::clone(&next), accepted: Arc::clone(&accepted) };
        senders.spawn(steady.send(EVERY / SENDERS * sender));
    }
    let watch = watch(account, &client, (&accepted, FOR)).await;
    while let Some(sender) = senders.join_next().await {
        sender??;
    }
    let (mut visible, mut asked) = watch?;
    let bodies = accepted.lock().unwrap_or_else(PoisonError::into_inner).bodies;
    println!("  steady pace        {}", meter.used(bodies * BODY)?);
    println!("  accepted → visible {}, of {bodies} bodies", percentiles(&mut visible));
    println!("  one performance    {}", percentiles(&mut asked));
    Ok(())
}

/// One of those who send at a steady pace.
struct Steady {
    client: Client,
    traffic: Traffic,
    next: Arc<AtomicU64>,
    accepted: Arc<Mutex<Accepted>>,
}

impl Steady {
    async fn send(self, after: Duration) -> Outcome<()> {
        tokio::time::sleep(after).await;
        let started = Instant::now();
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        while started.elapsed() < FOR {
            ticks.tick().await;
            let from = self.next.fetch_add(BODY, Ordering::Relaxed);
            self.client.post_lines(REQUESTS, self.traffic.lines((from, from + BODY))?).await?;
            let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
            accepted.impressions += BODY / GROUP;
            accepted.bodies += 1;
            let sum = accepted.impressions;
            accepted.waiting.push_back((Instant::now(), sum));
        }
        Ok(())
    }
}

/// Asks until everything accepted is visible; the times that it took, and the times of the answers.
async fn watch(
    account: &Account,
    client: &Client,
    (accepted, during): (&Mutex<Accepted>, Duration),
) -> Outcome<(Vec<Duration>, Vec<Duration>)> {
    let (mut visible, mut asked) = (Vec::new(), Vec::new());
    let started = Instant::now();
    while started.elapsed() < during + PATIENCE {
        let before = Instant::now();
        let impressions = account.impressions(client).await?;
        let now = Instant::now();
        asked.push(now - before);
        let waiting = {
            let mut accepted = accepted.lock().unwrap_or_else(PoisonError::into_inner);
            while let Some((at, sum)) = accepted.waiting.front().copied() {
                if sum > impressions {
                    break;
                }
                visible.push(now.saturating_duration_since(at));
                accepted.waiting.pop_front();
            }
            accepted.waiting.len()
        };
        // A sender may be late with its last body.
        if waiting == 0 && started.elapsed() > during + EVERY * 5 {
            return Ok((visible, asked));
        }
        tokio::time::sleep(LOOK).await;
    }
    Err("what was accepted did not become visible".into())
}

fn percentiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or_default().as_millis();
    format!("p50 {} ms, p99 {} ms, longest {} ms", at(50), at(99), times.last().map_or(0, Duration::as_millis))
}
