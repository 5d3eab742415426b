//! The commit: positions move and rows come into force, in one transaction.
//!
//! The commit's number is taken first, which makes commits of all processes one after the other;
//! it is given back (by rolling back) when no unit was accepted, so numbers are dense. A unit whose
//! epoch or positions are no longer the caller's is *fenced*: its slice is never referred to, the
//! other units' are.

use castback_schemas::{Revision, Unit};
use sqlx::AssertSqlSafe;

use crate::Catalogue;
use crate::db::{Tx, take_numbers};
use crate::error::Result;
use crate::stored::parsed;
use crate::units::{LEASE, Positions, value_rows};

/// What a unit commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitCommit {
    /// The unit.
    pub unit: Unit,
    /// The epoch under which it is held.
    pub epoch: i64,
    /// Its positions before.
    pub old_positions: Positions,
    /// Its positions from now on.
    pub new_positions: Positions,
    /// What of the object is this unit's (the store's own words); nothing if it wrote no rows.
    pub slice: Option<String>,
    /// Requests to the unit that these rows answer.
    pub finish: Vec<i64>,
}

/// One commit of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitRequest {
    /// The object that holds the slices; none if no unit has one.
    pub object_key: Option<String>,
    /// The units.
    pub units: Vec<UnitCommit>,
}

/// What became of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitOutcome {
    /// Its number; none if every unit was fenced.
    pub revision: Option<Revision>,
    /// Units whose positions moved.
    pub accepted: Vec<Unit>,
    /// Units that somebody else holds: drop their state.
    pub fenced: Vec<Unit>,
}

impl Catalogue {
    /// Commits. After [`crate::CatalogueError::Unavailable`] it may have happened: see
    /// [`Catalogue::commit_of`].
    pub async fn commit(&self, request: CommitRequest) -> Result<CommitOutcome> {
        let now = self.now().0;
        self.db.urgent(move |tx| Box::pin(commit(tx, request, now))).await
    }

    /// The number of the commit that refers to an object.
    pub async fn commit_of(&self, object_key: &str) -> Result<Option<Revision>> {
        let revision = sqlx::query_scalar("SELECT revision FROM commits WHERE object_key = $1")
            .bind(object_key.to_owned())
            .fetch_optional(self.db.reads())
            .await?;
        Ok(revision.map(Revision))
    }

    /// The newest commit.
    pub async fn newest_commit(&self) -> Result<Revision> {
        let newest =
            sqlx::query_scalar("SELECT value FROM counters WHERE name = 'commit'").fetch_one(self.db.reads()).await?;
        Ok(Revision(newest))
    }
}

async fn commit(tx: &mut Tx, request: CommitRequest, now: i64) -> Result<CommitOutcome> {
    let none = CommitOutcome { revision: None, accepted: Vec::new(), fenced: Vec::new() };
    if request.units.is_empty() {
        return Ok(none);
    }
    let revision = take_numbers(tx, "commit", 1).await?;
    let accepted = advance(tx, &request.units).await?;
    let (kept, lost): (Vec<UnitCommit>, Vec<UnitCommit>) =
        request.units.into_iter().partition(|commit| accepted.contains(&commit.unit));
    let fenced = lost.into_iter().map(|commit| commit.unit).collect();
    if kept.is_empty() {
        // The row is still locked, so nobody has seen the number: it is given back.
        take_numbers(tx, "commit", -1).await?;
        return Ok(CommitOutcome { fenced, ..none });
    }
    let slices: Vec<(String, String)> =
        kept.iter().filter_map(|commit| Some((commit.unit.to_string(), commit.slice.clone()?))).collect();
    if let Some(object_key) = request.object_key {
        // An object of which nothing is referred to may go at once.
        let removed = slices.is_empty().then_some(now);
        insert_commit(tx, (revision, object_key, now, removed)).await?;
    }
    insert_slices(tx, revision, slices).await?;
    for commit in &kept {
        for id in &commit.finish {
            sqlx::query("UPDATE unit_requests SET state = 'finished', finished_at = $3 WHERE id = $1 AND unit = $2")
                .bind(*id)
                .bind(commit.unit.to_string())
                .bind(now)
                .execute(&mut *tx)
                .await?;
        }
    }
    Ok(CommitOutcome { revision: Some(Revision(revision)), accepted, fenced })
}

/// Moves the positions of the units that are still the caller's, and renews their leases.
async fn advance(tx: &mut Tx, units: &[UnitCommit]) -> Result<Vec<Unit>> {
    let rows = value_rows(units.len(), 4, 2);
    let sql = format!(
        "WITH mine (my_unit, my_epoch, old_positions, new_positions) AS (VALUES {rows}) \
         UPDATE units SET positions = new_positions, lease_until = (SELECT now_us FROM db_time) + $1 \
         FROM mine WHERE unit = my_unit AND epoch = my_epoch AND positions = old_positions RETURNING unit"
    );
    let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false).bind(LEASE);
    for commit in units {
        query = query
            .bind(commit.unit.to_string())
            .bind(commit.epoch)
            .bind(commit.old_positions.text()?)
            .bind(commit.new_positions.text()?);
    }
    let rows = query.fetch_all(tx).await?;
    rows.iter().map(|row| parsed(row, "unit")).collect()
}

async fn insert_commit(tx: &mut Tx, (revision, key, now, removed): (i64, String, i64, Option<i64>)) -> Result<()> {
    sqlx::query("INSERT INTO commits (revision, object_key, created_at, removed_at) VALUES ($1, $2, $3, $4)")
        .bind(revision)
        .bind(key)
        .bind(now)
        .bind(removed)
        .execute(tx)
        .await?;
    Ok(())
}

async fn insert_slices(tx: &mut Tx, revision: i64, slices: Vec<(String, String)>) -> Result<()> {
    if slices.is_empty() {
        return Ok(());
    }
    let rows = value_rows(slices.len(), 3, 1);
    let sql = format!("INSERT INTO slices (revision, unit, body) VALUES {rows}");
    let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
    for (unit, body) in slices {
        query = query.bind(revision).bind(unit).bind(body);
    }
    query.execute(tx).await?;
    Ok(())
}
