//! `GET /v1/ledger`: why, record by record.

pub(crate) mod balance;
pub(crate) mod watch;

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use castback_rules::verdict::DuplicateReason;
use castback_schemas::Micros;
use castback_store::ledger::LedgerRow;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use crate::App;
use crate::extract::{Listed, Whole};
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
#[into_params(parameter_in = Query)]
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

/// Says of each send of an id which one it repeats: the last before it that was judged by itself. To keep
/// that beside every id of the open days would take half as much memory again.
fn name_originals(rows: &mut [LedgerRow]) {
    let repeats = |row: &LedgerRow| row.reason.as_deref() == Some(DuplicateReason::SameEventId.as_str());
    for index in 0..rows.len() {
        let row = &rows[index];
        if !repeats(row) || row.duplicate_of.is_some() {
            continue;
        }
        let place = |other: &LedgerRow| (other.account_id.clone(), other.topic, other.slot);
        let originals = rows.iter().filter(|other| place(other) == place(row) && !repeats(other));
        let offsets: Vec<i64> = originals.map(|other| other.offset).collect();
        let before = offsets.iter().filter(|offset| **offset < row.offset).max();
        rows[index].duplicate_of = before.or(offsets.first()).copied();
    }
}

/// Every row of an event's id, the first accepted first.
#[utoipa::path(get, path = "/v1/ledger", tag = "why", params(Parameters),
    responses((status = 200, description = "`{items: [ledger row with its history], next_cursor}`")))]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    scope: Scope,
    Whole(parameters): Whole<Parameters>,
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
    name_originals(&mut rows);
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

#[cfg(test)]
mod tests {
    use castback_schemas::{Micros, Revision};

    use super::*;

    fn row(offset: i64, reason: Option<&str>) -> LedgerRow {
        LedgerRow {
            account_id: "a".to_owned(),
            event_id: "e".to_owned(),
            topic: "listener-requests",
            slot: 0,
            offset,
            podcast_id: None,
            episode_id: None,
            verdict: String::new(),
            reason: reason.map(str::to_owned),
            duplicate_of: None,
            counted_utc_day: false,
            counted_first_touch: false,
            counted_last_touch: false,
            rule_version: 1,
            config_version: 0,
            occurred_at: Micros(0),
            recorded_at: Micros(0),
            revision: Revision(1),
        }
    }

    #[test]
    fn a_repeat_names_the_send_before_it_that_was_judged() {
        let same = Some("same_event_id");
        let mut rows = vec![row(1, Some("bot")), row(2, same), row(5, None), row(6, same), row(7, same)];
        rows.push(LedgerRow { slot: 1, ..row(8, same) });
        name_originals(&mut rows);
        let named: Vec<Option<i64>> = rows.iter().map(|row| row.duplicate_of).collect();
        assert_eq!(named, [None, Some(1), None, Some(5), Some(5), None]);
    }
}
