//! The outbox: events of changes made over the API, written in the change's transaction and sent
//! to their topics by a relay afterwards, at least once, in order.

use castback_schemas::{AccountId, Micros, Topic};
use serde_json::Value;
use uuid::Uuid;

use crate::Catalogue;
use crate::db::{Tx, take_numbers};
use crate::error::Result;
use crate::leases;
use crate::stored::{column, document, json, parsed};

/// How long a relay holds the outbox without asking for another batch, in microseconds.
pub const OUTBOX_LEASE: i64 = 10 * castback_schemas::time::SECOND;

/// An event that was not sent yet.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxEvent {
    /// Its place in the order.
    pub seq: i64,
    /// Its id, by which receivers drop repeats.
    pub event_id: Uuid,
    /// Where it goes.
    pub topic: Topic,
    /// Whose it is.
    pub account: AccountId,
    /// The record's key.
    pub key: String,
    /// When it happened.
    pub occurred_at: Micros,
    /// The topic's own fields (without the envelope every record begins with), by their names.
    pub body: Value,
}

/// An event to be written with a change.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NewEvent {
    pub(crate) event_id: Uuid,
    pub(crate) topic: Topic,
    pub(crate) account: AccountId,
    pub(crate) key: String,
    pub(crate) occurred_at: Micros,
    pub(crate) body: Value,
}

/// Writes an event inside the change's transaction.
pub(crate) async fn post(tx: &mut Tx, event: NewEvent) -> Result<()> {
    let seq = take_numbers(tx, "outbox", 1).await?;
    sqlx::query(
        "INSERT INTO outbox (seq, event_id, topic, account_id, record_key, occurred_at, body) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(seq)
    .bind(event.event_id.to_string())
    .bind(event.topic.name())
    .bind(event.account.to_string())
    .bind(event.key)
    .bind(event.occurred_at.0)
    .bind(json(&event.body)?)
    .execute(tx)
    .await?;
    Ok(())
}

impl Catalogue {
    /// The oldest unsent events, if `owner` holds the outbox or nobody does; it holds it then for
    /// [`OUTBOX_LEASE`].
    pub async fn outbox_batch(&self, owner: &str, limit: u16) -> Result<Vec<OutboxEvent>> {
        if self.outbox_is_empty().await? {
            return Ok(Vec::new());
        }
        let owner = owner.to_owned();
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    if !leases::hold(tx, "outbox", &owner, OUTBOX_LEASE).await? {
                        return Ok(Vec::new());
                    }
                    let rows = sqlx::query(
                        "SELECT seq, event_id, topic, account_id, record_key, occurred_at, body FROM outbox ORDER BY seq LIMIT $1",
                    )
                    .bind(i64::from(limit))
                    .fetch_all(tx)
                    .await?;
                    rows.iter().map(event).collect()
                })
            })
            .await
    }

    /// Removes events that are durable on their topics: all up to `seq`.
    pub async fn outbox_done(&self, seq: i64) -> Result<()> {
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    sqlx::query("DELETE FROM outbox WHERE seq <= $1").bind(seq).execute(tx).await?;
                    Ok(())
                })
            })
            .await
    }

    /// Asks without a write, so that an idle relay costs nothing.
    async fn outbox_is_empty(&self) -> Result<bool> {
        let any = sqlx::query("SELECT seq FROM outbox LIMIT 1").fetch_optional(self.db.reads()).await?;
        Ok(any.is_none())
    }
}

fn event(row: &sqlx::any::AnyRow) -> Result<OutboxEvent> {
    Ok(OutboxEvent {
        seq: column(row, "seq")?,
        event_id: parsed(row, "event_id")?,
        topic: parsed(row, "topic")?,
        account: parsed(row, "account_id")?,
        key: column(row, "record_key")?,
        occurred_at: Micros(column(row, "occurred_at")?),
        body: document(row, "body")?,
    })
}
