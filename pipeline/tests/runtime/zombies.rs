//! Processes past their leases: what they say changes nothing.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use castback_broker::{AppendError, EmbeddedLog, Ends, Log, NewRecord, ReadError, ReadLimits, Record};
use castback_pipeline::metrics::Metrics;
use castback_pipeline::publisher::{HeldUnits, Publisher};
use castback_pipeline::unit::HeldUnit;
use castback_schemas::id::SeededIds;
use castback_schemas::table::Table;
use castback_schemas::{Group, Slot, Topic, Unit};
use prometheus::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::house::{House, NOON};

/// A log that hands out what it has read only when the gate is open.
#[derive(Debug)]
struct Gate {
    log: Arc<EmbeddedLog>,
    open: watch::Receiver<bool>,
}

#[async_trait]
impl Log for Gate {
    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<i64>, AppendError> {
        self.log.append(records).await
    }

    async fn read(&self, topic: Topic, slot: Slot, from: i64, limits: ReadLimits) -> Result<Vec<Record>, ReadError> {
        let records = self.log.read(topic, slot, from, limits).await?;
        if !records.is_empty() {
            self.open.clone().wait_for(|open| *open).await.ok();
        }
        Ok(records)
    }

    async fn ends(&self, topic: Topic, slot: Slot) -> Result<Ends, ReadError> {
        self.log.ends(topic, slot).await
    }

    async fn advise(&self, group: &str, positions: &[(Topic, Slot, i64)]) -> Result<(), ReadError> {
        self.log.advise(group, positions).await
    }
}

on_every_database! {
    a_process_that_wakes_up_after_another_took_its_work_changes_nothing
    a_commit_under_an_old_epoch_is_refused_and_its_neighbour_is_not
    a_unit_that_was_lost_is_taken_again_before_its_task_has_noticed
}

fn a_process_that_wakes_up_after_another_took_its_work_changes_nothing(house: &House) {
    let sender = house.sender("ada");
    let encoder = house.encoder(Topic::ListenerRequests);
    let (gate, open) = watch::channel(true);
    let zombie = house.process_on(2, false, Arc::new(Gate { log: house.log.clone(), open }));
    house.until("the first holds all units", || {
        house.wait(house.catalogue.units()).unwrap().iter().all(|unit| unit.owner.is_some())
    });
    let send = |id: &str, listener| {
        house.append(vec![sender.record(&encoder, &sender.request(id, listener, NOON))]);
    };
    send("before", 1);
    house.until("it works", || house.is_caught_up());
    gate.send(false).unwrap();
    send("while it sleeps", 2);
    send("while it sleeps, too", 2);
    // The other takes everything and does the work.
    let second = house.process(3);
    house.until("the second did the work", || house.is_caught_up());
    let (verdicts, commit) = (
        house.balanced(Topic::ListenerRequests, Table::Requests),
        house.wait(house.catalogue.newest_commit()).unwrap(),
    );
    assert_eq!(verdicts, [("counted".to_owned(), 2), ("duplicate same_download".to_owned(), 1)].into());
    // The first wakes up with the same records in its hands.
    gate.send(true).unwrap();
    house.until("the first has noticed", || zombie.fenced() > 0.0 || !owns(house, "process 2"));
    send("after", 4);
    house.until("the second goes on", || house.is_caught_up());
    assert_eq!(
        house.balanced(Topic::ListenerRequests, Table::Requests),
        [("counted".to_owned(), 3), ("duplicate same_download".to_owned(), 1)].into()
    );
    // The record, and its tally: no commit of the zombie's lies between.
    assert_eq!(house.wait(house.catalogue.newest_commit()).unwrap().0, commit.0 + 2);
    zombie.stop();
    second.stop();
}

fn owns(house: &House, owner: &str) -> bool {
    house.wait(house.catalogue.units()).unwrap().iter().any(|unit| unit.owner.as_deref() == Some(owner))
}

fn a_commit_under_an_old_epoch_is_refused_and_its_neighbour_is_not(house: &House) {
    let units = [Slot(0), Slot(1)].map(|slot| Unit { group: Group::Tally, slot });
    house.wait(house.catalogue.ensure_units(&units)).unwrap();
    let held = house.wait(house.catalogue.take("first", 2)).unwrap();
    let all = Arc::new(HeldUnits::default());
    for held in held {
        all.insert(Arc::new(HeldUnit::new(held)));
    }
    let publisher = Publisher::new(
        (house.catalogue.clone(), house.store.clone()),
        house.clock.clone(),
        Arc::new(SeededIds::new([4; 32])),
        (Arc::clone(&all), Metrics::new(&Registry::new()).unwrap()),
    );
    // Somebody else takes one of the two.
    let stolen = house.wait(async {
        let first = [(units[0], all.get(units[0]).unwrap().epoch)];
        house.catalogue.release(&first).await.unwrap();
        house.catalogue.take("second", 1).await.unwrap()
    });
    assert_eq!(stolen[0].unit, units[0]);
    for unit in units {
        let mut out = castback_pipeline::change::Changes::default();
        let (account, slot) = (house.catalogue.installation().account.to_string(), unit.slot.to_string());
        let row = [account.as_str().into(), slot.as_str().into(), NOON.into(), 7.into(), false.into()];
        out.row(Table::Tallies, &row).unwrap();
        all.get(unit).unwrap().say(out.finish().unwrap(), Some((Topic::Conversions, 7)), None);
    }
    let stop = CancellationToken::new();
    let commit = async { tokio::time::timeout(Duration::from_secs(30), publisher.commit(&stop)).await };
    house.wait(tokio::task::unconstrained(commit)).unwrap();
    let topics: Vec<String> = house.rows(Table::Tallies).iter().flat_map(|b| crate::house::text(b, "topic")).collect();
    assert_eq!(topics, ["1"], "only the row of the unit that is still held");
    assert!(all.get(units[0]).unwrap().is_fenced() && !all.get(units[1]).unwrap().is_fenced());
    let now = house.wait(house.catalogue.units()).unwrap();
    let position = |unit| now.iter().find(|s| s.unit == unit).unwrap().positions.0.get("conversions").copied();
    assert_eq!([position(units[0]), position(units[1])], [None, Some(7)]);
}

fn a_unit_that_was_lost_is_taken_again_before_its_task_has_noticed(house: &House) {
    let sender = house.sender("ada");
    let encoder = house.encoder(Topic::ListenerRequests);
    let (gate, open) = watch::channel(true);
    let process = house.process_on(2, false, Arc::new(Gate { log: house.log.clone(), open }));
    let has_all = || {
        let units = house.wait(house.catalogue.units()).unwrap();
        units.iter().all(|unit| unit.owner.as_deref() == Some("process 2"))
    };
    house.until("it holds all units", has_all);
    gate.send(false).unwrap();
    house.append(vec![sender.record(&encoder, &sender.request("a", 1, NOON))]);
    // Whoever waits at the gate watches it, beside the log itself.
    house.until("a task is held up", || gate.receiver_count() > 1);
    house.wait(async {
        let taken = house.catalogue.take_all("somebody else").await.unwrap();
        let taken: Vec<_> = taken.iter().map(|held| (held.unit, held.epoch)).collect();
        house.catalogue.release(&taken).await.unwrap();
    });
    house.until("it holds all units again", has_all);
    gate.send(true).unwrap();
    house.until("it goes on", || house.is_caught_up());
    let verdicts = house.balanced(Topic::ListenerRequests, Table::Requests);
    assert_eq!(verdicts, [("counted".to_owned(), 1)].into());
    process.stop();
}
