//! What is remembered of open days: who asked for what, compactly.
//!
//! ```text
//! account ─ ids of open days
//!         └ podcast ─ day ─ (listener, episode) ─ touches, sorted by (time, offset)
//!                   │     └ address ─ how many (listener, episode) pairs
//!                   └ carries of a frozen day, for the day after it
//! ```
//! Nothing here is ever stored: it is a fold over ledger rows.

use std::collections::BTreeMap;

use castback_rules::window::{Carry, NamedBytes, Outcome, Touch, evaluate, helped_before};
use castback_schemas::{Day, PodcastId};
use hashbrown::{HashMap, HashSet};

use super::dense::{Dense, Entry};
use super::evaluated::Evaluated;
use super::touches::Touches;
use crate::days::KeyDays;
use crate::directory::Podcast;
use crate::ledger::ids::Ids;

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
    pub(super) key: GroupKey,
    /// Its address, by its place in the day's.
    household: u32,
    touches: Touches,
}

/// An address on one day.
#[derive(Debug)]
struct Household {
    hash: Hash,
    /// Its (listener, episode) pairs.
    pairs: u32,
    /// On the safe list: exempt from the rate filter.
    exempt: bool,
}

fn first_bytes(hash: &Hash) -> u64 {
    hash.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

impl Entry for Group {
    type Key = GroupKey;

    fn key(&self) -> &GroupKey {
        &self.key
    }

    fn spread(key: &GroupKey) -> u64 {
        // The odd number is 2^64 / φ: neighbouring episodes come apart.
        first_bytes(&key.listener) ^ u64::from(key.episode).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

impl Entry for Household {
    type Key = Hash;

    fn key(&self) -> &Hash {
        &self.hash
    }

    fn spread(key: &Hash) -> u64 {
        first_bytes(key)
    }
}

/// One open day of a podcast.
#[derive(Debug)]
pub(super) struct DayState {
    day: Day,
    groups: Dense<Group>,
    households: Dense<Household>,
    /// On the first day of a month: a listener's hash under the month before's key, both ways.
    previous: HashMap<Hash, Hash>,
    following: HashMap<Hash, Hash>,
    /// On the first day of a month: listeners that came without that hash.
    unlinked: HashSet<Hash>,
    begins_month: bool,
    /// The ads that requests named, by offset.
    pub(super) ads: HashMap<u64, Box<str>>,
    /// What was asked for and found in no feed.
    unmatched: HashSet<Box<str>>,
    /// Whether something was asked of the podcast before anybody had connected it.
    unconnected: bool,
}

/// Enclosures of a day remembered as found in no feed. More are somebody's scan; when the feed
/// brings one of them later, a recount on request judges it.
const MAX_UNMATCHED: usize = 1_000;

impl DayState {
    pub(super) fn new(day: Day) -> Self {
        Self {
            day,
            groups: Dense::default(),
            households: Dense::default(),
            previous: HashMap::new(),
            following: HashMap::new(),
            unlinked: HashSet::new(),
            begins_month: day.month().first_day() == day,
            ads: HashMap::new(),
            unmatched: HashSet::new(),
            unconnected: false,
        }
    }

    pub(super) fn unmatched(&mut self, enclosure: &str) {
        if self.unmatched.len() < MAX_UNMATCHED && !self.unmatched.contains(enclosure) {
            self.unmatched.insert(enclosure.into());
        }
    }

    pub(super) fn unconnected(&mut self) {
        self.unconnected = true;
    }

    /// Whether the podcast now has what it had not.
    pub(super) fn now_matched(&self, podcast: &Podcast) -> bool {
        let last = self.day.next().start().plus(-1);
        self.unconnected && podcast.window(last).is_some()
            || self.unmatched.iter().any(|enclosure| podcast.find(enclosure).is_some())
    }

    /// The groups of the day.
    pub(super) fn keys(&self) -> impl Iterator<Item = GroupKey> {
        self.groups.iter().map(|group| group.key)
    }

    pub(super) fn holds(&self, key: &GroupKey) -> bool {
        self.groups.position(key).is_some()
    }

    /// The address of a group.
    pub(super) fn household(&self, key: &GroupKey) -> Option<Hash> {
        let group = self.groups.get(key)?;
        self.households.at(group.household as usize).map(|household| household.hash)
    }

    /// The ads that the request of a row named.
    fn named(&self, row: u64) -> Vec<NamedBytes> {
        self.ads.get(&row).map(|json| NamedBytes::read(json)).unwrap_or_default()
    }

    fn limited(&self, group: &Group) -> bool {
        self.households.at(group.household as usize).is_some_and(Household::limited)
    }

    /// Whether some new pairs, or a place on the safe list, turn an address from one that asks for
    /// too much into one that does not, or the other way.
    pub(super) fn would_turn(&self, household: &Hash, (more, exempt): (u32, bool)) -> bool {
        let now = self.households.get(household);
        let (pairs, exempted) = now.map_or((0, false), |household| (household.pairs, household.exempt));
        let then = Household { hash: *household, pairs: pairs + more, exempt: exempted || exempt };
        now.is_some_and(Household::limited) != then.limited()
    }

    /// Whether an address is on the safe list.
    pub(super) fn is_exempt(&self, household: &Hash) -> bool {
        self.households.get(household).is_some_and(|household| household.exempt)
    }

    /// The groups of an address.
    pub(super) fn of_address(&self, household: &Hash) -> Vec<GroupKey> {
        let Some(place) = self.households.position(household) else { return Vec::new() };
        self.groups.iter().filter(|group| group.household as usize == place).map(|group| group.key).collect()
    }

    /// The groups of a listener, if it has come without the hash under the month before's key.
    pub(super) fn of_unlinked(&self, listener: &Hash) -> Vec<GroupKey> {
        if !self.unlinked.contains(listener) {
            return Vec::new();
        }
        self.keys().filter(|key| key.listener == *listener).collect()
    }

    /// Whether a listener's hash under the month before's key is known.
    pub(super) fn is_linked(&self, listener: &Hash) -> bool {
        self.previous.contains_key(listener)
    }

    /// Notes a listener's hash under the month before's key.
    pub(super) fn link(&mut self, listener: Hash, previous: Option<Hash>) {
        match previous {
            Some(previous) => {
                self.unlinked.remove(&listener);
                self.previous.insert(listener, previous);
                self.following.insert(previous, listener);
            }
            None if self.begins_month && !self.previous.contains_key(&listener) => {
                self.unlinked.insert(listener);
            }
            None => {}
        }
    }

    pub(super) fn exempt(&mut self, household: &Hash) {
        let (place, _) = self.household_mut(household);
        if let Some(household) = self.households.at_mut(place) {
            household.exempt = true;
        }
    }

    fn household_mut(&mut self, hash: &Hash) -> (usize, bool) {
        self.households.position_or(hash, || Household { hash: *hash, pairs: 0, exempt: false })
    }

    /// Whether listeners of the day are known under two keys.
    pub(super) fn has_links(&self) -> bool {
        !self.previous.is_empty()
    }

    /// Where a group stands, made if it is not there.
    pub(super) fn place(&mut self, key: GroupKey, household: &Hash) -> usize {
        if let Some(place) = self.groups.position(&key) {
            return place;
        }
        let (household, _) = self.household_mut(household);
        if let Some(household) = self.households.at_mut(household) {
            household.pairs += 1;
        }
        let household = u32::try_from(household).unwrap_or(0);
        self.groups.position_or(&key, || Group { key, household, touches: Touches::default() }).0
    }

    /// Adds touches to the group at a place, and leaves those that it had and those that it has in `room`; the
    /// same row twice is one touch.
    pub(super) fn insert(&mut self, place: usize, new: impl Iterator<Item = Touch>, room: &mut Room) {
        let Some(group) = self.groups.at_mut(place) else { return };
        room.had.clear();
        group.touches.unpack(self.day, &mut room.had);
        let all = &mut room.has;
        all.clear();
        all.extend_from_slice(&room.had);
        all.extend(new);
        if all.is_sorted_by(|a, b| order(a) < order(b)) {
            group.touches.append((self.day, room.had.last()), &all[room.had.len()..], &mut room.bytes);
            return;
        }
        all.sort_by_key(order);
        all.dedup_by_key(|touch| order(touch));
        group.touches = Touches::pack(self.day, all, &mut room.bytes);
    }

    /// The group at a place.
    pub(super) fn key_at(&self, place: usize) -> Option<GroupKey> {
        self.groups.at(place).map(|group| group.key)
    }

    /// Whether the address of the group at a place has asked for too much.
    pub(super) fn is_limited(&self, place: usize) -> bool {
        self.groups.at(place).is_some_and(|group| self.limited(group))
    }
}

/// Requests of a group for which room is made at once; who has more is waited for.
const MUCH: usize = 64;

/// Room to work in, used again and again.
#[derive(Debug, Default)]
pub(super) struct Room {
    bytes: Vec<u8>,
    /// What a group had and has.
    pub(super) had: Vec<Touch>,
    pub(super) has: Vec<Touch>,
    /// What these are.
    pub(super) before: Vec<Outcome>,
    pub(super) after: Vec<Outcome>,
}

/// What the touches of a day are sorted by.
pub(super) fn order(touch: &Touch) -> (i64, u64) {
    (touch.at.0, touch.row)
}

impl Household {
    fn limited(&self) -> bool {
        self.pairs > MAX_PAIRS && !self.exempt
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
    pub(super) fn judge(&self, day: Day, key: &GroupKey, carry_in: Carry) -> Evaluated {
        let mut evaluated = self.evaluate(day, key, carry_in);
        if let Some(next) = self.follower(day, key).filter(|_| !evaluated.limited) {
            let after = self.evaluate(day.next(), &next, evaluated.carry_out.clone());
            if !after.limited {
                evaluated.helped = helped_before(&after.carry_in, &after.touches, &after.outcomes);
            }
        }
        evaluated
    }

    /// Evaluates a group's day from what the day before leaves to it.
    fn evaluate(&self, day: Day, key: &GroupKey, carry_in: Carry) -> Evaluated {
        let Some((state, group)) = self.open.get(&day).and_then(|state| Some((state, state.groups.get(key)?))) else {
            return Evaluated::default();
        };
        let mut touches = Vec::with_capacity(group.touches.estimate().min(MUCH));
        group.touches.unpack(day, &mut touches);
        if state.limited(group) {
            return Evaluated { touches, limited: true, ..Evaluated::default() };
        }
        let mut outcomes = Vec::with_capacity(touches.len());
        let carry_out = evaluate(&carry_in, &touches, |touch| state.named(touch.row), &mut outcomes);
        Evaluated { carry_in, touches, outcomes, carry_out, ..Evaluated::default() }
    }

    /// What a group's day leaves to the day after.
    pub(super) fn carry_out(&self, day: Day, key: &GroupKey) -> Carry {
        self.evaluate(day, key, self.carry_into(day, key)).carry_out
    }

    /// What the day before leaves to a group: nothing reaches over a whole day without touches, so
    /// this goes back to the first of the days in a row on which there were any.
    pub(super) fn carry_into(&self, day: Day, key: &GroupKey) -> Carry {
        let (mut day, mut key) = (day, *key);
        let mut row = Vec::new();
        let mut carry = loop {
            key = self.before(day, &key);
            day = day.previous();
            match self.open.get(&day) {
                Some(state) if state.holds(&key) => row.push((day, key)),
                Some(_) => break Carry::default(),
                None => {
                    let carried = self.carries.get(&day).and_then(|carries| carries.get(&key));
                    break carried.cloned().unwrap_or_default();
                }
            }
        };
        for (day, key) in row.into_iter().rev() {
            carry = self.evaluate(day, &key, carry).carry_out;
        }
        carry
    }

    /// The same listener and episode as the day before knows them.
    fn before(&self, day: Day, key: &GroupKey) -> GroupKey {
        let listener = self.open.get(&day).and_then(|state| state.previous.get(&key.listener)).copied();
        GroupKey { listener: listener.unwrap_or(key.listener), ..*key }
    }

    /// The group of the day before that may have helped this one.
    pub(super) fn leader(&self, day: Day, key: &GroupKey) -> Option<GroupKey> {
        let before = self.before(day, key);
        self.open.get(&day.previous())?.holds(&before).then_some(before)
    }

    /// The group of the day after whose verdicts hang on this one.
    pub(super) fn follower(&self, day: Day, key: &GroupKey) -> Option<GroupKey> {
        let state = self.open.get(&day.next())?;
        let listener = state.following.get(&key.listener).copied().unwrap_or(key.listener);
        let next = GroupKey { listener, ..*key };
        state.holds(&next).then_some(next)
    }
}

/// One account.
#[derive(Debug, Default)]
pub(super) struct AccountState {
    pub(super) ids: Ids<(PodcastId, Day)>,
    pub(super) podcasts: HashMap<PodcastId, PodcastState>,
}
