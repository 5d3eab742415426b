//! A day of listeners, from a seed: who asks for what, when, and when it is told. Pure: the same seed makes the same
//! day, however it is cut.
//!
//! Visits come one after the other; what follows from a visit (the next piece of a file, a purchase, its refund, the
//! same record sent again) waits until its time comes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use castback_schemas::Micros;
use castback_schemas::time::{HOUR, MINUTE, SECOND};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::cast::{BOTS, CAMPAIGNS, PLAYERS, PODCASTS, RENTED, WATCH};
use super::sent::{AppEvent, Conversion, Request, Sent};

/// People who listen at all.
const PEOPLE: u32 = 4_000;

/// How busy each hour of the day is (UTC), in tenths of the average.
const HOURS: [i64; 24] = [4, 3, 2, 2, 3, 6, 13, 19, 17, 12, 10, 10, 12, 10, 9, 11, 15, 18, 16, 13, 11, 9, 8, 7];

/// Listeners from one instant on.
#[derive(Debug)]
pub(crate) struct Listeners {
    rng: StdRng,
    tag: String,
    number: u64,
    next_visit: Micros,
    visits_a_day: i64,
    waiting: BinaryHeap<Reverse<Waiting>>,
}

/// What waits for its time; of two at the same time, the one made first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    at: Micros,
    number: u64,
    sent: Sent,
}

impl Listeners {
    /// Listeners of `seed` from `from` on. `tag` makes their records' ids their own.
    pub(crate) fn new(seed: u64, (tag, from): (&str, Micros), visits_a_day: i64) -> Self {
        let (rng, waiting) = (StdRng::seed_from_u64(seed), BinaryHeap::new());
        Self { rng, tag: tag.to_owned(), number: 0, next_visit: from, visits_a_day, waiting }
    }

    /// From now on, so many visits a day.
    pub(crate) fn hurry(&mut self, visits_a_day: i64) {
        self.visits_a_day = visits_a_day;
    }

    /// Everything that is sent before `until` and was not given yet, in the order of its time.
    pub(crate) fn until(&mut self, until: Micros) -> Vec<Sent> {
        while self.next_visit < until {
            let at = self.next_visit;
            self.visit(at);
            let busy = HOURS[usize::try_from(at.0.div_euclid(HOUR).rem_euclid(24)).unwrap_or(0)];
            let mean = 24 * HOUR * 10 / (self.visits_a_day * busy);
            self.next_visit = at.plus(self.rng.random_range(1..=2 * mean.max(1)));
        }
        let mut due = Vec::new();
        while self.waiting.peek().is_some_and(|Reverse(first)| first.at < until) {
            due.extend(self.waiting.pop().map(|Reverse(first)| first.sent));
        }
        due
    }

    /// One visit: mostly somebody listens, sometimes something else asks.
    fn visit(&mut self, at: Micros) {
        let request = self.request(at);
        match self.rng.random_range(0..100) {
            0..42 => self.whole(request),
            42..66 => self.pieces(&request),
            66..74 => self.given_up(request),
            74..78 => self.with_a_watch(request),
            78..86 => self.robot(request),
            86..90 => self.rented(request),
            90..94 => self.spoiled(request),
            _ => self.in_the_app(at),
        }
    }

    /// A request for the whole of an episode by one of the people.
    fn request(&mut self, at: Micros) -> Request {
        let person = self.rng.random_range(0..PEOPLE);
        let podcast = self.rng.random_range(0..PODCASTS.len());
        let count = PODCASTS[podcast].episodes.len();
        // The newer of two drawn: new episodes are asked for more.
        let episode = self.rng.random_range(0..count).max(self.rng.random_range(0..count));
        let agent = PLAYERS[usize::try_from(person).unwrap_or(0) % PLAYERS.len()];
        Request {
            id: self.id(),
            podcast,
            episode,
            at,
            method: "GET",
            status: 200,
            range: None,
            bytes: PODCASTS[podcast].bytes(episode),
            agent: Some(agent),
            address: address(person),
            known_file: true,
        }
    }

    fn id(&mut self) -> String {
        self.number += 1;
        format!("{}-{}", self.tag, self.number)
    }

