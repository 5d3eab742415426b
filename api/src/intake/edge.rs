//! Where addresses end: network class, listener and household under the keys of months.

use std::net::IpAddr;
use std::sync::Arc;

use castback_rules::lists::Lists;
use castback_schemas::edge::{Hash128, HashKey, NetworkClass, fingerprint, household, listener};
use castback_schemas::event::{AdBytes, HouseholdKey, ListenerRequest};
use castback_schemas::time::DAY;
use castback_schemas::{AccountId, Micros, Month, PodcastId};

use super::batch::Refusal;
use crate::App;
use crate::key_ring::MonthKeys;
use crate::problem::{Problem, Result};

/// The longest look-back that a campaign may have: an exposure so old can still earn credit.
const LOOK_BACK: i64 = 60 * DAY;

/// Records before this day are mistakes: there were no podcasts (2000-01-01).
const EARLIEST: Micros = Micros(946_684_800_000_000);

/// What stands for the household of records without an address: they are one, and it is nobody's,
/// since a conversion without an address has no household.
const NO_ADDRESS: &[u8] = b"no address";

/// A listener request as anybody of ours sees it: typed and checked, its address still there.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) id: String,
    pub(crate) podcast: PodcastId,
    pub(crate) enclosure_url: String,
    pub(crate) occurred_at: Micros,
    pub(crate) method: String,
    pub(crate) status: i32,
    pub(crate) range: Option<String>,
    pub(crate) bytes_sent: Option<i64>,
    pub(crate) file_bytes: Option<i64>,
    pub(crate) user_agent: Option<String>,
    pub(crate) address: Option<IpAddr>,
    pub(crate) referer: Option<String>,
    pub(crate) country: Option<String>,
    pub(crate) ads: Vec<AdBytes>,
    pub(crate) source: &'static str,
}

/// The edge for one batch. Call it where blocking is allowed: keys may have to be asked for.
pub(crate) struct Edge {
    app: Arc<App>,
    now: Micros,
    months: MonthKeys,
}

/// An error of one record, or of all.
pub(crate) enum Failure {
    One(Refusal),
    All(Problem),
}

impl Edge {
    /// Make it where a runtime is.
    pub(crate) fn new(app: Arc<App>) -> Self {
        let (now, months) = (app.clock.now(), MonthKeys::new(Arc::clone(&app)));
        Self { app, now, months }
    }

    /// When the batch was received.
    pub(crate) fn now(&self) -> Micros {
        self.now
    }

    /// The months whose keys were used.
    pub(crate) fn into_months(self) -> std::collections::BTreeSet<Month> {
        self.months.into_used()
    }

    /// Refuses times that can't be meant.
    pub(crate) fn check_time(field: &str, at: Micros) -> Result<(), Refusal> {
        if at < EARLIEST { Err(Refusal::invalid(field, "expected a time after 1999")) } else { Ok(()) }
    }

    /// The lists that judge what happened at `at`.
    fn lists(&self, at: Micros) -> &Lists {
        self.app.lists.at(at.min(self.now))
    }

    /// The class of an address's network, and the version of the list that says so.
    pub(crate) fn network(&self, address: Option<IpAddr>, at: Micros) -> (NetworkClass, String) {
        let ranges = &self.lists(at).datacentres;
        (address.map_or(NetworkClass::Unknown, |address| ranges.classify(address)), ranges.version().to_owned())
    }

    /// The record of a request, without its address.
    pub(crate) fn request(&mut self, account: AccountId, seen: Seen) -> Result<ListenerRequest, Failure> {
        let at = seen.occurred_at.min(self.now);
        let agent = seen.user_agent.as_deref().unwrap_or_default();
        let (network, network_version) = self.network(seen.address, at);
        let safe_listed = seen.address.is_some_and(|address| self.lists(at).safe.holds(address, at));
        let (day, month) = (at.day(), at.day().month());
        let key = self.months.get(month).map_err(Failure::All)?;
        let key = key.ok_or_else(|| Failure::One(Refusal::month_closed(month)))?;
        let (household, listener) = hashes(key, seen.address, agent);
        // A window that opened on the last day of a month reaches into the first of the next.
        let listener_previous = if day == month.first_day() {
            let key = self.months.get(month.previous()).map_err(Failure::All)?;
            key.map(|key| *hashes(key, seen.address, agent).1.as_bytes())
        } else {
            None
        };
        Ok(ListenerRequest {
            event_id: seen.id,
            account_id: account,
            occurred_at: seen.occurred_at,
            recorded_at: self.now,
            revision: 0,
            podcast_id: seen.podcast,
            enclosure_url: seen.enclosure_url,
            method: seen.method,
            status: seen.status,
            range: seen.range,
            bytes_sent: seen.bytes_sent,
            file_bytes: seen.file_bytes,
            user_agent: seen.user_agent,
            network: network.as_str().to_owned(),
            network_version,
            referer: seen.referer,
            country: seen.country,
            listener: *listener.as_bytes(),
            household: *household.as_bytes(),
            listener_previous,
            safe_listed,
            source: seen.source.to_owned(),
            ads: seen.ads,
        })
    }

    /// The household of an address under the key of every month that a look-back from `at` can
    /// reach; a month whose key has died can't be reached any more.
    pub(crate) fn households(&mut self, address: Option<IpAddr>, at: Micros) -> Result<Vec<HouseholdKey>, Problem> {
        let Some(address) = address else { return Ok(Vec::new()) };
        let at = at.min(self.now);
        let last = at.day().month();
        let mut month = at.plus(-LOOK_BACK).day().month();
        let mut households = Vec::new();
        while month <= last {
            if let Some(key) = self.months.get(month)? {
                let hash = *household(key, &address).as_bytes();
                households.push(HouseholdKey { month: month.0, hash });
            }
            month = Month(month.0 + 1);
        }
        Ok(households)
    }
}

/// Household and listener.
fn hashes(key: &HashKey, address: Option<IpAddr>, agent: &str) -> (Hash128, Hash128) {
    match address {
        Some(address) => (household(key, &address), listener(key, &address, agent)),
        None => (fingerprint(key, NO_ADDRESS), fingerprint(key, &[NO_ADDRESS, b"\0", agent.as_bytes()].concat())),
    }
}
