//! `/v1/podcasts`: connecting feeds, reading them, polling them now.

use std::sync::Arc;
use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use castback_catalogue::episodes::Episode;
use castback_catalogue::podcasts::{DownloadWindow, NewPodcast, Podcast, PodcastFilter, PodcastStatus};
use castback_connectors::agent::feed_url;
use castback_schemas::PodcastId;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use crate::App;
use crate::extract::{Json, List, ListParameters, Listed, Path, id};
use crate::identity::{Caller, Scope};
use crate::limits::{Limit, allowed, checked};
use crate::problem::{Problem, Result};
use crate::recount::recount;

/// Longest wait of a caller for the first poll; it goes on without them.
const FIRST_POLL: Duration = Duration::from_secs(19);

/// Pause between two looks at a poll that the agent does.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Looks at most: as long as the caller waits.
const LOOKS: usize = 95;

/// Longest address of a feed.
const MAX_URL: usize = 2_048;

/// A feed to be connected.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Connect {
    feed_url: String,
}

/// What may be changed of a podcast.
#[derive(Deserialize, ToSchema)]
pub(crate) struct PodcastChange {
    /// `utc_day`, `first_touch_24h` or `last_touch_24h`.
    #[schema(value_type = Option<String>)]
    window: Option<DownloadWindow>,
}

/// How the last poll went.
#[derive(Serialize, ToSchema)]
pub(crate) struct LastPoll {
    at: String,
    /// Why it failed, if it did.
    error: Option<String>,
}

/// A podcast.
#[derive(Serialize, ToSchema)]
pub(crate) struct ShownPodcast {
    id: String,
    account_id: String,
    feed_url: String,
    title: Option<String>,
    /// `pending`, `active`, `failing` or `gone`.
    status: &'static str,
    /// The window of its reports.
    window: &'static str,
    last_poll: Option<LastPoll>,
    next_poll_at: Option<String>,
    /// What the feed says of the podcast.
    #[schema(value_type = Object)]
    facts: Value,
    created_at: String,
}

fn shown(podcast: Podcast) -> ShownPodcast {
    let error = podcast.last_error;
    ShownPodcast {
        id: podcast.id.to_string(),
        account_id: podcast.account.to_string(),
        feed_url: podcast.feed_url,
        title: podcast.title,
        status: podcast.status.as_str(),
        window: podcast.window.as_str(),
        last_poll: podcast.last_poll_at.map(|at| LastPoll { at: at.to_string(), error }),
        next_poll_at: podcast.next_poll_at.map(|at| at.to_string()),
        facts: podcast.facts,
        created_at: podcast.created_at.to_string(),
    }
}

/// Connects a feed and polls it; answers after the poll, or `pending` if it takes too long.
#[utoipa::path(post, path = "/v1/podcasts", tag = "podcasts", request_body = Connect,
    responses((status = 201, body = ShownPodcast)))]
pub(crate) async fn connect(
    State(app): State<Arc<App>>,
    caller: Caller,
    Json(body): Json<Connect>,
) -> Result<(StatusCode, Answer<ShownPodcast>)> {
    let url = feed_url(&body.feed_url).map_err(|error| Problem::field("feed_url", error.to_string()))?;
    if url.as_str().len() > MAX_URL {
        return Err(Problem::field("feed_url", format!("expected at most {MAX_URL} bytes")));
    }
    let allowed = allowed(&app, caller.account, Limit::Podcasts).await?;
    let new = NewPodcast { feed_url: url.into(), allowed };
    let made = checked(&app, Limit::Podcasts, app.catalogue.create_podcast(caller.account, new).await)?;
    // The poll ends and is kept even if the caller hangs up.
    let poll = tokio::spawn(first_poll(Arc::clone(&app), made.clone()));
    if let Ok(done) = tokio::time::timeout(FIRST_POLL, poll).await {
        done.map_err(Problem::internal)??;
    }
    let podcast = app.catalogue.podcast(caller.account, made.id).await?;
    Ok((StatusCode::CREATED, Answer(shown(podcast))))
}

async fn first_poll(app: Arc<App>, podcast: Podcast) -> Result<()> {
    if let Some(due) = app.catalogue.lease_feed(podcast.account, podcast.id, "api").await?
        && let Some(after) = app.poller.poll(due).await?.onboarded
    {
        app.metrics.onboarded(after);
    }
    // The agent may have been faster; then it does the poll.
    let mut polled = app.catalogue.podcast(podcast.account, podcast.id).await?;
    for _ in 0..LOOKS {
        if polled.last_poll_at.is_some() {
            break;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
        polled = app.catalogue.podcast(podcast.account, podcast.id).await?;
    }
    app.refresh_edges().await;
    let outcome = if polled.status == PodcastStatus::Active { "succeeded" } else { "failed" };
    app.metrics.feed_connections.with_label_values(&[outcome]).inc();
    Ok(())
}

/// What narrows a list of podcasts.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// `pending`, `active`, `failing` or `gone`.
    status: Option<String>,
    /// With this in the title or the feed's address.
    q: Option<String>,
}

