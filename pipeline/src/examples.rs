//! Every example of an input topic through the processor that gives its verdict.

use arrow::array::{Array, RecordBatch};
use arrow::util::display::array_value_to_string;
use bytes::Bytes;
use castback_broker::Record;
use castback_schemas::codec::Encoder;
use castback_schemas::edge::HashKey;
use castback_schemas::event::{AppEvent, Conversion, ListenerRequest};
use castback_schemas::table::Table;
use castback_schemas::time::SECOND;
use castback_schemas::{AccountId, Micros, Slot, Topic};
use serde_json::{Value, json};

use crate::change::Changes;
use crate::decode::{Intake, ledger_of};
use crate::directory::Directory;
use crate::group::{GROUPS, Input, Making, judge_of};
use crate::samples::lists;

fn example(topic: Topic) -> Value {
    let path = format!("{}/../schemas/examples/{topic}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The example as the event that it shows: hashes as bytes, times as people write them.
fn framed(topic: Topic) -> (AccountId, Vec<u8>) {
    let mut value = example(topic);
    for time in ["occurred_at", "recorded_at"] {
        value[time] = json!(Micros(value[time].as_i64().unwrap()));
    }
    for name in ["listener", "household", "listener_previous", "customer"] {
        if let Some(hash) = value.get(name).and_then(Value::as_str) {
            let hash = u128::from_str_radix(hash, 16).unwrap().to_be_bytes();
            value[name] = json!(hash);
        }
    }
    let account = value["account_id"].as_str().unwrap().parse().unwrap();
    let encoder = Encoder::new(topic, 1).unwrap();
    let encoded = match topic {
        Topic::ListenerRequests => encoder.encode(&serde_json::from_value::<ListenerRequest>(value).unwrap()),
        Topic::Conversions => encoder.encode(&serde_json::from_value::<Conversion>(value).unwrap()),
        _ => encoder.encode(&serde_json::from_value::<AppEvent>(value).unwrap()),
    };
    (account, encoded.unwrap())
}

/// The rows of a table, one `column: value` a line, without what is null.
fn text(table: Table, batch: &RecordBatch) -> String {
    let mut lines = vec![format!("── {}", table.name())];
    for row in 0..batch.num_rows() {
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            if !column.is_null(row) {
                lines.push(format!("{}: {}", field.name(), array_value_to_string(column, row).unwrap()));
            }
        }
    }
    lines.join("\n")
}

fn judged(topic: Topic) -> String {
    let (account, value) = framed(topic);
    let slot = Slot::of(account);
    let mut intake = Intake::new(topic, slot, account).unwrap().unwrap();
    intake.learn(1, Some(topic.spec().schema));
    intake.give_key(account, Some(HashKey::from_bytes([1; 32])));
    let appended_at = Micros(1_764_000_000_000_000 + SECOND);
    let record = Record { offset: 7, appended_at, account: Some(account), key: Bytes::new(), value: value.into() };
    let records = [record];
    let mut out = Changes::default();
    let rows = intake.read(&records, &mut out).unwrap();
    let spec = GROUPS.iter().find(|spec| Some(spec.group) == judge_of(topic)).unwrap();
    let making = Making { slot, ids_key: [2; 32], lists: lists(), installation: account };
    let mut state = (spec.make)(&making);
    state.step(&Input { topic, records: &records, rows: Some(rows) }, &Directory::default(), &mut out).unwrap();
    let mut said = out.finish().unwrap();
    said.sort_by_key(|(table, _)| *table);
    assert!(said.iter().any(|(table, _)| ledger_of(topic) == Some(*table)));
    said.iter().map(|(table, batch)| text(*table, batch)).collect::<Vec<_>>().join("\n")
}

#[test]
fn listener_requests() {
    insta::assert_snapshot!(judged(Topic::ListenerRequests));
}

#[test]
fn conversions() {
    insta::assert_snapshot!(judged(Topic::Conversions));
}

#[test]
fn app_events() {
    insta::assert_snapshot!(judged(Topic::AppEvents));
}
