//! Accounts and the people in them.

use castback_schemas::id::{AccountId, UserId};
use castback_schemas::{Micros, Topic};
use secrecy::SecretString;
use serde_json::json;
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use crate::Catalogue;
use crate::db::Tx;
use crate::error::{CatalogueError, Result};
use crate::keys::{self, KeyKind, NewKey};
use crate::outbox::{self, NewEvent};
use crate::password;
use crate::stored::{column, parsed};

/// The tier of an account that signed up.
const FIRST_TIER: &str = "free";

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: AccountId,
    /// Its subscription tier, a name of the configured table.
    pub tier: String,
    /// When it was made.
    pub created_at: Micros,
}

/// A person.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// Their account.
    pub account: AccountId,
    /// Their e-mail address as they wrote it.
    pub email: String,
    /// Their name, may be empty.
    pub name: String,
    /// Whether they see across accounts.
    pub operator: bool,
    /// When they proved that the address is theirs.
    pub email_verified_at: Option<Micros>,
    /// When they signed up.
    pub created_at: Micros,
}

impl std::fmt::Debug for User {
    /// Without name and address: they don't belong into logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User").field("id", &self.id).field("account", &self.account).finish_non_exhaustive()
    }
}

/// Who signs up.
#[derive(Clone)]
pub struct NewUser {
    /// An e-mail address, of the right form.
    pub email: String,
    /// The password.
    pub password: SecretString,
    /// A name, may be empty.
    pub name: String,
}

/// Who has signed up.
#[derive(Clone)]
pub struct SignedUp {
    /// The person.
    pub user: User,
    /// Their account's tier.
    pub tier: String,
    /// Their first API key, shown this once.
    pub api_key: String,
}

impl std::fmt::Debug for NewUser {
    /// Without name, address and password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewUser").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for SignedUp {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedUp").field("user", &self.user).field("tier", &self.tier).finish_non_exhaustive()
    }
}

const USER_COLUMNS: &str =
    "SELECT user_id, account_id, email, name, operator, email_verified_at, created_at FROM users";

