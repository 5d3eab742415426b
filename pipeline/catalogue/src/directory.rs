//! The directory's rows: all versions of what the rules use, by change number.
//!
//! A reader keeps the highest change it has and asks for what came after. Of versions of one
//! thing with the same `valid_from`, the one of the higher change stands (a draft that was
//! edited).

use castback_schemas::Micros;
use castback_schemas::campaign::CampaignVersion;
use castback_schemas::id::{AccountId, EpisodeId, PodcastId};
use sqlx::any::AnyRow;
use sqlx::{Any, AssertSqlSafe, Transaction};

use crate::Catalogue;
use crate::campaigns::state;
use crate::episodes::{EpisodeFacts, FACTS, facts_of};
use crate::error::Result;
use crate::podcasts::DownloadWindow;
use crate::reads::bounded;
use crate::stored::{column, document, parsed};

/// One version of a podcast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodcastVersion {
    /// Whose it is.
    pub account: AccountId,
    /// The podcast.
    pub podcast: PodcastId,
    /// Since when; the first version is valid from the beginning of time.
    pub valid_from: Micros,
    /// The window of its reports, exposures and credits.
    pub window: DownloadWindow,
    /// Whether it was disconnected.
    pub deleted: bool,
    /// The change that made it.
    pub change: i64,
}

/// One version of an episode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpisodeVersion {
    /// Whose it is.
    pub account: AccountId,
    /// Its podcast.
    pub podcast: PodcastId,
    /// The episode.
    pub episode: EpisodeId,
    /// Since when; the first version is valid from the beginning of time.
    pub valid_from: Micros,
    /// How it is.
    pub facts: EpisodeFacts,
    /// The change that made it.
    pub change: i64,
}

/// What changed since a change number.
#[derive(Debug, Clone, PartialEq)]
pub struct DirectoryRows {
    /// The newest change: what to ask for next.
    pub change: i64,
    /// Versions of podcasts.
    pub podcasts: Vec<PodcastVersion>,
    /// Versions of episodes.
    pub episodes: Vec<EpisodeVersion>,
    /// Versions of campaigns.
    pub campaigns: Vec<(AccountId, CampaignVersion)>,
}

impl Catalogue {
    /// Everything with a change above `change` (0 for all there is), as of one instant. One read
    /// when nothing changed.
    pub async fn directory_since(&self, change: i64) -> Result<DirectoryRows> {
        bounded(async {
            let mut tx = self.db.snapshot().await?;
            let newest: i64 =
                sqlx::query_scalar("SELECT value FROM counters WHERE name = 'change'").fetch_one(&mut *tx).await?;
            let mut rows =
                DirectoryRows { change: newest, podcasts: Vec::new(), episodes: Vec::new(), campaigns: Vec::new() };
            if newest > change {
                rows.podcasts = podcasts(&mut tx, change).await?;
                rows.episodes = episodes(&mut tx, change).await?;
                rows.campaigns = campaigns(&mut tx, change).await?;
            }
            tx.commit().await?;
            Ok(rows)
        })
        .await
    }
}

async fn podcasts(tx: &mut Transaction<'static, Any>, change: i64) -> Result<Vec<PodcastVersion>> {
    let rows = sqlx::query(
        "SELECT podcast_id, valid_from, account_id, download_window, deleted, change FROM podcast_versions \
         WHERE change > $1 ORDER BY change",
    )
    .bind(change)
    .fetch_all(&mut **tx)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(PodcastVersion {
                account: parsed(row, "account_id")?,
                podcast: parsed(row, "podcast_id")?,
                valid_from: Micros(column(row, "valid_from")?),
                window: parsed(row, "download_window")?,
                deleted: column::<i64>(row, "deleted")? == 1,
                change: column(row, "change")?,
            })
        })
        .collect()
}

async fn episodes(tx: &mut Transaction<'static, Any>, change: i64) -> Result<Vec<EpisodeVersion>> {
    let sql = format!(
        "SELECT episode_id, podcast_id, account_id, valid_from, change, {FACTS} FROM episode_versions \
         WHERE change > $1 ORDER BY change, episode_id"
    );
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(change).fetch_all(&mut **tx).await?;
    rows.iter()
        .map(|row| {
            Ok(EpisodeVersion {
                account: parsed(row, "account_id")?,
                podcast: parsed(row, "podcast_id")?,
                episode: parsed(row, "episode_id")?,
                valid_from: Micros(column(row, "valid_from")?),
                facts: facts_of(row)?,
                change: column(row, "change")?,
            })
        })
        .collect()
}

async fn campaigns(tx: &mut Transaction<'static, Any>, change: i64) -> Result<Vec<(AccountId, CampaignVersion)>> {
    let rows = sqlx::query(
        "SELECT campaign_id, valid_from, account_id, state, terms FROM campaign_versions WHERE change > $1 ORDER BY change",
    )
    .bind(change)
    .fetch_all(&mut **tx)
    .await?;
    rows.iter().map(campaign).collect()
}

fn campaign(row: &AnyRow) -> Result<(AccountId, CampaignVersion)> {
    let version = CampaignVersion {
        campaign: parsed(row, "campaign_id")?,
        valid_from: Micros(column(row, "valid_from")?),
        state: state(column(row, "state")?)?,
        terms: document(row, "terms")?,
    };
    Ok((parsed(row, "account_id")?, version))
}
