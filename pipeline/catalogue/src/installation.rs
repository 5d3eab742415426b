//! What is fixed for the life of an installation: its id, its slots, its own account.

use castback_schemas::id::{AccountId, IdSource, SeededIds, UserId};
use castback_schemas::{Micros, SLOTS};
use uuid::Uuid;

use crate::Catalogue;
use crate::db::{Db, Tx};
use crate::error::{CatalogueError, Result};
use crate::keys::{self, KeyKind, NewKey};
use crate::people::insert_account;
use crate::stored::parse;

/// The address of the installation's own user: nobody can sign in with it, its keys can be used.
const OPERATOR_EMAIL: &str = "operator@castback.invalid";

/// What was recorded when the catalogue was first opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// Names this installation.
    pub id: Uuid,
    /// Owns what belongs to nobody else: the processes' health, records without an account.
    pub account: AccountId,
}

/// What all processes of an installation have in common beside the catalogue. The first one records it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Common {
    /// A keyed fingerprint of the secret, which does not give it away.
    Secret,
    /// The name that the object store has in an object of its own.
    Objects,
}

impl Common {
    fn name(self) -> &'static str {
        match self {
            Self::Secret => "secret_fingerprint",
            Self::Objects => "objects",
        }
    }
}

impl Installation {
    /// Records the installation at the first opening, checks it at every other.
    pub(crate) async fn establish(db: &Db, ids: &SeededIds, now: Micros) -> Result<Self> {
        let made = Self { id: ids.next(now), account: AccountId::from_uuid(ids.next(now)) };
        db.change(move |tx| Box::pin(record(tx, made, now))).await
    }
}

async fn record(tx: &mut Tx, made: Installation, now: Micros) -> Result<Installation> {
    let first = sqlx::query("INSERT INTO meta (name, value) VALUES ('slots', $1) ON CONFLICT (name) DO NOTHING")
        .bind(SLOTS.to_string())
        .execute(&mut *tx)
        .await?
        .rows_affected()
        == 1;
    if first {
        insert_account(tx, made.account, "enterprise", now).await?;
        sqlx::query("INSERT INTO meta (name, value) VALUES ('installation_id', $1), ('account_id', $2)")
            .bind(made.id.to_string())
            .bind(made.account.to_string())
            .execute(tx)
            .await?;
        return Ok(made);
    }
    let slots = meta(tx, "slots").await?;
    if slots != SLOTS.to_string() {
        return Err(CatalogueError::Refused(format!(
            "this installation was made with {slots} slots and can't be used with {SLOTS}: \
             the slot of every account would change; start an installation of its own"
        )));
    }
    Ok(Installation {
        id: parse(&meta(tx, "installation_id").await?, "installation id")?,
        account: parse(&meta(tx, "account_id").await?, "account id")?,
    })
}

async fn meta(tx: &mut Tx, name: &'static str) -> Result<String> {
    Ok(sqlx::query_scalar("SELECT value FROM meta WHERE name = $1").bind(name).fetch_one(tx).await?)
}

impl Catalogue {
    /// What was recorded when the catalogue was first opened.
    #[must_use]
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// What is recorded of it, if anything is.
    pub async fn common(&self, what: Common) -> Result<Option<String>> {
        let recorded = sqlx::query_scalar("SELECT value FROM meta WHERE name = $1").bind(what.name());
        Ok(recorded.fetch_optional(self.db.reads()).await?)
    }

    /// Records `value` if nothing is recorded yet; answers what is recorded then.
    pub async fn record_common(&self, what: Common, value: &str) -> Result<String> {
        let (name, value) = (what.name(), value.to_owned());
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    sqlx::query("INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
                        .bind(name)
                        .bind(value)
                        .execute(&mut *tx)
                        .await?;
                    meta(tx, name).await
                })
            })
            .await
    }

    /// Records `value` in the place of what was recorded.
    pub async fn replace_common(&self, what: Common, value: &str) -> Result<()> {
        let (name, value) = (what.name(), value.to_owned());
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    sqlx::query("UPDATE meta SET value = $2 WHERE name = $1")
                        .bind(name)
                        .bind(value)
                        .execute(tx)
                        .await?;
                    Ok(())
                })
            })
            .await
    }

    /// The version of the database's server; none for a file.
    pub async fn server_version(&self) -> Result<Option<String>> {
        self.db.server_version().await
    }

    /// A new API key of the installation's own operator, for the command line on this machine.
    pub async fn create_operator_key(&self) -> Result<String> {
        let account = self.installation.account;
        let new_user = UserId::from_uuid(self.new_uuid());
        let (new, key) = self.new_key(NewKey { kind: KeyKind::Secret, label: "operator".to_owned() });
        let now = self.now();
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    sqlx::query(
                        "INSERT INTO users (user_id, account_id, email, email_folded, password_hash, name, operator, created_at) \
                         VALUES ($1, $2, $3, $3, '', 'Operator', 1, $4) ON CONFLICT (email_folded) DO NOTHING",
                    )
                    .bind(new_user.to_string())
                    .bind(account.to_string())
                    .bind(OPERATOR_EMAIL)
                    .bind(now.0)
                    .execute(&mut *tx)
                    .await?;
                    let user: String = sqlx::query_scalar("SELECT user_id FROM users WHERE email_folded = $1")
                        .bind(OPERATOR_EMAIL)
                        .fetch_one(&mut *tx)
                        .await?;
                    keys::insert(tx, account, parse(&user, "user id")?, &new).await
                })
            })
            .await?;
        Ok(key)
    }
}
