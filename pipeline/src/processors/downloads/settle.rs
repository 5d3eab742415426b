//! Settling: rows go into their groups, every group whose verdicts may change is evaluated, and
//! what differs from what was said is said.

use std::sync::Arc;

use arrow::error::ArrowError;
use castback_rules::filter::FilterReason;
use castback_rules::verdict::{DuplicateReason, Reason};
use castback_rules::window::{Carry, Rolling, Window};
use castback_schemas::Day;
use hashbrown::HashMap;

use super::evaluated::Evaluated;
use super::place::Placed;
use super::state::{DayState, GroupKey, Hash, PodcastState, Room, order};
use super::{Downloads, PodcastDay, Prior, Row, Settled, write};
use crate::change::Changes;
use crate::directory::Directory;
use crate::ledger::judged::Judged;

/// Groups whose verdicts may change, with what was said of their rows.
pub(super) type Dirty = HashMap<(PodcastDay, GroupKey), Vec<(u64, Prior)>>;

/// Puts placed rows into their group; answers where that stands.
pub(super) fn put(state: &mut DayState, group: &mut [Placed], room: &mut Room) -> usize {
    let (key, household) = (group[0].key, group[0].household);
    for row in group.iter_mut() {
        let rare = row.rare.take();
        state.link(key.listener, rare.as_ref().and_then(|rare| rare.previous));
        if let Some(rare) = rare {
            if rare.safe_listed {
                state.exempt(&household);
            }
            if let Some(ads) = rare.ads {
                state.ads.insert(row.touch.row, ads);
            }
        }
    }
    let place = state.place(key, &household);
    state.insert(place, group.iter().map(|row| row.touch), room);
    place
}

/// Rows of one group among those placed.
pub(super) fn same_group(a: &Placed, b: &Placed) -> bool {
    (&a.day, &a.key) == (&b.day, &b.key)
}

impl Downloads {
    /// Notes what was said of every row whose verdict the placed rows may change, as long as their
    /// groups are as they were when it was said.
    pub(super) fn note(&mut self) {
        self.sort_placed();
        for of_day in self.placed.chunk_by(|a, b| a.day == b.day) {
            let [first, ..] = of_day else { continue };
            let podcast = self.accounts.get(&first.day.account).and_then(|a| a.podcasts.get(&first.day.podcast));
            let Some(podcast) = podcast else { continue };
            for key in turned(podcast, of_day) {
                note(&mut self.dirty, (podcast, first.day), key);
            }
            for group in of_day.chunk_by(same_group) {
                note(&mut self.dirty, (podcast, first.day), group[0].key);
            }
        }
    }

    /// Puts the placed rows into their groups.
    pub(super) fn put_in(&mut self) {
        self.sort_placed();
        let mut placed = std::mem::take(&mut self.placed);
        let mut room = std::mem::take(&mut self.room);
        for group in placed.chunk_by_mut(same_group) {
            let day = group[0].day;
            let state = self.podcast_mut(day).open.entry(day.day).or_insert_with(|| DayState::new(day.day));
            put(state, group, &mut room);
            let said = self.dirty.entry((day, group[0].key)).or_default();
            said.extend(group.iter().map(|row| (row.touch.row, row.prior)));
        }
        placed.clear();
        (self.placed, self.room) = (placed, room);
    }

    pub(super) fn sort_placed(&mut self) {
        self.placed.sort_unstable_by_key(|row| (row.day, row.key, order(&row.touch)));
    }

