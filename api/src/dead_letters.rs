//! `/v1/dead-letters`: records that could not be read, and putting them on the log again.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use axum::Json as Answer;
use axum::extract::State;
use bytes::Bytes;
use castback_broker::NewRecord;
use castback_catalogue::page::MAX_LIMIT;
use castback_schemas::edge::HashKey;
use castback_schemas::edge::seal::open;
use castback_schemas::table::Table;
use castback_schemas::{AccountId, Micros, Slot, Topic};
use castback_store::Scan;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::App;
use crate::extract::{Json, List, ListParameters, Listed};
use crate::identity::Scope;
use crate::problem::{Problem, Result};
use crate::query::Ask;
use crate::query::literal::text;

/// Records put on the log again by one call; the caller calls again for more.
const MAX_REPLAY: usize = 10_000;

/// Bytes of one append, well below what the log takes at once.
const APPEND_BYTES: usize = 4 * 1024 * 1024;

/// Which dead letters.
#[derive(Debug, Default, Clone, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Of this topic.
    topic: Option<String>,
    /// `undecodable`, `schema` or `too_large`.
    reason: Option<String>,
    /// Accepted from this time on.
    from: Option<String>,
    /// Accepted before this time.
    to: Option<String>,
}

/// A replay.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(crate) struct Replay {
    /// Which; all if not given.
    #[serde(default)]
    filter: Filter,
    /// Only count them.
    #[serde(default)]
    dry_run: bool,
}

/// A record that could not be read.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeadLetter {
    topic: String,
    slot: i64,
    offset: i64,
    recorded_at: String,
    reason: String,
    detail: String,
}

/// What a replay did.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Outcome {
    /// Dead letters that the filter names.
    matched: usize,
    /// Put on the log again.
    replayed: usize,
    /// Whose bytes can't be opened any more.
    unopened: usize,
    /// Left for another call.
    left: usize,
    dry_run: bool,
}

/// The account's dead letters, newest first.
#[utoipa::path(get, path = "/v1/dead-letters", tag = "why", params(ListParameters, Filter),
    responses((status = 200, body = Listed<DeadLetter>)))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    scope: Scope,
    List(page, filter): List<Filter>,
) -> Result<Answer<Listed<DeadLetter>>> {
    let limit = usize::from(page.limit.min(MAX_LIMIT));
    let skipped: usize = match &page.cursor {
        None => 0,
        Some(cursor) => {
            cursor.parse().map_err(|_| Problem::field("cursor", "expected the next_cursor of this list"))?
        }
    };
    let wanted = Wanted::of(&filter)?;
    let ask = Ask::newest(&app, scope).await?;
    let rows = ask
        .one(&format!(
            "SELECT topic, slot, \"offset\", recorded_at, reason, detail FROM dead_letters WHERE {} \
             ORDER BY recorded_at DESC, topic, slot, \"offset\" DESC LIMIT {} OFFSET {skipped}",
            wanted.condition(),
            limit + 1
        ))
        .await?;
    let letter = |row| DeadLetter {
        topic: rows.text(row, "topic").to_owned(),
        slot: rows.int(row, "slot"),
        offset: rows.int(row, "offset"),
        recorded_at: rows.text(row, "recorded_at").to_owned(),
        reason: rows.text(row, "reason").to_owned(),
        detail: rows.text(row, "detail").to_owned(),
    };
    let next_cursor = (rows.len() > limit).then(|| (skipped + limit).to_string());
    Ok(Answer(Listed { items: (0..rows.len().min(limit)).map(letter).collect(), next_cursor }))
}

/// Puts the original bytes of dead letters on the log again, as after a schema was registered late.
/// What was read meanwhile is a repeat of its event's id.
#[utoipa::path(post, path = "/v1/dead-letters/replay", tag = "why", request_body = Replay,
    responses((status = 200, body = Outcome)))]
