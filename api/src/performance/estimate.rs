//! Impressions of which a prefix redirect lets one think: it sees who asks for which episode, and no bytes.

use std::collections::{HashMap, HashSet};

use castback_schemas::campaign::{CampaignTerms, Placement};
use castback_schemas::{AccountId, PodcastId};

use crate::App;
use crate::downloads::SIGHTED;
use crate::figures::Question;
use crate::problem::Result;
use crate::query::Ask;
use crate::query::literal::{list, within};

/// Each listener of an episode and a UTC day that only a prefix redirect saw, times the episode's placements. Dynamic
/// ones are left out: no redirect sees what a server puts in. No part of the impressions.
pub(super) async fn prefix_impressions(
    app: &App,
    ask: &Ask<'_>,
    (account, terms): (AccountId, &CampaignTerms),
    question: &Question,
) -> Result<u64> {
    let fixed: Vec<&Placement> = terms.placements.iter().filter(|placement| !placement.dynamic).collect();
    if fixed.is_empty() {
        return Ok(0);
    }
    let seen = ask.one(&sighted(&question.since(ask.kept_from()), &terms.podcast_ids)).await?;
    if seen.len() == 0 {
        return Ok(0);
    }
    let guids = if fixed.iter().any(|placement| placement.episode_guids.is_some()) {
        guids(app, account, terms).await?
    } else {
        HashMap::new()
    };
    let carried = |episode: &str, placement: &Placement| match &placement.episode_guids {
        None => true,
        Some(chosen) => guids.get(episode).is_some_and(|guid| chosen.contains(guid)),
    };
    let of = |row| {
        let episode = seen.text(row, "episode_id");
        let placements = fixed.iter().filter(|placement| carried(episode, placement)).count();
        seen.count(row, "sightings").saturating_mul(u64::try_from(placements).unwrap_or(u64::MAX))
    };
    Ok((0..seen.len()).map(of).sum())
}

/// Listeners, episodes and days that only a prefix redirect saw, by episode.
fn sighted(question: &Question, podcasts: &[PodcastId]) -> String {
    let podcasts: Vec<String> = podcasts.iter().map(ToString::to_string).collect();
    format!(
        "SELECT episode_id, count(*) AS sightings FROM (SELECT DISTINCT listener, episode_id, \
         CAST(occurred_at AS BIGINT) / 86400000000 AS day FROM requests WHERE podcast_id IN {} AND {SIGHTED} AND {}) AS d \
         GROUP BY episode_id",
        list(podcasts.iter().map(String::as_str)),
        within("occurred_at", question.from, question.to)
    )
}

/// The guids of the campaign's episodes, by the episode's id.
async fn guids(app: &App, account: AccountId, terms: &CampaignTerms) -> Result<HashMap<String, String>> {
    let mut guids = HashMap::new();
    for podcast in terms.podcast_ids.iter().collect::<HashSet<_>>() {
        let episodes = app.catalogue.all_episodes(account, *podcast).await?;
        guids.extend(episodes.into_iter().map(|episode| (episode.id.to_string(), episode.facts.guid)));
    }
    Ok(guids)
}
