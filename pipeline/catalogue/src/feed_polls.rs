//! Polling feeds: which are due, who polls them, and what a poll brought.

use castback_schemas::id::{AccountId, EpisodeId, PodcastId};
use castback_schemas::{Micros, Topic};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use crate::Catalogue;
use crate::db::Tx;
use crate::episodes::{self, PolledEpisode};
use crate::error::{CatalogueError, Result};
use crate::outbox::{self, NewEvent};
use crate::people::found;
use crate::podcasts::{PODCAST_COLUMNS, Podcast, PodcastStatus, podcast_of};
use crate::poll_log::{self, PollNote};
use crate::stored::{document, json as to_json};

/// How long a feed is leased to its poller: above the 20 s of a poll and its retries.
pub const POLL_LEASE: i64 = castback_schemas::time::MINUTE;

/// A feed to be polled now.
#[derive(Debug, Clone, PartialEq)]
pub struct DueFeed {
    /// The podcast.
    pub podcast: Podcast,
    /// What the last poll left (the connector's own words); null at first.
    pub state: Value,
}

/// A change seen in a feed, as it goes to the topic `feed-updates`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedChange {
    /// `episode_added`, `enclosure_changed`, …
    pub kind: &'static str,
    /// The episode, if it is about one.
    pub guid: Option<String>,
    /// Old value.
    pub before: Option<String>,
    /// New value.
    pub after: Option<String>,
}

/// What a poll brought.
#[derive(Debug, Clone, PartialEq)]
pub struct PollUpdate {
    /// How it went, for the log of polls.
    pub poll: PollNote,
    /// How the feed is doing.
    pub status: PodcastStatus,
    /// Where the feed is from now on, if it moved for good.
    pub feed_url: Option<String>,
    /// The podcast's title; unchanged if none.
    pub title: Option<String>,
    /// What the feed says of the podcast; unchanged if none.
    pub facts: Option<Value>,
    /// What the next poll needs (the connector's own words).
    pub state: Value,
    /// Why it failed.
    pub error: Option<String>,
    /// When to poll next; none for never again.
    pub next_poll_at: Option<Micros>,
    /// The episodes of the feed; those known and absent here stay as they are.
    pub episodes: Vec<PolledEpisode>,
    /// Changes to be told.
    pub changes: Vec<FeedChange>,
}

impl Catalogue {
    /// Leases up to `limit` feeds that are due to `owner`, the longest due first. The lease ends
    /// with [`Catalogue::apply_poll`] or after [`POLL_LEASE`].
    pub async fn due_feeds(&self, owner: &str, limit: u16) -> Result<Vec<DueFeed>> {
        let owner = owner.to_owned();
        let now = self.now().0;
        let sql = format!(
            "UPDATE podcasts SET poll_owner = $1, poll_lease_until = (SELECT now_us FROM db_time) + $2 \
             WHERE deleted_at IS NULL AND next_poll_at <= $3 AND poll_lease_until <= (SELECT now_us FROM db_time) \
             AND podcast_id IN (SELECT podcast_id FROM podcasts WHERE deleted_at IS NULL AND next_poll_at <= $3 \
             AND poll_lease_until <= (SELECT now_us FROM db_time) ORDER BY next_poll_at, podcast_id LIMIT $4) \
             RETURNING {PODCAST_COLUMNS}, feed_state"
        );
        self.lease_feeds(sql, move |sql| {
            sqlx::query(AssertSqlSafe(sql)).bind(owner).bind(POLL_LEASE).bind(now).bind(i64::from(limit))
        })
        .await
    }

    /// Leases one feed, due or not: for a person who waits for its first poll. None while someone
    /// else polls it.
    pub async fn lease_feed(&self, account: AccountId, podcast: PodcastId, owner: &str) -> Result<Option<DueFeed>> {
        let owner = owner.to_owned();
        let sql = format!(
            "UPDATE podcasts SET poll_owner = $1, poll_lease_until = (SELECT now_us FROM db_time) + $2 \
             WHERE account_id = $3 AND podcast_id = $4 AND deleted_at IS NULL \
             AND poll_lease_until <= (SELECT now_us FROM db_time) RETURNING {PODCAST_COLUMNS}, feed_state"
        );
        let mut leased = self
            .lease_feeds(sql, move |sql| {
                sqlx::query(AssertSqlSafe(sql))
                    .bind(owner)
                    .bind(POLL_LEASE)
                    .bind(account.to_string())
                    .bind(podcast.to_string())
            })
            .await?;
        Ok(leased.pop())
    }

    async fn lease_feeds<F>(&self, sql: String, bind: F) -> Result<Vec<DueFeed>>
    where
        F: FnOnce(String) -> sqlx::query::Query<'static, sqlx::Any, sqlx::any::AnyArguments> + Send + 'static,
    {
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    let rows = bind(sql).fetch_all(tx).await?;
                    rows.iter()
                        .map(|row| Ok(DueFeed { podcast: podcast_of(row)?, state: document(row, "feed_state")? }))
                        .collect()
                })
            })
            .await
    }

    /// Keeps what a poll brought and how it went, with new versions of what changed and the events
    /// of the changes, all at once; ends the lease. Answers the episodes that are new or changed.
    pub async fn apply_poll(
        &self,
        account: AccountId,
        podcast: PodcastId,
        update: PollUpdate,
    ) -> Result<Vec<EpisodeId>> {
        let (now, poll_id) = (self.now(), self.new_uuid());
        let ids: Vec<EpisodeId> = update.episodes.iter().map(|_| EpisodeId::from_uuid(self.new_uuid())).collect();
        let events: Vec<NewEvent> = update
            .changes
            .iter()
            .map(|change| NewEvent {
                event_id: self.new_uuid(),
                topic: Topic::FeedUpdates,
                account,
                key: podcast.to_string(),
                occurred_at: now,
                body: json!({
                    "podcast_id": podcast, "kind": change.kind, "guid": change.guid,
                    "before": change.before, "after": change.after,
                }),
            })
            .collect();
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    set_poll_outcome(tx, (account, podcast), &update, now.0).await?;
                    poll_log::note(tx, (account, podcast), update.poll, (poll_id, now.0)).await?;
                    let changed = episodes::upsert(tx, (account, podcast), update.episodes, (ids, now.0)).await?;
                    for event in events {
                        outbox::post(tx, event).await?;
                    }
                    Ok(changed)
                })
            })
            .await
    }
}

async fn set_poll_outcome(
    tx: &mut Tx,
    (account, podcast): (AccountId, PodcastId),
    update: &PollUpdate,
    now: i64,
) -> Result<()> {
    let facts = update.facts.as_ref().map(to_json).transpose()?;
    let changed = sqlx::query(
        "UPDATE podcasts SET status = $3, feed_url = COALESCE($4, feed_url), title = COALESCE($5, title), \
         facts = COALESCE($6, facts), feed_state = $7, last_error = $8, next_poll_at = $9, last_poll_at = $10, \
         poll_lease_until = 0 WHERE account_id = $1 AND podcast_id = $2 AND deleted_at IS NULL",
    )
    .bind(account.to_string())
    .bind(podcast.to_string())
    .bind(update.status.as_str())
    .bind(update.feed_url.clone())
    .bind(update.title.clone())
    .bind(facts)
    .bind(to_json(&update.state)?)
    .bind(update.error.clone())
    .bind(update.next_poll_at.map(|at| at.0))
    .bind(now)
    .execute(tx)
    .await
    .map_err(CatalogueError::taken("feed_url"))?;
    found(changed.rows_affected(), "podcast")
}
