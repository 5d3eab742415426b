//! Several processes with shared servers: each has its share of the units, any may freeze or die, nothing is lost.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

use super::seconds;
use crate::kill::Scene;
use crate::oracle::SECOND;
use crate::support::check::check;
use crate::support::client::{Account, Client};
use crate::support::feed_host::{FeedHost, rss};
use crate::support::load::Load;
use crate::support::server::Server;
use crate::support::servers::{Place, psql};
use crate::support::traffic::{Traffic, episodes};
use crate::support::{clock, seed, until};

/// A unit whose owner died or left is owned again within this time.
const UNOWNED: Duration = Duration::from_secs(15);
/// How long the lease of one who died goes on, at most.
const LEASE: Duration = Duration::from_secs(10);

/// Owners of units whose lease holds, and how many each has.
fn owners(place: &Place) -> BTreeMap<String, usize> {
    let held = "SELECT owner, COUNT(*) FROM units WHERE lease_until > (SELECT now_us FROM db_time) GROUP BY owner";
    let lines = psql(place.database(), held);
    let line = |line: &str| line.split_once('|').map(|(owner, units)| (owner.to_owned(), units.parse().unwrap_or(0)));
    lines.lines().filter_map(line).collect()
}

/// The units that nobody holds.
/// Units that nobody holds, and how long nobody worked on them before: a lease, if their owner died.
fn unowned(place: &Place) -> BTreeMap<String, Duration> {
    let free = "SELECT unit, owner IS NULL FROM units WHERE lease_until <= (SELECT now_us FROM db_time)";
    let rows = psql(place.database(), free);
    let row = |line: &str| {
        let (unit, given_back) = line.split_once('|').expect("two columns");
        (unit.to_owned(), if given_back == "t" { Duration::ZERO } else { LEASE })
    };
    rows.lines().map(row).collect()
}

