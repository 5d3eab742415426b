//! How polls of feeds went: written with what a poll brought, kept for [`POLL_LIFE`].

use castback_schemas::Micros;
use castback_schemas::id::{AccountId, PodcastId};
use castback_schemas::time::DAY;
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;
use uuid::Uuid;

use crate::Catalogue;
use crate::db::Tx;
use crate::error::Result;
use crate::stored::{column, parsed};

/// How long polls are kept.
pub const POLL_LIFE: i64 = 30 * DAY;

/// How a poll went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PollNote {
    /// `fetched`, `not_modified`, `gone` or `failed`.
    pub outcome: &'static str,
    /// HTTP status; none if no answer was read.
    pub status: Option<u16>,
    /// Episodes of the copy that was read; none if none was.
    pub episodes: Option<u32>,
    /// Warnings given about that copy.
    pub warnings: Option<u32>,
}

/// A poll of a feed, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedPoll {
    /// Whose feed it is.
    pub account: AccountId,
    /// The podcast, which may be disconnected since.
    pub podcast: PodcastId,
    /// When.
    pub polled_at: Micros,
    /// `fetched`, `not_modified`, `gone` or `failed`.
    pub outcome: String,
    /// HTTP status; none if no answer was read.
    pub status: Option<i64>,
    /// Episodes of the copy that was read; none if none was.
    pub episodes: Option<i64>,
    /// Warnings given about that copy.
    pub warnings: Option<i64>,
}

impl Catalogue {
    /// The newest polls of an account's feeds, newest first; of every account's without one.
    pub async fn feed_polls(&self, account: impl Into<Option<AccountId>>, limit: u16) -> Result<Vec<FeedPoll>> {
        let account = account.into();
        let of_account = if account.is_some() { "account_id = $1" } else { "CAST($1 AS TEXT) IS NULL" };
        let sql = format!(
            "SELECT account_id, podcast_id, polled_at, outcome, status, episodes, warnings FROM feed_polls \
             WHERE {of_account} ORDER BY polled_at DESC, poll_id DESC LIMIT $2"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(account.map(|account| account.to_string()))
            .bind(i64::from(limit))
            .fetch_all(self.db.reads())
            .await?;
        rows.iter().map(poll_of).collect()
    }

    /// Forgets polls older than [`POLL_LIFE`].
    pub async fn prune_feed_polls(&self) -> Result<()> {
        let before = self.now().plus(-POLL_LIFE).0;
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    sqlx::query("DELETE FROM feed_polls WHERE polled_at < $1").bind(before).execute(tx).await?;
                    Ok(())
                })
            })
            .await
    }
}

/// Notes a poll that was made now.
pub(crate) async fn note(
    tx: &mut Tx,
    (account, podcast): (AccountId, PodcastId),
    poll: PollNote,
    (id, now): (Uuid, i64),
) -> Result<()> {
    sqlx::query(
        "INSERT INTO feed_polls (poll_id, account_id, podcast_id, polled_at, outcome, status, episodes, warnings) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(id.to_string())
    .bind(account.to_string())
    .bind(podcast.to_string())
    .bind(now)
    .bind(poll.outcome)
    .bind(poll.status.map(i64::from))
    .bind(poll.episodes.map(i64::from))
    .bind(poll.warnings.map(i64::from))
    .execute(tx)
    .await?;
    Ok(())
}

fn poll_of(row: &AnyRow) -> Result<FeedPoll> {
    Ok(FeedPoll {
        account: parsed(row, "account_id")?,
        podcast: parsed(row, "podcast_id")?,
        polled_at: Micros(column(row, "polled_at")?),
        outcome: column(row, "outcome")?,
        status: column(row, "status")?,
        episodes: column(row, "episodes")?,
        warnings: column(row, "warnings")?,
    })
}
