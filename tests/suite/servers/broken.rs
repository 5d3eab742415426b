//! Servers that go away: what cannot be taken is refused, what was acknowledged is there when they are back.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::seconds;
use crate::kill::Scene;
use crate::support::server::Server;
use crate::support::servers::{OwnServer, Place, given};
use crate::support::{seed, until};

async fn scene(place: &Place, seed: u64) -> Scene {
    let mut server = Server::prepare(Some(place));
    server.launch().await;
    Scene::set_on(server, seed).await
}

/// Sends for a while, however it goes.
async fn send_for(scene: &mut Scene, moment: Duration) {
    let Scene { load, current, .. } = scene;
    let sending = async {
        loop {
            load.send(current).await;
        }
    };
    if tokio::time::timeout(moment, sending).await.is_ok() {
        unreachable!("the load never ends by itself");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_is_killed_under_load_and_down_for_a_while() {
    let seed = seed("a_broker_is_killed_under_load_and_down_for_a_while");
    let (broker, address) = OwnServer::start("kafka");
    let place = Place::on(&address, &given("CASTBACK_TEST_POSTGRES_URL"), &given("CASTBACK_TEST_S3"));
    let mut moments = StdRng::seed_from_u64(seed);
    let mut scene = scene(&place, seed).await;
    for _ in 0..2 {
        send_for(&mut scene, Duration::from_millis(moments.random_range(200..2_000))).await;
        broker.act("kill");
        let Scene { load, current, account, podcast, .. } = &mut scene;
        let before = load.refusals;
        until("it is said that nothing can be taken", async || {
            load.send_once(current).await;
            (load.refusals > before).then_some(())
        })
        .await;
        tokio::time::sleep(seconds("CASTBACK_OUTAGE", 3)).await;
        account.client.get(&format!("/v1/podcasts/{podcast}")).await.is(200);
        account.sql_number("SELECT COUNT(*) FROM ledger").await;
        broker.act("start");
        load.send_the_rest(current).await;
        load.send(current).await;
    }
    scene.finish(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_crashes_and_comes_back() {
    let seed = seed("the_database_crashes_and_comes_back");
    let (postgres, address) = OwnServer::start("postgres");
    let place = Place::on(&given("CASTBACK_TEST_KAFKA"), &address, &given("CASTBACK_TEST_S3"));
    let mut scene = scene(&place, seed).await;
    for action in ["kill", "stop"] {
        send_for(&mut scene, Duration::from_millis(700)).await;
        postgres.act(action);
        let until_then = tokio::time::Instant::now() + seconds("CASTBACK_OUTAGE", 3);
        while tokio::time::Instant::now() < until_then {
            // Taken or refused, as it may: never an answer that says nothing.
            let Scene { load, current, .. } = &mut scene;
            load.send_once(current).await;
        }
        postgres.act("start");
        scene.load.send_the_rest(&scene.current).await;
        scene.load.send(&scene.current).await;
    }
    scene.finish(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_object_store_that_goes_away_delays_and_loses_nothing() {
    let seed = seed("a_slow_object_store_that_goes_away_delays_and_loses_nothing");
    let (s3, address) = OwnServer::start("s3-slow");
    let place = Place::on(&given("CASTBACK_TEST_KAFKA"), &given("CASTBACK_TEST_POSTGRES_URL"), &address);
    let mut scene = scene(&place, seed).await;
    for _ in 0..2 {
        send_for(&mut scene, Duration::from_millis(700)).await;
        s3.act("freeze");
        let Scene { load, current, .. } = &mut scene;
        let before = load.batches;
        load.send(current).await;
        assert!(load.batches > before, "records are taken while the store is away");
        tokio::time::sleep(seconds("CASTBACK_OUTAGE", 3)).await;
        s3.act("thaw");
    }
    scene.finish(2).await;
}
