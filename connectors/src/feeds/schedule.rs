//! When a feed is asked again: a pure function of what is known and what was answered.

use std::hash::{DefaultHasher, Hash, Hasher};

use castback_schemas::Micros;
use castback_schemas::time::{DAY, SECOND};
use url::Url;

use super::dates;

/// Longest wait that a publisher's caching hints or our own backoff can reach.
const MAX_WAIT: i64 = DAY;

/// Longest `Retry-After` that is honored; a longer one is cut to this.
const MAX_RETRY_AFTER: i64 = 7 * DAY;

/// Failures in a row before a feed is given up: with the backoff that is about three weeks.
const ERROR_BUDGET: u32 = 30;

/// Waits are lengthened by up to one part in this many, so that feeds connected together drift apart.
const JITTER_PART: i64 = 10;

/// How polling is set up.
#[derive(Debug, Clone, Copy)]
pub struct PollPolicy {
    /// Shortest time between two polls of one feed, in seconds (setting `FEED_POLL_INTERVAL`).
    pub interval_seconds: u32,
}

impl Default for PollPolicy {
    fn default() -> Self {
        Self { interval_seconds: 900 }
    }
}

/// Why a feed is polled no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// The server said 410.
    Gone,
    /// The feed said that it is complete.
    Complete,
    /// Too many failures in a row.
    Failing,
}

/// What is remembered of a feed between two polls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PollState {
    /// The address to poll; permanent redirects rewrite it.
    pub url: Url,
    /// `ETag` of the last copy that could be read.
    pub etag: Option<String>,
    /// `Last-Modified` of that copy.
    pub last_modified: Option<String>,
    /// The feed's own `ttl`, in seconds.
    pub ttl_seconds: Option<u32>,
    /// Failures since the last success.
    pub failures: u32,
    /// When to poll again; `None` once stopped.
    pub next_poll_at: Option<Micros>,
    /// Why it is polled no more.
    pub stopped: Option<Stopped>,
}

impl PollState {
    /// A feed that was never polled and is due at once.
    #[must_use]
    pub fn new(url: Url, now: Micros) -> Self {
        Self {
            url,
            etag: None,
            last_modified: None,
            ttl_seconds: None,
            failures: 0,
            next_poll_at: Some(now),
            stopped: None,
        }
    }

    /// The state after a poll at `now` that ended with `verdict`.
    #[must_use]
    pub(super) fn after(mut self, verdict: Verdict, now: Micros, policy: PollPolicy) -> Self {
        let interval = i64::from(policy.interval_seconds) * SECOND;
        match verdict {
            Verdict::Fresh(fresh) => {
                self.failures = 0;
                if let Some(url) = fresh.permanent_url {
                    self.url = url;
                }
                if let Some(copy) = fresh.copy {
                    (self.etag, self.last_modified, self.ttl_seconds) =
                        (copy.etag, copy.last_modified, copy.ttl_seconds);
                    if copy.complete {
                        return self.stop(Stopped::Complete);
                    }
                }
                let hint = fresh.max_age_seconds.max(self.ttl_seconds).map_or(0, |seconds| i64::from(seconds) * SECOND);
                self.wait(hint.min(MAX_WAIT).max(interval), now)
            }
            Verdict::Gone => self.stop(Stopped::Gone),
            Verdict::Failed { retry_after } => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= ERROR_BUDGET {
                    return self.stop(Stopped::Failing);
                }
                let doublings = (self.failures - 1).min(20);
                let backoff = interval.saturating_mul(1 << doublings).min(MAX_WAIT).max(interval);
                let asked = retry_after.unwrap_or(0).min(MAX_RETRY_AFTER);
                self.wait(backoff.max(asked), now)
            }
        }
    }

    fn stop(mut self, why: Stopped) -> Self {
        self.stopped = Some(why);
        self.next_poll_at = None;
        self
    }

    /// Jitter only lengthens: nobody is asked sooner than he allowed. It is drawn from the feed and the time,
    /// so the same poll always has the same consequence.
    fn wait(mut self, micros: i64, now: Micros) -> Self {
        let mut hasher = DefaultHasher::new();
        (self.url.as_str(), now.0).hash(&mut hasher);
        let share = i64::try_from(hasher.finish() % 1000).unwrap_or(0);
        let jitter = micros / JITTER_PART / 1000 * share;
        self.stopped = None;
        self.next_poll_at = Some(now.plus(micros).plus(jitter));
        self
    }
}

/// What a poll means for the next one.
#[derive(Debug)]
pub(super) enum Verdict {
    /// The feed was read, or has not changed.
    Fresh(Fresh),
    /// 410.
    Gone,
    /// Anything else.
    Failed {
        /// The wait asked for by 429 or 503, in microseconds.
        retry_after: Option<i64>,
    },
}

/// What a good answer says.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    /// Where the feed lives from now on.
    pub(super) permanent_url: Option<Url>,
    /// How long the answer stays fresh.
    pub(super) max_age_seconds: Option<u32>,
    /// The new copy, if there is one.
    pub(super) copy: Option<Copy>,
}

/// What is remembered of a copy.
#[derive(Debug, Default)]
pub(super) struct Copy {
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
    pub(super) ttl_seconds: Option<u32>,
    pub(super) complete: bool,
}

/// `max-age` of a `Cache-Control` header, unless the answer must not be reused.
pub(super) fn max_age(cache_control: &str) -> Option<u32> {
    let directives = || cache_control.split(',').map(|directive| directive.trim().to_ascii_lowercase());
    if directives().any(|directive| directive == "no-cache" || directive == "no-store") {
        return None;
    }
    directives().find_map(|directive| directive.strip_prefix("max-age=")?.trim_matches('"').parse().ok())
}

