//! The feed agent: claims feeds that are due, polls them and keeps what the poll brought.
//!
//! ```text
//! due feed ─poll_feed─▶ outcome ─diff with the known episodes─▶ one transaction (rows, versions, events)
//!                                                             └▶ a recount, if requests could not be matched before
//! ```
//! A person who connects a feed waits for the same poll ([`FeedPoller::poll`]); the lease in the
//! catalogue keeps two processes from asking one feed at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use castback_catalogue::episodes::{EpisodeFacts, PolledEpisode};
use castback_catalogue::feed_polls::{DueFeed, FeedChange as ToldChange, PollUpdate};
use castback_catalogue::podcasts::PodcastStatus;
use castback_catalogue::poll_log::PollNote;
use castback_catalogue::unit_requests::RequestKind;
use castback_catalogue::{Catalogue, CatalogueError};
use castback_schemas::time::MINUTE;
use castback_schemas::{AccountId, Clock, Day, Group, Micros, PodcastId, Slot, Unit};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::feeds::{
    Episode, Feed, FeedChange, Identity, PollFailure, PollKind, PollOutcome, PollPolicy, PollState, Stopped, diff,
    poll_feed,
};
use crate::http::{FetchError, Fetcher};

/// Feeds polled at the same time by one process; each takes a connection and up to 15 MiB. What is
/// due beyond them waits for the next round.
const AT_ONCE: u16 = 8;

/// Pause between two looks for due feeds.
const ROUND: Duration = Duration::from_secs(1);

/// Days that new episodes can bring in at most: a key has no more open days.
const RECOUNT_DAYS: i32 = 400;

/// Days before a publication for which requests are looked at again: hosts publish the file first.
const DAYS_BEFORE: i32 = 7;

/// Polls of an account that are looked through for an earlier feed that could be read.
const FIRST_POLLS: u16 = 1_000;

/// Why an address is no feed's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected an address that begins with http:// or https://, without user name and password")]
pub struct InvalidFeedUrl;

/// Reads the address of a feed as a person gives it, in its normal form.
pub fn feed_url(text: &str) -> Result<Url, InvalidFeedUrl> {
    let url = Url::parse(text.trim()).map_err(|_| InvalidFeedUrl)?;
    let plain = url.username().is_empty() && url.password().is_none() && url.has_host();
    if matches!(url.scheme(), "http" | "https") && plain { Ok(url) } else { Err(InvalidFeedUrl) }
}

/// Polls feeds. Cheap to clone.
#[derive(Debug, Clone)]
pub struct FeedPoller {
    catalogue: Catalogue,
    fetcher: Arc<Fetcher>,
    clock: Arc<dyn Clock>,
    policy: PollPolicy,
}

/// How a poll that was kept ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Polled {
    /// The outcome as a closed label: `fetched`, `not_modified`, `gone` or `failed`.
    pub outcome: &'static str,
    /// Episodes that are new or changed.
    pub changed: usize,
    /// Of the first feed of an account that could be read: microseconds since the account was made.
    pub onboarded: Option<i64>,
}

impl FeedPoller {
    /// A poller on the catalogue's feeds.
    #[must_use]
    pub fn new(catalogue: Catalogue, fetcher: Arc<Fetcher>, clock: Arc<dyn Clock>, policy: PollPolicy) -> Self {
        Self { catalogue, fetcher, clock, policy }
    }

    /// Polls and keeps feeds as `owner` until `stop`; `seen` is told each outcome.
    pub async fn run(&self, owner: &str, stop: CancellationToken, seen: impl Fn(Polled)) {
        loop {
            match self.round(owner).await {
                Ok(polled) => polled.into_iter().for_each(&seen),
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "due feeds can't be claimed"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(ROUND) => {}
            }
        }
    }

