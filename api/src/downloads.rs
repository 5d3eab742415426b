//! `GET /v1/podcasts/{id}/downloads`: counted downloads, by what one wants.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use castback_rules::window::Window;
use castback_schemas::time::DAY;
use castback_schemas::{Day, Micros, PodcastId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::App;
use crate::extract::{Path, Query, id};
use crate::identity::Scope;
use crate::problem::Result;
use crate::query::Ask;
use crate::query::literal::{DAY_NUMBER, within};
use crate::query::range::{range, word};

/// Days asked for when no range is given.
const USUAL_DAYS: i64 = 30;

/// Items of an answer: more countries, apps or days than there are; of more episodes the least
/// heard are left out.
const MAX_ITEMS: usize = 5_000;

/// What downloads are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// All together.
    Total,
    /// Episodes, by guid.
    Episode,
    /// UTC days.
    Day,
    /// Apps or libraries.
    App,
    /// Countries as given.
    Country,
}

const BY: [(&str, By); 5] =
    [("total", By::Total), ("episode", By::Episode), ("day", By::Day), ("app", By::App), ("country", By::Country)];

/// The parameters.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Parameters {
    /// The first instant, RFC 3339 or a date; 30 days ago if not given.
    from: Option<String>,
    /// The first instant no longer counted; now if not given.
    to: Option<String>,
    /// `utc_day`, `first_touch_24h` or `last_touch_24h`; the podcast's if not given.
    window: Option<String>,
    /// `total`, `episode`, `day`, `app` or `country`.
    by: Option<String>,
}

/// Downloads of one episode, day, app or country.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Item {
    /// What it is counted for; the guid of an episode.
    pub(crate) key: String,
    /// The same for people.
    pub(crate) label: String,
    /// Downloads.
    pub(crate) downloads: u64,
    /// Distinct listeners, summed over the months of their keys.
    pub(crate) listeners: u64,
}

/// Downloads of a podcast.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Downloads {
    /// The window they are counted by.
    pub(crate) window: &'static str,
    /// Downloads.
    pub(crate) total: u64,
    /// Distinct listeners of the range, summed over the months of their keys.
    pub(crate) listeners: u64,
    /// Seen by a prefix redirect only, which knows no bytes: never part of the others.
    pub(crate) prefix_estimated: u64,
    /// What they are counted by.
    pub(crate) items: Vec<Item>,
    /// The commit that was read.
    pub(crate) revision: i64,
    /// When it was read.
    pub(crate) as_of: String,
    /// Where the range begins before this, the figures begin here: what was recorded earlier is past
    /// its retention.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) kept_from: Option<Micros>,
}

/// What is asked of a podcast.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question {
    /// The podcast.
    pub(crate) podcast: PodcastId,
    /// By which window.
    pub(crate) window: Window,
    /// From when on.
    pub(crate) from: Micros,
    /// Until when.
    pub(crate) to: Micros,
}

/// Counted downloads of a podcast.
#[utoipa::path(get, path = "/v1/podcasts/{id}/downloads", tag = "podcasts", params(("id" = String, Path), Parameters),
    responses((status = 200, body = Downloads)))]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    scope: Scope,
    Path(podcast): Path<String>,
    Query(parameters): Query<Parameters>,
) -> Result<Answer<Downloads>> {
    let account = scope.one()?;
    let podcast = app.catalogue.podcast(account, id(&podcast, "podcast")?).await?;
    let now = app.clock.now();
    let given = (parameters.from.as_deref(), parameters.to.as_deref());
    let (from, to) = range(given, (now.plus(-USUAL_DAYS * DAY).day().start(), now))?;
    let chosen = Window::named(podcast.window.as_str()).unwrap_or_default();
    let windows: Vec<(&str, Window)> =
        std::iter::once(("", chosen)).chain(Window::ALL.map(|window| (window.name(), window))).collect();
    let window = word(parameters.window.as_deref(), "window", &windows)?;
    let by = word(parameters.by.as_deref(), "by", &BY)?;
    let ask = Ask::newest(&app, Scope::Account(account)).await?;
    let mut downloads = read(&ask, Question { podcast: podcast.id, window, from, to }, by, now).await?;
    if downloads.total > 0 {
        app.valued(account).await;
    }
    if by == By::Episode {
        name_episodes(&app, (account, podcast.id), &mut downloads.items).await?;
    }
    Ok(Answer(downloads))
}

