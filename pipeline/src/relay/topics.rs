//! Committed rows to outgoing topics: minutes of campaigns, and dead letters.
//!
//! The relay's position is a commit number; it moves when the events are durable. After a crash
//! in between they are sent again under the same ids: (unit, commit, index), so that receivers
//! drop what they have.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use bytes::Bytes;
use castback_broker::{MAX_APPEND_BYTES, MAX_RECORD_BYTES, NewRecord};
use castback_schemas::table::Table;
use castback_schemas::{AccountId, Clock, Group, Slot, Topic, Unit};
use castback_store::{COMMIT, Scan, Versions, failpoint};
use serde_json::{Map, Value, json};

use super::encoders::{Encoders, SendError};
use super::round::Relay;
use crate::ledger::unreadable;
use crate::task::Shared;

/// Events appended at once, as far as their bytes are what an append may have.
const BATCH: usize = 1_000;

/// What is sent on: the rows of a table, to a topic, under a key.
const OUTGOING: &[(Table, Topic, &str)] = &[
    (Table::CampaignPerformance, Topic::CampaignPerformance, "campaign_id"),
    (Table::DeadLetters, Topic::DeadLetters, "topic"),
];

pub(super) async fn run(relay: Relay) {
    let mut encoders = relay.encoders();
    while relay.comes_round().await {
        relay.note(send(&relay, &mut encoders).await);
    }
}

async fn send(relay: &Relay, encoders: &mut Encoders) -> Result<(), SendError> {
    let Some(news) = relay.news().await? else { return Ok(()) };
    let (shared, view) = (&relay.shared, &news.view);
    for &(table, topic, key) in OUTGOING {
        for slot in Slot::all().filter(|slot| !view.pieces(table, *slot).is_empty()) {
            let scan = Scan { slot: Some(slot), versions: Versions::All, ..Scan::new(table) };
            let rows = shared.store.rows(view, scan).await?;
            let mut events = Vec::new();
            for batch in &rows {
                collect(batch, news.after.0, &mut events)?;
            }
            let records = records(events, (topic, key, slot), (shared.clock.as_ref(), encoders)).await?;
            append(shared, records).await?;
        }
    }
    relay.sent(&news).await
}

/// Appends records in pieces that the log takes.
pub(super) async fn append(shared: &Shared, records: Vec<NewRecord>) -> Result<(), SendError> {
    let mut pieces: Vec<Vec<NewRecord>> = Vec::new();
    let mut bytes = 0;
    for record in records {
        let size = record.key.len() + record.value.len();
        if let Some(piece) = pieces.last_mut().filter(|p| p.len() < BATCH && bytes + size <= MAX_APPEND_BYTES) {
            bytes += size;
            piece.push(record);
        } else {
            bytes = size;
            pieces.push(vec![record]);
        }
    }
    for piece in pieces {
        failpoint::hit("relay.before");
        shared.log.append(piece).await?;
        failpoint::hit("relay.after");
    }
    Ok(())
}

/// A committed row as an event without its envelope.
struct Outgoing {
    commit: i64,
    account: AccountId,
    fields: Map<String, Value>,
}

fn collect(batch: &RecordBatch, after: i64, events: &mut Vec<Outgoing>) -> Result<(), ArrowError> {
    let commits = batch.column_by_name(COMMIT).and_then(|column| column.as_primitive_opt::<Int64Type>());
    let commits = commits.ok_or_else(|| unreadable(COMMIT))?;
    for row in (0..batch.num_rows()).filter(|&row| commits.value(row) > after) {
        let mut fields = Map::new();
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            fields.insert(field.name().clone(), cell(column, row));
        }
        let account = fields.get("account_id").and_then(Value::as_str).and_then(|id| id.parse().ok());
        let account = account.ok_or_else(|| unreadable("account_id"))?;
        events.push(Outgoing { commit: commits.value(row), account, fields });
    }
    Ok(())
}

fn cell(column: &Arc<dyn Array>, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    if let Some(text) = column.as_string_opt::<i32>() {
        json!(text.value(row))
    } else if let Some(number) = column.as_primitive_opt::<Int64Type>() {
        json!(number.value(row))
    } else if let Some(time) = column.as_primitive_opt::<TimestampMicrosecondType>() {
        json!(time.value(row))
    } else if let Some(bytes) = column.as_binary_opt::<i32>() {
        json!(bytes.value(row))
    } else {
        column.as_boolean_opt().map_or(Value::Null, |truth| json!(truth.value(row)))
    }
}

async fn records(
    mut events: Vec<Outgoing>,
    (topic, key, slot): (Topic, &str, Slot),
    (clock, encoders): (&dyn Clock, &mut Encoders),
) -> Result<Vec<NewRecord>, SendError> {
    // The same order whenever it is sent, wherever the rows lie by then.
    events.sort_by_cached_key(|event| (event.commit, json!(event.fields).to_string()));
    let unit = Unit { group: Group::Counting, slot };
    let (mut commit, mut index) = (0, 0);
    let mut records = Vec::with_capacity(events.len());
    for event in events {
        index = if event.commit == commit { index + 1 } else { 0 };
        commit = event.commit;
        let key = event.fields.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut value = event.fields;
        let now = clock.now().0;
        let occurred =
            ["occurred_at", "bucket_start", "recorded_at"].iter().find_map(|name| value.get(*name)?.as_i64());
        value.insert("event_id".to_owned(), json!(format!("{unit}-{commit}-{index}")));
        value.insert("occurred_at".to_owned(), json!(occurred.unwrap_or(now)));
        value.insert("recorded_at".to_owned(), json!(now));
        value.insert("revision".to_owned(), json!(commit));
        let encoder = encoders.of(topic).await?;
        let mut encoded = encoder.encode_json(Value::Object(value.clone()))?;
        if topic == Topic::DeadLetters && key.len() + encoded.len() > MAX_RECORD_BYTES {
            // A record about a record that filled one: what it held is in the table of dead letters.
            value.insert("value".to_owned(), json!([]));
            encoded = encoder.encode_json(Value::Object(value))?;
        }
        let (slot, account) = (Slot::of(event.account), event.account);
        records.push(NewRecord { topic, slot, account, key: Bytes::from(key), value: encoded.into() });
    }
    Ok(records)
}
