//! The filters of one request: what is never a download, and the first reason why.
//!
//! The rules are those of the IAB Tech Lab Podcast Measurement Technical Guidelines v2.3 and
//! some of ours. `rate` looks at a whole day of an address and `below_threshold` at all bytes
//! of a listener, so both are decided where that is known; they stand here for their order.

use castback_schemas::edge::{ByteRange, NetworkClass};

use crate::agents::{Agent, AgentKind};
use crate::lists::Lists;
use crate::named::named;

named! {
    /// Why a request is filtered. The order is that of judgement: the first that applies.
    FilterReason "filter reason" {
        /// The log line's request made no sense.
        MalformedRequest "malformed_request",
        /// The record came to a slot that is not its account's, and was sent on.
        Rerouted "rerouted",
        /// No podcast of the account.
        UnknownPodcast "unknown_podcast",
        /// No enclosure of the podcast; HLS segments, too.
        NotAnEpisode "not_an_episode",
        /// A method other than GET.
        Method "method",
        /// A status other than 200 and 206.
        Status "status",
        /// Only the first byte or two: to learn whether ranges are served.
        RangeProbe "range_probe",
        /// No user agent.
        NoUserAgent "no_user_agent",
        /// A user agent that no honest client sends.
        MalformedUserAgent "malformed_user_agent",
        /// An Apple Watch fetching what its phone fetches.
        WatchosDuplicate "watchos_duplicate",
        /// A bot by the lists, or an unknown agent that says so.
        Bot "bot",
        /// A library that servers use.
        BotLibrary "bot_library",
        /// From a data centre.
        Datacentre "datacentre",
        /// From a bad referrer.
        Referrer "referrer",
        /// Too many different requests of one address in a day.
        Rate "rate",
        /// Too few bytes.
        BelowThreshold "below_threshold",
    }
}

/// Longest user agent taken as one, in bytes: eight times the longest on OPAWG's lists. Longer
/// ones are `malformed_user_agent`.
pub const MAX_USER_AGENT: usize = 2_048;

/// What a request asked for, as far as the account's podcasts are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// An episode's enclosure.
    Episode,
    /// Something else of a known podcast.
    NotAnEpisode,
    /// A podcast that the account does not have.
    UnknownPodcast,
    /// Whatever it is, another slot judges it.
    Rerouted,
}

/// How a server answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The status; 0 if there was none.
    pub status: u16,
    /// Body bytes sent, if known.
    pub bytes_sent: Option<u64>,
}

/// All that the filters of one request look at.
#[derive(Debug, Clone, Copy)]
pub struct FilterInput<'a> {
    /// What was asked for.
    pub subject: Subject,
    /// The method; `-` if the request could not be read.
    pub method: &'a str,
    /// The answer; none for a prefix redirect, which never sees it.
    pub answer: Option<Answer>,
    /// The `Range` header as sent. One that is no range of bytes counts as absent, as for servers.
    pub range: Option<&'a str>,
    /// The user agent as sent.
    pub user_agent: Option<&'a str>,
    /// The class of the client's network.
    pub network: NetworkClass,
    /// The referrer as sent.
    pub referer: Option<&'a str>,
}

/// The first reason to filter a request, if any, but for `rate` and `below_threshold`.
#[must_use]
pub fn judge(request: &FilterInput<'_>, lists: &Lists) -> Option<FilterReason> {
    let against_agent = || {
        let agent = lists.agents.classify(request.user_agent.unwrap_or_default());
        judge_agent(request.user_agent, agent)
    };
    before_agent(request).or_else(against_agent).or_else(|| by_origin(request, lists))
}

/// What speaks against a user agent itself, whatever it asks for: the part of [`judge`] that may be
/// remembered for each agent.
#[must_use]
pub fn judge_agent(user_agent: Option<&str>, agent: &Agent) -> Option<FilterReason> {
    by_user_agent(user_agent).or_else(|| by_agent(user_agent, agent))
}

