//! Segments, and what a query reads: the live segments and uncompacted slices of one commit.
//!
//! A removed file lives on for an hour, since a query that pinned an older view may still read
//! it; [`Catalogue::removed_before`] says what may be deleted.

use castback_schemas::{Day, Micros, Revision, Slot, Unit};
use sqlx::any::AnyRow;
use sqlx::{Any, AssertSqlSafe, Transaction};

use crate::Catalogue;
use crate::db::{Tx, take_numbers};
use crate::error::{CatalogueError, Result};
use crate::reads::bounded;
use crate::stored::{column, parsed, signed, unsigned};
use crate::units::{UnitStatus, units, value_rows};

/// A compacted file of rows of one table, slot and day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The object that holds it; also its name.
    pub object_key: String,
    /// The stored table.
    pub table: String,
    /// The slot.
    pub slot: Slot,
    /// The day of event time.
    pub day: Day,
    /// Its rows.
    pub rows: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// The oldest commit of its rows.
    pub min_revision: Revision,
    /// The newest commit of its rows.
    pub max_revision: Revision,
    /// What else the store keeps of it (the store's own words).
    pub body: String,
}

/// What a unit put into a commit's object and is not compacted yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceRef {
    /// The commit.
    pub revision: Revision,
    /// Its object.
    pub object_key: String,
    /// The unit.
    pub unit: Unit,
    /// What of the object is the unit's (the store's own words).
    pub body: String,
}

/// Which view is the newest: another commit or compaction makes another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ViewStamp {
    /// The newest commit.
    pub revision: Revision,
    /// How many compactions there were.
    pub compaction: i64,
}

/// Everything there is to read as of one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Which view was the newest when it was read: as long as it is, so is this.
    pub stamp: ViewStamp,
    /// The commit: rows of higher ones inside a segment are not part of the view.
    pub revision: Revision,
    /// Live segments.
    pub segments: Vec<Segment>,
    /// Uncompacted slices, oldest commit first.
    pub slices: Vec<SliceRef>,
}

/// A compaction's result: new segments in the place of old ones and of slices.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CompactRequest {
    /// New segments; their objects are written already.
    pub new: Vec<Segment>,
    /// Object keys of the segments they replace.
    pub replaced: Vec<String>,
    /// The slices they replace.
    pub slices_done: Vec<(Revision, Unit)>,
}

impl Catalogue {
    /// Whether a view that is kept is still the newest: one small read.
    pub async fn view_stamp(&self) -> Result<ViewStamp> {
        bounded(async { view_stamp(&mut *self.db.reader().await?).await }).await
    }

    /// What to read as of commit `at`, or of the newest if there is none so high.
    pub async fn view(&self, at: Option<Revision>) -> Result<View> {
        bounded(async {
            let mut tx = self.db.snapshot().await?;
            let view = view(&mut tx, at).await?;
            tx.commit().await?;
            Ok(view)
        })
        .await
    }

    /// The newest view, and where every unit stands in it: both of one instant, however busy the units are.
    pub async fn view_with_units(&self) -> Result<(View, Vec<UnitStatus>)> {
        bounded(async {
            let mut tx = self.db.snapshot().await?;
            let newest = view(&mut tx, None).await?;
            let units = units(&mut tx).await?;
            tx.commit().await?;
            Ok((newest, units))
        })
        .await
    }

    /// Which view is the newest, and where every unit stands in it: both of one instant. For who holds that view already.
    pub async fn stamp_with_units(&self) -> Result<(ViewStamp, Vec<UnitStatus>)> {
        bounded(async {
            let mut tx = self.db.snapshot().await?;
            let stamp = view_stamp(&mut tx).await?;
            let units = units(&mut tx).await?;
            tx.commit().await?;
            Ok((stamp, units))
        })
        .await
    }

    /// Replaces segments and slices by new segments, all at once. [`CatalogueError::Stale`] if
    /// one of them is no longer live; then nothing is replaced and the new objects are orphans.
    pub async fn compact(&self, request: CompactRequest) -> Result<()> {
        let now = self.now().0;
        self.db.change(move |tx| Box::pin(compact(tx, request, now))).await
    }

    /// Objects that nothing has referred to since before `time`.
    pub async fn removed_before(&self, time: Micros) -> Result<Vec<String>> {
        Ok(sqlx::query_scalar(
            "SELECT object_key FROM segments WHERE removed_at < $1 \
             UNION ALL SELECT object_key FROM commits WHERE removed_at < $1",
        )
        .bind(time.0)
        .fetch_all(self.db.reads())
        .await?)
    }

    /// Forgets removed objects that were deleted.
    pub async fn forget_objects(&self, object_keys: &[String]) -> Result<()> {
        let keys = object_keys.to_vec();
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    for key in keys {
                        for statement in [
                            "DELETE FROM segments WHERE object_key = $1 AND removed_at IS NOT NULL",
                            "DELETE FROM commits WHERE object_key = $1 AND removed_at IS NOT NULL",
                        ] {
                            sqlx::query(statement).bind(key.clone()).execute(&mut *tx).await?;
                        }
                    }
                    Ok(())
                })
            })
            .await
    }

    /// Whether anything, live or removed, refers to an object: what does not is an orphan.
    pub async fn knows_object(&self, object_key: &str) -> Result<bool> {
        let known: i64 = sqlx::query_scalar(
            "SELECT (SELECT COUNT(*) FROM segments WHERE object_key = $1) + (SELECT COUNT(*) FROM commits WHERE object_key = $1)",
        )
        .bind(object_key.to_owned())
        .fetch_one(self.db.reads())
        .await?;
        Ok(known > 0)
    }
}