    /// Claims the feeds that are due, at most eight, and polls them side by side.
    pub async fn round(&self, owner: &str) -> Result<Vec<Polled>, CatalogueError> {
        let mut polls = JoinSet::new();
        for due in self.catalogue.due_feeds(owner, AT_ONCE).await? {
            let poller = self.clone();
            polls.spawn(async move { poller.poll(due).await });
        }
        let mut all = Vec::new();
        while let Some(done) = polls.join_next().await {
            match done {
                Ok(Ok(polled)) => all.push(polled),
                // The lease ends by itself, so the feed comes up again.
                Ok(Err(error)) => tracing::warn!(error = &error as &dyn std::error::Error, "a poll can't be kept"),
                Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "a poll broke off"),
            }
        }
        Ok(all)
    }

    /// Polls one leased feed and keeps what it brought.
    pub async fn poll(&self, due: DueFeed) -> Result<Polled, CatalogueError> {
        let now = self.clock.now();
        let (account, id) = (due.podcast.account, due.podcast.id);
        let outcome = match stored_state(&due, now) {
            Some(state) => poll_feed(&self.fetcher, state, now, self.policy).await,
            None => return Err(CatalogueError::Corrupt("feed address".to_owned())),
        };
        let label = outcome.kind.label();
        let known = match &outcome.feed {
            Some(_) => self.catalogue.all_episodes(account, id).await?,
            None => Vec::new(),
        };
        let known: Vec<Episode> = known.into_iter().map(|episode| as_read(episode.facts)).collect();
        // Before the first poll of a feed that was just connected nothing can have been asked for.
        let untouched = due.podcast.last_poll_at.is_none() && now.0 - due.podcast.created_at.0 < MINUTE;
        let (update, reach) = update_of(outcome, &known);
        let changed = self.keep(account, id, update).await?;
        if let (Some(from), false) = (reach, untouched) {
            self.recount(account, id, (from, now.day())).await?;
        }
        tracing::info!(podcast.id = %id, poll.outcome = label, poll.changed = changed, "feed polled");
        let may_be_first = label == "fetched" && due.podcast.status != PodcastStatus::Active;
        let onboarded = if may_be_first { self.onboarded(account, now).await? } else { None };
        Ok(Polled { outcome: label, changed, onboarded })
    }

    /// How old the account is, if the feed that was just read is its first.
    async fn onboarded(&self, account: AccountId, now: Micros) -> Result<Option<i64>, CatalogueError> {
        let polls = self.catalogue.feed_polls(account, FIRST_POLLS).await?;
        if polls.iter().filter(|poll| poll.outcome == "fetched").count() != 1 {
            return Ok(None);
        }
        Ok(Some(now.0 - self.catalogue.account(account).await?.created_at.0))
    }

    /// Keeps a poll; a feed that moved to where another of the account's feeds is stays where it was.
    async fn keep(&self, account: AccountId, podcast: PodcastId, update: PollUpdate) -> Result<usize, CatalogueError> {
        let stay = PollUpdate { feed_url: None, ..update.clone() };
        let kept = match self.catalogue.apply_poll(account, podcast, update).await {
            Err(CatalogueError::InUse(_)) => self.catalogue.apply_poll(account, podcast, stay).await,
            other => other,
        };
        kept.map(|changed| changed.len())
    }

    /// Asks for the days in which requests may have named files that were unknown.
    async fn recount(
        &self,
        account: AccountId,
        podcast: PodcastId,
        (from, to): (Day, Day),
    ) -> Result<(), CatalogueError> {
        let from = Day(from.0.clamp(to.0 - RECOUNT_DAYS, to.0));
        let unit = Unit { group: Group::Counting, slot: Slot::of(account) };
        let body = json!({ "account": account, "podcast": podcast, "from": from, "to": to });
        self.catalogue.enqueue_unit_request(unit, RequestKind::Recount, body.to_string()).await?;
        Ok(())
    }
}

/// What a poll leaves in the catalogue, beside the day from which requests are to be judged again.
fn update_of(outcome: PollOutcome, known: &[Episode]) -> (PollUpdate, Option<Day>) {
    let PollOutcome { state, feed, kind } = outcome;
    let mut update = PollUpdate {
        poll: PollNote { outcome: kind.label(), status: kind.status(), episodes: None, warnings: None },
        status: status(&kind),
        feed_url: Some(state.url.to_string()),
        title: None,
        facts: None,
        error: failure(&kind),
        next_poll_at: state.next_poll_at,
        episodes: Vec::new(),
        changes: Vec::new(),
        state: json!(StoredState::from(state)),
    };
    let Some(feed) = feed else { return (update, None) };
    update.facts = Some(facts(&feed));
    let read: Vec<Episode> = feed.episodes.into_iter().filter(|episode| episode.enclosure_url.is_some()).collect();
    let changes = diff(known, &read);
    let reach = earliest(&changes, &read);
    let renamed: HashMap<&str, &str> = changes
        .iter()
        .filter_map(|change| match change {
            FeedChange::GuidChanged { from, to } => Some((to.as_str(), from.as_str())),
            _ => None,
        })
        .collect();
    let polled = |episode: &Episode| PolledEpisode {
        renamed_from: renamed.get(episode.guid.as_str()).map(|guid| (*guid).to_owned()),
        facts: as_kept(episode),
    };
    update.title = feed.title;
    update.poll.episodes = u32::try_from(read.len()).ok();
    update.poll.warnings = Some(feed.warnings.iter().map(|(_, count)| count).fold(0, u32::saturating_add));
    update.episodes = read.iter().map(polled).collect();
    update.changes = changes.into_iter().map(told).collect();
    (update, reach)
}