pub(crate) async fn replay(
    State(app): State<Arc<App>>,
    scope: Scope,
    Json(replay): Json<Replay>,
) -> Result<Answer<Outcome>> {
    let account = scope.one()?;
    let wanted = Wanted::of(&replay.filter)?;
    let ask = Ask::newest(&app, Scope::Account(account)).await?;
    let scan = Scan { account: Some(account), ..Scan::new(Table::DeadLetters) };
    let rows = app.store.rows(ask.view(), scan).await?;
    let key = app.keys.account(&app.catalogue, account).await?;
    let letters: Vec<Letter> = rows.iter().flat_map(letters).filter(|letter| wanted.holds(letter)).collect();
    let now = letters.len().min(MAX_REPLAY);
    let opened: Vec<NewRecord> = letters[..now].iter().filter_map(|letter| letter.opened(&key, account)).collect();
    let outcome = Outcome {
        matched: letters.len(),
        replayed: opened.len(),
        unopened: now - opened.len(),
        left: letters.len() - now,
        dry_run: replay.dry_run,
    };
    if !replay.dry_run {
        for records in pieces(opened) {
            app.log.append(records).await?;
        }
    }
    Ok(Answer(outcome))
}

/// A filter, read.
#[derive(Debug)]
struct Wanted {
    topic: Option<Topic>,
    reason: Option<String>,
    from: Micros,
    to: Micros,
}

impl Wanted {
    fn of(filter: &Filter) -> Result<Self> {
        let topic = filter.topic.as_deref().map(str::parse).transpose();
        let topic = topic.map_err(|_| Problem::field("topic", "expected a topic's name"))?;
        let ends = (Micros(0), Micros::from_seconds(i64::from(u32::MAX)));
        let (from, to) = crate::query::range::range((filter.from.as_deref(), filter.to.as_deref()), ends)?;
        Ok(Self { topic, reason: filter.reason.clone(), from, to })
    }

    fn condition(&self) -> String {
        let topic = self.topic.map(|topic| format!(" AND topic = '{topic}'")).unwrap_or_default();
        let reason = self.reason.as_deref().map(|reason| format!(" AND reason = {}", text(reason))).unwrap_or_default();
        format!("{}{topic}{reason}", crate::query::literal::within("recorded_at", self.from, self.to))
    }

    fn holds(&self, letter: &Letter) -> bool {
        self.topic.is_none_or(|topic| topic == letter.topic)
            && self.reason.as_ref().is_none_or(|reason| *reason == letter.reason)
            && (self.from..self.to).contains(&letter.recorded_at)
    }
}

/// A stored dead letter.
#[derive(Debug)]
struct Letter {
    topic: Topic,
    slot: i64,
    offset: i64,
    recorded_at: Micros,
    reason: String,
    sealed: Vec<u8>,
}

impl Letter {
    fn opened(&self, key: &HashKey, account: AccountId) -> Option<NewRecord> {
        let context = format!("{}/{}/{}", self.topic, self.slot, self.offset);
        let value = open(key, context.as_bytes(), &self.sealed).ok()?;
        // The natural key is not kept with a dead letter; it decides nothing.
        Some(NewRecord { topic: self.topic, slot: Slot::of(account), account, key: Bytes::new(), value: value.into() })
    }
}

fn letters(batch: &RecordBatch) -> Vec<Letter> {
    let text = |name: &str| batch.column_by_name(name)?.as_string_opt::<i32>();
    let int = |name: &str| batch.column_by_name(name)?.as_primitive_opt::<Int64Type>();
    let (Some(topic), Some(reason), Some(slot), Some(offset)) =
        (text("topic"), text("reason"), int("slot"), int("offset"))
    else {
        return Vec::new();
    };
    let times =
        batch.column_by_name("recorded_at").and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    let values = batch.column_by_name("value").and_then(|column| column.as_binary_opt::<i32>());
    let (Some(times), Some(values)) = (times, values) else { return Vec::new() };
    let letter = |row| {
        Some(Letter {
            topic: topic.value(row).parse().ok()?,
            slot: slot.value(row),
            offset: offset.value(row),
            recorded_at: Micros(times.value(row)),
            reason: reason.value(row).to_owned(),
            sealed: values.value(row).to_vec(),
        })
    };
    (0..batch.num_rows()).filter_map(letter).collect()
}

/// Records in appends of bounded size.
fn pieces(records: Vec<NewRecord>) -> Vec<Vec<NewRecord>> {
    let mut pieces: Vec<Vec<NewRecord>> = Vec::new();
    let mut room = 0;
    for record in records {
        if record.value.len() > room {
            pieces.push(Vec::new());
            room = APPEND_BYTES;
        }
        room = room.saturating_sub(record.value.len());
        if let Some(piece) = pieces.last_mut() {
            piece.push(record);
        }
    }
    pieces
}