    /// Evaluates the dirty groups: fills in the verdicts of new rows, revises what was said
    /// otherwise, and answers the groups of podcasts that carry campaigns.
    pub(super) fn settle(
        &mut self,
        directory: &Directory,
        verdicts: &mut [Row],
        out: &mut Changes,
    ) -> Result<Vec<Settled>, ArrowError> {
        let mut settled = std::mem::take(&mut self.gone);
        let mut dirty: Vec<_> = std::mem::take(&mut self.dirty).into_iter().collect();
        dirty.sort_unstable_by_key(|(place, _)| *place);
        let mut carried = Carried::default();
        for ((day, key), mut said) in dirty {
            let podcast = self.accounts.get(&day.account).and_then(|a| a.podcasts.get(&day.podcast));
            let Some(podcast) = podcast else { continue };
            let now = carried.judge(podcast, day, &key);
            let known = directory.account(day.account).and_then(|account| account.podcast(day.podcast));
            let known = known.map(Arc::as_ref);
            let episode = known.and_then(|podcast| podcast.episode(key.episode as usize)).map(|episode| episode.id);
            said.sort_unstable_by_key(|(row, _)| *row);
            for (index, touch) in now.touches.iter().enumerate() {
                let judged = now.judged(index);
                match said.binary_search_by_key(&touch.row, |(row, _)| *row).map(|place| said[place].1) {
                    Ok(Prior::New(row)) => {
                        if let Some(row) = verdicts.get_mut(row) {
                            row.judged = Some(judged);
                        }
                    }
                    Ok(Prior::Said(said)) if said == judged => {}
                    Ok(Prior::Said(said)) if helped_later((touch.row, said), judged, (&now, podcast, day.day)) => {}
                    prior => {
                        let previous = match prior {
                            Ok(Prior::Said(said)) => Some(said),
                            _ => None,
                        };
                        let (account, slot, occurred_at) = (day.account, self.slot, touch.at);
                        let offset = i64::try_from(touch.row).unwrap_or(i64::MAX);
                        let revised = write::Revised { account, slot, offset, occurred_at, episode };
                        write::revision(&revised, (previous, judged, directory), out)?;
                    }
                }
            }
            if known.is_some_and(|podcast| !podcast.campaigns().is_empty()) {
                settled.push(handed_on(day, key, now, podcast));
            }
        }
        Ok(settled)
    }
}

/// What groups leave to the groups after them that come next, so that a row of days is walked once.
#[derive(Default)]
pub(super) struct Carried {
    of: Option<PodcastDay>,
    carries: HashMap<(Day, GroupKey), Carry>,
}

impl Carried {
    /// Judges a group; groups come sorted by podcast and day.
    pub(super) fn judge(&mut self, podcast: &PodcastState, day: PodcastDay, key: &GroupKey) -> Evaluated {
        if self.of.is_none_or(|of| (of.account, of.podcast) != (day.account, day.podcast)) {
            self.carries.clear();
            self.of = Some(day);
        }
        let carry = self.carries.remove(&(day.day, *key));
        let now = podcast.judge(day.day, key, carry.unwrap_or_else(|| podcast.carry_into(day.day, key)));
        if let Some(next) = podcast.follower(day.day, key) {
            self.carries.insert((day.day.next(), next), now.carry_out.clone());
        }
        now
    }
}

/// Groups that placed rows change without being theirs: those of an address that asks for too much
/// only now, or no longer; and those of a listener whose hash of the month before is known only now.
fn turned(podcast: &PodcastState, of_day: &[Placed]) -> Vec<GroupKey> {
    let Some(state) = of_day.first().and_then(|row| podcast.open.get(&row.day.day)) else { return Vec::new() };
    let mut turned = Vec::new();
    for group in of_day.chunk_by(same_group) {
        let previous = group.iter().find_map(|row| row.rare.as_ref()?.previous);
        if let Some(previous) = previous.filter(|_| !state.is_linked(&group[0].key.listener)) {
            let listener = group[0].key.listener;
            let others = state.of_unlinked(&listener);
            // The groups of the day before are found through the link that is not there yet: also those
            // of the listener's requests beside it that came without.
            let own = &of_day[of_day.partition_point(|row| row.key.listener < listener)..];
            let own = own.iter().map(|row| &row.key).take_while(|key| key.listener == listener);
            turned.extend(others.iter().chain(own).map(|key| GroupKey { listener: previous, ..*key }));
            turned.extend(others);
        }
    }
    for (household, more) in more(state, of_day) {
        if state.would_turn(&household, more) {
            turned.extend(state.of_address(&household));
        }
    }
    turned
}

