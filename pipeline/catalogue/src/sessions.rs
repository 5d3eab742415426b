//! Sessions of a browser, and one-time links that lead to one.

use castback_schemas::Micros;
use castback_schemas::id::{AccountId, UserId};
use castback_schemas::time::{DAY, HOUR, MINUTE};
use secrecy::SecretString;

use crate::Catalogue;
use crate::db::Tx;
use crate::error::{CatalogueError, Result};
use crate::keys::{Caller, Credential};
use crate::password;
use crate::people::{User, folded};
use crate::secret::token_hash;
use crate::stored::{column, parsed, words};

const SESSION_PREFIX: &str = "cbs_";
const LINK_PREFIX: &str = "cbl_";

/// How long a session holds, in microseconds.
pub const SESSION_LIFE: i64 = 30 * DAY;

words! {
    /// What a one-time link is for.
    LinkPurpose {
        /// To sign in.
        Login = "login",
        /// To set a new password.
        PasswordReset = "password_reset",
        /// To prove that an e-mail address is the user's.
        EmailVerification = "email_verification",
    }
}

impl LinkPurpose {
    fn life(self) -> i64 {
        match self {
            Self::Login => 10 * MINUTE,
            Self::PasswordReset => HOUR,
            Self::EmailVerification => 3 * DAY,
        }
    }
}

impl Catalogue {
    /// A new session for the person of this address and password; none if they don't fit. The
    /// same work whether or not there is such a person.
    pub async fn sign_in(&self, email: &str, password: SecretString) -> Result<Option<(User, String)>> {
        let stored: Option<String> = sqlx::query_scalar("SELECT password_hash FROM users WHERE email_folded = $1")
            .bind(folded(email))
            .fetch_optional(self.db.reads())
            .await?;
        if !password::verify(password, stored).await? {
            return Ok(None);
        }
        match self.user_by_email(email).await? {
            Some(user) => Ok(Some((user.clone(), self.create_session(user.id).await?))),
            None => Ok(None),
        }
    }

    /// A new session of a user; answers its token.
    pub async fn create_session(&self, user: UserId) -> Result<String> {
        let token = self.secrets.token(SESSION_PREFIX);
        let hash = token_hash(&token, SESSION_PREFIX).unwrap_or_default();
        let now = self.now();
        self.db.change(move |tx| Box::pin(async move { insert_session(tx, user, hash, now).await })).await?;
        Ok(token)
    }

    /// Who has this session; none if it ended.
    pub async fn session(&self, token: &str) -> Result<Option<Caller>> {
        let Some(hash) = token_hash(token, SESSION_PREFIX) else { return Ok(None) };
        let row = sqlx::query(
            "SELECT account_id, users.user_id AS user_id, operator FROM sessions \
             JOIN users ON users.user_id = sessions.user_id WHERE token_hash = $1 AND expires_at > $2",
        )
        .bind(hash)
        .bind(self.now().0)
        .fetch_optional(self.db.reads())
        .await?;
        row.map(|row| {
            Ok(Caller {
                account: parsed(&row, "account_id")?,
                user: parsed(&row, "user_id")?,
                credential: Credential::Session,
                operator: column::<i64>(&row, "operator")? == 1,
            })
        })
        .transpose()
    }