/// The account's podcasts, newest first.
#[utoipa::path(get, path = "/v1/podcasts", tag = "podcasts", params(ListParameters, Filter),
    responses((status = 200, body = Listed<ShownPodcast>)))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    scope: Scope,
    List(page, filter): List<Filter>,
) -> Result<Answer<Listed<ShownPodcast>>> {
    let status = filter.status.as_deref().map(str::parse::<PodcastStatus>).transpose();
    let status = status.map_err(|_| Problem::field("status", "expected pending, active, failing or gone"))?;
    let filter = PodcastFilter { status, q: filter.q };
    let podcasts = app.catalogue.podcasts(scope.account(), &filter, &page).await?;
    Ok(Answer(Listed::of(podcasts, shown)))
}

/// A podcast.
#[utoipa::path(get, path = "/v1/podcasts/{id}", tag = "podcasts", params(("id" = String, Path)),
    responses((status = 200, body = ShownPodcast)))]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    scope: Scope,
    Path(podcast): Path<String>,
) -> Result<Answer<ShownPodcast>> {
    Ok(Answer(shown(find(&app, scope, &podcast).await?)))
}

/// A podcast in the caller's scope.
pub(crate) async fn find(app: &App, scope: Scope, text: &str) -> Result<Podcast> {
    let podcast: PodcastId = id(text, "podcast")?;
    let account = match scope {
        Scope::Account(account) => account,
        Scope::All => app.catalogue.podcast_owner(podcast).await?.ok_or_else(|| Problem::not_found("podcast"))?,
    };
    Ok(app.catalogue.podcast(account, podcast).await?)
}

/// Reports a podcast's downloads by another window, from today on.
#[utoipa::path(patch, path = "/v1/podcasts/{id}", tag = "podcasts", params(("id" = String, Path)),
    request_body = PodcastChange, responses((status = 200, body = ShownPodcast)))]
pub(crate) async fn change(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(podcast): Path<String>,
    Json(body): Json<PodcastChange>,
) -> Result<Answer<ShownPodcast>> {
    let podcast: PodcastId = id(&podcast, "podcast")?;
    let Some(window) = body.window else {
        return Ok(Answer(shown(app.catalogue.podcast(caller.account, podcast).await?)));
    };
    let changed = app.catalogue.set_window(caller.account, podcast, window).await?;
    let today = app.clock.now().day();
    recount(&app, caller.account, Some(podcast), (today, today)).await?;
    Ok(Answer(shown(changed)))
}

/// Has a feed polled as soon as possible.
#[utoipa::path(post, path = "/v1/podcasts/{id}/poll", tag = "podcasts", params(("id" = String, Path)),
    responses((status = 202)))]
pub(crate) async fn poll(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(podcast): Path<String>,
) -> Result<(StatusCode, Answer<Value>)> {
    let podcast: PodcastId = id(&podcast, "podcast")?;
    app.catalogue.poll_now(caller.account, podcast).await?;
    Ok((StatusCode::ACCEPTED, Answer(json!({ "id": podcast }))))
}

/// Disconnects a podcast; what was counted stays.
#[utoipa::path(delete, path = "/v1/podcasts/{id}", tag = "podcasts", params(("id" = String, Path)),
    responses((status = 204)))]
pub(crate) async fn delete(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(podcast): Path<String>,
) -> Result<StatusCode> {
    app.catalogue.delete_podcast(caller.account, id(&podcast, "podcast")?).await?;
    app.refresh_edges().await;
    Ok(StatusCode::NO_CONTENT)
}

/// An episode.
#[derive(Serialize, ToSchema)]
pub(crate) struct ShownEpisode {
    id: String,
    podcast_id: String,
    guid: String,
    title: Option<String>,
    enclosure_url: String,
    /// Size of the file in bytes, if the feed says it.
    length: Option<u64>,
    duration_seconds: Option<u64>,
    published_at: Option<String>,
    created_at: String,
}

fn shown_episode(episode: Episode) -> ShownEpisode {
    let facts = episode.facts;
    ShownEpisode {
        id: episode.id.to_string(),
        podcast_id: episode.podcast.to_string(),
        guid: facts.guid,
        title: facts.title,
        enclosure_url: facts.enclosure_url,
        length: facts.length,
        duration_seconds: facts.duration_ms.map(|ms| ms / 1000),
        published_at: facts.published_at.map(|at| at.to_string()),
        created_at: episode.created_at.to_string(),
    }
}

/// The episodes of a podcast, last seen first.
#[utoipa::path(get, path = "/v1/podcasts/{id}/episodes", tag = "podcasts",
    params(("id" = String, Path), ListParameters), responses((status = 200, body = Listed<ShownEpisode>)))]
pub(crate) async fn episodes(
    State(app): State<Arc<App>>,
    scope: Scope,
    Path(podcast): Path<String>,
    List(page, _): List,
) -> Result<Answer<Listed<ShownEpisode>>> {
    let Podcast { id, account, .. } = find(&app, scope, &podcast).await?;
    let episodes = app.catalogue.episodes(account, id, &page).await?;
    Ok(Answer(Listed::of(episodes, shown_episode)))
}
