//! Episodes, and all their versions: what rules judge requests by, as of the request's time.

use std::collections::{HashMap, HashSet};

use castback_schemas::Micros;
use castback_schemas::id::{AccountId, EpisodeId, PodcastId};
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use crate::Catalogue;
use crate::db::{Tx, take_numbers};
use crate::error::{CatalogueError, Result};
use crate::page::{Page, Paging};
use crate::stored::{column, parsed, signed, unsigned};
use crate::units::value_rows;

/// What rules use of an episode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpisodeFacts {
    /// Its identity in the feed: GUID, else enclosure URL, else link.
    pub guid: String,
    /// Its title.
    pub title: Option<String>,
    /// Its file.
    pub enclosure_url: String,
    /// The file's size in bytes, if the feed says it.
    pub length: Option<u64>,
    /// Its duration in milliseconds, if the feed says it.
    pub duration_ms: Option<u64>,
    /// When it was published; none if the feed's date can't be read.
    pub published_at: Option<Micros>,
}

/// An episode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Episode {
    /// Its id.
    pub id: EpisodeId,
    /// Its podcast.
    pub podcast: PodcastId,
    /// How it is now.
    pub facts: EpisodeFacts,
    /// When it was first seen.
    pub created_at: Micros,
}

/// An episode as a poll found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolledEpisode {
    /// How the feed describes it.
    pub facts: EpisodeFacts,
    /// The guid it had, if the connector saw that it changed.
    pub renamed_from: Option<String>,
}

pub(crate) const FACTS: &str = "guid, title, enclosure_url, byte_length, duration_ms, published_at";

/// Episodes per statement: 11 parameters each, far below the 32,766 of SQLite.
const AT_ONCE: usize = 500;

