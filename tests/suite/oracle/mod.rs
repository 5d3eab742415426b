//! What the figures must be, recomputed from the inputs by rules written down from the domain document alone.
//!
//! It shares no code with the product and takes no care of speed. Where the domain document leaves a choice open, the
//! choice stands in one function whose comment begins with "Reading:".

pub(crate) mod access_log;
pub(crate) mod agents;
pub(crate) mod attribution;
pub(crate) mod bytes;
pub(crate) mod credit;
pub(crate) mod filters;
pub(crate) mod intervals;
mod tests;
pub(crate) mod windows;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use agents::{Agents, Networks};

/// Microseconds.
pub(crate) const SECOND: i64 = 1_000_000;
/// Microseconds.
pub(crate) const DAY: i64 = 86_400 * SECOND;

/// The windows in the order of their columns and of `counted`.
pub(crate) const WINDOWS: [&str; 3] = ["utc_day", "first_touch_24h", "last_touch_24h"];

/// A listener request with every input that a rule may need. Its place in the slice is its place in the log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) id: String,
    pub(crate) podcast: String,
    /// An enclosure URL, or the path of an access log.
    pub(crate) url: String,
    /// Microseconds since 1970.
    pub(crate) at: i64,
    pub(crate) method: String,
    pub(crate) status: u16,
    pub(crate) range: Option<String>,
    pub(crate) bytes_sent: Option<u64>,
    pub(crate) file_bytes: Option<u64>,
    pub(crate) agent: Option<String>,
    pub(crate) address: Option<IpAddr>,
    /// The request line was none (`"-"`, or bytes of another protocol).
    pub(crate) malformed: bool,
    /// Bytes of ads in this response: placement, from, to.
    pub(crate) ads: Vec<(String, u64, u64)>,
}

/// An episode as its feed describes it.
#[derive(Debug, Clone)]
pub(crate) struct Episode {
    pub(crate) guid: String,
    pub(crate) url: String,
    pub(crate) length: u64,
    /// Seconds; 0 when the feed has none.
    pub(crate) duration: u64,
}

/// A podcast as its feed describes it.
#[derive(Debug, Clone)]
pub(crate) struct Podcast {
    pub(crate) id: String,
    pub(crate) episodes: Vec<Episode>,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judgement {
    pub(crate) verdict: &'static str,
    pub(crate) reason: Option<&'static str>,
    /// The request that this one repeats or helped.
    pub(crate) duplicate_of: Option<usize>,
    /// In the order of [`WINDOWS`].
    pub(crate) counted: [bool; 3],
    /// Index of the episode in its podcast.
    pub(crate) episode: Option<usize>,
    pub(crate) listener: Option<Listener>,
}

impl Judgement {
    fn refused(verdict: &'static str, reason: &'static str) -> Self {
        Self { verdict, reason: Some(reason), duplicate_of: None, counted: [false; 3], episode: None, listener: None }
    }
}

/// Where a household lives: an IPv4 address, or the first 64 bits of an IPv6 address.
pub(crate) type Household = String;

/// Household and user agent.
pub(crate) type Listener = (Household, String);

/// IPv4 in full, IPv6 by its /64.
pub(crate) fn household(address: Option<IpAddr>) -> Household {
    match address {
        Some(IpAddr::V4(v4)) => v4.to_string(),
        Some(IpAddr::V6(v6)) => {
            let s = v6.segments();
            format!("{:x}:{:x}:{:x}:{:x}::/64", s[0], s[1], s[2], s[3])
        }
        None => String::new(),
    }
}

/// The UTC day, counted from 1970.
pub(crate) fn day_of(at: i64) -> i64 {
    at.div_euclid(DAY)
}

/// All that judging needs besides the requests.
#[derive(Debug)]
pub(crate) struct Oracle {
    pub(crate) podcasts: Vec<Podcast>,
    pub(crate) agents: Agents,
    pub(crate) networks: Networks,
}

impl Oracle {
    /// A verdict for each request: first the ids, then the filters, then the windows.
    pub(crate) fn judge(&self, requests: &[Request]) -> Vec<Judgement> {
        let mut judged = self.filter(requests);
        for members in listener_episodes(requests, &judged).into_values() {
            windows::judge(self, requests, &members, &mut judged);
        }
        judged
    }

