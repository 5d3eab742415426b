//! What processes show of themselves, and how they hand over what fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use castback_broker::{AppendError, EmbeddedLog, Ends, Log, NewRecord, ReadError, ReadLimits, Record};
use castback_pipeline::group::GROUPS;
use castback_schemas::table::Table;
use castback_schemas::time::{MINUTE, SECOND};
use castback_schemas::{Clock, SLOTS, Slot, Topic};
use prometheus::Registry;

use crate::house::{House, NOON};

on_every_database! {
    the_heart_beats_as_often_as_the_publisher_turns
    a_unit_that_fails_is_given_back_at_once_and_loses_nothing
    a_stop_waits_for_no_answer_of_the_log_and_loses_nothing
}

/// When the process last worked, in seconds.
fn heartbeat(registry: &Registry) -> String {
    let families = registry.gather();
    let heart = families.iter().find(|family| family.name() == "castback_heartbeat_timestamp_seconds").unwrap();
    heart.get_metric()[0].get_gauge().get_value().to_string()
}

fn the_heart_beats_as_often_as_the_publisher_turns(house: &House) {
    let process = house.process(2);
    for _ in 0..2 {
        house.clock.advance(MINUTE);
        let now = (house.clock.now().0 / SECOND).to_string();
        house.until("the heart beats", || heartbeat(&process.registry) == now);
    }
    process.stop();
}

/// A log of which one slot breaks whoever reads it.
#[derive(Debug)]
struct Broken {
    log: Arc<EmbeddedLog>,
    slot: Slot,
    now: AtomicBool,
}

#[async_trait]
impl Log for Broken {
    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<i64>, AppendError> {
        self.log.append(records).await
    }

    async fn read(&self, topic: Topic, slot: Slot, from: i64, limits: ReadLimits) -> Result<Vec<Record>, ReadError> {
        assert!(slot != self.slot || !self.now.load(Ordering::SeqCst), "this is what the test is about");
        self.log.read(topic, slot, from, limits).await
    }

    async fn ends(&self, topic: Topic, slot: Slot) -> Result<Ends, ReadError> {
        self.log.ends(topic, slot).await
    }

    async fn advise(&self, group: &str, positions: &[(Topic, Slot, i64)]) -> Result<(), ReadError> {
        self.log.advise(group, positions).await
    }
}

fn a_unit_that_fails_is_given_back_at_once_and_loses_nothing(house: &House) {
    let sender = house.sender("ada");
    let encoder = house.encoder(Topic::ListenerRequests);
    let slot = Slot::of(sender.account);
    let broken = Arc::new(Broken { log: house.log.clone(), slot, now: AtomicBool::new(false) });
    let process = house.process_on(2, false, broken.clone());
    house.until("it holds all units", || {
        house.wait(house.catalogue.units()).unwrap().iter().all(|unit| unit.owner.is_some())
    });
    house.append(vec![sender.record(&encoder, &sender.request("before", 1, NOON))]);
    house.until("it works", || house.is_caught_up());

    let begun = tokio::time::Instant::now();
    broken.now.store(true, Ordering::SeqCst);
    house.append(vec![sender.record(&encoder, &sender.request("meanwhile", 2, NOON))]);
    // Nobody's before the lease could have ended, however often it is taken back and fails again.
    let taken = std::cell::RefCell::new(Vec::new());
    house.until("it can be taken by another", || {
        taken.borrow_mut().extend(house.wait(house.catalogue.take("another", 1)).unwrap());
        !taken.borrow().is_empty()
    });
    let waited = begun.elapsed();
    assert!(waited < Duration::from_secs(8), "a lease of ten seconds was waited for: {waited:?}");
    let taken = taken.into_inner();
    assert!(taken.iter().all(|held| held.unit.slot == slot), "only what failed was free: {taken:?}");

    // The other gives it back, too, and it works again.
    broken.now.store(false, Ordering::SeqCst);
    let leases: Vec<_> = taken.iter().map(|held| (held.unit, held.epoch)).collect();
    house.wait(house.catalogue.release(&leases)).unwrap();
    house.until("all is committed", || house.is_caught_up());
    process.stop();
    let verdicts = house.balanced(Topic::ListenerRequests, Table::Requests);
    assert_eq!(verdicts, [("counted".to_owned(), 2)].into());
}

/// A log that takes records and answers no question.
#[derive(Debug)]
struct Silent {
    log: Arc<EmbeddedLog>,
    reads: AtomicUsize,
    ends: AtomicUsize,
}

#[async_trait]
impl Log for Silent {
    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<i64>, AppendError> {
        self.log.append(records).await
    }

    async fn read(&self, _: Topic, _: Slot, _: i64, _: ReadLimits) -> Result<Vec<Record>, ReadError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        std::future::pending().await
    }

    async fn ends(&self, _: Topic, _: Slot) -> Result<Ends, ReadError> {
        self.ends.fetch_add(1, Ordering::SeqCst);
        std::future::pending().await
    }

    async fn advise(&self, _: &str, _: &[(Topic, Slot, i64)]) -> Result<(), ReadError> {
        std::future::pending().await
    }
}

fn a_stop_waits_for_no_answer_of_the_log_and_loses_nothing(house: &House) {
    let sender = house.sender("ada");
    let encoder = house.encoder(Topic::ListenerRequests);
    house.append(vec![sender.record(&encoder, &sender.request("waits", 1, NOON))]);
    let silent = Arc::new(Silent { log: house.log.clone(), reads: AtomicUsize::new(0), ends: AtomicUsize::new(0) });
    let process = house.process_on(2, true, silent.clone());
    house.until("every unit waits for the log, and so does the lag", || {
        let units = GROUPS.len() * usize::from(SLOTS);
        silent.reads.load(Ordering::SeqCst) >= units && silent.ends.load(Ordering::SeqCst) > 0
    });
    let begun = tokio::time::Instant::now();
    process.stop();
    let waited = begun.elapsed();
    assert!(waited < Duration::from_secs(2), "an answer was waited for: {waited:?}");
    assert!(
        house.wait(house.catalogue.units()).unwrap().iter().all(|unit| unit.owner.is_none()),
        "units are given back"
    );

    let next = house.process(3);
    house.until("the next one does the work", || house.is_caught_up());
    next.stop();
    let verdicts = house.balanced(Topic::ListenerRequests, Table::Requests);
    assert_eq!(verdicts, [("counted".to_owned(), 1)].into());
}
