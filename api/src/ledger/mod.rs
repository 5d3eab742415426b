//! `GET /v1/ledger`: why, record by record.

pub(crate) mod balance;

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use castback_schemas::Micros;
use castback_store::ledger::LedgerRow;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use crate::App;
use crate::extract::{Listed, Query};
use crate::identity::Scope;
use crate::problem::{Problem, Result};

/// Rows of one id: it was sent again that often; the first accepted are shown.
const MAX_ROWS: usize = 200;

/// Rows whose earlier verdicts are shown too.
const MAX_HISTORIES: usize = 20;

/// Longest id that a record can have.
const MAX_ID: usize = 1_024;

/// The parameters.
#[derive(Debug, Deserialize, IntoParams)]
pub(crate) struct Parameters {
    /// The id of the event.
    event_id: Option<String>,
}

/// A record's verdict, and every one that it had.
#[derive(Debug, Serialize)]
pub(crate) struct Explained {
    #[serde(flatten)]
    row: LedgerRow,
    /// Every verdict, the first one first.
    history: Vec<LedgerRow>,
}

/// Every row of an event's id, the first accepted first.
#[utoipa::path(get, path = "/v1/ledger", tag = "why", params(Parameters),
    responses((status = 200, description = "`{items: [ledger row with its history], next_cursor}`")))]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    scope: Scope,
    Query(parameters): Query<Parameters>,
) -> Result<Answer<Listed<Explained>>> {
    let event_id = parameters.event_id.ok_or_else(|| Problem::field("event_id", "name one event"))?;
    if event_id.len() > MAX_ID {
        return Err(Problem::field("event_id", format!("expected at most {MAX_ID} bytes")));
    }
    let view = app.reads.pinned(&app.catalogue).await?;
    let mut rows = app.store.ledger_rows(&view, scope.into(), &event_id).await?;
    if rows.is_empty() {
        return Err(unknown(&app, scope).await?);
    }
    rows.truncate(MAX_ROWS);
    let mut items = Vec::with_capacity(rows.len());
    for (index, row) in rows.into_iter().enumerate() {
        let history = match index {
            index if index < MAX_HISTORIES => app.store.ledger_history(&view, &row).await?,
            _ => Vec::new(),
        };
        items.push(Explained { row, history });
    }
    Ok(Answer(Listed::whole(items)))
}

/// There is no such row: why that may be.
async fn unknown(app: &App, scope: Scope) -> Result<Problem> {
    let kept_from = match scope {
        Scope::Account(account) => app.catalogue.kept_from(account).await?,
        Scope::All => Micros(0),
    };
    let waits = "event; what was accepted last may wait for its verdict";
    Ok(match kept_from {
        Micros(0) => Problem::not_found(waits),
        from => Problem::not_found(&format!("{waits}, and what was recorded before {from} is past its retention")),
    })
}
