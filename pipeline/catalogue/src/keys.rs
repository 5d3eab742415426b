//! API keys: who a caller is. Only a hash is stored; the key is shown once.

use castback_schemas::Micros;
use castback_schemas::id::{AccountId, ApiKeyId, UserId};
use sqlx::any::AnyRow;

use crate::Catalogue;
use crate::db::Tx;
use crate::error::{CatalogueError, Result};
use crate::page::{Page, Paging};
use crate::people::found;
use crate::secret::token_hash;
use crate::stored::{column, document, json, parsed};

const SECRET_PREFIX: &str = "cb_";
const PUBLISHABLE_PREFIX: &str = "cb_pub_";

/// What a key may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyKind {
    /// Everything its user may.
    Secret,
    /// Append app events from these origins (`https://example.com`); it may be seen by anyone.
    Publishable {
        /// The origins, as browsers write them.
        origins: Vec<String>,
    },
}

/// How a caller proved who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// By an API key.
    Key(ApiKeyId, KeyKind),
    /// By a session's cookie.
    Session,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Their account.
    pub account: AccountId,
    /// Who they are.
    pub user: UserId,
    /// By what they proved it.
    pub credential: Credential,
    /// Whether they see across accounts; never by a publishable key.
    pub operator: bool,
}

/// A key as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// Whose it is.
    pub user: UserId,
    /// What it may do.
    pub kind: KeyKind,
    /// What its owner calls it.
    pub label: String,
    /// When it was made.
    pub created_at: Micros,
    /// When it was revoked.
    pub revoked_at: Option<Micros>,
}

/// A key to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// What it may do.
    pub kind: KeyKind,
    /// What its owner calls it.
    pub label: String,
}

/// A key that is made but not stored yet.
pub(crate) struct MadeKey {
    id: ApiKeyId,
    new: NewKey,
    hash: String,
    created_at: Micros,
}

impl Catalogue {
    /// Who has this key; none if nobody has, or had and it was revoked. Callers may keep the
    /// answer for some seconds.
    pub async fn authenticate(&self, key: &str) -> Result<Option<Caller>> {
        // The longer prefix first: its form can't be a secret key's, whose length differs.
        let Some(hash) = token_hash(key, PUBLISHABLE_PREFIX).or_else(|| token_hash(key, SECRET_PREFIX)) else {
            return Ok(None);
        };
        let row = sqlx::query(
            "SELECT api_key_id, api_keys.account_id AS account_id, users.user_id AS user_id, kind, origins, operator \
             FROM api_keys JOIN users ON users.user_id = api_keys.user_id WHERE secret_hash = $1 AND revoked_at IS NULL",
        )
        .bind(hash)
        .fetch_optional(self.db.reads())
        .await?;
        row.as_ref().map(caller).transpose()
    }

    /// Makes a key of a user; answers it in full, this once.
    pub async fn create_api_key(&self, account: AccountId, user: UserId, new: NewKey) -> Result<(ApiKey, String)> {
        self.user(account, user).await?;
        let (made, key) = self.new_key(new.clone());
        let shown = ApiKey {
            id: made.id,
            user,
            kind: new.kind,
            label: new.label,
            created_at: made.created_at,
            revoked_at: None,
        };
        self.db.change(move |tx| Box::pin(async move { insert(tx, account, user, &made).await })).await?;
        Ok((shown, key))
    }

    /// The keys of an account, newest first.
    pub async fn api_keys(&self, account: AccountId, paging: &Paging) -> Result<Page<ApiKey>> {
        let start = paging.start()?;
        let rows = sqlx::query(
            "SELECT api_key_id, user_id, kind, origins, label, created_at, revoked_at FROM api_keys \
             WHERE account_id = $1 AND (created_at, api_key_id) < ($2, $3) \
             ORDER BY created_at DESC, api_key_id DESC LIMIT $4",
        )
        .bind(account.to_string())
        .bind(start.created_at)
        .bind(start.id)
        .bind(start.rows)
        .fetch_all(self.db.reads())
        .await?;
        let items = rows.iter().map(api_key).collect::<Result<Vec<_>>>()?;
        Ok(paging.page(items, |key| (key.created_at, key.id.to_string())))
    }

    /// Revokes a key of an account. Revoking twice is no error.
    pub async fn revoke_api_key(&self, account: AccountId, key: ApiKeyId) -> Result<()> {
        let now = self.now().0;
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    let revoked = sqlx::query(
                        "UPDATE api_keys SET revoked_at = COALESCE(revoked_at, $3) WHERE account_id = $1 AND api_key_id = $2",
                    )
                    .bind(account.to_string())
                    .bind(key.to_string())
                    .bind(now)
                    .execute(tx)
                    .await?;
                    found(revoked.rows_affected(), "API key")
                })
            })
            .await
    }

    /// A fresh key, to be stored by [`insert`], and its text.
    pub(crate) fn new_key(&self, new: NewKey) -> (MadeKey, String) {
        let prefix = match new.kind {
            KeyKind::Secret => SECRET_PREFIX,
            KeyKind::Publishable { .. } => PUBLISHABLE_PREFIX,
        };
        let key = self.secrets.token(prefix);
        let hash = token_hash(&key, prefix).unwrap_or_default();
        (MadeKey { id: ApiKeyId::from_uuid(self.new_uuid()), new, hash, created_at: self.now() }, key)
    }
}

pub(crate) async fn insert(tx: &mut Tx, account: AccountId, user: UserId, key: &MadeKey) -> Result<()> {
    let (kind, origins) = match &key.new.kind {
        KeyKind::Secret => ("secret", json(&[""; 0])?),
        KeyKind::Publishable { origins } => ("publishable", json(origins)?),
    };
    sqlx::query(
        "INSERT INTO api_keys (api_key_id, account_id, user_id, kind, label, secret_hash, origins, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(key.id.to_string())
    .bind(account.to_string())
    .bind(user.to_string())
    .bind(kind)
    .bind(key.new.label.clone())
    .bind(key.hash.clone())
    .bind(origins)
    .bind(key.created_at.0)
    .execute(tx)
    .await?;
    Ok(())
}

fn kind(row: &AnyRow) -> Result<KeyKind> {
    match column::<&str>(row, "kind")? {
        "secret" => Ok(KeyKind::Secret),
        "publishable" => Ok(KeyKind::Publishable { origins: document(row, "origins")? }),
        _ => Err(CatalogueError::unreadable("kind of key")),
    }
}

fn caller(row: &AnyRow) -> Result<Caller> {
    let kind = kind(row)?;
    Ok(Caller {
        account: parsed(row, "account_id")?,
        user: parsed(row, "user_id")?,
        operator: kind == KeyKind::Secret && column::<i64>(row, "operator")? == 1,
        credential: Credential::Key(parsed(row, "api_key_id")?, kind),
    })
}

fn api_key(row: &AnyRow) -> Result<ApiKey> {
    Ok(ApiKey {
        id: parsed(row, "api_key_id")?,
        user: parsed(row, "user_id")?,
        kind: kind(row)?,
        label: column(row, "label")?,
        created_at: Micros(column(row, "created_at")?),
        revoked_at: column::<Option<i64>>(row, "revoked_at")?.map(Micros),
    })
}