/// The earliest day of which a request may have named a file that is known only now.
fn earliest(changes: &[FeedChange], read: &[Episode]) -> Option<Day> {
    let published: HashMap<&str, Option<Micros>> =
        read.iter().map(|episode| (episode.guid.as_str(), episode.published_at)).collect();
    changes
        .iter()
        .filter_map(|change| match change {
            FeedChange::Added { guid } | FeedChange::EnclosureChanged { guid, .. } => published.get(guid.as_str()),
            _ => None,
        })
        .map(|at| Day(at.map_or(i32::MIN, |at| at.day().0.saturating_sub(DAYS_BEFORE))))
        .min()
}

fn status(kind: &PollKind) -> PodcastStatus {
    match kind {
        PollKind::Fetched | PollKind::NotModified => PodcastStatus::Active,
        PollKind::Gone => PodcastStatus::Gone,
        PollKind::Failed(_) => PodcastStatus::Failing,
    }
}

/// Why a poll failed, as the feed's owner may read it.
fn failure(kind: &PollKind) -> Option<String> {
    match kind {
        PollKind::Failed(PollFailure::Fetch(FetchError::TooLarge { limit })) => {
            Some(format!("the feed is larger than {limit} bytes"))
        }
        PollKind::Failed(failure) => Some(failure.to_string()),
        _ => None,
    }
}

fn facts(feed: &Feed) -> Value {
    let warnings: HashMap<String, u32> =
        feed.warnings.iter().map(|(warning, count)| (warning.name().to_owned(), count)).collect();
    json!({
        "author": feed.author, "language": feed.language, "link": feed.link, "image": feed.image,
        "podcast_guid": feed.podcast_guid, "locked": feed.locked, "complete": feed.complete, "items": feed.items_seen,
        "warnings": warnings,
    })
}

fn as_kept(episode: &Episode) -> EpisodeFacts {
    EpisodeFacts {
        guid: episode.guid.clone(),
        title: episode.title.clone(),
        enclosure_url: episode.enclosure_url.clone().unwrap_or_default(),
        length: episode.enclosure_length,
        duration_ms: episode.duration_seconds.map(|seconds| u64::from(seconds) * 1000),
        published_at: episode.published_at,
    }
}

fn as_read(facts: EpisodeFacts) -> Episode {
    Episode {
        guid: facts.guid,
        identity: Identity::Guid,
        title: facts.title,
        link: None,
        enclosure_url: Some(facts.enclosure_url),
        enclosure_length: facts.length,
        enclosure_type: None,
        duration_seconds: facts.duration_ms.and_then(|ms| u32::try_from(ms / 1000).ok()),
        published_at: facts.published_at,
        image: None,
        season: None,
        number: None,
    }
}

fn told(change: FeedChange) -> ToldChange {
    let change_of = |kind, guid, before, after| ToldChange { kind, guid: Some(guid), before, after };
    match change {
        FeedChange::Added { guid } => change_of("episode_added", guid, None, None),
        FeedChange::Removed { guid } => change_of("episode_removed", guid, None, None),
        FeedChange::GuidChanged { from, to } => change_of("guid_changed", to.clone(), Some(from), Some(to)),
        FeedChange::EnclosureChanged { guid, from, to } => change_of("enclosure_changed", guid, from, to),
        FeedChange::TitleChanged { guid, from, to } => change_of("title_changed", guid, from, to),
    }
}

/// [`PollState`] as the catalogue keeps it between two polls; address and next poll are columns of their own.
#[derive(Debug, Serialize, Deserialize)]
struct StoredState {
    etag: Option<String>,
    last_modified: Option<String>,
    ttl_seconds: Option<u32>,
    failures: u32,
    stopped: Option<StoredStop>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredStop {
    Gone,
    Complete,
    Failing,
}

impl From<PollState> for StoredState {
    fn from(state: PollState) -> Self {
        let stopped = state.stopped.map(|why| match why {
            Stopped::Gone => StoredStop::Gone,
            Stopped::Complete => StoredStop::Complete,
            Stopped::Failing => StoredStop::Failing,
        });
        let PollState { etag, last_modified, ttl_seconds, failures, .. } = state;
        Self { etag, last_modified, ttl_seconds, failures, stopped }
    }
}

/// The state that the last poll left; that of a new feed if there was none.
fn stored_state(due: &DueFeed, now: Micros) -> Option<PollState> {
    let fresh = PollState::new(feed_url(&due.podcast.feed_url).ok()?, now);
    let Ok(stored) = serde_json::from_value::<StoredState>(due.state.clone()) else { return Some(fresh) };
    let stopped = stored.stopped.map(|why| match why {
        StoredStop::Gone => Stopped::Gone,
        StoredStop::Complete => Stopped::Complete,
        StoredStop::Failing => Stopped::Failing,
    });
    let StoredState { etag, last_modified, ttl_seconds, failures, .. } = stored;
    Some(PollState { etag, last_modified, ttl_seconds, failures, stopped, ..fresh })
}

#[cfg(test)]
#[path = "agent_tests.rs"]
mod tests;
