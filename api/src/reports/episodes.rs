//! The table of episodes that carried a campaign's ads.

use std::collections::HashMap;

use castback_catalogue::campaigns::Campaign;
use castback_catalogue::episodes::EpisodeFacts;

use super::Making;
use crate::figures::Question;
use crate::problem::Result;
use crate::render::{Column, Table, Value};

/// The table, the most heard first, and the statement behind it.
pub(super) async fn table(
    making: &Making<'_>,
    campaign: &Campaign,
    (question, most): (&Question, usize),
) -> Result<(Table, String)> {
    let sql = question.by_episode(most);
    let rows = making.ask.one(&sql).await?;
    let known = facts(making, campaign).await?;
    let count = |row, column| Value::Count(rows.int(row, column));
    let row = |row: usize| {
        let id = rows.text(row, "episode_id");
        let facts = known.get(id);
        let title = facts.and_then(|facts| facts.title.clone()).unwrap_or_else(|| id.to_owned());
        let published = facts.and_then(|facts| facts.published_at).map_or(Value::Null, |at| Value::Day(at.day()));
        vec![
            Value::Text(title),
            published,
            count(row, "impressions"),
            count(row, "downloads"),
            count(row, "devices"),
            count(row, "households"),
        ]
    };
    let sum = |column: &str| Value::Count((0..rows.len()).map(|row| rows.int(row, column)).sum());
    // Listeners of several episodes are the same ones: reach is never summed over lines.
    let total = vec![Value::text("Total"), Value::Null, sum("impressions"), sum("downloads"), Value::Null, Value::Null];
    let columns = vec![
        Column::text("Episode"),
        Column::text("Published"),
        Column::number("Impressions"),
        Column::number("Downloads"),
        Column::number("Devices"),
        Column::number("Households"),
    ];
    let title =
        if rows.len() < most { "Heard with the ad".to_owned() } else { format!("Heard with the ad: the first {most}") };
    Ok((Table { title, columns, rows: (0..rows.len()).map(row).collect(), total: Some(total) }, sql))
}

async fn facts(making: &Making<'_>, campaign: &Campaign) -> Result<HashMap<String, EpisodeFacts>> {
    let mut known = HashMap::new();
    for podcast in &campaign.terms.podcast_ids {
        let episodes = making.app.catalogue.all_episodes(making.report.account, *podcast).await?;
        known.extend(episodes.into_iter().map(|episode| (episode.id.to_string(), episode.facts)));
    }
    Ok(known)
}
