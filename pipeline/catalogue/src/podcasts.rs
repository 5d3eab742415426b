//! Podcasts of an account: connected by their feed, polled ([`crate::feed_polls`]).

use castback_schemas::Micros;
use castback_schemas::id::{AccountId, PodcastId};
use serde_json::Value;
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use crate::Catalogue;
use crate::campaigns::{escaped, not_needed};
use crate::db::{Tx, take_numbers};
use crate::error::{CatalogueError, Result};
use crate::page::{Page, Paging};
use crate::people::found;
use crate::stored::{column, document, parsed, words};

words! {
    /// How a podcast's feed is doing.
    PodcastStatus {
        /// Not polled yet.
        Pending = "pending",
        /// The last poll succeeded.
        Active = "active",
        /// The last poll failed.
        Failing = "failing",
        /// The feed has ended; it is polled no more.
        Gone = "gone",
    }
}

words! {
    /// The window by which a podcast's downloads are reported.
    DownloadWindow {
        /// One download a UTC day.
        UtcDay = "utc_day",
        /// 24 hours from the download.
        FirstTouch24h = "first_touch_24h",
        /// 24 hours from the last request.
        LastTouch24h = "last_touch_24h",
    }
}

/// A podcast.
#[derive(Debug, Clone, PartialEq)]
pub struct Podcast {
    /// Its id.
    pub id: PodcastId,
    /// Whose it is.
    pub account: AccountId,
    /// Where its feed is now.
    pub feed_url: String,
    /// Its title, once the feed was read.
    pub title: Option<String>,
    /// How the feed is doing.
    pub status: PodcastStatus,
    /// The window of its reports.
    pub window: DownloadWindow,
    /// What the feed says of it (the connector's own words).
    pub facts: Value,
    /// Why the last poll failed.
    pub last_error: Option<String>,
    /// When it was polled last.
    pub last_poll_at: Option<Micros>,
    /// When it will be polled next; none if never.
    pub next_poll_at: Option<Micros>,
    /// When it was connected.
    pub created_at: Micros,
}

/// Which podcasts a list holds; what is none does not narrow it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodcastFilter {
    /// Whose feed does so.
    pub status: Option<PodcastStatus>,
    /// With this in the title or the feed's address, whatever the case of a to z.
    pub q: Option<String>,
}

/// A podcast to be connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPodcast {
    /// Where its feed is.
    pub feed_url: String,
    /// How many podcasts the account may have, counted in the same transaction.
    pub allowed: Option<i64>,
}

/// The columns of [`podcast_of`].
pub(crate) const PODCAST_COLUMNS: &str = "podcast_id, account_id, feed_url, title, status, download_window, facts, \
     last_error, last_poll_at, next_poll_at, created_at";

impl Catalogue {
    /// Connects a podcast, to be polled at once. [`CatalogueError::InUse`] if the account has
    /// this feed already.
    pub async fn create_podcast(&self, account: AccountId, new: NewPodcast) -> Result<Podcast> {
        let id = PodcastId::from_uuid(self.new_uuid());
        let now = self.now().0;
        self.db.change(move |tx| Box::pin(create(tx, (account, id, new, now)))).await?;
        self.podcast(account, id).await
    }

    /// A podcast of an account.
    pub async fn podcast(&self, account: AccountId, podcast: PodcastId) -> Result<Podcast> {
        let sql = format!(
            "SELECT {PODCAST_COLUMNS} FROM podcasts WHERE account_id = $1 AND podcast_id = $2 AND deleted_at IS NULL"
        );
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(account.to_string())
            .bind(podcast.to_string())
            .fetch_optional(self.db.reads())
            .await?
            .ok_or(CatalogueError::NotFound("podcast"))?;
        podcast_of(&row)
    }

