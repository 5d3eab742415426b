//! Leases of work that one process at a time does: a relay, an agent. And of being there at all, by which
//! processes know how many they are.

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

    /// Says that the process `owner` is at work for the next `duration` microseconds of database
    /// time. How many processes are, this one among them.
    pub async fn attend(&self, owner: &str, duration: i64) -> Result<usize> {
        let owner = owner.to_owned();
        let attending = self.db.urgent(move |tx| Box::pin(async move { attend(tx, &owner, duration).await })).await?;
        Ok(usize::try_from(attending).unwrap_or(1).max(1))
    }

    /// Says that the process `owner` is no longer at work.
    pub async fn leave(&self, owner: &str) -> Result<()> {
        self.release_lease(&presence(owner), owner).await
    }
}

/// The lease by which a process is there.
fn presence(owner: &str) -> String {
    format!("process/{owner}")
}

async fn attend(tx: &mut Tx, owner: &str, duration: i64) -> Result<i64> {
    hold(tx, &presence(owner), owner, duration).await?;
    // Processes never come back under the same name.
    sqlx::query("DELETE FROM leases WHERE name LIKE 'process/%' AND lease_until < (SELECT now_us FROM db_time) - $1")
        .bind(duration)
        .execute(&mut *tx)
        .await?;
    let there = "SELECT COUNT(*) FROM leases \
                 WHERE name LIKE 'process/%' AND lease_until > (SELECT now_us FROM db_time)";
    Ok(sqlx::query_scalar(there).fetch_one(tx).await?)
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
