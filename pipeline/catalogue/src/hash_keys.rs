//! Keys of keyed hashes: one for each account, one for each month of listeners.
//!
//! A month's key is made at its first use and dies 97 days (60 of look-back, 30 of lateness, 7)
//! after the later of the month's end and the last record received under it. What is left is a
//! tombstone: the key is never made again, and records of the month are late for good.

use castback_schemas::id::AccountId;
use castback_schemas::time::DAY;
use castback_schemas::{Micros, Month};
use secrecy::zeroize::Zeroize;

use crate::Catalogue;
use crate::error::{CatalogueError, Result};
use crate::stored::{base64url, bytes, column};

/// How long a month's key outlives the later of the month and its last record: look-back,
/// lateness and a week.
pub const KEY_LIFE: i64 = (60 + 30 + 7) * DAY;

/// What a key is for: hashes under different keys can't be joined.
#[derive(Clone, Copy)]
enum KeyPurpose {
    /// Ids of log lines, customers, end users: everything of one account but its listeners.
    Account,
    /// Listeners and households of a month.
    Month,
}

impl KeyPurpose {
    fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Month => "month",
        }
    }
}

/// A key.
#[derive(Clone, PartialEq, Eq)]
pub struct HashKey(pub [u8; 32]);

impl std::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HashKey(..)")
    }
}

impl Drop for HashKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// A month's key, or that it is no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MonthKey {
    /// In use.
    Alive(HashKey),
    /// Destroyed: records of the month are late for good.
    Dead,
}

impl Catalogue {
    /// The account's key, made at its first use.
    pub async fn account_key(&self, account: AccountId) -> Result<HashKey> {
        match self.key(KeyPurpose::Account, account.to_string()).await? {
            MonthKey::Alive(key) => Ok(key),
            MonthKey::Dead => Err(CatalogueError::NotFound("account key")),
        }
    }

    /// The month's key, made at its first use.
    pub async fn month_key(&self, month: Month) -> Result<MonthKey> {
        self.key(KeyPurpose::Month, month.to_string()).await
    }

    /// Notes that a record was received under the month's key, so that it lives on. Once an hour
    /// is enough.
    pub async fn touch_month(&self, month: Month, last_received: Micros) -> Result<()> {
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    sqlx::query("UPDATE hash_keys SET last_received = $3 WHERE purpose = $1 AND scope = $2 AND last_received < $3")
                        .bind(KeyPurpose::Month.as_str())
                        .bind(month.to_string())
                        .bind(last_received.0)
                        .execute(tx)
                        .await?;
                    Ok(())
                })
            })
            .await
    }

    /// Destroys the keys whose time has come; answers their months.
    pub async fn expire_keys(&self, now: Micros) -> Result<Vec<Month>> {
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    let rows = sqlx::query(
                        "SELECT scope, last_received FROM hash_keys WHERE purpose = $1 AND hash_key IS NOT NULL ORDER BY scope",
                    )
                    .bind(KeyPurpose::Month.as_str())
                    .fetch_all(&mut *tx)
                    .await?;
                    let mut dead = Vec::new();
                    for row in &rows {
                        let scope: &str = column(row, "scope")?;
                        let month = month(scope)?;
                        let last = Micros(column(row, "last_received")?).max(end(month));
                        if last.plus(KEY_LIFE) >= now {
                            continue;
                        }
                        sqlx::query("UPDATE hash_keys SET hash_key = NULL, died_at = $3 WHERE purpose = $1 AND scope = $2")
                            .bind(KeyPurpose::Month.as_str())
                            .bind(scope.to_owned())
                            .bind(now.0)
                            .execute(&mut *tx)
                            .await?;
                        dead.push(month);
                    }
                    Ok(dead)
                })
            })
            .await
    }

    /// Destroys the key of an account that is erased: what was encrypted or hashed under it leads
    /// nowhere from now on.
    pub async fn destroy_account_key(&self, account: AccountId) -> Result<()> {
        let now = self.now().0;
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    // Kept as a tombstone even if there was none: it is never made.
                    sqlx::query(
                        "INSERT INTO hash_keys (purpose, scope, hash_key, created_at, last_received, died_at) \
                         VALUES ($1, $2, NULL, $3, $3, $3) \
                         ON CONFLICT (purpose, scope) DO UPDATE SET hash_key = NULL, died_at = excluded.died_at",
                    )
                    .bind(KeyPurpose::Account.as_str())
                    .bind(account.to_string())
                    .bind(now)
                    .execute(tx)
                    .await?;
                    Ok(())
                })
            })
            .await
    }

    async fn key(&self, purpose: KeyPurpose, scope: String) -> Result<MonthKey> {
        if let Some(found) = self.stored_key(purpose, &scope).await? {
            return Ok(found);
        }
        let made = base64url(self.secrets.bytes());
        let now = self.now().0;
        let wanted = scope.clone();
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    // Whoever comes second uses the key of the first.
                    sqlx::query(
                        "INSERT INTO hash_keys (purpose, scope, hash_key, created_at, last_received) VALUES ($1, $2, $3, $4, $4) \
                         ON CONFLICT (purpose, scope) DO NOTHING",
                    )
                    .bind(purpose.as_str())
                    .bind(wanted)
                    .bind(made)
                    .bind(now)
                    .execute(tx)
                    .await?;
                    Ok(())
                })
            })
            .await?;
        self.stored_key(purpose, &scope).await?.ok_or(CatalogueError::NotFound("key"))
    }

    async fn stored_key(&self, purpose: KeyPurpose, scope: &str) -> Result<Option<MonthKey>> {
        let row = sqlx::query("SELECT hash_key FROM hash_keys WHERE purpose = $1 AND scope = $2")
            .bind(purpose.as_str())
            .bind(scope.to_owned())
            .fetch_optional(self.db.reads())
            .await?;
        let Some(row) = row else { return Ok(None) };
        let Some(text) = column::<Option<&str>>(&row, "hash_key")? else { return Ok(Some(MonthKey::Dead)) };
        let key = bytes(text).and_then(|bytes| bytes.try_into().ok());
        Ok(Some(MonthKey::Alive(HashKey(key.ok_or_else(|| CatalogueError::unreadable("hash key"))?))))
    }
}

/// The first instant after the month.
fn end(month: Month) -> Micros {
    Month(month.0 + 1).first_day().start()
}

fn month(text: &str) -> Result<Month> {
    let parts =
        text.split_once('-').and_then(|(year, month)| Some((year.parse::<i32>().ok()?, month.parse::<i32>().ok()?)));
    match parts {
        Some((year, month @ 1..=12)) => Ok(Month(year * 12 + month - 1)),
        _ => Err(CatalogueError::unreadable("month")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_read_back() {
        for number in [2026 * 12, 2026 * 12 + 11, 1999 * 12 + 5] {
            assert_eq!(month(&Month(number).to_string()).unwrap(), Month(number));
        }
        assert!(month("2026-13").is_err());
        assert_eq!(end(Month(2026 * 12 + 11)).to_string(), "2027-01-01T00:00:00Z");
    }
}
