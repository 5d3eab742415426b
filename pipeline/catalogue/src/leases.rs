//! Leases of work that one process at a time does: a relay, an agent.

use crate::Catalogue;
use crate::db::Tx;
use crate::error::Result;

impl Catalogue {
    /// Takes or renews the lease of a name for `duration` microseconds of database time. Whether
    /// `owner` holds it now.
    pub async fn take_lease(&self, name: &str, owner: &str, duration: i64) -> Result<bool> {
        let (name, owner) = (name.to_owned(), owner.to_owned());
        self.db.urgent(move |tx| Box::pin(async move { hold(tx, &name, &owner, duration).await })).await
    }

    /// Gives a lease back at once, if `owner` holds it.
    pub async fn release_lease(&self, name: &str, owner: &str) -> Result<()> {
        let (name, owner) = (name.to_owned(), owner.to_owned());
        self.db
            .urgent(move |tx| {
                Box::pin(async move {
                    sqlx::query("UPDATE leases SET lease_until = 0 WHERE name = $1 AND owner = $2")
                        .bind(name)
                        .bind(owner)
                        .execute(tx)
                        .await?;
                    Ok(())
                })
            })
            .await
    }
}

/// Takes or renews a lease inside a transaction.
pub(crate) async fn hold(tx: &mut Tx, name: &str, owner: &str, duration: i64) -> Result<bool> {
    let taken = sqlx::query(
        "INSERT INTO leases (name, owner, lease_until) VALUES ($1, $2, (SELECT now_us FROM db_time) + $3) \
         ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, lease_until = excluded.lease_until \
         WHERE leases.owner = excluded.owner OR leases.lease_until <= (SELECT now_us FROM db_time)",
    )
    .bind(name.to_owned())
    .bind(owner.to_owned())
    .bind(duration)
    .execute(tx)
    .await?;
    Ok(taken.rows_affected() == 1)
}
