//! Impressions of which a prefix redirect lets one think: it sees who asks for which episode, and no bytes.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;

use castback_schemas::campaign::{CampaignTerms, Placement};
use castback_schemas::{AccountId, Micros};

use crate::App;
use crate::downloads::SIGHTED;
use crate::figures::Question;
use crate::problem::Result;
use crate::query::Ask;
use crate::query::literal::{list, within};

/// The UTC day of event time, as a number.
const DAY: &str = "CAST(occurred_at AS BIGINT) / 86400000000";

/// Each listener of an episode and a UTC day that only a prefix redirect saw, times the episode's placements. Dynamic
/// ones are left out: no redirect sees what a server puts in. No part of the impressions.
#[derive(Debug)]
pub(crate) struct Sighted {
    /// Its podcasts, as SQL lists them.
    podcasts: String,
    /// The number of an episode's placements, in SQL.
    placements: String,
}

impl Sighted {
    /// What the estimate of these terms is made of; none where no placement is fixed.
    pub(crate) async fn of(app: &App, account: AccountId, terms: &CampaignTerms) -> Result<Option<Self>> {
        let fixed: Vec<&Placement> = terms.placements.iter().filter(|placement| !placement.dynamic).collect();
        if fixed.is_empty() {
            return Ok(None);
        }
        let ids = if fixed.iter().any(|placement| placement.episode_guids.is_some()) {
            ids(app, account, terms).await?
        } else {
            HashMap::new()
        };
        let podcasts: Vec<String> = terms.podcast_ids.iter().map(ToString::to_string).collect();
        let everywhere = fixed.iter().filter(|placement| placement.episode_guids.is_none()).count();
        let mut placements = everywhere.to_string();
        for guids in fixed.iter().filter_map(|placement| placement.episode_guids.as_ref()) {
            let chosen: HashSet<&String> = guids.iter().collect();
            let chosen = chosen.into_iter().flat_map(|guid| ids.get(guid).into_iter().flatten());
            let mut chosen: Vec<&str> = chosen.map(String::as_str).collect();
            chosen.sort_unstable();
            // Writing to a string cannot fail.
            write!(placements, " + CASE WHEN episode_id IN {} THEN 1 ELSE 0 END", list(chosen)).unwrap_or_default();
        }
        Ok(Some(Self { podcasts: list(podcasts.iter().map(String::as_str)), placements }))
    }

    /// The impressions of the question's range, of what is kept.
    pub(crate) async fn read(&self, ask: &Ask<'_>, question: &Question) -> Result<u64> {
        Ok(ask.one(&self.total(question, ask.kept_from())).await?.count(0, "impressions_prefix_estimated"))
    }

    /// The statement of the impressions of the question's range, of what is kept.
    pub(crate) fn total(&self, question: &Question, kept_from: Micros) -> String {
        format!(
            "SELECT coalesce(sum({}), 0) AS impressions_prefix_estimated FROM \
             (SELECT DISTINCT listener, episode_id, {DAY} AS day FROM {}) AS d",
            self.placements,
            self.requests(question, kept_from)
        )
    }

    /// The same as `amount` by bucket of `step` microseconds from the range's start.
    pub(crate) fn by(&self, question: &Question, kept_from: Micros, step: i64) -> String {
        let bucket = question.bucket(step);
        format!(
            "SELECT bucket, sum({}) AS amount, max(revision) AS revision FROM \
             (SELECT {bucket} AS bucket, listener, episode_id, {DAY} AS day, max(commit) AS revision FROM {} \
             GROUP BY {bucket}, listener, episode_id, {DAY}) AS d GROUP BY bucket",
            self.placements,
            self.requests(question, kept_from)
        )
    }

    /// The requests that a prefix redirect saw, as what follows FROM.
    fn requests(&self, question: &Question, kept_from: Micros) -> String {
        let kept = question.since(kept_from);
        let range = within("occurred_at", kept.from, kept.to);
        format!("requests WHERE podcast_id IN {} AND {SIGHTED} AND {range}", self.podcasts)
    }
}

/// The ids of the campaign's episodes, by guid.
async fn ids(app: &App, account: AccountId, terms: &CampaignTerms) -> Result<HashMap<String, Vec<String>>> {
    let mut ids: HashMap<String, Vec<String>> = HashMap::new();
    for podcast in terms.podcast_ids.iter().collect::<HashSet<_>>() {
        for episode in app.catalogue.all_episodes(account, *podcast).await? {
            ids.entry(episode.facts.guid).or_default().push(episode.id.to_string());
        }
    }
    Ok(ids)
}