/// The answer to a question; items of episodes have the episode's id as key and label.
pub(crate) async fn read(ask: &Ask, asked: Question, by: By, now: Micros) -> Result<Downloads> {
    let question = asked.kept(ask);
    let statements = [question.total(), question.listeners(), question.prefix_estimated(), question.grouped(by)];
    let [total, listeners, prefix, grouped] = ask.all(statements.each_ref().map(String::as_str)).await?;
    let item = |row| {
        let key = match (by, grouped.value(row, "key")) {
            (By::Total, _) => "total".to_owned(),
            (By::Day, Value::Number(_)) => day(grouped.int(row, "key")),
            (_, Value::String(key)) if !key.is_empty() => key.clone(),
            _ => "unknown".to_owned(),
        };
        let (downloads, listeners) = (grouped.count(row, "downloads"), grouped.count(row, "listeners"));
        Item { label: key.clone(), key, downloads, listeners }
    };
    Ok(Downloads {
        window: question.window.name(),
        total: total.count(0, "downloads"),
        listeners: listeners.count(0, "listeners"),
        prefix_estimated: prefix.count(0, "prefix_estimated"),
        items: (0..grouped.len()).map(item).collect(),
        revision: ask.revision().0,
        as_of: now.to_string(),
        kept_from: (question.from != asked.from).then_some(question.from),
    })
}

/// Puts guids and titles in the place of ids; what the catalogue has forgotten keeps its id.
pub(crate) async fn name_episodes(
    app: &App,
    (account, podcast): (castback_schemas::AccountId, PodcastId),
    items: &mut [Item],
) -> Result<()> {
    let episodes = app.catalogue.all_episodes(account, podcast).await?;
    let known: std::collections::HashMap<String, _> =
        episodes.into_iter().map(|episode| (episode.id.to_string(), episode.facts)).collect();
    for item in items {
        if let Some(facts) = known.get(&item.key) {
            item.key.clone_from(&facts.guid);
            item.label = facts.title.clone().unwrap_or_else(|| facts.guid.clone());
        }
    }
    Ok(())
}

fn day(number: i64) -> String {
    i32::try_from(number).map_or_else(|_| number.to_string(), |number| Day(number).to_string())
}

/// Requests that a prefix redirect saw, and that pass every filter but the one on bytes, of which it sees none.
pub(crate) const SIGHTED: &str = "source = 'prefix' AND verdict = 'filtered' AND reason = 'below_threshold'";

/// The column of a window.
pub(crate) fn flag(window: Window) -> &'static str {
    match window {
        Window::UtcDay => "counted_utc_day",
        Window::FirstTouch => "counted_first_touch",
        Window::LastTouch => "counted_last_touch",
    }
}

impl Question {
    /// The same of what is kept.
    pub(crate) fn kept(self, ask: &Ask) -> Self {
        let from = self.from.max(ask.kept_from());
        Self { from, to: self.to.max(from), ..self }
    }

    fn counted(&self) -> String {
        let range = within("occurred_at", self.from, self.to);
        format!("downloads WHERE podcast_id = '{}' AND {} AND {range}", self.podcast, flag(self.window))
    }

    /// Downloads.
    pub(crate) fn total(&self) -> String {
        format!("SELECT count(*) AS downloads FROM {}", self.counted())
    }

    /// Distinct listeners; a hash is of its month's key, so months add up.
    pub(crate) fn listeners(&self) -> String {
        format!("SELECT count(*) AS listeners FROM (SELECT DISTINCT listener FROM {}) AS d", self.counted())
    }

    /// Distinct listeners, episodes and days of what only a prefix redirect saw.
    pub(crate) fn prefix_estimated(&self) -> String {
        let range = within("occurred_at", self.from, self.to);
        format!(
            "SELECT count(*) AS prefix_estimated FROM (SELECT DISTINCT listener, episode_id, \
             CAST(occurred_at AS BIGINT) / 86400000000 AS day FROM requests WHERE podcast_id = '{}' AND {SIGHTED} AND {range}) AS d",
            self.podcast
        )
    }

    /// Downloads and listeners by a key: days in order, others the most heard first. What is distinct is
    /// made so before it is counted, as among the figures by episode: counting distinct hashes by group is slow.
    pub(crate) fn grouped(&self, by: By) -> String {
        let (key, order) = match by {
            By::Total => ("'total'", "downloads DESC"),
            By::Episode => ("episode_id", "downloads DESC, key"),
            By::Day => (DAY_NUMBER, "key"),
            By::App => ("app", "downloads DESC, key"),
            By::Country => ("country", "downloads DESC, key"),
        };
        format!(
            "SELECT key, sum(heard) AS downloads, count(*) AS listeners FROM \
             (SELECT key, listener, count(*) AS heard FROM (SELECT {key} AS key, listener FROM {}) AS d \
             GROUP BY key, listener) AS l GROUP BY key ORDER BY {order} LIMIT {MAX_ITEMS}",
            self.counted()
        )
    }
}
