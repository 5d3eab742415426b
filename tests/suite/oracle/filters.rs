//! The filters, in the order in which the domain document lists them; the first that applies gives the reason.

use std::collections::{BTreeMap, BTreeSet};

use super::agents::Kind;
use super::{Episode, Judgement, Oracle, Request, day_of, household};

/// Distinct (episode, user agent) pairs that one address may ask for, per podcast and UTC day.
const PAIRS_OF_AN_ADDRESS: usize = 300;

/// The verdict of the filters that look at one request alone.
pub(crate) fn judge(oracle: &Oracle, request: &Request) -> Judgement {
    let filtered = |reason| Judgement::refused("filtered", reason);
    if request.malformed {
        return filtered("malformed_request");
    }
    let Some(podcast) = oracle.podcast(&request.podcast) else { return filtered("unknown_podcast") };
    let Some(episode) = podcast.episodes.iter().position(|episode| is_enclosure(episode, &request.url)) else {
        return filtered("not_an_episode");
    };
    let agent = request.agent.as_deref().unwrap_or_default();
    let reason = of_request(request).or_else(|| of_agent(oracle, agent)).or_else(|| of_network(oracle, request));
    Judgement {
        verdict: if reason.is_some() { "filtered" } else { "counted" },
        reason,
        duplicate_of: None,
        counted: [false; 3],
        episode: Some(episode),
        listener: Some((household(request.address), agent.to_owned())),
    }
}

/// Reading: an access log's path must be the path of the enclosure, its query left out; a whole URL must be the
/// enclosure's, its scheme left out.
fn is_enclosure(episode: &Episode, url: &str) -> bool {
    let without_scheme = |url: &str| url.split_once("://").map_or(url, |(_, rest)| rest).to_owned();
    if url.starts_with('/') {
        let enclosure = without_scheme(&episode.url);
        let path = enclosure.find('/').map_or("/", |start| &enclosure[start..]);
        path.split('?').next() == url.split('?').next()
    } else {
        without_scheme(&episode.url) == without_scheme(url)
    }
}

fn of_request(request: &Request) -> Option<&'static str> {
    if request.method != "GET" {
        Some("method")
    } else if request.status != 200 && request.status != 206 {
        Some("status")
    } else if is_probe(request) {
        Some("range_probe")
    } else {
        None
    }
}

/// Reading: what the range header says goes before what was sent, whatever the status.
fn is_probe(request: &Request) -> bool {
    match request.range.as_deref() {
        Some(range) => matches!(range.replace(' ', "").as_str(), "bytes=0-1" | "bytes=0-0"),
        None => request.status == 206 && request.bytes_sent.is_some_and(|bytes| bytes <= 2),
    }
}

fn of_agent(oracle: &Oracle, agent: &str) -> Option<&'static str> {
    let watch = (agent.starts_with("atc/") && agent.contains("watchOS")) || agent.contains("(null)/(null) watchOS");
    if agent.is_empty() || agent == "-" {
        Some("no_user_agent")
    } else if is_malformed(agent) {
        Some("malformed_user_agent")
    } else if watch {
        Some("watchos_duplicate")
    } else {
        match oracle.agents.kind(agent) {
            Kind::Bot => Some("bot"),
            Kind::BotLibrary => Some("bot_library"),
            Kind::Listener => None,
        }
    }
}

/// Reading: a user agent without a letter names no agent; one with control characters wasn't sent by HTTP.
fn is_malformed(agent: &str) -> bool {
    !agent.chars().any(|c| c.is_ascii_alphabetic()) || agent.chars().any(char::is_control)
}

/// Reading: no referrer is bad until a list of bad ones is configured; none is shipped.
fn of_network(oracle: &Oracle, request: &Request) -> Option<&'static str> {
    oracle.networks.is_datacentre(request.address?).then_some("datacentre")
}

/// With the 301st distinct pair of an address, all of its rows of that podcast and day are filtered.
///
/// Reading: only requests that passed every filter before this one make pairs.
pub(crate) fn rate(requests: &[Request], judged: &mut [Judgement]) {
    let mut pairs: BTreeMap<(String, i64, String), BTreeSet<(usize, String)>> = BTreeMap::new();
    let key = |request: &Request| (request.podcast.clone(), day_of(request.at), household(request.address));
    for (request, judgement) in requests.iter().zip(judged.iter()) {
        if let (None, Some(episode), Some((_, agent))) = (judgement.reason, judgement.episode, &judgement.listener) {
            pairs.entry(key(request)).or_default().insert((episode, agent.clone()));
        }
    }
    for (request, judgement) in requests.iter().zip(judged) {
        let distinct = pairs.get(&key(request)).map_or(0, BTreeSet::len);
        if judgement.reason.is_none() && distinct > PAIRS_OF_AN_ADDRESS {
            judgement.verdict = "filtered";
            judgement.reason = Some("rate");
        }
    }
}
