//! Events of changes made over the API: from the catalogue's outbox to their topics, in order.

use bytes::Bytes;
use castback_broker::NewRecord;
use castback_catalogue::outbox::OutboxEvent;
use castback_schemas::{Clock, Slot};
use castback_store::failpoint;
use serde_json::json;

use super::encoders::{Encoders, SendError};
use super::round::Relay;
use crate::task::Shared;

/// Events sent at once.
const BATCH: u16 = 500;

pub(super) async fn run(relay: Relay) {
    let mut encoders = relay.encoders();
    while relay.comes_round().await {
        relay.note(send(&relay.shared, &relay.owner, &mut encoders).await);
    }
}

async fn send(shared: &Shared, owner: &str, encoders: &mut Encoders) -> Result<(), SendError> {
    let events = shared.catalogue.outbox_batch(owner, BATCH).await?;
    let Some(last) = events.last().map(|event| event.seq) else { return Ok(()) };
    let mut records = Vec::with_capacity(events.len());
    for event in events {
        records.push(record(event, shared.clock.as_ref(), encoders).await?);
    }
    failpoint::hit("relay.before");
    shared.log.append(records).await?;
    failpoint::hit("relay.after");
    shared.catalogue.outbox_done(last).await?;
    Ok(())
}

async fn record(event: OutboxEvent, clock: &dyn Clock, encoders: &mut Encoders) -> Result<NewRecord, SendError> {
    let mut value = json!({
        "event_id": event.event_id.to_string(),
        "account_id": event.account.to_string(),
        "occurred_at": event.occurred_at.0,
        "recorded_at": clock.now().0,
        "revision": 0,
    });
    if let (Some(value), Some(body)) = (value.as_object_mut(), event.body.as_object()) {
        value.extend(body.iter().map(|(name, field)| (name.clone(), field.clone())));
    }
    Ok(NewRecord {
        topic: event.topic,
        slot: Slot::of(event.account),
        account: event.account,
        key: Bytes::from(event.key),
        value: encoders.of(event.topic).await?.encode_json(value)?.into(),
    })
}
