//! Input of a unit that is not on the log: recounts, accepted gaps, replays.
//!
//! Written by anyone, read by the unit's holder, and finished by the commit that answers it
//! ([`crate::commits::UnitCommit::finish`]), so that it happens once.

use castback_schemas::{Micros, Unit};

use crate::Catalogue;
use crate::db::take_numbers;
use crate::error::Result;
use crate::stored::{column, parsed, words};

words! {
    /// What is asked of a unit.
    RequestKind {
        /// Judge the records of some days again.
        Recount = "recount",
        /// Go on behind records that are gone, and say so in the balance.
        AcceptGap = "accept_gap",
        /// Judge dead letters again.
        Replay = "replay",
    }
}

/// Requests read at a time; the others follow once these are answered.
const AT_ONCE: i64 = 1000;

/// A request that waits for its unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitRequest {
    /// Its number; requests of a unit are answered in this order.
    pub id: i64,
    /// The unit.
    pub unit: Unit,
    /// What is asked.
    pub kind: RequestKind,
    /// Of what, in the pipeline's own words.
    pub body: String,
    /// When it was asked.
    pub created_at: Micros,
}

impl Catalogue {
    /// Asks something of a unit; answers the request's number.
    pub async fn enqueue_unit_request(&self, unit: Unit, kind: RequestKind, body: String) -> Result<i64> {
        let now = self.now().0;
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    let id = take_numbers(tx, "unit_request", 1).await?;
                    sqlx::query(
                        "INSERT INTO unit_requests (id, unit, kind, body, state, created_at) VALUES ($1, $2, $3, $4, 'waiting', $5)",
                    )
                    .bind(id)
                    .bind(unit.to_string())
                    .bind(kind.as_str())
                    .bind(body)
                    .bind(now)
                    .execute(tx)
                    .await?;
                    Ok(id)
                })
            })
            .await
    }

    /// The requests that wait for any of `units`, oldest first. One statement for all units of a
    /// process, cheap enough for every tick.
    pub async fn unit_requests(&self, units: &[Unit]) -> Result<Vec<UnitRequest>> {
        let rows = sqlx::query(
            "SELECT id, unit, kind, body, created_at FROM unit_requests WHERE state = 'waiting' ORDER BY id LIMIT $1",
        )
        .bind(AT_ONCE)
        .fetch_all(self.db.reads())
        .await?;
        let mut requests = Vec::with_capacity(rows.len());
        for row in &rows {
            let unit: Unit = parsed(row, "unit")?;
            if units.contains(&unit) {
                requests.push(UnitRequest {
                    id: column(row, "id")?,
                    unit,
                    kind: parsed(row, "kind")?,
                    body: column(row, "body")?,
                    created_at: Micros(column(row, "created_at")?),
                });
            }
        }
        Ok(requests)
    }

    /// Finishes a request that needs no commit (nothing to do). Whether it was still waiting.
    pub async fn finish_unit_request(&self, id: i64) -> Result<bool> {
        let now = self.now().0;
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    let done = sqlx::query(
                        "UPDATE unit_requests SET state = 'finished', finished_at = $2 WHERE id = $1 AND state = 'waiting'",
                    )
                    .bind(id)
                    .bind(now)
                    .execute(tx)
                    .await?;
                    Ok(done.rows_affected() == 1)
                })
            })
            .await
    }
}