    /// Sends `sent` at `at`; now and then late, now and then twice.
    fn send(&mut self, at: Micros, sent: impl Into<Sent>) {
        let sent = sent.into();
        let told = if self.rng.random_bool(0.03) { at.plus(self.rng.random_range(HOUR..6 * HOUR)) } else { at };
        if self.rng.random_bool(0.02) {
            let again = told.plus(self.rng.random_range(SECOND..20 * MINUTE));
            self.wait(again, sent.clone());
        }
        self.wait(told, sent);
    }

    fn wait(&mut self, at: Micros, sent: Sent) {
        self.number += 1;
        self.waiting.push(Reverse(Waiting { at, number: self.number, sent }));
    }

    fn whole(&mut self, request: Request) {
        if self.rng.random_bool(0.12) {
            let look = Request { id: self.id(), method: "HEAD", bytes: 0, ..request.clone() };
            self.send(request.at, look);
        }
        if self.rng.random_bool(0.15) {
            let at = request.at.plus(self.rng.random_range(MINUTE..5 * HOUR));
            let again = Request { id: self.id(), at, ..request.clone() };
            self.send(at, again);
        }
        self.buys(&request);
        self.send(request.at, request);
    }

    /// A player that asks whether ranges work, then for piece after piece.
    fn pieces(&mut self, request: &Request) {
        let probe = Request { id: self.id(), status: 206, range: Some((0, 1)), bytes: 2, ..request.clone() };
        self.send(request.at, probe);
        let size = request.bytes / self.rng.random_range(3..=6) + 1;
        let (mut from, mut at) = (0, request.at);
        while from < request.bytes {
            let to = (from + size).min(request.bytes);
            at = at.plus(self.rng.random_range(2 * SECOND..90 * SECOND));
            let piece = Request {
                id: self.id(),
                at,
                status: 206,
                range: Some((from, to - 1)),
                bytes: to - from,
                ..request.clone()
            };
            self.send(at, piece);
            from = to;
        }
        self.buys(request);
    }

    /// Less than a minute is loaded.
    fn given_up(&mut self, request: Request) {
        let bytes = self.rng.random_range(20_000..400_000);
        self.send(request.at, Request { bytes, ..request });
    }

    fn with_a_watch(&mut self, request: Request) {
        let at = request.at.plus(self.rng.random_range(SECOND..MINUTE));
        let watch = Request { id: self.id(), at, agent: Some(WATCH), ..request.clone() };
        self.send(at, watch);
        self.send(request.at, request);
    }

    fn robot(&mut self, request: Request) {
        let agent = BOTS.choose(&mut self.rng).copied();
        self.send(request.at, Request { agent, ..request });
    }

    fn rented(&mut self, request: Request) {
        let address = RENTED.choose(&mut self.rng).copied().unwrap_or_default().to_owned();
        self.send(request.at, Request { address, ..request });
    }

    /// Something that no rule counts.
    fn spoiled(&mut self, request: Request) {
        let spoiled = match self.rng.random_range(0..4) {
            0 => Request { status: 304, bytes: 0, ..request },
            1 => Request { status: 404, bytes: 0, ..request },
            2 => Request { agent: None, ..request },
            _ => Request { known_file: false, ..request },
        };
        self.send(spoiled.at, spoiled);
    }

    fn in_the_app(&mut self, at: Micros) {
        let user = self.rng.random_range(0..60);
        let steps = [
            ("page_view", "dashboard"),
            ("feature_used", "campaigns"),
            ("click", "export"),
            ("feature_used", "reports"),
        ];
        for step in 0..self.rng.random_range(1..4) {
            let (kind, feature) = steps[self.rng.random_range(0..steps.len())];
            let at = at.plus(step * 7 * SECOND);
            let event = AppEvent { id: self.id(), kind, at, user: format!("user-{user}"), feature };
            self.send(at, event);
        }
    }

    /// A few of those who heard a spot buy something, some hours later.
    fn buys(&mut self, heard: &Request) {
        let campaigns = CAMPAIGNS.iter().enumerate().filter(|(_, campaign)| campaign.podcasts.contains(&heard.podcast));
        let heard_of: Vec<usize> = campaigns.map(|(index, _)| index).collect();
        let Some(campaign) = heard_of.choose(&mut self.rng).copied() else { return };
        match self.rng.random_range(0..1_000) {
            0..18 => self.purchase(campaign, heard),
            18..40 => {
                let at = heard.at.plus(self.rng.random_range(MINUTE..2 * HOUR));
                self.wait(at, Sent::Visit { campaign });
            }
            40..46 => {
                let at = heard.at.plus(self.rng.random_range(10 * MINUTE..3 * HOUR));
                let (id, cents) = (self.id(), self.rng.random_range(900..3_000));
                self.wait(at, Sent::Pixel { campaign, id, cents });
            }
            _ => {}
        }
    }

