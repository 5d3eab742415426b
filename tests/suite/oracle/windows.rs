//! The three windows of a listener-episode, and what each request is to them.

use super::bytes::{Got, got, is_download};
use super::{DAY, Judgement, Oracle, Request, day_of};

/// What a window says of a listener-episode; indexes are those of the requests.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Requests that completed a download.
    pub(crate) downloads: Vec<Download>,
}

/// A download with every request that belongs to it.
#[derive(Debug)]
pub(crate) struct Download {
    /// The request that completed it.
    pub(crate) by: usize,
    /// Requests before it whose bytes helped.
    pub(crate) helped: Vec<usize>,
    /// Requests inside the window that it opened.
    pub(crate) inside: Vec<usize>,
}

/// Gives every member its verdict.
pub(crate) fn judge(oracle: &Oracle, requests: &[Request], members: &[usize], judged: &mut [Judgement]) {
    let outcomes = [0, 1, 2].map(|window| outcome(oracle, requests, members, judged, window));
    for &member in members {
        let counted = [0, 1, 2].map(|w: usize| outcomes[w].downloads.iter().any(|d| d.by == member));
        let all = || outcomes.iter().flat_map(|outcome| &outcome.downloads);
        let helped = all().find(|download| download.helped.contains(&member));
        let inside = all().find(|download| download.inside.contains(&member));
        let judgement = &mut judged[member];
        judgement.counted = counted;
        if counted.contains(&true) {
            judgement.verdict = "counted";
        } else if let Some(download) = helped {
            (judgement.verdict, judgement.reason) = ("duplicate", Some("part_of"));
            judgement.duplicate_of = Some(download.by);
        } else if let Some(download) = inside {
            (judgement.verdict, judgement.reason) = ("duplicate", Some("same_download"));
            judgement.duplicate_of = Some(download.by);
        } else {
            (judgement.verdict, judgement.reason) = ("filtered", Some("below_threshold"));
        }
    }
}

/// Runs one window over the members, which are in order of time.
pub(crate) fn outcome(
    oracle: &Oracle,
    requests: &[Request],
    members: &[usize],
    judged: &[Judgement],
    window: usize,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut pending: Vec<usize> = Vec::new();
    let mut open_until = i64::MIN;
    for &member in members {
        let request = &requests[member];
        let Some(episode) = oracle.episode_of(request, &judged[member]) else { continue };
        let bytes = |index: &usize| got(&requests[*index], episode);
        if let Some(download) = outcome.downloads.last_mut().filter(|_| request.at < open_until) {
            download.inside.push(member);
            if window == 2 && touches(request, bytes(&member)) {
                open_until = request.at + DAY;
            }
            continue;
        }
        pending.retain(|earlier| reaches(window, requests[*earlier].at, request.at));
        pending.push(member);
        let pieces: Vec<Got> = pending.iter().map(bytes).collect();
        if is_download(&pieces, request, episode) {
            pending.pop();
            let helped = pending.drain(..).filter(|index| helps(bytes(index))).collect();
            outcome.downloads.push(Download { by: member, helped, inside: Vec::new() });
            open_until = if window == 0 { (day_of(request.at) + 1) * DAY } else { request.at + DAY };
        }
    }
    outcome
}

/// Whether bytes of `earlier` still count at `now`: the same UTC day, or the 24 hours before.
fn reaches(window: usize, earlier: i64, now: i64) -> bool {
    if window == 0 { day_of(earlier) == day_of(now) } else { earlier > now - DAY }
}

/// Reading: every request with a byte in the union that made the download helped it, also if all of its bytes came
/// twice; else it would depend on the order which of two equal requests helped.
fn helps(got: Got) -> bool {
    got.bytes() > 0
}

/// A request of at least one byte extends the window of the last touch.
fn touches(request: &Request, got: Got) -> bool {
    request.bytes_sent.unwrap_or_else(|| got.bytes()) >= 1
}