impl Catalogue {
    /// Makes an account, its first user and their first API key, all or nothing.
    /// [`CatalogueError::InUse`] if the address has one already.
    pub async fn sign_up(&self, new: NewUser) -> Result<SignedUp> {
        let account = AccountId::from_uuid(self.new_uuid());
        let user = self.person(account, &new);
        let hash = password::hash(new.password, self.salt()).await?;
        let (key, api_key) = self.new_key(NewKey { kind: KeyKind::Secret, label: "first".to_owned() });
        let event = self.user_event(&user, "user_created", FIRST_TIER);
        let signed = SignedUp { user: user.clone(), tier: FIRST_TIER.to_owned(), api_key };
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    insert_account(tx, account, FIRST_TIER, user.created_at).await?;
                    insert_user(tx, &user, hash).await?;
                    keys::insert(tx, account, user.id, &key).await?;
                    outbox::post(tx, event).await
                })
            })
            .await?;
        Ok(signed)
    }

    /// Adds a person to an account.
    pub async fn add_member(&self, account: AccountId, new: NewUser) -> Result<User> {
        let tier = self.account(account).await?.tier;
        let user = self.person(account, &new);
        let hash = password::hash(new.password, self.salt()).await?;
        let event = self.user_event(&user, "user_created", &tier);
        let added = user.clone();
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    insert_user(tx, &user, hash).await?;
                    outbox::post(tx, event).await
                })
            })
            .await?;
        Ok(added)
    }

    /// An account.
    pub async fn account(&self, account: AccountId) -> Result<Account> {
        let row = sqlx::query("SELECT account_id, tier, created_at FROM accounts WHERE account_id = $1")
            .bind(account.to_string())
            .fetch_optional(self.db.reads())
            .await?
            .ok_or(CatalogueError::NotFound("account"))?;
        account_of(&row)
    }

    /// Notes that an account has seen what it came for, a counted download; answers when the account was made if that
    /// was the first time.
    pub async fn note_first_value(&self, account: AccountId) -> Result<Option<Micros>> {
        let noted: Option<i64> = sqlx::query_scalar("SELECT first_value_at FROM accounts WHERE account_id = $1")
            .bind(account.to_string())
            .fetch_one(self.db.reads())
            .await?;
        if noted.is_some() {
            return Ok(None);
        }
        let now = self.now().0;
        let made: Option<i64> = self
            .db
            .change(move |tx| {
                Box::pin(async move {
                    let first = "UPDATE accounts SET first_value_at = $2 WHERE account_id = $1 \
                                 AND first_value_at IS NULL RETURNING created_at";
                    Ok(sqlx::query_scalar(first).bind(account.to_string()).bind(now).fetch_optional(tx).await?)
                })
            })
            .await?;
        Ok(made.map(Micros))
    }

    /// Every account, oldest first: for agents and operators.
    pub async fn accounts(&self) -> Result<Vec<Account>> {
        let rows = sqlx::query("SELECT account_id, tier, created_at FROM accounts ORDER BY created_at, account_id")
            .fetch_all(self.db.reads())
            .await?;
        rows.iter().map(account_of).collect()
    }

    /// Puts an account on another tier.
    pub async fn set_tier(&self, account: AccountId, by: UserId, tier: &str) -> Result<()> {
        let user = self.user(account, by).await?;
        let event = self.user_event(&user, "subscription_changed", tier);
        let tier = tier.to_owned();
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    sqlx::query("UPDATE accounts SET tier = $2 WHERE account_id = $1")
                        .bind(account.to_string())
                        .bind(tier)
                        .execute(&mut *tx)
                        .await?;
                    outbox::post(tx, event).await
                })
            })
            .await
    }

    /// A person of an account.
    pub async fn user(&self, account: AccountId, user: UserId) -> Result<User> {
        let sql = users_where("WHERE account_id = $1 AND user_id = $2");
        let row = sqlx::query(sql)
            .bind(account.to_string())
            .bind(user.to_string())
            .fetch_optional(self.db.reads())
            .await?
            .ok_or(CatalogueError::NotFound("user"))?;
        user_of(&row)
    }

    /// The people of an account, first come first.
    pub async fn members(&self, account: AccountId) -> Result<Vec<User>> {
        let sql = users_where("WHERE account_id = $1 ORDER BY created_at, user_id");
        let rows = sqlx::query(sql).bind(account.to_string()).fetch_all(self.db.reads()).await?;
        rows.iter().map(user_of).collect()
    }

    /// The person of an address, whatever their account.
    pub async fn user_by_email(&self, email: &str) -> Result<Option<User>> {
        let sql = users_where("WHERE email_folded = $1");
        let row = sqlx::query(sql).bind(folded(email)).fetch_optional(self.db.reads()).await?;
        row.as_ref().map(user_of).transpose()
    }

    /// Changes a person's name.
    pub async fn rename_user(&self, account: AccountId, user: UserId, name: &str) -> Result<User> {
        let text = name.to_owned();
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    let changed = sqlx::query("UPDATE users SET name = $3 WHERE account_id = $1 AND user_id = $2")
                        .bind(account.to_string())
                        .bind(user.to_string())
                        .bind(text)
                        .execute(tx)
                        .await?;
                    found(changed.rows_affected(), "user")
                })
            })
            .await?;
        self.user(account, user).await
    }

    /// Sets a person's password and ends all their sessions.
    pub async fn set_password(&self, account: AccountId, user: UserId, password: SecretString) -> Result<()> {
        let hash = password::hash(password, self.salt()).await?;
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    let changed =
                        sqlx::query("UPDATE users SET password_hash = $3 WHERE account_id = $1 AND user_id = $2")
                            .bind(account.to_string())
                            .bind(user.to_string())
                            .bind(hash)
                            .execute(&mut *tx)
                            .await?;
                    found(changed.rows_affected(), "user")?;
                    sqlx::query("DELETE FROM sessions WHERE user_id = $1").bind(user.to_string()).execute(tx).await?;
                    Ok(())
                })
            })
            .await
    }

    /// Lets the person of an address see across accounts. Whether there is such a person.
    pub async fn add_operator(&self, email: &str) -> Result<bool> {
        let email = folded(email);
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    let changed = sqlx::query("UPDATE users SET operator = 1 WHERE email_folded = $1")
                        .bind(email)
                        .execute(tx)
                        .await?;
                    Ok(changed.rows_affected() == 1)
                })
            })
            .await
    }

    /// Erases a person: name, address, password, keys, sessions and links. Ids in topics and
    /// ledger stay, and lead to nobody.
    pub async fn erase_user(&self, account: AccountId, user: UserId) -> Result<()> {
        let person = self.user(account, user).await?;
        let tier = self.account(account).await?.tier;
        let event = self.user_event(&person, "user_erased", &tier);
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    for statement in [
                        "DELETE FROM api_keys WHERE user_id = $1",
                        "DELETE FROM sessions WHERE user_id = $1",
                        "DELETE FROM links WHERE user_id = $1",
                        "DELETE FROM users WHERE user_id = $1",
                    ] {
                        sqlx::query(statement).bind(user.to_string()).execute(&mut *tx).await?;
                    }
                    outbox::post(tx, event).await
                })
            })
            .await
    }

    fn person(&self, account: AccountId, new: &NewUser) -> User {
        User {
            id: UserId::from_uuid(self.new_uuid()),
            account,
            email: new.email.clone(),
            name: new.name.clone(),
            operator: false,
            email_verified_at: None,
            created_at: self.now(),
        }
    }

    fn user_event(&self, user: &User, kind: &str, tier: &str) -> NewEvent {
        NewEvent {
            event_id: self.new_uuid(),
            topic: Topic::UserChanges,
            account: user.account,
            key: user.id.to_string(),
            occurred_at: self.now(),
            body: json!({ "user_id": user.id, "kind": kind, "subscription_tier": tier }),
        }
    }

    fn salt(&self) -> [u8; 16] {
        let mut salt = [0; 16];
        salt.copy_from_slice(&self.secrets.bytes()[..16]);
        salt
    }
}

