//! The rows that `downloads` writes.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, StringBuilder, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;
use castback_rules::verdict::Reason;
use castback_schemas::table::Table;
use castback_schemas::{AccountId, Day, EpisodeId, Micros, PodcastId, Slot, Topic};

use super::rows::Requests;
use super::{Row, RuleSets};
use crate::change::{Changes, Value};
use crate::days::{DayRow, DayState};
use crate::directory::Directory;
use crate::ledger::judged::Judged;
pub(super) use crate::ledger::unreadable;
use crate::ledger::{self, RULE_VERSION};

/// A ledger row whose verdict is revised.
pub(super) struct Revised {
    pub(super) account: AccountId,
    pub(super) slot: Slot,
    pub(super) offset: i64,
    pub(super) occurred_at: Micros,
    pub(super) episode: Option<EpisodeId>,
}

/// A short row that revises a verdict.
pub(super) fn revision(
    row: &Revised,
    (previous, judged, directory): (Option<Judged>, Judged, &Directory),
    out: &mut Changes,
) -> Result<(), ArrowError> {
    let (account, episode) = (row.account.to_string(), row.episode.map(|id| id.to_string()));
    let [utc_day, first_touch, last_touch] = judged.counted;
    out.row(
        Table::Verdicts,
        &[
            account.as_str().into(),
            Topic::ListenerRequests.name().into(),
            i64::from(row.slot.0).into(),
            row.offset.into(),
            row.occurred_at.into(),
            episode.as_deref().into(),
            judged.verdict().as_str().into(),
            previous.map(|previous| previous.verdict().as_str()).into(),
            judged.reason.map(Reason::as_str).into(),
            judged.duplicate_of.into(),
            utc_day.into(),
            first_touch.into(),
            last_touch.into(),
            RULE_VERSION.into(),
            directory.change().into(),
        ],
    )
}

/// How a day of a podcast stands.
pub(super) fn day(
    (account, podcast): (AccountId, PodcastId),
    (day, noted_at, state): (Day, Micros, DayState),
    out: &mut Changes,
) -> Result<(), ArrowError> {
    DayRow { account, topic: Topic::ListenerRequests, key: &podcast.to_string(), day, noted_at, state }.write(out)
}

/// What a frozen day leaves to one group; nothing any more if `carry` is empty.
pub(super) fn carry(
    (account, podcast, day): (AccountId, PodcastId, Day),
    (listener, episode): ([u8; 16], EpisodeId),
    carry: &[u8],
    out: &mut Changes,
) -> Result<(), ArrowError> {
    let (account, podcast, episode) = (account.to_string(), podcast.to_string(), episode.to_string());
    out.row(
        Table::Carries,
        &[
            account.as_str().into(),
            podcast.as_str().into(),
            day.start().into(),
            listener.into(),
            episode.as_str().into(),
            Value::Bytes(carry),
            carry.is_empty().into(),
        ],
    )
}

/// The full rows of a batch.
pub(super) fn ledger(
    batch: &RecordBatch,
    rows: &Requests<'_>,
    (verdicts, rules, directory): (&[Row], &mut RuleSets, &Directory),
    out: &mut Changes,
) -> Result<(), ArrowError> {
    let judged = |row: &Row| row.judged.ok_or_else(|| unreadable("verdict"));
    let judged: Vec<Judged> = verdicts.iter().map(judged).collect::<Result<_, _>>()?;
    let counted = |window: usize| -> ArrayRef {
        Arc::new(judged.iter().map(|judged| Some(judged.counted[window])).collect::<BooleanArray>())
    };
    let full = ledger::rows(Table::Requests, batch, (&judged, directory), |name| match name {
        "episode_id" => Some(episodes(verdicts)),
        "app" => Some(apps(rows, rules)),
        "counted_utc_day" => Some(counted(0)),
        "counted_first_touch" => Some(counted(1)),
        "counted_last_touch" => Some(counted(2)),
        _ => None,
    })?;
    out.batch(Table::Requests, full);
    Ok(())
}

fn episodes(verdicts: &[Row]) -> ArrayRef {
    let mut builder = StringBuilder::with_capacity(verdicts.len(), verdicts.len() * 36);
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    for row in verdicts {
        builder.append_option(row.episode.map(|id| &*id.uuid().hyphenated().encode_lower(&mut text)));
    }
    Arc::new(builder.finish())
}

fn apps(rows: &Requests<'_>, rules: &mut RuleSets) -> ArrayRef {
    let mut builder = StringBuilder::with_capacity(rows.len(), rows.len() * 12);
    for row in 0..rows.len() {
        builder.append_option(rules.app(rows, row));
    }
    Arc::new(builder.finish())
}

/// The rows of some batches in the order in which they are judged again: what was late competes
/// for its id only after what was not, and in the order of the log.
pub(super) fn late_last(batches: &[RecordBatch]) -> Result<Vec<RecordBatch>, ArrowError> {
    let Some(first) = batches.first() else { return Ok(Vec::new()) };
    let all = concat_batches(first.schema_ref(), batches)?;
    let verdicts = all.column_by_name("verdict").and_then(|column| column.as_string_opt::<i32>());
    let verdicts = verdicts.ok_or_else(|| unreadable("verdict"))?;
    let offsets = all.column_by_name("offset").and_then(|column| column.as_primitive_opt::<Int64Type>());
    let offsets = offsets.ok_or_else(|| unreadable("offset"))?;
    let mut order: Vec<(bool, i64, u32)> = Vec::with_capacity(all.num_rows());
    for (row, index) in (0..all.num_rows()).zip(0_u32..) {
        order.push((verdicts.value(row) == "late", offsets.value(row), index));
    }
    order.sort_unstable();
    let order: UInt32Array = order.into_iter().map(|(_, _, index)| Some(index)).collect();
    Ok(vec![take_record_batch(&all, &order)?])
}
