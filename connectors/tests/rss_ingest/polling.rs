//! Conditional requests, redirects, waits and stops.

use castback_connectors::feeds::{PollFailure, PollKind, PollOutcome, PollPolicy, PollState, Stopped, poll_feed};
use castback_schemas::Micros;
use castback_schemas::time::{DAY, HOUR, MINUTE};
use url::Url;

use super::server::{Answer, Server, feed, fetcher};

const NOW: Micros = Micros(1_800_000_000_000_000);

async fn poll(state: PollState) -> PollOutcome {
    poll_feed(&fetcher(), state, NOW, PollPolicy::default()).await
}

async fn poll_url(url: Url) -> PollOutcome {
    poll(PollState::new(url, NOW)).await
}

fn wait(outcome: &PollOutcome) -> i64 {
    outcome.state.next_poll_at.unwrap().0 - NOW.0
}

#[tokio::test]
async fn test_rss_ingest_asks_conditionally_and_takes_304() {
    let server = Server::start().await;
    let headers =
        [("ETag", "\"v1\""), ("Last-Modified", "Tue, 06 Jan 2026 05:00:00 GMT"), ("Cache-Control", "max-age=7200")];
    let url = server.on("/feed", Answer::new(200, &headers, &feed(3)));
    let first = poll_url(url).await;
    assert!(matches!(first.kind, PollKind::Fetched));
    assert_eq!(first.feed.as_ref().unwrap().episodes.len(), 3);
    assert!(wait(&first) >= 2 * HOUR);

    server.on("/feed", Answer::new(304, &[], b""));
    let second = poll(first.state.clone()).await;
    assert!(matches!(second.kind, PollKind::NotModified));
    assert!(second.feed.is_none());
    assert_eq!(second.state.etag, first.state.etag);
    let heads = server.heads();
    assert!(!heads[0].contains("if-none-match"));
    assert!(heads[1].contains("if-none-match: \"v1\""));
    assert!(heads[1].contains("if-modified-since: tue, 06 jan 2026 05:00:00 gmt"));
    assert!(heads[1].contains("user-agent: castback/"));
}

#[tokio::test]
async fn test_rss_ingest_rewrites_the_address_on_permanent_redirects_only() {
    let server = Server::start().await;
    let end = server.on("/end", Answer::new(200, &[], &feed(1)));
    for (status, rewritten) in [(301, true), (302, false), (303, false), (307, false), (308, true)] {
        let start = server.on("/start", Answer::redirect(status, "/end"));
        let outcome = poll_url(start.clone()).await;
        assert_eq!(outcome.feed.unwrap().episodes.len(), 1, "{status}");
        assert_eq!(outcome.state.url, if rewritten { end.clone() } else { start }, "{status}");
    }
    // A chain is followed as far as it is permanent from the start.
    server.on("/moved", Answer::redirect(302, "/end"));
    let outcome = poll_url(server.on("/start", Answer::redirect(301, "/moved"))).await;
    assert_eq!(outcome.state.url, server.url("/moved"));
    server.on("/moved", Answer::redirect(301, "/end"));
    let start = server.on("/start", Answer::redirect(302, "/moved"));
    assert_eq!(poll_url(start.clone()).await.state.url, start);
    // A move to nothing is not believed.
    let start = server.on("/start", Answer::redirect(301, "/nothing"));
    let outcome = poll_url(start.clone()).await;
    assert!(matches!(outcome.kind, PollKind::Failed(PollFailure::Status { status: 404 })));
    assert_eq!(outcome.state.url, start);
}

#[tokio::test]
async fn test_rss_ingest_follows_three_redirects_and_no_more() {
    let server = Server::start().await;
    server.on("/0", Answer::new(200, &[], &feed(1)));
    for hop in 1..=4 {
        server.on(&format!("/{hop}"), Answer::redirect(302, &format!("/{}", hop - 1)));
    }
    assert!(matches!(poll_url(server.url("/3")).await.kind, PollKind::Fetched));
    assert!(matches!(poll_url(server.url("/4")).await.kind, PollKind::Failed(PollFailure::Fetch(_))));
    let start = server.on("/loop", Answer::redirect(301, "/loop"));
    let outcome = poll_url(start.clone()).await;
    assert!(matches!(outcome.kind, PollKind::Failed(PollFailure::Fetch(_))));
    assert_eq!(outcome.state.url, start);
}

#[tokio::test]
async fn test_rss_ingest_stops_when_gone_or_complete() {
    let server = Server::start().await;
    let outcome = poll_url(server.on("/gone", Answer::new(410, &[], b""))).await;
    assert!(matches!(outcome.kind, PollKind::Gone));
    assert_eq!((outcome.state.stopped, outcome.state.next_poll_at), (Some(Stopped::Gone), None));
    let complete =
        b"<rss><channel><podcast:updateFrequency complete=\"true\"/><item><guid>last</guid></item></channel></rss>";
    let outcome = poll_url(server.on("/complete", Answer::new(200, &[], complete))).await;
    assert_eq!(outcome.feed.unwrap().episodes.len(), 1);
    assert_eq!((outcome.state.stopped, outcome.state.next_poll_at), (Some(Stopped::Complete), None));
}

#[tokio::test]
async fn test_rss_ingest_waits_as_asked_on_429_and_503() {
    let server = Server::start().await;
    for status in [429, 503] {
        let url = server.on("/busy", Answer::new(status, &[("Retry-After", "86400")], b"wait"));
        let held = PollState { etag: Some("\"v1\"".to_owned()), ..PollState::new(url, NOW) };
        let outcome = poll(held).await;
        assert!(matches!(outcome.kind, PollKind::Failed(PollFailure::Busy { status: told }) if told == status));
        assert!((DAY..DAY + DAY / 10).contains(&wait(&outcome)), "{status}");
        assert_eq!((outcome.state.failures, outcome.state.etag.as_deref()), (1, Some("\"v1\"")));
    }
    let url = server.on("/other", Answer::new(500, &[("Retry-After", "86400")], b""));
    assert!(wait(&poll_url(url).await) < 17 * MINUTE);
}

#[tokio::test]
async fn test_rss_ingest_backs_off_from_what_is_no_feed_and_forgets_failures_after() {
    let server = Server::start().await;
    let url = server.on("/page", Answer::new(200, &[("ETag", "\"page\"")], b"<html><body>Sign in</body></html>"));
    let first = poll_url(url).await;
    assert!(matches!(first.kind, PollKind::Failed(PollFailure::Feed(_))));
    assert_eq!((first.state.failures, &first.state.etag), (1, &None));
    let second = poll(first.state).await;
    assert!(wait(&second) >= 30 * MINUTE);
    server.on("/page", Answer::new(200, &[], &feed(1)));
    let third = poll(second.state).await;
    assert_eq!(third.state.failures, 0);
}
