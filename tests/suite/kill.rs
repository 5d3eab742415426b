//! Killed at any moment, and at every step of a commit, a compaction, a relay and a recovery: nothing acknowledged is
//! lost, nothing is counted twice, and every result is that of an uninterrupted run (the oracle's).
//!
//! `CASTBACK_KILLS=200` runs the long form, `CASTBACK_SEED=n` runs a run again.

use std::sync::Mutex;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::oracle::SECOND;
use crate::support::check::check;
use crate::support::client::{Account, Client};
use crate::support::feed_host::{FeedHost, rss};
use crate::support::load::Load;
use crate::support::server::{DRAIN, Server};
use crate::support::traffic::{Traffic, episodes};
use crate::support::{clock, seed, until};

/// Kills of the short form.
const KILLS: u64 = 8;

/// Every step at which the process can be told to abort (`CASTBACK_FAILPOINT=name[:nth]`).
const FAILPOINTS: [&str; 11] = [
    "put.before:3",
    "put.after:3",
    "commit.before:3",
    "commit.after:3",
    "relay.before",
    "relay.after",
    "compact.before_put",
    "compact.after_put",
    "compact.after_commit",
    "fold.before",
    "fold.after",
];

/// A server with an account, a podcast and a load client.
pub(crate) struct Scene {
    pub(crate) server: Server,
    host: FeedHost,
    pub(crate) account: Account,
    pub(crate) podcast: String,
    pub(crate) load: Load,
    pub(crate) current: Mutex<Client>,
    _folder: tempfile::TempDir,
}

impl Scene {
    async fn set(seed: u64) -> Self {
        Self::set_on(Server::start().await, seed).await
    }

    /// On a server that is ready.
    pub(crate) async fn set_on(server: Server, seed: u64) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let host = FeedHost::start().await;
        let account = server.client().sign_up("crash").await;
        let podcast = account.connect(&host.publish("/feed.xml", &rss("Crash", &episodes()))).await;
        let traffic = Traffic::new(seed, &podcast, clock::now() - 60 * SECOND);
        let load = Load::new(traffic, &folder.path().join("journal"));
        let current = Mutex::new(account.client.clone());
        Self { server, host, account, podcast, load, current, _folder: folder }
    }

    /// Starts the server again and tells the load client where it is.
    async fn launch(&mut self) {
        self.server.launch().await;
        self.follow();
    }

    fn follow(&mut self) {
        self.account = self.account.moved_to(&self.server.client());
        *self.current.lock().expect("no poison") = self.account.client.clone();
    }

    pub(crate) async fn finish(mut self, kills: u64) {
        self.load.send_the_rest(&self.current).await;
        let entries = self.load.journal.read_back();
        println!("kills {kills}, posts {}, refusals {}", self.load.batches, self.load.refusals);
        assert!(!entries.acked.is_empty(), "nothing was acknowledged");
        let found = check(&self.account, &self.podcast, &entries, &self.load.requests).await;
        assert_eq!(found.acked, self.load.requests.len());
        assert_eq!(self.host.asked().iter().filter(|path| *path != "/feed.xml").count(), 0);
        self.server.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_moments() {
    let seed = seed("killed_at_random_moments");
    let kills = std::env::var("CASTBACK_KILLS").map_or(KILLS, |text| text.parse().expect("CASTBACK_KILLS is a number"));
    let mut moments = StdRng::seed_from_u64(seed);
    let mut scene = Scene::set(seed).await;
    for _ in 0..kills {
        let moment = Duration::from_millis(moments.random_range(20..1_500));
        let Scene { load, current, .. } = &mut scene;
        let sending = async {
            loop {
                load.send(current).await;
            }
        };
        // The kill comes while a post is under way, or between two: both are wanted.
        if tokio::time::timeout(moment, sending).await.is_ok() {
            unreachable!("the load never ends by itself");
        }
        scene.server.kill9();
        scene.launch().await;
    }
    scene.finish(kills).await;
}

/// A campaign that nobody launches.
const DRAFT: &str = r#"{"name": "Draft", "currency": "USD"}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aborted_at_every_step() {
    let mut scene = Scene::set(seed("aborted_at_every_step")).await;
    scene.load.send(&scene.current).await;
    for failpoint in FAILPOINTS {
        scene.server.kill9();
        scene.server.set("CASTBACK_FAILPOINT", Some(failpoint));
        scene.server.spawn();
        // Those of recovery are reached while it starts or a moment after, the others under load.
        if scene.server.ready_or_dead().await {
            scene.follow();
            let Scene { server, load, current, .. } = &mut scene;
            until(&format!("{failpoint} is reached"), async || {
                load.send_once(current).await;
                // What people change makes events that a relay sends on.
                let client = current.get_mut().expect("no poison").clone();
                drop(client.try_post_raw("/v1/campaigns", "application/json", DRAFT).await);
                server.exited()
            })
            .await;
        }
        scene.server.set("CASTBACK_FAILPOINT", None);
        scene.launch().await;
        println!("aborted at {failpoint}");
        scene.load.send_the_rest(&scene.current).await;
        // The failpoint is set again by a kill: let nothing be left of this one.
        scene.account.settled(0).await;
    }
    scene.finish(FAILPOINTS.len().try_into().expect("a count")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_by_signal_under_load() {
    let mut scene = Scene::set(seed("stopped_by_signal_under_load")).await;
    for _ in 0..3 {
        for _ in 0..20 {
            scene.load.send(&scene.current).await;
        }
        let Scene { server, load, current, .. } = &mut scene;
        server.terminate();
        let sending = async { while load.send_once(current).await {} };
        let (status, ()) = tokio::join!(server.exit_within(DRAIN), sending);
        assert!(status.success(), "a stop under load ended with {status}");
        scene.launch().await;
        scene.load.send_the_rest(&scene.current).await;
    }
    scene.finish(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_and_thawed() {
    let mut scene = Scene::set(seed("frozen_and_thawed")).await;
    for _ in 0..3 {
        scene.load.send(&scene.current).await;
        scene.server.freeze();
        let Scene { load, current, .. } = &mut scene;
        let sending = load.send_once(current);
        assert!(tokio::time::timeout(Duration::from_secs(2), sending).await.is_err(), "a frozen process answered");
        scene.server.thaw();
        scene.load.send_the_rest(&scene.current).await;
    }
    scene.finish(0).await;
}
