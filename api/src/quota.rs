//! Token buckets (GCRA): how much a caller may do, in bursts.
//!
//! A bucket is one number, the time at which it is full again; buckets that are full say nothing
//! and are forgotten, so memory is bounded by who is active.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use castback_schemas::edge::Hash128;
use castback_schemas::{AccountId, Micros};
use http::{HeaderName, HeaderValue};

use crate::problem::{Code, Problem};

/// Buckets of one kind that are kept; beyond that, full ones are forgotten, then everybody is
/// refused until one is full again (100,000 active callers within seconds are an attack).
const MAX_BUCKETS: usize = 100_000;

/// Nanoseconds in a second.
const SECOND: i64 = 1_000_000_000;

/// Nanoseconds in a minute.
const MINUTE: i64 = 60 * SECOND;

/// How much, how fast.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    /// What it is called in the `RateLimit` headers.
    pub name: &'static str,
    /// Units a minute in the long run.
    pub per_minute: i64,
    /// Units at once.
    pub burst: i64,
}

impl Rate {
    /// Nanoseconds in which one unit comes back.
    fn unit(&self) -> i64 {
        MINUTE / self.per_minute.max(1)
    }
}

/// What is left after a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// Units that may be used at once now.
    pub units: i64,
    /// Seconds until the bucket is full again.
    pub full_in: i64,
}

/// Buckets of one kind.
#[derive(Debug)]
pub struct Buckets<K> {
    rate: Rate,
    full_at: Mutex<HashMap<K, i64>>,
}

impl<K: Eq + Hash> Buckets<K> {
    /// Buckets that are all full.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self { rate, full_at: Mutex::default() }
    }

    /// Takes `units` from a caller's bucket. More than it ever holds empties a full bucket. Else
    /// [`Code::RateLimited`], and nothing is taken.
    pub fn take(&self, caller: K, units: i64, now: Micros) -> Result<Left, Problem> {
        let now = now.0.saturating_mul(1000);
        let unit = self.rate.unit();
        let capacity = unit.saturating_mul(self.rate.burst);
        let cost = unit.saturating_mul(units).min(capacity);
        let mut all = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_BUCKETS {
            all.retain(|_, full_at| *full_at > now);
        }
        if all.len() >= MAX_BUCKETS && !all.contains_key(&caller) {
            return Err(self.refused(unit));
        }
        let bucket = all.entry(caller).or_insert(now);
        // A clock that was set back must not keep anybody out for longer than an empty bucket does.
        *bucket = (*bucket).clamp(now, now.saturating_add(capacity));
        let full_at = bucket.saturating_add(cost);
        let over = full_at.saturating_sub(now).saturating_sub(capacity);
        if over > 0 {
            return Err(self.refused(over.max(unit)));
        }
        *bucket = full_at;
        let used = full_at - now;
        Ok(Left { units: (capacity - used) / unit, full_in: seconds_up(used) })
    }

    /// The `RateLimit` headers of an answer.
    #[must_use]
    pub fn headers(&self, left: Left) -> [(HeaderName, HeaderValue); 2] {
        let Rate { name, burst, .. } = self.rate;
        let window = seconds_up(self.rate.unit().saturating_mul(burst));
        [
            (HeaderName::from_static("ratelimit-policy"), text(format!("\"{name}\";q={burst};w={window}"))),
            (HeaderName::from_static("ratelimit"), text(format!("\"{name}\";r={};t={}", left.units, left.full_in))),
        ]
    }

    fn refused(&self, wait: i64) -> Problem {
        let seconds = u32::try_from(seconds_up(wait)).unwrap_or(u32::MAX);
        let detail = format!("more than {} a minute, {} at once", self.rate.per_minute, self.rate.burst);
        let headers = self.headers(Left { units: 0, full_in: i64::from(seconds) });
        let problem = Problem::new(Code::RateLimited, detail).retry_after(seconds);
        headers.into_iter().fold(problem, |problem, (name, value)| problem.header(name, value))
    }
}

fn seconds_up(nanoseconds: i64) -> i64 {
    nanoseconds.max(0).saturating_add(SECOND - 1) / SECOND
}

fn text(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// The buckets of this process.
#[derive(Debug)]
pub struct Quotas {
    /// Records that an account posts.
    pub records: Buckets<AccountId>,
    /// Events by a publishable key, of an account.
    pub publishable: Buckets<AccountId>,
    /// Attempts to sign up or in from an address, by its hash.
    pub addresses: Buckets<Hash128>,
    /// Attempts to sign in as somebody, by the hash of the e-mail address.
    pub people: Buckets<Hash128>,
}

impl Default for Quotas {
    fn default() -> Self {
        let rate = |name, per_minute, burst| Rate { name, per_minute, burst };
        Self {
            records: Buckets::new(rate("records", 6_000_000, 1_000_000)),
            publishable: Buckets::new(rate("events", 6_000, 2_000)),
            addresses: Buckets::new(rate("sign-ins", 120, 300)),
            people: Buckets::new(rate("sign-ins", 6, 20)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Micros = Micros(1_800_000_000_000_000);

    fn buckets() -> Buckets<&'static str> {
        Buckets::new(Rate { name: "test", per_minute: 600, burst: 30 })
    }

    #[test]
    fn a_burst_is_taken_at_once_and_comes_back_by_the_second() {
        let buckets = buckets();
        assert_eq!(buckets.take("a", 30, NOW).unwrap(), Left { units: 0, full_in: 3 });
        let refused = buckets.take("a", 11, NOW.plus(1_000_000)).unwrap_err();
        assert_eq!(refused.code(), Code::RateLimited);
        assert_eq!(buckets.take("a", 10, NOW.plus(1_000_000)).unwrap(), Left { units: 0, full_in: 3 });
        assert_eq!(buckets.take("b", 1, NOW).unwrap().units, 29, "others have their own");
        assert_eq!(buckets.take("a", 1, NOW.plus(9_000_000)).unwrap().units, 29);
    }

    #[test]
    fn a_clock_set_back_keeps_nobody_out() {
        let buckets = buckets();
        buckets.take("a", 30, NOW).unwrap();
        let earlier = NOW.plus(-3_600_000_000);
        assert!(buckets.take("a", 1, earlier).is_err());
        assert_eq!(buckets.take("a", 1, earlier.plus(3_000_000)).unwrap().units, 29);
    }

    #[test]
    fn one_larger_than_the_burst_passes_when_nothing_else_did() {
        let buckets = buckets();
        assert!(buckets.take("a", 1_000, NOW).is_ok());
        assert!(buckets.take("a", 1, NOW).is_err());
    }
}