async fn view_stamp(tx: &mut Tx) -> Result<ViewStamp> {
    let (revision, compaction) = sqlx::query_as(
        "SELECT commits.value, compactions.value FROM counters AS commits, counters AS compactions \
         WHERE commits.name = 'commit' AND compactions.name = 'compaction'",
    )
    .fetch_one(tx)
    .await?;
    Ok(ViewStamp { revision: Revision(revision), compaction })
}

async fn view(tx: &mut Transaction<'static, Any>, at: Option<Revision>) -> Result<View> {
    let stamp = view_stamp(tx).await?;
    let revision = at.map_or(stamp.revision.0, |at| at.0.min(stamp.revision.0));
    let segments = sqlx::query(
        "SELECT object_key, table_name, slot, day, row_count, byte_count, min_revision, max_revision, body \
         FROM segments WHERE removed_at IS NULL AND min_revision <= $1 ORDER BY table_name, slot, day, object_key",
    )
    .bind(revision)
    .fetch_all(&mut **tx)
    .await?;
    let slices = sqlx::query(
        "SELECT slices.revision AS revision, object_key, unit, body FROM slices \
         JOIN commits ON commits.revision = slices.revision WHERE slices.revision <= $1 ORDER BY slices.revision, unit",
    )
    .bind(revision)
    .fetch_all(&mut **tx)
    .await?;
    Ok(View {
        stamp,
        revision: Revision(revision),
        segments: segments.iter().map(segment).collect::<Result<_>>()?,
        slices: slices.iter().map(slice).collect::<Result<_>>()?,
    })
}

fn segment(row: &AnyRow) -> Result<Segment> {
    Ok(Segment {
        object_key: column(row, "object_key")?,
        table: column(row, "table_name")?,
        slot: Slot(u16::try_from(column::<i64>(row, "slot")?).map_err(|_| CatalogueError::unreadable("slot"))?),
        day: Day(i32::try_from(column::<i64>(row, "day")?).map_err(|_| CatalogueError::unreadable("day"))?),
        rows: unsigned(column(row, "row_count")?, "row_count")?,
        bytes: unsigned(column(row, "byte_count")?, "byte_count")?,
        min_revision: Revision(column(row, "min_revision")?),
        max_revision: Revision(column(row, "max_revision")?),
        body: column(row, "body")?,
    })
}

fn slice(row: &AnyRow) -> Result<SliceRef> {
    Ok(SliceRef {
        revision: Revision(column(row, "revision")?),
        object_key: column(row, "object_key")?,
        unit: parsed(row, "unit")?,
        body: column(row, "body")?,
    })
}

async fn compact(tx: &mut Tx, request: CompactRequest, now: i64) -> Result<()> {
    // One compaction at a time: two that finish the last slices of one commit must see each other.
    take_numbers(tx, "compaction", 1).await?;
    let newest: i64 =
        sqlx::query_scalar("SELECT value FROM counters WHERE name = 'commit'").fetch_one(&mut *tx).await?;
    for key in &request.replaced {
        let removed = sqlx::query("UPDATE segments SET removed_at = $2 WHERE object_key = $1 AND removed_at IS NULL")
            .bind(key.clone())
            .bind(now)
            .execute(&mut *tx)
            .await?;
        if removed.rows_affected() != 1 {
            return Err(CatalogueError::Stale);
        }
    }
    finish_slices(tx, &request.slices_done, now).await?;
    for segment in request.new {
        insert_segment(tx, segment, newest).await?;
    }
    Ok(())
}

/// Slices per statement: far below the 32,766 parameters of SQLite.
const SLICES_AT_ONCE: usize = 500;

async fn finish_slices(tx: &mut Tx, slices: &[(Revision, Unit)], now: i64) -> Result<()> {
    for chunk in slices.chunks(SLICES_AT_ONCE) {
        let rows = value_rows(chunk.len(), 2, 1);
        let sql = format!(
            "WITH done (done_revision, done_unit) AS (VALUES {rows}) DELETE FROM slices \
             WHERE (revision, unit) IN (SELECT done_revision, done_unit FROM done)"
        );
        let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        for (revision, unit) in chunk {
            query = query.bind(revision.0).bind(unit.to_string());
        }
        if query.execute(&mut *tx).await?.rows_affected() != chunk.len() as u64 {
            return Err(CatalogueError::Stale);
        }
    }
    if let (Some(first), Some(last)) = (slices.iter().map(|done| done.0).min(), slices.iter().map(|done| done.0).max())
    {
        sqlx::query(
            "UPDATE commits SET removed_at = $3 WHERE revision BETWEEN $1 AND $2 AND removed_at IS NULL \
             AND NOT EXISTS (SELECT 1 FROM slices WHERE slices.revision = commits.revision)",
        )
        .bind(first.0)
        .bind(last.0)
        .bind(now)
        .execute(tx)
        .await?;
    }
    Ok(())
}

async fn insert_segment(tx: &mut Tx, segment: Segment, newest: i64) -> Result<()> {
    sqlx::query(
        "INSERT INTO segments (object_key, table_name, slot, day, row_count, byte_count, min_revision, max_revision, \
         body, added_at_revision) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(segment.object_key)
    .bind(segment.table)
    .bind(i64::from(segment.slot.0))
    .bind(i64::from(segment.day.0))
    .bind(signed(segment.rows))
    .bind(signed(segment.bytes))
    .bind(segment.min_revision.0)
    .bind(segment.max_revision.0)
    .bind(segment.body)
    .bind(newest)
    .execute(tx)
    .await
    .map_err(CatalogueError::taken("object_key"))?;
    Ok(())
}