    fn purchase(&mut self, campaign: usize, heard: &Request) {
        let at = heard.at.plus(self.rng.random_range(5 * MINUTE..4 * HOUR));
        let id = self.id();
        let address = match self.rng.random_range(0..10) {
            0..8 => heard.address.clone(),
            // From somewhere else: without a code nobody can say because of what.
            _ => format!("203.0.113.{}", self.rng.random_range(1..255)),
        };
        let purchase = Conversion {
            transaction: format!("order-{id}"),
            id,
            campaign,
            kind: "purchase",
            at,
            cents: self.rng.random_range(1_200..6_500),
            with_code: self.rng.random_bool(0.35),
            address,
        };
        if self.rng.random_bool(0.1) {
            let at = at.plus(self.rng.random_range(HOUR..4 * HOUR));
            let refund = Conversion { id: self.id(), kind: "refund", at, ..purchase.clone() };
            self.wait(at, refund.into());
        }
        self.send(at, purchase);
    }
}

/// A person's address: some have IPv6, the others share a few hundred households. All are of documentation's ranges.
fn address(person: u32) -> String {
    if person % 5 < 3 {
        return format!("2001:db8:{:x}:{:x}::{:x}", person / 256, person % 256, person % 7 + 1);
    }
    let household = person / 5 % 508;
    let (network, host) = if household < 254 { ("198.51.100", household + 1) } else { ("192.0.2", household - 253) };
    format!("{network}.{host}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use castback_schemas::time::DAY;
    use proptest::prelude::*;

    use super::*;

    fn midnight() -> Micros {
        "2026-11-24".parse().unwrap()
    }

    fn day(seed: u64, cuts: &[i64]) -> Vec<Sent> {
        let mut listeners = Listeners::new(seed, ("t", midnight()), 300);
        let ends = cuts.iter().map(|cut| midnight().plus(*cut)).chain([midnight().plus(DAY)]);
        ends.flat_map(|end| listeners.until(end)).collect()
    }

    proptest! {
        #[test]
        fn a_day_is_the_same_however_it_is_cut(seed: u64, mut cuts in proptest::collection::vec(0..DAY, 0..6)) {
            cuts.sort_unstable();
            prop_assert_eq!(day(seed, &cuts), day(seed, &[]));
        }
    }

    #[test]
    fn a_day_has_everything_in_it() {
        let mut listeners = Listeners::new(7, ("t", midnight()), 8_000);
        let all = listeners.until(midnight().plus(DAY));
        let requests: Vec<&Request> = all.iter().filter_map(Sent::as_request).collect();
        let some = |of: fn(&Request) -> bool| assert!(requests.iter().any(|request| of(request)));
        some(|request| request.method == "HEAD");
        some(|request| request.range == Some((0, 1)));
        some(|request| request.agent.is_none());
        some(|request| request.agent == Some(WATCH));
        some(|request| request.address == RENTED[0]);
        some(|request| !request.known_file);
        some(|request| request.status == 304);
        let ids: BTreeSet<&str> = requests.iter().map(|request| request.id.as_str()).collect();
        assert!(ids.len() < requests.len(), "something is sent twice");
        for kind in ["purchase", "refund"] {
            assert!(
                all.iter().any(|sent| matches!(sent, Sent::Conversion(conversion) if conversion.kind == kind)),
                "{kind}"
            );
        }
        assert!(all.iter().any(|sent| matches!(sent, Sent::Pixel { .. })));
        assert!(all.iter().any(|sent| matches!(sent, Sent::Visit { .. })));
        assert!(all.iter().any(|sent| matches!(sent, Sent::Event(_))));
        assert!((8_000..40_000).contains(&all.len()), "{}", all.len());
    }

    #[test]
    fn nothing_is_told_before_it_happens() {
        let mut listeners = Listeners::new(3, ("t", midnight()), 2_000);
        for hour in 1..=24 {
            let until = midnight().plus(hour * HOUR);
            for sent in listeners.until(until) {
                if let Some(request) = sent.as_request() {
                    assert!(request.at < until);
                }
            }
        }
    }
}
