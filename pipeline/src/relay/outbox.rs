//! Events of changes made over the API: from the catalogue's outbox to their topics, in order.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use castback_broker::NewRecord;
use castback_catalogue::outbox::OutboxEvent;
use castback_schemas::{Clock, Slot};
use castback_store::failpoint;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::encoders::{Encoders, SendError};
use crate::task::{Shared, chain};

/// How often the outbox is looked at.
const EVERY: Duration = Duration::from_millis(250);

/// Events sent at once.
const BATCH: u16 = 500;

pub(super) async fn run(shared: Arc<Shared>, owner: String, stop: CancellationToken) {
    let mut encoders = Encoders::new(shared.catalogue.clone());
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        if let Err(error) = send(&shared, &owner, &mut encoders).await {
            tracing::warn!(error = %chain(&error), "relay.outbox_not_sent");
        }
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