    /// Everything but the windows; what passed is left `counted` in no window.
    pub(crate) fn filter(&self, requests: &[Request]) -> Vec<Judgement> {
        let mut first_of_id: BTreeMap<&str, usize> = BTreeMap::new();
        let mut judged = Vec::new();
        for (index, request) in requests.iter().enumerate() {
            let first = *first_of_id.entry(&request.id).or_insert(index);
            judged.push(if first == index {
                filters::judge(self, request)
            } else {
                let mut repeat = Judgement::refused("duplicate", "same_event_id");
                repeat.duplicate_of = Some(first);
                repeat
            });
        }
        filters::rate(requests, &mut judged);
        judged
    }

    pub(crate) fn podcast(&self, id: &str) -> Option<&Podcast> {
        self.podcasts.iter().find(|podcast| podcast.id == id)
    }

    pub(crate) fn episode_of(&self, request: &Request, judgement: &Judgement) -> Option<&Episode> {
        self.podcast(&request.podcast)?.episodes.get(judgement.episode?)
    }
}

/// Members by podcast, episode and listener.
pub(crate) type Groups = BTreeMap<(String, usize, Listener), Vec<usize>>;

/// Members of each listener-episode that passed every filter, by time, then by id.
pub(crate) fn listener_episodes(requests: &[Request], judged: &[Judgement]) -> Groups {
    let mut groups = Groups::new();
    for (index, judgement) in judged.iter().enumerate() {
        if let (None, Some(episode), Some(listener)) = (judgement.reason, judgement.episode, judgement.listener.clone())
        {
            groups.entry((requests[index].podcast.clone(), episode, listener)).or_default().push(index);
        }
    }
    for members in groups.values_mut() {
        members.sort_by(|a, b| in_time(&requests[*a], &requests[*b]));
    }
    groups
}

/// Downloads of a podcast by key, in each window.
pub(crate) fn downloads<K: Ord>(
    requests: &[Request],
    judged: &[Judgement],
    key: impl Fn(&Request, &Judgement) -> Option<K>,
) -> BTreeMap<K, [u64; 3]> {
    let mut totals: BTreeMap<K, [u64; 3]> = BTreeMap::new();
    for (request, judgement) in requests.iter().zip(judged) {
        if judgement.counted.iter().all(|counted| !counted) {
            continue;
        }
        if let Some(key) = key(request, judgement) {
            let row = totals.entry(key).or_default();
            for (total, counted) in row.iter_mut().zip(judgement.counted) {
                *total += u64::from(counted);
            }
        }
    }
    totals
}

/// Reading: requests of one instant are taken in the order in which they were accepted ("ties by event id" is said of
/// credits only); callers give them in that order and sort stably. Totals are the same in any order.
pub(crate) fn in_time(a: &Request, b: &Request) -> std::cmp::Ordering {
    a.at.cmp(&b.at)
}

/// How many records had each verdict and reason.
pub(crate) fn verdicts(judged: &[Judgement]) -> BTreeMap<(String, String), u64> {
    let mut table = BTreeMap::new();
    for judgement in judged {
        let key = (judgement.verdict.to_owned(), judgement.reason.unwrap_or_default().to_owned());
        *table.entry(key).or_insert(0) += 1;
    }
    table
}

/// Distinct listeners among what was counted in a window, per month of their keys, summed over the months.
pub(crate) fn listeners(requests: &[Request], judged: &[Judgement], window: usize) -> usize {
    let counted = requests.iter().zip(judged).filter(|(_, judgement)| judgement.counted[window]);
    let keyed = counted.filter_map(|(request, judgement)| Some((month_of(request.at), judgement.listener.clone()?)));
    keyed.collect::<BTreeSet<_>>().len()
}

/// `2013-12`: listeners and households are hashed with a key of their month.
pub(crate) fn month_of(at: i64) -> String {
    access_log::date_of(day_of(at))[..7].to_owned()
}
