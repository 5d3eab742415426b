//! Impressions of which a prefix redirect lets one think: it sees who asks for which episode, and no bytes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write;

use castback_schemas::campaign::{CampaignTerms, Placement};
use castback_schemas::{AccountId, Micros};
use castback_store::session::MAX_TEXT;

use crate::App;
use crate::downloads::SIGHTED;
use crate::figures::Question;
use crate::problem::Result;
use crate::query::Ask;
use crate::query::literal::{DAY_NUMBER, list, within};

/// Each listener of an episode and a UTC day that only a prefix redirect saw, times the episode's placements. Dynamic
/// ones are left out: no redirect sees what a server puts in. No part of the impressions.
#[derive(Debug)]
pub(crate) struct Sighted {
    /// Its podcasts, as SQL lists them.
    podcasts: String,
    /// Placements of every episode.
    everywhere: u64,
    /// Placements beside those, by the episode that they name.
    named: BTreeMap<String, u64>,
}

impl Sighted {
    /// What the estimate of these terms is made of; none where no placement is fixed.
    pub(crate) async fn of(app: &App, account: AccountId, terms: &CampaignTerms) -> Result<Option<Self>> {
        let fixed: Vec<&Placement> = terms.placements.iter().filter(|placement| !placement.dynamic).collect();
        if fixed.is_empty() {
            return Ok(None);
        }
        let naming: Vec<&Vec<String>> = fixed.iter().filter_map(|placement| placement.episode_guids.as_ref()).collect();
        let podcasts: Vec<String> = terms.podcast_ids.iter().map(ToString::to_string).collect();
        Ok(Some(Self {
            podcasts: list(podcasts.iter().map(String::as_str)),
            everywhere: u64::try_from(fixed.len() - naming.len()).unwrap_or(u64::MAX),
            named: if naming.is_empty() { BTreeMap::new() } else { named(app, (account, terms), &naming).await? },
        }))
    }

    /// The placements of an episode.
    pub(crate) fn placements(&self, episode: &str) -> u64 {
        self.everywhere + self.named.get(episode).copied().unwrap_or_default()
    }

    /// The impressions of the question's range, of what is kept.
    pub(crate) async fn read(&self, ask: &Ask, question: &Question) -> Result<u64> {
        let statement = format!(
            "SELECT episode_id, count(*) AS sightings FROM ({}) AS d GROUP BY episode_id",
            self.sightings(question, ask.kept_from())
        );
        let seen = ask.one(&statement).await?;
        let of = |row| seen.count(row, "sightings").saturating_mul(self.placements(seen.text(row, "episode_id")));
        Ok((0..seen.len()).map(of).sum())
    }

    /// The one statement that answers [`Self::read`]; none where it names more episodes than a statement may.
    pub(crate) fn statement(&self, question: &Question, kept_from: Micros) -> Option<String> {
        let mut by_count: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
        for (episode, count) in &self.named {
            by_count.entry(*count).or_default().push(episode);
        }
        let mut placements = self.everywhere.to_string();
        for (count, episodes) in by_count {
            // Writing to a string cannot fail.
            write!(placements, " + CASE WHEN episode_id IN {} THEN {count} ELSE 0 END", list(episodes))
                .unwrap_or_default();
        }
        let statement = format!(
            "SELECT coalesce(sum({placements}), 0) AS impressions_prefix_estimated FROM ({}) AS d",
            self.sightings(question, kept_from)
        );
        Some(statement).filter(|statement| statement.len() <= MAX_TEXT)
    }

    /// Sightings as `amount`, by episode and bucket of `step` microseconds from the range's start.
    pub(crate) fn by(&self, question: &Question, kept_from: Micros, step: i64) -> String {
        let bucket = question.bucket(step);
        format!(
            "SELECT bucket, episode_id, count(*) AS amount, max(revision) AS revision FROM \
             (SELECT {bucket} AS bucket, listener, episode_id, {DAY_NUMBER} AS day, max(commit) AS revision FROM {} \
             GROUP BY {bucket}, listener, episode_id, {DAY_NUMBER}) AS d GROUP BY bucket, episode_id",
            self.requests(question, kept_from)
        )
    }

    /// Listeners, episodes and days that only a prefix redirect saw.
    fn sightings(&self, question: &Question, kept_from: Micros) -> String {
        format!("SELECT DISTINCT listener, episode_id, {DAY_NUMBER} AS day FROM {}", self.requests(question, kept_from))
    }

    /// The requests that a prefix redirect saw, as what follows FROM.
    fn requests(&self, question: &Question, kept_from: Micros) -> String {
        let kept = question.since(kept_from);
        let range = within("occurred_at", kept.from, kept.to);
        format!("requests WHERE podcast_id IN {} AND {SIGHTED} AND {range}", self.podcasts)
    }
}

/// How many of the placements name an episode, by the episode's id.
async fn named(
    app: &App,
    (account, terms): (AccountId, &CampaignTerms),
    naming: &[&Vec<String>],
) -> Result<BTreeMap<String, u64>> {
    let mut counts: HashMap<&str, u64> = HashMap::new();
    for guids in naming {
        for guid in guids.iter().collect::<HashSet<_>>() {
            *counts.entry(guid).or_default() += 1;
        }
    }
    let mut named = BTreeMap::new();
    for podcast in terms.podcast_ids.iter().collect::<HashSet<_>>() {
        let episodes = app.catalogue.all_episodes(account, *podcast).await?;
        let own = |guid: &str| counts.get(guid).copied();
        named.extend(episodes.iter().filter_map(|episode| Some((episode.id.to_string(), own(&episode.facts.guid)?))));
    }
    Ok(named)
}
