//! What is remembered of open days: who asked for what, compactly.
//!
//! ```text
//! account ─ ids of open days
//!         └ podcast ─ day ─ (listener, episode) ─ touches, sorted by (time, offset)
//!                   │     └ address ─ how many (listener, episode) pairs
//!                   └ carries of a frozen day, for the day after it
//! ```
//! Nothing here is ever stored: it is a fold over ledger rows.

use std::collections::{BTreeMap, BTreeSet};

use castback_rules::filter::FilterReason;
use castback_rules::verdict::DuplicateReason;
use castback_rules::window::{Carry, Outcome, PackedTouch, Touch, TouchVerdict, Window, evaluate, helped_before};
use castback_schemas::{Day, PodcastId};
use hashbrown::HashMap;

use crate::days::KeyDays;
use crate::directory::Podcast;
use crate::processors::ids::Ids;
use crate::processors::judged::Judged;

/// A keyed hash, as its bytes.
pub(super) type Hash = [u8; 16];

/// Distinct (episode, user agent) pairs of one address in a podcast's day beyond which all its
/// rows are filtered (`rate`): the 301st.
pub(super) const MAX_PAIRS: u32 = 300;

/// A listener and an episode (by its index in the Directory).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct GroupKey {
    pub(super) listener: Hash,
    pub(super) episode: u32,
}

/// The requests of one listener for one episode on one day.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) household: Hash,
    pub(super) touches: Vec<PackedTouch>,
}

/// One open day of a podcast.
#[derive(Debug, Default)]
pub(super) struct DayState {
    pub(super) groups: HashMap<GroupKey, Group>,
    addresses: HashMap<Hash, u32>,
    /// On the first day of a month: a listener's hash under the month before's key, both ways.
    previous: HashMap<Hash, Hash>,
    following: HashMap<Hash, Hash>,
    /// Households on the safe list: exempt from the rate filter.
    exempt: BTreeSet<Hash>,
    /// The ads that requests named, by offset.
    pub(super) ads: HashMap<u64, Box<str>>,
    /// What was asked for and found in no feed.
    unmatched: BTreeSet<Box<str>>,
}

/// Enclosures of a day remembered as found in no feed. More are somebody's scan; when the feed
/// brings one of them later, a recount on request judges it.
const MAX_UNMATCHED: usize = 1_000;

impl DayState {
    pub(super) fn unmatched(&mut self, enclosure: &str) {
        if self.unmatched.len() < MAX_UNMATCHED && !self.unmatched.contains(enclosure) {
            self.unmatched.insert(enclosure.into());
        }
    }

    /// Whether the podcast now has what it had not.
    pub(super) fn now_matched(&self, podcast: &Podcast) -> bool {
        self.unmatched.iter().any(|enclosure| podcast.find(enclosure).is_some())
    }

    /// Whether the address has asked for too much.
    pub(super) fn limited(&self, household: &Hash) -> bool {
        self.addresses.get(household).is_some_and(|pairs| *pairs > MAX_PAIRS) && !self.exempt.contains(household)
    }

    /// Whether one more pair makes the address ask for too much.
    pub(super) fn at_limit(&self, household: &Hash) -> bool {
        self.addresses.get(household).is_some_and(|pairs| *pairs == MAX_PAIRS)
    }

    /// The groups of an address, in order.
    pub(super) fn of_address(&self, household: &Hash) -> Vec<GroupKey> {
        let mut keys: Vec<GroupKey> =
            self.groups.iter().filter(|(_, group)| group.household == *household).map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys
    }

    pub(super) fn link(&mut self, listener: Hash, previous: Hash) {
        self.previous.insert(listener, previous);
        self.following.insert(previous, listener);
    }

    pub(super) fn exempt(&mut self, household: Hash) {
        self.exempt.insert(household);
    }

    /// Adds a touch in its place; the same row twice is one touch.
    pub(super) fn insert(&mut self, key: GroupKey, household: Hash, touch: PackedTouch) {
        let group = self.groups.entry(key).or_insert_with(|| {
            *self.addresses.entry(household).or_default() += 1;
            Group { household, touches: Vec::with_capacity(1) }
        });
        match group.touches.binary_search_by_key(&touch.order(), PackedTouch::order) {
            Ok(_) => {}
            Err(place) => group.touches.insert(place, touch),
        }
    }
}

/// What a group's day says.
#[derive(Debug, Default)]
pub(super) struct Evaluated {
    pub(super) carry_in: Carry,
    pub(super) touches: Vec<Touch>,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) carry_out: Carry,
    pub(super) limited: bool,
    /// Rows that helped a download of the day after, with the row that they helped.
    helped: Vec<(u64, u64)>,
}

