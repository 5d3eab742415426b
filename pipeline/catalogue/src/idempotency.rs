//! Idempotency keys: a POST that is sent again answers what it answered, and does nothing.

use castback_schemas::id::AccountId;
use castback_schemas::time::{DAY, MINUTE};
use sqlx::any::AnyRow;

use crate::Catalogue;
use crate::db::Tx;
use crate::error::Result;
use crate::stored::{column, unsigned};

/// How long an answer is kept, in microseconds.
pub const ANSWER_LIFE: i64 = DAY;

/// How long a request that never answered keeps its key: its process died.
pub const RESERVATION_LIFE: i64 = 10 * MINUTE;

/// A request that carries an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyedRequest {
    /// Who sent it.
    pub account: AccountId,
    /// The key.
    pub key: String,
    /// Method and route.
    pub route: String,
    /// A hash of its body.
    pub request_hash: String,
}

/// What to do with a request that carries a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reservation {
    /// Never seen: do it, then [`Catalogue::complete_request`] or [`Catalogue::abandon_request`].
    New,
    /// Done before: answer the same.
    Replay {
        /// The status that was answered.
        status: u16,
        /// The body that was answered.
        body: String,
    },
    /// The key was used for another request.
    Mismatch,
    /// The same request is being done now.
    InProgress,
}

impl Catalogue {
    /// Reserves a key, or says what became of its request.
    pub async fn reserve_request(&self, request: KeyedRequest) -> Result<Reservation> {
        let now = self.now().0;
        self.db.change(move |tx| Box::pin(reserve(tx, request, now))).await
    }

    /// Keeps the answer of a reserved request.
    pub async fn complete_request(&self, account: AccountId, key: &str, status: u16, body: &str) -> Result<()> {
        let (key, body) = (key.to_owned(), body.to_owned());
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    sqlx::query(
                        "UPDATE idempotency SET status = $3, body = $4 WHERE account_id = $1 AND idempotency_key = $2",
                    )
                    .bind(account.to_string())
                    .bind(key)
                    .bind(i64::from(status))
                    .bind(body)
                    .execute(tx)
                    .await?;
                    Ok(())
                })
            })
            .await
    }

    /// Gives a reserved key back: the request did nothing, and may be sent again.
    pub async fn abandon_request(&self, account: AccountId, key: &str) -> Result<()> {
        let key = key.to_owned();
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    sqlx::query(
                        "DELETE FROM idempotency WHERE account_id = $1 AND idempotency_key = $2 AND status IS NULL",
                    )
                    .bind(account.to_string())
                    .bind(key)
                    .execute(tx)
                    .await?;
                    Ok(())
                })
            })
            .await
    }

    /// Forgets answers older than [`ANSWER_LIFE`].
    pub async fn prune_requests(&self) -> Result<()> {
        let before = self.now().plus(-ANSWER_LIFE).0;
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    sqlx::query("DELETE FROM idempotency WHERE reserved_at < $1").bind(before).execute(tx).await?;
                    Ok(())
                })
            })
            .await
    }
}

async fn reserve(tx: &mut Tx, request: KeyedRequest, now: i64) -> Result<Reservation> {
    // A reservation whose process died, and an answer too old to be replayed, make room.
    let reserved = sqlx::query(
        "INSERT INTO idempotency (account_id, idempotency_key, route, request_hash, reserved_at) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (account_id, idempotency_key) DO UPDATE SET route = excluded.route, request_hash = excluded.request_hash, \
         reserved_at = excluded.reserved_at, status = NULL, body = NULL \
         WHERE idempotency.reserved_at < $7 OR (idempotency.status IS NULL AND idempotency.reserved_at < $6)",
    )
    .bind(request.account.to_string())
    .bind(request.key.clone())
    .bind(request.route.clone())
    .bind(request.request_hash.clone())
    .bind(now)
    .bind(now.saturating_sub(RESERVATION_LIFE))
    .bind(now.saturating_sub(ANSWER_LIFE))
    .execute(&mut *tx)
    .await?;
    if reserved.rows_affected() == 1 {
        return Ok(Reservation::New);
    }
    let row = sqlx::query(
        "SELECT route, request_hash, status, body FROM idempotency WHERE account_id = $1 AND idempotency_key = $2",
    )
    .bind(request.account.to_string())
    .bind(request.key.clone())
    .fetch_one(tx)
    .await?;
    seen(&row, &request)
}

fn seen(row: &AnyRow, request: &KeyedRequest) -> Result<Reservation> {
    if column::<&str>(row, "route")? != request.route || column::<&str>(row, "request_hash")? != request.request_hash {
        return Ok(Reservation::Mismatch);
    }
    let Some(status) = column::<Option<i64>>(row, "status")? else { return Ok(Reservation::InProgress) };
    let status = u16::try_from(unsigned(status, "status")?).unwrap_or(u16::MAX);
    Ok(Reservation::Replay { status, body: column::<Option<String>>(row, "body")?.unwrap_or_default() })
}