impl Catalogue {
    /// The episodes of a podcast.
    pub async fn episodes(&self, account: AccountId, podcast: PodcastId, paging: &Paging) -> Result<Page<Episode>> {
        self.podcast(account, podcast).await?;
        let start = paging.start()?;
        let sql = format!(
            "SELECT episode_id, podcast_id, created_at, {FACTS} FROM episodes WHERE account_id = $1 AND podcast_id = $2 \
             AND (created_at, episode_id) < ($3, $4) ORDER BY created_at DESC, episode_id DESC LIMIT $5"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(account.to_string())
            .bind(podcast.to_string())
            .bind(start.created_at)
            .bind(start.id)
            .bind(start.rows)
            .fetch_all(self.db.reads())
            .await?;
        let items = rows.iter().map(episode_of).collect::<Result<Vec<_>>>()?;
        Ok(paging.page(items, |episode| (episode.created_at, episode.id.to_string())))
    }

    /// Every episode of a podcast: what a poll compares the feed with.
    pub async fn all_episodes(&self, account: AccountId, podcast: PodcastId) -> Result<Vec<Episode>> {
        let sql = format!(
            "SELECT episode_id, podcast_id, created_at, {FACTS} FROM episodes WHERE account_id = $1 AND podcast_id = $2 \
             ORDER BY created_at, episode_id"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(account.to_string())
            .bind(podcast.to_string())
            .fetch_all(self.db.reads())
            .await?;
        rows.iter().map(episode_of).collect()
    }
}

/// Writes new episodes and changed ones, each with its version, in order of the feed.
pub(crate) async fn upsert(
    tx: &mut Tx,
    owner: (AccountId, PodcastId),
    polled: Vec<PolledEpisode>,
    (ids, now): (Vec<EpisodeId>, i64),
) -> Result<Vec<EpisodeId>> {
    let mut known = known(tx, owner.1).await?;
    let mut seen = HashSet::new();
    let mut new = Vec::new();
    let mut changed = Vec::new();
    for (episode, id) in polled.into_iter().zip(ids) {
        // A guid that comes twice in a feed is taken once: the first stands.
        if !seen.insert(episode.facts.guid.clone()) {
            continue;
        }
        // A guid that is known is that episode's, whatever it was renamed from.
        let renamed = |known: &mut HashMap<String, _>| episode.renamed_from.and_then(|guid| known.remove(&guid));
        match known.remove(&episode.facts.guid).or_else(|| renamed(&mut known)) {
            None => new.push((id, episode.facts)),
            Some((id, facts)) if facts != episode.facts => changed.push((id, episode.facts)),
            Some(_) => {}
        }
    }
    if new.is_empty() && changed.is_empty() {
        return Ok(Vec::new());
    }
    let change = take_numbers(tx, "change", 1).await?;
    for chunk in new.chunks(AT_ONCE) {
        insert(tx, Rows { table: "episodes", owner, last: now }, chunk).await?;
        insert(tx, Rows { table: "episode_versions", owner, last: change }, chunk).await?;
    }
    for (id, facts) in &changed {
        update(tx, *id, facts).await?;
        add_version(tx, *id, (now, change)).await?;
    }
    Ok(new.into_iter().chain(changed).map(|(id, _)| id).collect())
}

async fn known(tx: &mut Tx, podcast: PodcastId) -> Result<HashMap<String, (EpisodeId, EpisodeFacts)>> {
    let sql = format!("SELECT episode_id, {FACTS} FROM episodes WHERE podcast_id = $1");
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(podcast.to_string()).fetch_all(tx).await?;
    rows.iter()
        .map(|row| {
            let facts = facts_of(row)?;
            Ok((facts.guid.clone(), (parsed(row, "episode_id")?, facts)))
        })
        .collect()
}

/// Where new episodes go: both tables have the same columns but the last.
struct Rows {
    table: &'static str,
    owner: (AccountId, PodcastId),
    last: i64,
}

async fn insert(tx: &mut Tx, rows: Rows, episodes: &[(EpisodeId, EpisodeFacts)]) -> Result<()> {
    // The first version is valid from the beginning of time.
    let versions = rows.table == "episode_versions";
    let (last, columns) = if versions { ("change, valid_from", 11) } else { ("created_at", 10) };
    let values = value_rows(episodes.len(), columns, 1);
    let sql =
        format!("INSERT INTO {} (episode_id, podcast_id, account_id, {FACTS}, {last}) VALUES {values}", rows.table);
    let mut query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
    for (id, facts) in episodes {
        query = query.bind(id.to_string()).bind(rows.owner.1.to_string()).bind(rows.owner.0.to_string());
        query = bind_facts(query, facts).bind(rows.last);
        if versions {
            query = query.bind(i64::MIN);
        }
    }
    query.execute(tx).await?;
    Ok(())
}

async fn update(tx: &mut Tx, id: EpisodeId, facts: &EpisodeFacts) -> Result<()> {
    let query = sqlx::query(
        "UPDATE episodes SET guid = $2, title = $3, enclosure_url = $4, byte_length = $5, duration_ms = $6, published_at = $7 \
         WHERE episode_id = $1",
    );
    bind_facts(query.bind(id.to_string()), facts).execute(tx).await.map_err(CatalogueError::taken("guid"))?;
    Ok(())
}

async fn add_version(tx: &mut Tx, id: EpisodeId, (now, change): (i64, i64)) -> Result<()> {
    let newest: i64 = sqlx::query_scalar("SELECT MAX(valid_from) FROM episode_versions WHERE episode_id = $1")
        .bind(id.to_string())
        .fetch_one(&mut *tx)
        .await?;
    let sql = format!(
        "INSERT INTO episode_versions (episode_id, podcast_id, account_id, valid_from, change, {FACTS}) \
         SELECT episode_id, podcast_id, account_id, $2, $3, {FACTS} FROM episodes WHERE episode_id = $1"
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(id.to_string())
        .bind(now.max(newest.saturating_add(1)))
        .bind(change)
        .execute(tx)
        .await?;
    Ok(())
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Any, sqlx::any::AnyArguments>;

fn bind_facts<'q>(query: Query<'q>, facts: &EpisodeFacts) -> Query<'q> {
    query
        .bind(facts.guid.clone())
        .bind(facts.title.clone())
        .bind(facts.enclosure_url.clone())
        .bind(facts.length.map(signed))
        .bind(facts.duration_ms.map(signed))
        .bind(facts.published_at.map(|at| at.0))
}

fn episode_of(row: &AnyRow) -> Result<Episode> {
    Ok(Episode {
        id: parsed(row, "episode_id")?,
        podcast: parsed(row, "podcast_id")?,
        facts: facts_of(row)?,
        created_at: Micros(column(row, "created_at")?),
    })
}

pub(crate) fn facts_of(row: &AnyRow) -> Result<EpisodeFacts> {
    let size = |name| column::<Option<i64>>(row, name)?.map(|value| unsigned(value, name)).transpose();
    Ok(EpisodeFacts {
        guid: column(row, "guid")?,
        title: column(row, "title")?,
        enclosure_url: column(row, "enclosure_url")?,
        length: size("byte_length")?,
        duration_ms: size("duration_ms")?,
        published_at: column::<Option<i64>>(row, "published_at")?.map(Micros),
    })
}
