//! Units and their leases: who works on what, from which positions, under which epoch.
//!
//! A lease is taken for ten seconds of database time and renewed by commits or by
//! [`Catalogue::renew`]. Whoever takes a unit raises its epoch: the one before, should it wake
//! up, finds its epoch gone and can change nothing.

use std::collections::BTreeMap;

use castback_schemas::Unit;
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use crate::Catalogue;
use crate::db::Tx;
use crate::error::Result;
use crate::stored::{column, document, json, parsed};

/// How long a lease holds without renewal, in microseconds of database time.
pub const LEASE: i64 = 10 * castback_schemas::time::SECOND;

const UNITS: &str = "SELECT unit, epoch, positions, \
     CASE WHEN lease_until > (SELECT now_us FROM db_time) THEN owner END AS owner FROM units ORDER BY unit";

/// Where a unit stands on each input: the offset of the next record, by the input's name
/// (a topic, or a name of the pipeline's own). One text for one value, so that it can be compared.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Positions(pub BTreeMap<String, i64>);

/// A unit that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The unit.
    pub unit: Unit,
    /// The holder's epoch.
    pub epoch: i64,
    /// Where to go on reading.
    pub positions: Positions,
}

/// A unit as anybody sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitStatus {
    /// The unit.
    pub unit: Unit,
    /// Who holds it, if anybody still does.
    pub owner: Option<String>,
    /// The newest epoch.
    pub epoch: i64,
    /// Committed positions.
    pub positions: Positions,
}

impl Catalogue {
    /// Makes sure that the units exist; new ones begin without positions and free.
    pub async fn ensure_units(&self, units: &[Unit]) -> Result<()> {
        let units: Vec<String> = units.iter().map(Unit::to_string).collect();
        self.db
            .urgent(move |tx| {
                Box::pin(async move {
                    for unit in units {
                        sqlx::query(
                            "INSERT INTO units (unit, owner, epoch, lease_until, positions) VALUES ($1, NULL, 0, 0, '{}') \
                             ON CONFLICT (unit) DO NOTHING",
                        )
                        .bind(unit)
                        .execute(&mut *tx)
                        .await?;
                    }
                    Ok(())
                })
            })
            .await
    }

    /// Takes up to `want` units that nobody holds. A unit that is being changed just now is left for the next time.
    pub async fn take(&self, owner: &str, want: usize) -> Result<Vec<Held>> {
        let owner = owner.to_owned();
        let want = i64::try_from(want).unwrap_or(i64::MAX);
        // PostgreSQL judges the outer condition again on a row that someone else took meanwhile.
        let sql = format!(
            "WITH free (free_unit) AS (SELECT unit FROM units WHERE lease_until <= (SELECT now_us FROM db_time) \
             ORDER BY lease_until, unit LIMIT $3 {}) \
             UPDATE units SET owner = $1, epoch = epoch + 1, lease_until = (SELECT now_us FROM db_time) + $2 \
             WHERE lease_until <= (SELECT now_us FROM db_time) AND unit IN (SELECT free_unit FROM free) \
             RETURNING unit, epoch, positions",
            self.db.skip_locked()
        );
        self.db
            .urgent(move |tx| {
                Box::pin(async move {
                    let query = sqlx::query(AssertSqlSafe(sql)).bind(owner).bind(LEASE).bind(want);
                    query.fetch_all(tx).await?.iter().map(held).collect()
                })
            })
            .await
    }

    /// Takes every unit, whoever holds it: for the process that has the data directory's lock.
    pub async fn take_all(&self, owner: &str) -> Result<Vec<Held>> {
        let owner = owner.to_owned();
        self.db
            .urgent(move |tx| {
                Box::pin(async move {
                    let rows = sqlx::query(
                        "UPDATE units SET owner = $1, epoch = epoch + 1, lease_until = (SELECT now_us FROM db_time) + $2 \
                         RETURNING unit, epoch, positions",
                    )
                    .bind(owner)
                    .bind(LEASE)
                    .fetch_all(tx)
                    .await?;
                    rows.iter().map(held).collect()
                })
            })
            .await
    }

    /// Renews leases of units that need no commit; answers those still held. A lease that ran
    /// out but was taken by nobody is renewed too.
    pub async fn renew(&self, held: &[(Unit, i64)]) -> Result<Vec<Unit>> {
        self.set_lease(held, "(SELECT now_us FROM db_time) + $1", LEASE).await
    }

    /// Gives units back at once.
    pub async fn release(&self, held: &[(Unit, i64)]) -> Result<()> {
        self.set_lease(held, "$1, owner = NULL", 0).await?;
        Ok(())
    }

    async fn set_lease(&self, held: &[(Unit, i64)], lease: &'static str, value: i64) -> Result<Vec<Unit>> {
        if held.is_empty() {
            return Ok(Vec::new());
        }
        let held: Vec<(String, i64)> = held.iter().map(|(unit, epoch)| (unit.to_string(), *epoch)).collect();
        let rows = value_rows(held.len(), 2, 2);
        let sql = format!(
            "WITH mine (my_unit, my_epoch) AS (VALUES {rows}) UPDATE units SET lease_until = {lease} \
             FROM mine WHERE unit = my_unit AND epoch = my_epoch RETURNING unit"
        );
        self.db
            .urgent(move |tx| {
                Box::pin(async move {
                    let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false).bind(value);
                    for (unit, epoch) in held {
                        query = query.bind(unit).bind(epoch);
                    }
                    let rows = query.fetch_all(tx).await?;
                    rows.iter().map(|row| parsed(row, "unit")).collect()
                })
            })
            .await
    }

    /// Every unit: committed positions, and who holds it.
    pub async fn units(&self) -> Result<Vec<UnitStatus>> {
        let rows = sqlx::query(UNITS).fetch_all(self.db.reads()).await?;
        rows.iter().map(status).collect()
    }
}

/// Every unit as a transaction sees it.
pub(crate) async fn units(tx: &mut Tx) -> Result<Vec<UnitStatus>> {
    let rows = sqlx::query(UNITS).fetch_all(tx).await?;
    rows.iter().map(status).collect()
}

impl Positions {
    /// The text that is stored and compared: keys in order.
    pub(crate) fn text(&self) -> Result<String> {
        json(self)
    }
}

fn status(row: &AnyRow) -> Result<UnitStatus> {
    Ok(UnitStatus {
        unit: parsed(row, "unit")?,
        owner: column(row, "owner")?,
        epoch: column(row, "epoch")?,
        positions: document(row, "positions")?,
    })
}

fn held(row: &AnyRow) -> Result<Held> {
    Ok(Held { unit: parsed(row, "unit")?, epoch: column(row, "epoch")?, positions: document(row, "positions")? })
}

/// `($2, $3), ($4, $5)`: placeholders of `rows` rows of `columns`, the first numbered `first`.
pub(crate) fn value_rows(rows: usize, columns: usize, first: usize) -> String {
    let row = |row: usize| {
        let numbers: Vec<String> = (0..columns).map(|column| format!("${}", first + row * columns + column)).collect();
        format!("({})", numbers.join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_numbered_row_by_row() {
        assert_eq!(value_rows(2, 2, 2), "($2, $3), ($4, $5)");
        assert_eq!(value_rows(1, 3, 1), "($1, $2, $3)");
    }

    #[test]
    fn equal_positions_have_one_text() {
        let a = Positions(BTreeMap::from([("b".to_owned(), 1), ("a".to_owned(), 2)]));
        assert_eq!(a.text().unwrap(), r#"{"a":2,"b":1}"#);
    }
}
