//! From when on each account's ledger is kept, and how far what is older has gone.
//!
//! The cut-off is raised before the first row goes and never lowered, whatever becomes of the
//! account's tier: what a reader sees from the cut-off on is whole. Who pins a view and asks for
//! the cut-off *afterwards* never counts rows of which some have gone.

use castback_schemas::Micros;
use castback_schemas::id::AccountId;
use sqlx::any::AnyRow;

use crate::Catalogue;
use crate::error::{CatalogueError, Result};
use crate::stored::{column, parsed};

/// An account and what is kept of its ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The account.
    pub account: AccountId,
    /// Its subscription tier.
    pub tier: String,
    /// When it was made: nothing of it was recorded before.
    pub created_at: Micros,
    /// Rows recorded before this are past their retention; the epoch when none ever was.
    pub kept_from: Micros,
    /// Rows recorded before this have gone, as far as they may.
    pub cleaned_to: Micros,
}

impl Catalogue {
    /// Every account's cut-off.
    pub async fn kept(&self) -> Result<Vec<Kept>> {
        let rows =
            sqlx::query("SELECT account_id, tier, created_at, kept_from, cleaned_to FROM accounts ORDER BY account_id")
                .fetch_all(self.db.reads())
                .await?;
        rows.iter().map(kept).collect()
    }

    /// An account's cut-off.
    pub async fn kept_of(&self, account: AccountId) -> Result<Kept> {
        let row = sqlx::query(
            "SELECT account_id, tier, created_at, kept_from, cleaned_to FROM accounts WHERE account_id = $1",
        )
        .bind(account.to_string())
        .fetch_optional(self.db.reads())
        .await?;
        row.as_ref().map(kept).transpose()?.ok_or(CatalogueError::NotFound("account"))
    }

    /// From when on an account's ledger is kept.
    pub async fn kept_from(&self, account: AccountId) -> Result<Micros> {
        Ok(self.kept_of(account).await?.kept_from)
    }

    /// Raises an account's cut-off; a lower one changes nothing.
    pub async fn keep_from(&self, account: AccountId, from: Micros) -> Result<()> {
        self.raise("UPDATE accounts SET kept_from = $2 WHERE account_id = $1 AND kept_from < $2", account, from).await
    }

    /// Notes that an account's rows recorded before `to` have gone.
    pub async fn cleaned(&self, account: AccountId, to: Micros) -> Result<()> {
        self.raise("UPDATE accounts SET cleaned_to = $2 WHERE account_id = $1 AND cleaned_to < $2", account, to).await
    }

    async fn raise(&self, sql: &'static str, account: AccountId, to: Micros) -> Result<()> {
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    sqlx::query(sql).bind(account.to_string()).bind(to.0).execute(tx).await?;
                    Ok(())
                })
            })
            .await
    }
}

fn kept(row: &AnyRow) -> Result<Kept> {
    Ok(Kept {
        account: parsed(row, "account_id")?,
        tier: column(row, "tier")?,
        created_at: Micros(column(row, "created_at")?),
        kept_from: Micros(column(row, "kept_from")?),
        cleaned_to: Micros(column(row, "cleaned_to")?),
    })
}