/// A secret for all processes.
fn secret(folder: &tempfile::TempDir) -> PathBuf {
    let path = folder.path().join("secret");
    std::fs::write(&path, "5e".repeat(32)).expect("a secret");
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_processor_is_replaced_and_changes_nothing_when_it_wakes() {
    let seed = seed("a_frozen_processor_is_replaced_and_changes_nothing_when_it_wakes");
    let folder = tempfile::tempdir().expect("a temporary directory");
    let (place, secret) = (Place::new(), secret(&folder));
    let mut front = Server::with_roles(&place, "api,ingest,agents", &secret);
    front.launch().await;
    let mut sleeper = Server::with_roles(&place, "process", &secret);
    sleeper.spawn();
    let mut other = Server::with_roles(&place, "process", &secret);
    other.spawn();
    until("each has its share", async || {
        let owners = owners(&place);
        (owners.len() == 2 && owners.values().all(|units| *units == owners.values().sum::<usize>() / 2)).then_some(())
    })
    .await;
    let before = owners(&place);
    let mut scene = Scene::set_on(front, seed).await;
    for _ in 0..2 {
        scene.load.send(&scene.current).await;
        sleeper.freeze();
        let frozen = Instant::now();
        scene.load.send(&scene.current).await;
        until("its units are another's", async || {
            let owners = owners(&place);
            (owners.len() == 1 && owners.values().sum::<usize>() == before.values().sum::<usize>()).then_some(())
        })
        .await;
        let replaced = frozen.elapsed();
        println!("owned again after {replaced:?}");
        assert!(replaced <= Duration::from_secs(15), "owned again only after {replaced:?}");
        scene.load.send(&scene.current).await;
        scene.account.settled(0).await;
        sleeper.thaw();
        scene.load.send(&scene.current).await;
        until("each has its share again", async || (owners(&place).len() == 2).then_some(())).await;
    }
    let words = sleeper.output();
    assert!(words.contains("unit.lease_lost") || words.contains("unit.fenced"), "it did not notice:\n{words}");
    scene.finish(0).await;
    sleeper.end().await;
    other.end().await;
}

/// An account with its podcast and load.
struct Customer {
    account: Account,
    podcast: String,
    load: Load,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[expect(clippy::too_many_lines, reason = "a journey is told in one piece")]
async fn processes_come_and_go_and_are_killed() {
    let seed = seed("processes_come_and_go_and_are_killed");
    let mut dice = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().expect("a temporary directory");
    let (place, secret) = (Place::new(), secret(&folder));
    let start = |roles| Server::with_roles(&place, roles, &secret);
    let mut apis = [start("api"), start("api")];
    for api in &mut apis {
        api.launch().await;
    }
    let (mut ingest, mut agents) = (start("ingest"), start("agents"));
    ingest.launch().await;
    agents.spawn();
    let mut processors = vec![start("process"), start("process"), start("process")];
    processors.iter_mut().for_each(Server::spawn);
    let host = FeedHost::start().await;
    let mut customers = Vec::new();
    for name in ["ada", "bob", "cleo", "dora"] {
        let account = apis[0].client().sign_up(name).await;
        let podcast = account.connect(&host.publish(&format!("/{name}.xml"), &rss(name, &episodes()))).await;
        let traffic = Traffic::new(seed, &podcast, clock::now() - 60 * SECOND);
        let load = Load::new(traffic, &folder.path().join(name));
        customers.push(Customer { account, podcast, load });
    }
    until("each has its share", async || (owners(&place).len() == 3).then_some(())).await;

    let (over, churn) = (AtomicBool::new(false), seconds("CASTBACK_CHURN", 40));
    let address: Mutex<Client> = Mutex::new(ingest.client());
    let sending = async {
        while !over.load(Ordering::SeqCst) {
            for customer in &mut customers {
                let client = customer.account.client.moved_to(&address.lock().expect("no poison"));
                customer.load.send_once(&Mutex::new(client)).await;
            }
        }
    };
    let watching = watch_owners(&place, &over);
    let asking = ask(&apis, &over);
    let changing = async {
        let (end, mut changes) = (Instant::now() + churn, 0);
        while Instant::now() < end {
            tokio::time::sleep(Duration::from_secs(2)).await;
            changes += 1;
            let chosen = dice.random_range(0..processors.len());
            match dice.random_range(0..8) {
                0 => {
                    ingest.kill9();
                    ingest.launch().await;
                    *address.lock().expect("no poison") = ingest.client();
                }
                1 => {
                    agents.kill9();
                    agents.spawn();
                }
                2..5 => {
                    processors[chosen].kill9();
                    processors[chosen].spawn();
                }
                _ => {
                    let newcomer = start("process");
                    std::mem::replace(&mut processors[chosen], newcomer).end().await;
                    processors[chosen].spawn();
                }
            }
        }
        over.store(true, Ordering::SeqCst);
        changes
    };
    let (changes, (), longest, (answers, counted)) = tokio::join!(changing, sending, watching, asking);
    println!("changes {changes}, answers {answers}, counted {counted}, a unit was unowned for {longest:?} at most");
    assert!(answers > 0 && counted > 0, "nobody was asked, or nothing was there to be told: {answers}, {counted}");

    let [first, second] = apis;
    for customer in &mut customers {
        let client = Mutex::new(customer.account.client.moved_to(&ingest.client()));
        customer.load.send_the_rest(&client).await;
        let entries = customer.load.journal.read_back();
        assert!(!entries.acked.is_empty(), "nothing was acknowledged");
        check(&customer.account, &customer.podcast, &entries, &customer.load.requests).await;
    }
    first.finish().await;
    second.end().await;
    ingest.end().await;
    agents.end().await;
    for processor in processors {
        processor.end().await;
    }
    assert!(longest <= UNOWNED, "a unit was unowned for {longest:?}");
}

/// How long a unit was without an owner, at most.
async fn watch_owners(place: &Place, over: &AtomicBool) -> Duration {
    let (mut since, mut longest) = (BTreeMap::<String, Instant>::new(), Duration::ZERO);
    while !over.load(Ordering::SeqCst) {
        let place = place.clone();
        let free = tokio::task::spawn_blocking(move || unowned(&place)).await.expect("psql answers");
        since.retain(|unit, _| free.contains_key(unit));
        for (unit, before) in free {
            longest = longest.max(before + since.entry(unit).or_insert_with(Instant::now).elapsed());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    longest
}

/// Asks both processes for all accounts' balance and for two counts that only one commit makes equal: row by row, and
/// by sums over hours. How many answers there were, and how much was counted in the last.
async fn ask(apis: &[Server; 2], over: &AtomicBool) -> (usize, i64) {
    let operators = apis.each_ref().map(Server::operator);
    let twice = "SELECT a.n, b.n FROM (SELECT COUNT(*) AS n FROM ledger \
                 WHERE topic = 'listener-requests' AND verdict = 'counted') AS a, \
                 (SELECT COALESCE(SUM(counted), 0) AS n FROM listener_metrics) AS b";
    let (mut answers, mut counted) = (0, 0);
    while !over.load(Ordering::SeqCst) {
        for operator in &operators {
            // The tally follows the verdicts, and may wait for a new owner: it never runs ahead of them.
            let balance = operator.get("/v1/ledger/balance?account=all").await;
            if balance.status != 503 {
                let balance = balance.ok().json();
                let parts =
                    ["counted", "duplicate", "filtered", "late", "dead_lettered"].map(|part| balance[part].as_i64());
                let judged: Option<i64> = parts.into_iter().sum();
                assert!(balance["accepted"].as_i64() <= judged, "{balance}");
            }
            let counts = operator.post("/v1/sql?account=all", &serde_json::json!({ "sql": twice })).await;
            if counts.status != 503 {
                let row = counts.ok().json()["rows"][0].clone();
                assert_eq!(row[0], row[1], "two commits in one answer");
                counted = row[0].as_i64().expect("a count");
                answers += 1;
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    (answers, counted)
}