/// [`judge`] for a caller that remembers what [`judge_agent`] said of the request's user agent.
#[must_use]
pub fn judge_as(request: &FilterInput<'_>, agent: Option<FilterReason>, lists: &Lists) -> Option<FilterReason> {
    before_agent(request).or(agent).or_else(|| by_origin(request, lists))
}

fn before_agent(request: &FilterInput<'_>) -> Option<FilterReason> {
    by_request(request).or_else(|| by_answer(request))
}

fn by_request(request: &FilterInput<'_>) -> Option<FilterReason> {
    let method = request.method;
    if method.is_empty() || method == "-" || !method.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some(FilterReason::MalformedRequest);
    }
    match request.subject {
        Subject::Rerouted => Some(FilterReason::Rerouted),
        Subject::UnknownPodcast => Some(FilterReason::UnknownPodcast),
        Subject::NotAnEpisode => Some(FilterReason::NotAnEpisode),
        Subject::Episode => (method != "GET").then_some(FilterReason::Method),
    }
}

fn by_answer(request: &FilterInput<'_>) -> Option<FilterReason> {
    if request.answer.is_some_and(|answer| !matches!(answer.status, 200 | 206)) {
        return Some(FilterReason::Status);
    }
    let is_probe = match request.range.and_then(|range| range.parse::<ByteRange>().ok()) {
        Some(range) => range.is_probe(),
        None => matches!(request.answer, Some(Answer { status: 206, bytes_sent: Some(0..=2) })),
    };
    is_probe.then_some(FilterReason::RangeProbe)
}

fn by_user_agent(user_agent: Option<&str>) -> Option<FilterReason> {
    match user_agent.map(str::trim).unwrap_or_default() {
        "" | "-" => Some(FilterReason::NoUserAgent),
        text if is_malformed(text) => Some(FilterReason::MalformedUserAgent),
        text if is_watchos_duplicate(text) => Some(FilterReason::WatchosDuplicate),
        _ => None,
    }
}

/// Whether no honest client sends this as its user agent (*ours*): no letter in it, control
/// characters or bytes that were not UTF-8, more than [`MAX_USER_AGENT`], the name of the
/// header inside the header, the word for a missing value, or code for somebody else to run.
fn is_malformed(text: &str) -> bool {
    const MISSING: [&str; 4] = ["null", "(null)", "undefined", "none"];
    const CODE: [&str; 4] = ["${", "() {", "<script", "<?"];
    text.len() > MAX_USER_AGENT
        || !text.chars().any(char::is_alphabetic)
        || text.chars().any(|c| c.is_control() || c == char::REPLACEMENT_CHARACTER)
        || starts_with(text, "User-Agent:")
        || MISSING.iter().any(|word| text.eq_ignore_ascii_case(word))
        || CODE.iter().any(|code| text.contains(code))
}

/// Apple Watches fetch again what the phone has (IAB v2.3): the agent begins `atc/` and
/// includes `watchOS`, or contains `(null)/(null) watchOS`.
fn is_watchos_duplicate(text: &str) -> bool {
    (text.starts_with("atc/") && text.contains("watchOS")) || text.contains("(null)/(null) watchOS")
}

fn by_agent(user_agent: Option<&str>, agent: &Agent) -> Option<FilterReason> {
    match agent.kind {
        AgentKind::Bot => Some(FilterReason::Bot),
        AgentKind::Unknown => user_agent.is_some_and(says_bot).then_some(FilterReason::Bot),
        _ => agent.is_bot_library().then_some(FilterReason::BotLibrary),
    }
}

/// Whether an agent on no list calls itself a bot, crawler or spider, in any case.
fn says_bot(text: &str) -> bool {
    let says = |word: &str| text.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()));
    says("bot") || says("crawler") || says("spider")
}

fn by_origin(request: &FilterInput<'_>, lists: &Lists) -> Option<FilterReason> {
    if request.network == NetworkClass::Datacentre {
        return Some(FilterReason::Datacentre);
    }
    let bad = request.referer.is_some_and(|referer| lists.is_bad_referrer(referer));
    bad.then_some(FilterReason::Referrer)
}

fn starts_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