    /// The podcasts of an account, or of all.
    pub async fn podcasts(
        &self,
        account: impl Into<Option<AccountId>>,
        filter: &PodcastFilter,
        paging: &Paging,
    ) -> Result<Page<Podcast>> {
        let (account, start) = (account.into(), paging.start()?);
        let of_account = if account.is_some() { "account_id = $1" } else { "CAST($1 AS TEXT) IS NULL" };
        // SQLite folds a to z only, PostgreSQL all: what is looked for is tried either way.
        let text = "LOWER(COALESCE(title, '') || ' ' || feed_url)";
        let wanted = |q: &str| format!("%{}%", escaped(q));
        let sql = format!(
            "SELECT {PODCAST_COLUMNS} FROM podcasts WHERE {of_account} AND deleted_at IS NULL \
             AND (created_at, podcast_id) < ($2, $3) AND ($5 IS NULL OR status = $5) \
             AND ($6 IS NULL OR {text} LIKE $6 ESCAPE '!' OR {text} LIKE $7 ESCAPE '!') ORDER BY created_at DESC, podcast_id DESC LIMIT $4"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(account.map(|account| account.to_string()))
            .bind(start.created_at)
            .bind(start.id)
            .bind(start.rows)
            .bind(filter.status.map(PodcastStatus::as_str))
            .bind(filter.q.as_deref().map(|q| wanted(&q.to_lowercase())))
            .bind(filter.q.as_deref().map(|q| wanted(&q.to_ascii_lowercase())))
            .fetch_all(self.db.reads())
            .await?;
        let items = rows.iter().map(podcast_of).collect::<Result<Vec<_>>>()?;
        Ok(paging.page(items, |podcast| (podcast.created_at, podcast.id.to_string())))
    }

    /// The account of a podcast, for calls that name only the podcast; none if there is no such
    /// podcast, or no longer.
    pub async fn podcast_owner(&self, podcast: PodcastId) -> Result<Option<AccountId>> {
        let row = sqlx::query("SELECT account_id FROM podcasts WHERE podcast_id = $1 AND deleted_at IS NULL")
            .bind(podcast.to_string())
            .fetch_optional(self.db.reads())
            .await?;
        row.map(|row| parsed(&row, "account_id")).transpose()
    }

    /// How many podcasts an account has.
    pub async fn count_podcasts(&self, account: AccountId) -> Result<i64> {
        Ok(sqlx::query_scalar("SELECT COUNT(*) FROM podcasts WHERE account_id = $1 AND deleted_at IS NULL")
            .bind(account.to_string())
            .fetch_one(self.db.reads())
            .await?)
    }

    /// Reports a podcast's downloads by another window, from now on.
    pub async fn set_window(&self, account: AccountId, podcast: PodcastId, window: DownloadWindow) -> Result<Podcast> {
        let now = self.now().0;
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    let changed = sqlx::query(
                        "UPDATE podcasts SET download_window = $3 WHERE account_id = $1 AND podcast_id = $2 AND deleted_at IS NULL",
                    )
                    .bind(account.to_string())
                    .bind(podcast.to_string())
                    .bind(window.as_str())
                    .execute(&mut *tx)
                    .await?;
                    found(changed.rows_affected(), "podcast")?;
                    add_version(tx, podcast, now).await
                })
            })
            .await?;
        self.podcast(account, podcast).await
    }

    /// Disconnects a podcast. What was counted stays. [`CatalogueError::Needed`] while a campaign on it is
    /// scheduled, active or paused.
    pub async fn delete_podcast(&self, account: AccountId, podcast: PodcastId) -> Result<()> {
        let (now, today) = (self.now().0, self.now().day());
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    // Like a launch: what runs next stays true until the end.
                    lock_account(tx, account).await?;
                    let changed = sqlx::query(
                        "UPDATE podcasts SET deleted_at = $3, next_poll_at = NULL \
                         WHERE account_id = $1 AND podcast_id = $2 AND deleted_at IS NULL",
                    )
                    .bind(account.to_string())
                    .bind(podcast.to_string())
                    .bind(now)
                    .execute(&mut *tx)
                    .await?;
                    found(changed.rows_affected(), "podcast")?;
                    not_needed(tx, account, podcast, today).await?;
                    add_version(tx, podcast, now).await
                })
            })
            .await
    }

    /// Has a podcast polled as soon as possible, even one that is gone: a person asked.
    pub async fn poll_now(&self, account: AccountId, podcast: PodcastId) -> Result<()> {
        let now = self.now().0;
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    let changed = sqlx::query(
                        "UPDATE podcasts SET next_poll_at = $3 WHERE account_id = $1 AND podcast_id = $2 AND deleted_at IS NULL",
                    )
                    .bind(account.to_string())
                    .bind(podcast.to_string())
                    .bind(now)
                    .execute(tx)
                    .await?;
                    found(changed.rows_affected(), "podcast")
                })
            })
            .await
    }
}

