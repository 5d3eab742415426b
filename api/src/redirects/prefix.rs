//! `GET HEAD /e/{podcast_id}/{host/path?query}`: on to the file, seen on the way.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use castback_schemas::PodcastId;
use http::header::{CACHE_CONTROL, LOCATION, RANGE, REFERER, USER_AGENT};
use http::{HeaderName, HeaderValue, StatusCode};

use super::queue::{Download, Sighting};
use crate::App;
use crate::peer::Client;
use crate::problem::{Problem, Result};

/// On to the file of an enclosure of this podcast; any other host is not found.
#[utoipa::path(get, path = "/e/{podcast_id}/{*rest}", tag = "redirects",
    params(("podcast_id" = String, Path), ("rest" = String, Path, description = "host/path of the file")),
    responses((status = 302, description = "to the file"), (status = 404, description = "no host of this podcast")))]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Path(parts): Path<(String, String)>,
    client: Client,
    request: Request,
) -> Result<Response> {
    let (method, uri, headers) = (request.method(), request.uri(), request.headers());
    let (podcast, _) = parts;
    let id: PodcastId = podcast.parse().map_err(|_| Problem::not_found("podcast"))?;
    let known = app.edges.podcast(id).ok_or_else(|| Problem::not_found("podcast"))?;
    let location = location(uri, &podcast, |host| known.scheme_of(host)).ok_or_else(|| Problem::not_found("file"))?;
    let target = HeaderValue::try_from(&location).map_err(|_| Problem::not_found("file"))?;
    let now = app.clock.now();
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    app.sightings.put(
        &app.metrics,
        Sighting::Download(Download {
            id: app.ids.next(now).to_string(),
            account: known.account,
            podcast: id,
            enclosure_url: location,
            method: method.as_str().to_owned(),
            range: text(RANGE),
            user_agent: text(USER_AGENT),
            referer: text(REFERER),
            address: client.0,
            at: now,
        }),
    );
    let headers = [(LOCATION, target), (CACHE_CONTROL, HeaderValue::from_static("private, no-store"))];
    Ok((StatusCode::FOUND, headers).into_response())
}

/// Where the path leads, exactly as it was written, if its host is one of the podcast's.
fn location(uri: &http::Uri, podcast: &str, scheme_of: impl Fn(&str) -> Option<&'static str>) -> Option<String> {
    let rest = uri.path().strip_prefix("/e/")?.strip_prefix(podcast)?.strip_prefix('/')?;
    let rest = rest.strip_prefix("https://").or_else(|| rest.strip_prefix("http://")).unwrap_or(rest);
    let (host, path) = rest.split_once('/')?;
    let scheme = scheme_of(host)?;
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    Some(format!("{scheme}://{host}/{path}{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn located(path: &str) -> Option<String> {
        let known = |host: &str| (host == "media.example").then_some("https");
        location(&path.parse().unwrap(), "p", known)
    }

    #[test]
    fn only_known_hosts_are_led_to_and_nothing_is_rewritten() {
        let to = |path: &str| located(path).unwrap_or_default();
        assert_eq!(to("/e/p/media.example/a%20b.mp3?x=%2F&y"), "https://media.example/a%20b.mp3?x=%2F&y");
        assert_eq!(to("/e/p/https://media.example/a.mp3"), "https://media.example/a.mp3");
        for path in [
            "/e/p/evil.example/a.mp3",
            "/e/p/media.example",
            "/e/p/media.example@evil.example/a.mp3",
            "/e/p/media.example:99/a.mp3",
            "/e/p//media.example/a.mp3",
            "/e/p/media.example%2Fevil/a.mp3",
            "/e/q/media.example/a.mp3",
        ] {
            assert_eq!(located(path), None, "{path}");
        }
    }
}