impl Evaluated {
    /// The verdict of the touch at an index.
    pub(super) fn judged(&self, index: usize) -> Judged {
        if self.limited {
            return Judged::filtered(FilterReason::Rate);
        }
        let (Some(outcome), Some(touch)) = (self.outcomes.get(index), self.touches.get(index)) else {
            return Judged::filtered(FilterReason::BelowThreshold);
        };
        let helped = self.helped.iter().find(|(row, _)| *row == touch.row).map(|(_, of)| *of);
        match (outcome.verdict, helped) {
            (TouchVerdict::BelowThreshold | TouchVerdict::SameDownload { .. }, Some(of)) => {
                return Judged::duplicate(DuplicateReason::PartOf, of);
            }
            _ => {}
        }
        match outcome.verdict {
            TouchVerdict::Counted => {
                Judged { counted: Window::ALL.map(|window| outcome.counted(window)), ..Judged::COUNTED }
            }
            TouchVerdict::PartOf { of } => Judged::duplicate(DuplicateReason::PartOf, of),
            TouchVerdict::SameDownload { of } => Judged::duplicate(DuplicateReason::SameDownload, of),
            TouchVerdict::BelowThreshold => Judged::filtered(FilterReason::BelowThreshold),
        }
    }
}

/// One podcast's days.
#[derive(Debug, Default)]
pub(super) struct PodcastState {
    pub(super) days: KeyDays,
    pub(super) open: BTreeMap<Day, DayState>,
    /// What frozen days left to days that are not frozen.
    pub(super) carries: BTreeMap<Day, HashMap<GroupKey, Carry>>,
}

impl PodcastState {
    /// What a group's day says, looking at the day after too: bytes that were not enough by
    /// midnight may have helped a download there.
    pub(super) fn judge(&self, day: Day, key: &GroupKey) -> Evaluated {
        let mut evaluated = self.evaluate(day, key);
        if let Some(next) = self.follower(day, key).filter(|_| !evaluated.limited) {
            let after = self.evaluate(day.next(), &next);
            if !after.limited {
                evaluated.helped = helped_before(&after.carry_in, &after.touches, &after.outcomes);
            }
        }
        evaluated
    }

    /// Evaluates a group's day from all that is known now.
    pub(super) fn evaluate(&self, day: Day, key: &GroupKey) -> Evaluated {
        let Some((state, group)) = self.open.get(&day).and_then(|state| Some((state, state.groups.get(key)?))) else {
            return Evaluated::default();
        };
        let touches: Vec<Touch> = group.touches.iter().map(Touch::from).collect();
        if state.limited(&group.household) {
            return Evaluated { touches, limited: true, ..Evaluated::default() };
        }
        let carry_in = self.carry_into(day, key);
        let mut outcomes = Vec::with_capacity(touches.len());
        let carry_out = evaluate(&carry_in, &touches, &mut outcomes);
        Evaluated { carry_in, touches, outcomes, carry_out, ..Evaluated::default() }
    }

    /// What the day before leaves to a group: nothing reaches over a whole day without touches.
    fn carry_into(&self, day: Day, key: &GroupKey) -> Carry {
        let before = day.previous();
        let listener = self.open.get(&day).and_then(|state| state.previous.get(&key.listener)).copied();
        let same = GroupKey { listener: listener.unwrap_or(key.listener), ..*key };
        if self.open.contains_key(&before) {
            return self.evaluate(before, &same).carry_out;
        }
        self.carries.get(&before).and_then(|carries| carries.get(&same)).cloned().unwrap_or_default()
    }

    /// The group of the day before that may have helped this one.
    pub(super) fn leader(&self, day: Day, key: &GroupKey) -> Option<GroupKey> {
        let listener = self.open.get(&day).and_then(|state| state.previous.get(&key.listener)).copied();
        let before = GroupKey { listener: listener.unwrap_or(key.listener), ..*key };
        self.open.get(&day.previous())?.groups.contains_key(&before).then_some(before)
    }

    /// The group of the day after whose verdicts hang on this one.
    pub(super) fn follower(&self, day: Day, key: &GroupKey) -> Option<GroupKey> {
        let state = self.open.get(&day.next())?;
        let listener = state.following.get(&key.listener).copied().unwrap_or(key.listener);
        let next = GroupKey { listener, ..*key };
        state.groups.contains_key(&next).then_some(next)
    }
}

/// One account.
#[derive(Debug, Default)]
pub(super) struct AccountState {
    pub(super) ids: Ids<(PodcastId, Day)>,
    pub(super) podcasts: HashMap<PodcastId, PodcastState>,
}