/// What placed rows of a day bring to addresses: new pairs, and whether a place on the safe list.
pub(super) fn more(state: &DayState, of_day: &[Placed]) -> HashMap<Hash, (u32, bool)> {
    let mut more: HashMap<Hash, (u32, bool)> = HashMap::new();
    for group in of_day.chunk_by(same_group) {
        let is_new = !state.holds(&group[0].key);
        let exempt = group.iter().filter_map(|row| row.rare.as_ref()).any(|rare| rare.safe_listed);
        if is_new || exempt {
            let (pairs, exempted) = more.entry(group[0].household).or_default();
            *pairs += u32::from(is_new);
            *exempted |= exempt;
        }
    }
    more
}

/// Marks a group and all that hang on it as dirty, with what is said of their rows now: those of
/// the days after, as far as days are in a row, and that of the day before, which may have helped.
pub(super) fn note(dirty: &mut Dirty, (podcast, mut at): (&PodcastState, PodcastDay), mut key: GroupKey) {
    let leader = podcast.leader(at.day, &key).map(|leader| (PodcastDay { day: at.day.previous(), ..at }, leader));
    let noted = |dirty: &Dirty| leader.is_none_or(|place| dirty.contains_key(&place));
    if dirty.contains_key(&(at, key)) && noted(dirty) {
        return;
    }
    let said = |now: &Evaluated| {
        now.touches.iter().enumerate().map(|(i, touch)| (touch.row, Prior::Said(now.judged(i)))).collect()
    };
    if let Some((before, leader)) = leader {
        let carry = podcast.carry_into(before.day, &leader);
        dirty.entry((before, leader)).or_insert_with(|| said(&podcast.judge(before.day, &leader, carry)));
    }
    let mut carry = podcast.carry_into(at.day, &key);
    loop {
        let now = podcast.judge(at.day, &key, carry);
        dirty.entry((at, key)).or_insert_with(|| said(&now));
        match podcast.follower(at.day, &key) {
            Some(next) => (at.day, key) = (at.day.next(), next),
            None => return,
        }
        carry = now.carry_out;
    }
}

/// Whether a row is known to have helped a download of a later day that is not at hand now, and may
/// have: its bytes still wait at midnight in some window. It keeps that verdict, then.
fn helped_later((row, said): (u64, Judged), now: Judged, (day, podcast, of): (&Evaluated, &PodcastState, Day)) -> bool {
    let part_of = Some(Reason::Duplicate(DuplicateReason::PartOf));
    let of_today = |of: i64| day.touches.iter().any(|touch| i64::try_from(touch.row) == Ok(of));
    let elsewhere = said.reason == part_of && said.duplicate_of.is_some_and(|of| !of_today(of));
    let waits = Window::ALL.iter().any(|window| match day.carry_out.rolling(*window) {
        Rolling::Pending(touches) => touches.iter().any(|touch| touch.row == row),
        Rolling::Open(_) => false,
    });
    let but_for_that = now == Judged::filtered(FilterReason::BelowThreshold)
        || now.reason == Some(Reason::Duplicate(DuplicateReason::SameDownload));
    but_for_that && elsewhere && waits && !podcast.open.contains_key(&of.next())
}

pub(super) fn handed_on(day: PodcastDay, key: GroupKey, now: Evaluated, podcast: &PodcastState) -> Settled {
    let state = podcast.open.get(&day.day);
    let ads = now.touches.iter().filter_map(|touch| Some((touch.row, state?.ads.get(&touch.row)?.clone()))).collect();
    Settled {
        account: day.account,
        podcast: day.podcast,
        episode: key.episode,
        listener: key.listener,
        household: state.and_then(|state| state.household(&key)).unwrap_or_default(),
        carry_in: now.carry_in,
        touches: now.touches,
        outcomes: now.outcomes,
        ads,
    }
}
