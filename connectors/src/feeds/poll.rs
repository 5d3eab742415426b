//! One poll of one feed: ask, read, and say what follows.

use castback_schemas::Micros;
use url::Url;

use super::model::Feed;
use super::schedule::{Copy, Fresh, PollPolicy, PollState, Verdict, max_age, retry_after};
use super::{FeedError, parse};
use crate::http::{FetchError, FetchRequest, Fetched, Fetcher};

/// Why a poll failed. The texts may be shown to the feed's owner.
#[derive(Debug, thiserror::Error)]
pub enum PollFailure {
    /// Nothing came back that could be read.
    #[error(transparent)]
    Fetch(FetchError),
    /// The server asks to come back later (429 or 503).
    #[error("the server asked to wait (status {status})")]
    Busy {
        /// The status.
        status: u16,
    },
    /// Any other status.
    #[error("the server answered with status {status}")]
    Status {
        /// The status.
        status: u16,
    },
    /// The answer is no feed.
    #[error(transparent)]
    Feed(FeedError),
    /// The reader of feeds failed: a fault of ours.
    #[error("the feed could not be processed")]
    Reader(#[source] tokio::task::JoinError),
}

/// How a poll ended.
#[derive(Debug)]
pub enum PollKind {
    /// The feed was read.
    Fetched,
    /// It is as it was.
    NotModified,
    /// It is gone for good.
    Gone,
    /// It could not be read.
    Failed(PollFailure),
}

impl PollKind {
    /// The outcome as a closed label.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Fetched => "fetched",
            Self::NotModified => "not_modified",
            Self::Gone => "gone",
            Self::Failed(_) => "failed",
        }
    }

    /// The HTTP status; none if no answer was read.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Fetched | Self::Failed(PollFailure::Feed(_) | PollFailure::Reader(_)) => Some(200),
            Self::NotModified => Some(304),
            Self::Gone => Some(410),
            Self::Failed(PollFailure::Busy { status } | PollFailure::Status { status }) => Some(*status),
            Self::Failed(PollFailure::Fetch(_)) => None,
        }
    }
}

/// A poll and what follows from it.
#[derive(Debug)]
pub struct PollOutcome {
    /// What to remember for the next poll.
    pub state: PollState,
    /// The feed, if a new copy was read.
    pub feed: Option<Feed>,
    /// How it ended.
    pub kind: PollKind,
}

/// Polls a feed, whether it is due or not. Never fails: a failure is an outcome with a later poll.
pub async fn poll_feed(fetcher: &Fetcher, state: PollState, now: Micros, policy: PollPolicy) -> PollOutcome {
    let mut request = FetchRequest::new(state.url.clone());
    request.etag.clone_from(&state.etag);
    request.last_modified.clone_from(&state.last_modified);
    let (kind, feed, verdict) = match fetcher.get(request).await {
        Ok(answer) => judge(answer, now).await,
        Err(error) => failed(PollFailure::Fetch(error), None),
    };
    PollOutcome { state: state.after(verdict, now, policy), feed, kind }
}

type Judged = (PollKind, Option<Feed>, Verdict);

fn failed(failure: PollFailure, retry_after: Option<i64>) -> Judged {
    (PollKind::Failed(failure), None, Verdict::Failed { retry_after })
}

async fn judge(answer: Fetched, now: Micros) -> Judged {
    match answer.status {
        200 => read(answer).await,
        304 => {
            let fresh = fresh(answer.permanent_url, answer.cache_control.as_deref(), None);
            (PollKind::NotModified, None, Verdict::Fresh(fresh))
        }
        410 => (PollKind::Gone, None, Verdict::Gone),
        status @ (429 | 503) => {
            let wait = answer.retry_after.and_then(|raw| retry_after(&raw, now));
            failed(PollFailure::Busy { status }, wait)
        }
        status => failed(PollFailure::Status { status }, None),
    }
}

/// Parsing is work: it runs where blocking is allowed.
async fn read(answer: Fetched) -> Judged {
    let Fetched { body, content_type, etag, last_modified, cache_control, final_url, permanent_url, .. } = answer;
    let reading = tokio::task::spawn_blocking(move || parse(&body, content_type.as_deref(), &final_url));
    let feed = match reading.await {
        Ok(Ok(feed)) => feed,
        Ok(Err(error)) => return failed(PollFailure::Feed(error), None),
        Err(error) => return failed(PollFailure::Reader(error), None),
    };
    let copy = Copy { etag, last_modified, ttl_seconds: feed.ttl_seconds, complete: feed.complete };
    let fresh = fresh(permanent_url, cache_control.as_deref(), Some(copy));
    (PollKind::Fetched, Some(feed), Verdict::Fresh(fresh))
}

fn fresh(permanent_url: Option<Url>, cache_control: Option<&str>, copy: Option<Copy>) -> Fresh {
    Fresh { permanent_url, max_age_seconds: cache_control.and_then(max_age), copy }
}
