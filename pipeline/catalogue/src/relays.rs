//! Positions of relays: the commit up to which each has sent everything on.

use castback_schemas::Revision;

use crate::Catalogue;
use crate::error::Result;

impl Catalogue {
    /// The commit up to which a relay has come; 0 for a new one.
    pub async fn relay_position(&self, name: &str) -> Result<Revision> {
        let position = sqlx::query_scalar("SELECT revision FROM relays WHERE name = $1")
            .bind(name.to_owned())
            .fetch_optional(self.db.reads())
            .await?;
        Ok(Revision(position.unwrap_or(0)))
    }

    /// Moves a relay on; it never goes back.
    pub async fn advance_relay(&self, name: &str, to: Revision) -> Result<()> {
        let name = name.to_owned();
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    sqlx::query(
                        "INSERT INTO relays (name, revision) VALUES ($1, $2) ON CONFLICT (name) \
                         DO UPDATE SET revision = excluded.revision WHERE relays.revision < excluded.revision",
                    )
                    .bind(name)
                    .bind(to.0)
                    .execute(tx)
                    .await?;
                    Ok(())
                })
            })
            .await
    }
}