/// `Retry-After` in microseconds from `now`: seconds or a date.
pub(super) fn retry_after(raw: &str, now: Micros) -> Option<i64> {
    if let Ok(seconds) = raw.trim().parse::<u32>() {
        return Some(i64::from(seconds) * SECOND);
    }
    let at = dates::read(raw)?.at;
    (at > now).then(|| at.0.saturating_sub(now.0))
}

#[cfg(test)]
mod tests {
    use castback_schemas::time::{HOUR, MINUTE};

    use super::*;

    const NOW: Micros = Micros(1_800_000_000_000_000);
    const POLICY: PollPolicy = PollPolicy { interval_seconds: 900 };

    fn state() -> PollState {
        PollState::new(Url::parse("https://example.org/feed").unwrap(), NOW)
    }

    /// The wait, without its jitter, must be `micros`.
    fn assert_waits(state: &PollState, micros: i64) {
        let wait = state.next_poll_at.unwrap().0 - NOW.0;
        assert!((micros..=micros + micros / JITTER_PART).contains(&wait), "{wait} for {micros}");
    }

    fn fresh(max_age_seconds: Option<u32>, ttl_seconds: Option<u32>) -> Verdict {
        let copy = Some(Copy { ttl_seconds, ..Copy::default() });
        Verdict::Fresh(Fresh { max_age_seconds, copy, ..Fresh::default() })
    }

    #[test]
    fn the_longest_of_interval_max_age_and_ttl_counts() {
        for (max_age, ttl, wait) in [
            (None, None, 15 * MINUTE),
            (Some(60), None, 15 * MINUTE),
            (Some(3600), None, HOUR),
            (Some(3600), Some(7200), 2 * HOUR),
            (None, Some(u32::MAX), DAY),
        ] {
            assert_waits(&state().after(fresh(max_age, ttl), NOW, POLICY), wait);
        }
        let slow = PollPolicy { interval_seconds: 2 * 86_400 };
        assert_waits(&state().after(fresh(Some(60), None), NOW, slow), 2 * DAY);
    }

    #[test]
    fn an_unchanged_feed_keeps_its_copy_and_ttl() {
        let held = PollState { etag: Some("\"a\"".to_owned()), ttl_seconds: Some(7200), failures: 3, ..state() };
        let after = held.clone().after(Verdict::Fresh(Fresh::default()), NOW, POLICY);
        assert_eq!((after.etag.as_deref(), after.failures), (Some("\"a\""), 0));
        assert_waits(&after, 2 * HOUR);
    }

    #[test]
    fn failures_back_off_and_end() {
        let mut held = state();
        for wait in [15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR, 8 * HOUR, 16 * HOUR, DAY, DAY] {
            held = held.after(Verdict::Failed { retry_after: None }, NOW, POLICY);
            assert_waits(&held, wait);
        }
        for _ in held.failures..ERROR_BUDGET {
            assert_eq!(held.stopped, None);
            held = held.after(Verdict::Failed { retry_after: None }, NOW, POLICY);
        }
        assert_eq!((held.stopped, held.next_poll_at), (Some(Stopped::Failing), None));
        let revived = held.after(fresh(None, None), NOW, POLICY);
        assert_eq!((revived.stopped, revived.failures), (None, 0));
    }

    #[test]
    fn retry_after_is_a_lower_bound_with_a_cap() {
        for (asked, wait) in [(HOUR, HOUR), (SECOND, 15 * MINUTE), (3 * DAY, 3 * DAY), (400 * DAY, 7 * DAY)] {
            assert_waits(&state().after(Verdict::Failed { retry_after: Some(asked) }, NOW, POLICY), wait);
        }
    }

    #[test]
    fn gone_and_complete_stop() {
        let gone = state().after(Verdict::Gone, NOW, POLICY);
        assert_eq!((gone.stopped, gone.next_poll_at), (Some(Stopped::Gone), None));
        let copy = Some(Copy { complete: true, ..Copy::default() });
        let complete = state().after(Verdict::Fresh(Fresh { copy, ..Fresh::default() }), NOW, POLICY);
        assert_eq!((complete.stopped, complete.next_poll_at), (Some(Stopped::Complete), None));
    }

    #[test]
    fn jitter_differs_between_feeds_and_is_repeatable() {
        let at = |path: &str| {
            let url = Url::parse(&format!("https://example.org/{path}")).unwrap();
            PollState::new(url, NOW).after(fresh(None, None), NOW, POLICY).next_poll_at
        };
        let times: std::collections::HashSet<_> = (0..100).map(|number| at(&number.to_string())).collect();
        assert!(times.len() > 50);
        assert_eq!(at("1"), at("1"));
    }

    #[test]
    fn headers_are_read() {
        assert_eq!(max_age("public, Max-Age=300"), Some(300));
        assert_eq!(max_age("no-cache, max-age=300"), None);
        assert_eq!(max_age("max-age=soon"), None);
        assert_eq!(retry_after("120", NOW), Some(120 * SECOND));
        let now: Micros = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(retry_after("Thu, 01 Jan 2026 01:00:00 GMT", now), Some(HOUR));
        assert_eq!(retry_after("Wed, 31 Dec 2025 01:00:00 GMT", now), None);
        assert_eq!(retry_after("later", NOW), None);
    }
}
