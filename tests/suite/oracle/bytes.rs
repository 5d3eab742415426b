//! Which bytes of a file a listener has got, and how many make a download.

use super::{Episode, Request};

/// Seconds of content that make a download.
const CONTENT_SECONDS: u64 = 60;

/// Where the bytes of a response lie in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Got {
    /// Half-open.
    Interval(u64, u64),
    /// This many, nobody knows which.
    Somewhere(u64),
}

impl Got {
    pub(crate) fn bytes(self) -> u64 {
        match self {
            Got::Interval(from, to) => to - from,
            Got::Somewhere(bytes) => bytes,
        }
    }
}

/// Size of the file as far as this request can tell: its own, else the feed's, else a 200 is the whole file.
pub(crate) fn file_size(request: &Request, episode: &Episode) -> Option<u64> {
    let feed = (episode.length > 0).then_some(episode.length);
    let whole = if request.status == 200 { request.bytes_sent } else { None };
    request.file_bytes.or(feed).or(whole)
}

/// The bytes of one response.
pub(crate) fn got(request: &Request, episode: &Episode) -> Got {
    let size = file_size(request, episode);
    let end = size.unwrap_or(u64::MAX);
    if request.status == 200 {
        return Got::Interval(0, request.bytes_sent.or(size).unwrap_or(0).min(end));
    }
    let range = request.range.as_deref().and_then(|range| parse_range(range, size));
    match (range, request.bytes_sent) {
        (Some((from, to)), sent) => {
            let to = sent.map_or(to.unwrap_or(end), |sent| from.saturating_add(sent)).min(end);
            Got::Interval(from.min(to), to)
        }
        (None, Some(sent)) => Got::Somewhere(sent),
        (None, None) => Got::Somewhere(0),
    }
}

/// Start and end (half-open) of a range header with one range.
///
/// Reading: several ranges in one header say as little as none.
fn parse_range(header: &str, size: Option<u64>) -> Option<(u64, Option<u64>)> {
    let (from, to) = header.trim().strip_prefix("bytes=")?.split_once('-')?;
    if from.trim().is_empty() {
        let last: u64 = to.trim().parse().ok()?;
        return Some((size?.saturating_sub(last), size));
    }
    let from = from.trim().parse().ok()?;
    let to = to.trim();
    if to.is_empty() { Some((from, None)) } else { Some((from, Some(to.parse::<u64>().ok()? + 1))) }
}

/// Bytes covered by the known intervals.
fn union(pieces: &[Got]) -> u64 {
    let known = pieces.iter().filter_map(|got| match got {
        Got::Interval(from, to) => Some((*from, *to)),
        Got::Somewhere(_) => None,
    });
    let mut known: Vec<(u64, u64)> = known.collect();
    known.sort_unstable();
    let (mut covered, mut end) = (0, 0);
    for (from, to) in known {
        covered += to.max(end) - from.max(end);
        end = end.max(to);
    }
    covered
}

/// How many bytes of the file these responses brought.
///
/// Reading: bytes of unknown place are added to the union of the known ones; both together are at most the file.
pub(crate) fn total(pieces: &[Got], size: u64) -> u64 {
    let somewhere: u64 = pieces.iter().map(|got| if let Got::Somewhere(bytes) = got { *bytes } else { 0 }).sum();
    union(pieces).saturating_add(somewhere).min(size)
}

/// Whether every byte of `[from, to)` was certainly sent.
pub(crate) fn covers(pieces: &[Got], size: u64, from: u64, to: u64) -> bool {
    if to <= from || total(pieces, size) >= size {
        return to > from;
    }
    let mut with_ad = pieces.to_vec();
    with_ad.push(Got::Interval(from, to));
    union(&with_ad) == union(pieces)
}

/// Whether `pieces`, the last of them of `request`, are enough for a download.
pub(crate) fn is_download(pieces: &[Got], request: &Request, episode: &Episode) -> bool {
    let Some(size) = file_size(request, episode) else {
        // Nobody knows the size: a 200 without a count of bytes is the whole file, a 206 is never enough.
        return request.status == 200;
    };
    let got = total(pieces, size);
    if got == 0 {
        return false;
    }
    let content = if episode.length > 0 { episode.length } else { size };
    if episode.duration <= CONTENT_SECONDS || episode.length == 0 {
        return got >= size;
    }
    u128::from(got) * u128::from(episode.duration) >= u128::from(content) * u128::from(CONTENT_SECONDS)
}
