//! Records that can't be read, anywhere among those that can.

use std::sync::atomic::Ordering;

use arrow::array::AsArray;
use bytes::Bytes;
use castback_broker::NewRecord;
use castback_schemas::table::Table;
use castback_schemas::{AccountId, Micros, Slot, Topic};
use uuid::Uuid;

use crate::house::{House, NOON, text};

on_every_database! {
    poison_among_good_records_becomes_dead_letters_and_the_balance_holds
    records_of_an_erased_account_do_not_stop_its_slot
    a_registry_that_is_away_makes_units_wait_and_no_dead_letters
}

fn poison_among_good_records_becomes_dead_letters_and_the_balance_holds(house: &House) {
    let sender = house.sender("ada");
    let encoder = house.encoder(Topic::ListenerRequests);
    let good = |n: u32| sender.record(&encoder, &sender.request(&format!("good-{n}"), n, NOON));
    let with = |value: Vec<u8>| NewRecord { value: value.into(), ..good(99) };
    let whole = good(99).value.to_vec();
    let mut unknown_schema = whole.clone();
    unknown_schema[1..5].copy_from_slice(&9_999_u32.to_be_bytes());
    let mut twice = whole.clone();
    twice.extend_from_slice(&whole);
    let stranger = AccountId::from_uuid(Uuid::from_u128(5));
    let mut ancient = sender.request("ancient", 99, Micros(i64::MIN));
    let mut records = vec![good(0), with(b"{\"json\": true}".to_vec()), with(Vec::new()), good(1)];
    records.extend([with(whole[..whole.len() - 1].to_vec()), with(twice), with(unknown_schema), good(2)]);
    records.push(NewRecord { account: stranger, slot: Slot::of(sender.account), ..good(99) });
    records.push(sender.record(&encoder, &ancient));
    ancient.occurred_at = Micros(-1);
    records.push(sender.record(&encoder, &ancient));
    records.push(good(3));
    // A record as large as the log takes: the event about it must fit all the same.
    records.push(with(vec![7; castback_broker::MAX_RECORD_BYTES - 3]));
    let bad = records.len() - 4;
    house.append(records);
    let process = house.process(2);
    house.until("all is committed", || house.is_caught_up());
    let verdicts = house.balanced(Topic::ListenerRequests, Table::Requests);
    assert_eq!(verdicts["counted"], 4);
    assert_eq!(verdicts["dead_lettered undecodable"], 6);
    assert_eq!(verdicts["dead_lettered schema"], 3);
    assert_eq!(verdicts.values().sum::<usize>(), 4 + bad);
    let accounts: Vec<String> = house.rows(Table::DeadLetters).iter().flat_map(|b| text(b, "account_id")).collect();
    assert_eq!(accounts.iter().filter(|account| **account == stranger.to_string()).count(), 1);
    let told = || Slot::all().map(|slot| house.read(Topic::DeadLetters, slot).len()).sum::<usize>();
    house.until("the dead letters are told", || told() == bad);
    process.stop();
}

fn records_of_an_erased_account_do_not_stop_its_slot(house: &House) {
    let (sender, other) = (house.sender("ada"), house.sender("bob"));
    let encoder = house.encoder(Topic::ListenerRequests);
    house.wait(house.catalogue.account_key(sender.account)).unwrap();
    house.wait(house.catalogue.destroy_account_key(sender.account)).unwrap();
    let good = sender.record(&encoder, &sender.request("good", 1, NOON));
    let bad = NewRecord { value: Bytes::from_static(b"whatever"), ..good.clone() };
    house.append(vec![bad, good, other.record(&encoder, &other.request("other", 1, NOON))]);
    let process = house.process(2);
    house.until("all is committed", || house.is_caught_up());
    process.stop();
    let verdicts = house.balanced(Topic::ListenerRequests, Table::Requests);
    assert_eq!(verdicts, [("counted".to_owned(), 2), ("dead_lettered undecodable".to_owned(), 1)].into());
    let letters = house.rows(Table::DeadLetters);
    let kept = letters.iter().map(|batch| batch.column_by_name("value").unwrap().as_binary::<i32>().value_data().len());
    assert_eq!(kept.sum::<usize>(), 0, "nothing of the record is kept");
}

fn a_registry_that_is_away_makes_units_wait_and_no_dead_letters(house: &House) {
    let sender = house.sender("ada");
    let encoder = house.encoder(Topic::ListenerRequests);
    let mut records: Vec<_> =
        (0..3).map(|n| sender.record(&encoder, &sender.request(&format!("waits-{n}"), n, NOON))).collect();
    let mut unknown = records[0].value.to_vec();
    unknown[1..5].copy_from_slice(&9_999_u32.to_be_bytes());
    records.push(NewRecord { value: unknown.into(), ..records[0].clone() });
    house.append(records);
    let epochs = || house.wait(house.catalogue.units()).unwrap().iter().map(|unit| unit.epoch).collect::<Vec<_>>();
    house.outage.lasts.store(true, Ordering::SeqCst);
    let process = house.process(2);
    let taken = epochs();
    house.until("it was asked again", || house.outage.refused.load(Ordering::SeqCst) > 3);
    let letters = || house.rows(Table::DeadLetters).iter().map(|batch| batch.num_rows()).sum::<usize>();
    assert_eq!(letters(), 0, "nothing is known to be wrong");
    assert_eq!(epochs(), taken, "the units are kept meanwhile");
    house.outage.lasts.store(false, Ordering::SeqCst);
    house.until("all is committed", || house.is_caught_up());
    process.stop();
    let verdicts = house.balanced(Topic::ListenerRequests, Table::Requests);
    assert_eq!(verdicts, [("counted".to_owned(), 3), ("dead_lettered undecodable".to_owned(), 1)].into());
}