/// An address as it is compared.
pub(crate) fn folded(email: &str) -> String {
    email.trim().to_lowercase()
}

/// Nothing matched: it is not there, or not the account's.
pub(crate) fn found(rows: u64, what: &'static str) -> Result<()> {
    if rows == 0 { Err(CatalogueError::NotFound(what)) } else { Ok(()) }
}

pub(crate) async fn insert_account(tx: &mut Tx, account: AccountId, tier: &str, now: Micros) -> Result<()> {
    sqlx::query("INSERT INTO accounts (account_id, tier, created_at) VALUES ($1, $2, $3)")
        .bind(account.to_string())
        .bind(tier.to_owned())
        .bind(now.0)
        .execute(tx)
        .await?;
    Ok(())
}

async fn insert_user(tx: &mut Tx, user: &User, password_hash: String) -> Result<()> {
    sqlx::query(
        "INSERT INTO users (user_id, account_id, email, email_folded, password_hash, name, operator, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, 0, $7)",
    )
    .bind(user.id.to_string())
    .bind(user.account.to_string())
    .bind(user.email.clone())
    .bind(folded(&user.email))
    .bind(password_hash)
    .bind(user.name.clone())
    .bind(user.created_at.0)
    .execute(tx)
    .await
    .map_err(CatalogueError::taken("email"))?;
    Ok(())
}

/// The users that meet a condition, which is our own text.
fn users_where(condition: &'static str) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!("{USER_COLUMNS} {condition}"))
}

fn account_of(row: &AnyRow) -> Result<Account> {
    Ok(Account {
        id: parsed(row, "account_id")?,
        tier: column(row, "tier")?,
        created_at: Micros(column(row, "created_at")?),
    })
}

pub(crate) fn user_of(row: &AnyRow) -> Result<User> {
    Ok(User {
        id: parsed(row, "user_id")?,
        account: parsed(row, "account_id")?,
        email: column(row, "email")?,
        name: column(row, "name")?,
        operator: column::<i64>(row, "operator")? == 1,
        email_verified_at: column::<Option<i64>>(row, "email_verified_at")?.map(Micros),
        created_at: Micros(column(row, "created_at")?),
    })
}