    /// Ends a session; ending it twice is no error.
    pub async fn end_session(&self, token: &str) -> Result<()> {
        let Some(hash) = token_hash(token, SESSION_PREFIX) else { return Ok(()) };
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    sqlx::query("DELETE FROM sessions WHERE token_hash = $1").bind(hash).execute(tx).await?;
                    Ok(())
                })
            })
            .await
    }

    /// A link's token for a user: good once, for minutes (to sign in) or days.
    pub async fn create_link(&self, user: UserId, purpose: LinkPurpose) -> Result<String> {
        let token = self.secrets.token(LINK_PREFIX);
        let hash = token_hash(&token, LINK_PREFIX).unwrap_or_default();
        let expires_at = self.now().plus(purpose.life()).0;
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    sqlx::query("INSERT INTO links (token_hash, user_id, purpose, expires_at) VALUES ($1, $2, $3, $4)")
                        .bind(hash)
                        .bind(user.to_string())
                        .bind(purpose.as_str())
                        .bind(expires_at)
                        .execute(tx)
                        .await?;
                    Ok(())
                })
            })
            .await?;
        Ok(token)
    }

    /// Uses a link up: whose it was, or nothing if it was used, is too old or of another purpose.
    pub async fn redeem_link(&self, token: &str, purpose: LinkPurpose) -> Result<Option<(AccountId, UserId)>> {
        let Some(hash) = token_hash(token, LINK_PREFIX) else { return Ok(None) };
        let now = self.now();
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    let Some(user) = use_up(tx, hash, purpose, now).await? else { return Ok(None) };
                    if purpose == LinkPurpose::EmailVerification {
                        sqlx::query(
                            "UPDATE users SET email_verified_at = COALESCE(email_verified_at, $2) WHERE user_id = $1",
                        )
                        .bind(user.to_string())
                        .bind(now.0)
                        .execute(&mut *tx)
                        .await?;
                    }
                    Ok(Some((account_of(tx, user).await?, user)))
                })
            })
            .await
    }

    /// Uses a sign-in link up; answers the token of the session that it opened.
    pub async fn redeem_login_link(&self, token: &str) -> Result<Option<String>> {
        let Some(hash) = token_hash(token, LINK_PREFIX) else { return Ok(None) };
        let session = self.secrets.token(SESSION_PREFIX);
        let session_hash = token_hash(&session, SESSION_PREFIX).unwrap_or_default();
        let now = self.now();
        let opened = self
            .db
            .change(move |tx| {
                Box::pin(async move {
                    let Some(user) = use_up(tx, hash, LinkPurpose::Login, now).await? else { return Ok(false) };
                    insert_session(tx, user, session_hash, now).await?;
                    Ok(true)
                })
            })
            .await?;
        Ok(opened.then_some(session))
    }

    /// Removes sessions and links that have expired.
    pub async fn prune_sessions(&self) -> Result<()> {
        let now = self.now().0;
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    for statement in
                        ["DELETE FROM sessions WHERE expires_at <= $1", "DELETE FROM links WHERE expires_at <= $1"]
                    {
                        sqlx::query(statement).bind(now).execute(&mut *tx).await?;
                    }
                    Ok(())
                })
            })
            .await
    }
}

async fn insert_session(tx: &mut Tx, user: UserId, hash: String, now: Micros) -> Result<()> {
    sqlx::query("INSERT INTO sessions (token_hash, user_id, created_at, expires_at) VALUES ($1, $2, $3, $4)")
        .bind(hash)
        .bind(user.to_string())
        .bind(now.0)
        .bind(now.plus(SESSION_LIFE).0)
        .execute(tx)
        .await?;
    Ok(())
}

async fn use_up(tx: &mut Tx, hash: String, purpose: LinkPurpose, now: Micros) -> Result<Option<UserId>> {
    let row = sqlx::query(
        "UPDATE links SET used_at = $3 WHERE token_hash = $1 AND purpose = $2 AND used_at IS NULL AND expires_at > $3 \
         RETURNING user_id",
    )
    .bind(hash)
    .bind(purpose.as_str())
    .bind(now.0)
    .fetch_optional(tx)
    .await?;
    row.map(|row| parsed(&row, "user_id")).transpose()
}

async fn account_of(tx: &mut Tx, user: UserId) -> Result<AccountId> {
    let row = sqlx::query("SELECT account_id FROM users WHERE user_id = $1")
        .bind(user.to_string())
        .fetch_optional(tx)
        .await?
        .ok_or(CatalogueError::NotFound("user"))?;
    parsed(&row, "account_id")
}