/// Locks an account's row, so that what is counted next stays true until the transaction's end.
pub(crate) async fn lock_account(tx: &mut Tx, account: AccountId) -> Result<()> {
    let locked = sqlx::query("UPDATE accounts SET tier = tier WHERE account_id = $1")
        .bind(account.to_string())
        .execute(tx)
        .await?;
    found(locked.rows_affected(), "account")
}

/// Refuses one more where `used` are there already.
pub(crate) fn within(limit: &'static str, used: i64, allowed: Option<i64>) -> Result<()> {
    match allowed {
        Some(allowed) if used >= allowed => Err(CatalogueError::LimitReached { limit, used, allowed }),
        _ => Ok(()),
    }
}

async fn create(tx: &mut Tx, (account, id, new, now): (AccountId, PodcastId, NewPodcast, i64)) -> Result<()> {
    lock_account(tx, account).await?;
    let used: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM podcasts WHERE account_id = $1 AND deleted_at IS NULL")
        .bind(account.to_string())
        .fetch_one(&mut *tx)
        .await?;
    within("podcasts", used, new.allowed)?;
    sqlx::query(
        "INSERT INTO podcasts (podcast_id, account_id, feed_url, status, download_window, feed_state, facts, next_poll_at, \
         poll_lease_until, created_at) VALUES ($1, $2, $3, 'pending', $4, 'null', 'null', $5, 0, $5)",
    )
    .bind(id.to_string())
    .bind(account.to_string())
    .bind(new.feed_url)
    .bind(DownloadWindow::UtcDay.as_str())
    .bind(now)
    .execute(&mut *tx)
    .await
    .map_err(CatalogueError::taken("feed_url"))?;
    // The first version is valid from the beginning of time.
    insert_version(tx, id, i64::MIN).await
}

/// Keeps how a podcast is now as the version from `now` on.
async fn add_version(tx: &mut Tx, podcast: PodcastId, now: i64) -> Result<()> {
    let newest: i64 = sqlx::query_scalar("SELECT MAX(valid_from) FROM podcast_versions WHERE podcast_id = $1")
        .bind(podcast.to_string())
        .fetch_one(&mut *tx)
        .await?;
    insert_version(tx, podcast, now.max(newest.saturating_add(1))).await
}

async fn insert_version(tx: &mut Tx, podcast: PodcastId, valid_from: i64) -> Result<()> {
    let change = take_numbers(tx, "change", 1).await?;
    sqlx::query(
        "INSERT INTO podcast_versions (podcast_id, valid_from, account_id, download_window, deleted, change) \
         SELECT podcast_id, $2, account_id, download_window, CASE WHEN deleted_at IS NULL THEN 0 ELSE 1 END, $3 \
         FROM podcasts WHERE podcast_id = $1",
    )
    .bind(podcast.to_string())
    .bind(valid_from)
    .bind(change)
    .execute(tx)
    .await?;
    Ok(())
}

pub(crate) fn podcast_of(row: &AnyRow) -> Result<Podcast> {
    Ok(Podcast {
        id: parsed(row, "podcast_id")?,
        account: parsed(row, "account_id")?,
        feed_url: column(row, "feed_url")?,
        title: column(row, "title")?,
        status: parsed(row, "status")?,
        window: parsed(row, "download_window")?,
        facts: document(row, "facts")?,
        last_error: column(row, "last_error")?,
        last_poll_at: column::<Option<i64>>(row, "last_poll_at")?.map(Micros),
        next_poll_at: column::<Option<i64>>(row, "next_poll_at")?.map(Micros),
        created_at: Micros(column(row, "created_at")?),
    })
}
