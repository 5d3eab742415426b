//! The groups that hang on no other group and on which none hangs: nearly all. One is settled at once when rows
//! are put into it; the others go the long way of `settle.rs`, which looks at them together.

use std::sync::Arc;

use arrow::error::ArrowError;
use castback_rules::filter::FilterReason;
use castback_rules::window::{Outcome, Touch, outcomes};

use super::evaluated::{Evaluated, judged};
use super::place::Placed;
use super::settle::{handed_on, more, put, same_group};
use super::state::{DayState, GroupKey, PodcastState};
use super::{Downloads, PodcastDay, Prior, Row, Settled, write};
use crate::change::Changes;
use crate::directory::{Directory, Podcast};
use crate::ledger::judged::Judged;

impl Downloads {
    /// Takes the new rows of such groups from those placed, puts them into their groups and settles these: as
    /// [`Self::settle`] does with the others.
    pub(super) fn settle_alone(
        &mut self,
        directory: &Directory,
        verdicts: &mut [Row],
        out: &mut Changes,
    ) -> Result<Vec<Settled>, ArrowError> {
        self.sort_placed();
        let mut placed = std::mem::take(&mut self.placed);
        let mut settled = Vec::new();
        let same_podcast = |a: &Placed, b: &Placed| (a.day.account, a.day.podcast) == (b.day.account, b.day.podcast);
        for of_podcast in placed.chunk_by_mut(same_podcast) {
            let day = of_podcast[0].day;
            mark(self.podcast_mut(day), of_podcast);
            let known = directory.account(day.account).and_then(|account| account.podcast(day.podcast));
            let known = known.map(Arc::as_ref);
            for group in of_podcast.chunk_by_mut(same_group).filter(|group| group[0].alone) {
                settled.extend(self.settle_one(group, (known, directory), verdicts, out)?);
            }
        }
        placed.retain(|row| !row.alone);
        self.placed = placed;
        Ok(settled)
    }

    fn settle_one(
        &mut self,
        group: &mut [Placed],
        (known, directory): (Option<&Podcast>, &Directory),
        verdicts: &mut [Row],
        out: &mut Changes,
    ) -> Result<Option<Settled>, ArrowError> {
        let (day, key) = (group[0].day, group[0].key);
        let Self { accounts, room, slot, .. } = self;
        let podcast = accounts.get_mut(&day.account).and_then(|account| account.podcasts.get_mut(&day.podcast));
        let Some(podcast) = podcast else { return Ok(None) };
        let carry = podcast.carry_into(day.day, &key);
        let Some(state) = podcast.open.get_mut(&day.day) else { return Ok(None) };
        let place = put(state, group, room);
        let limited = state.is_limited(place);
        if !limited {
            outcomes(&carry, &room.had, &mut room.before);
            outcomes(&carry, &room.has, &mut room.after);
        }
        let is = |outcomes: &[Outcome], at: usize| match outcomes.get(at) {
            Some(outcome) if !limited => judged(outcome),
            _ => Judged::filtered(FilterReason::Rate),
        };
        let episode = || known.and_then(|podcast| podcast.episode(key.episode as usize)).map(|episode| episode.id);
        let (mut new, mut had) = (group.iter().peekable(), 0);
        for (at, touch) in room.has.iter().enumerate() {
            let now = is(&room.after, at);
            let mut is_new = false;
            while let Some(row) = new.next_if(|row| row.touch.row == touch.row) {
                is_new = true;
                if let Prior::New(row) = row.prior
                    && let Some(row) = verdicts.get_mut(row)
                {
                    row.judged = Some(now);
                }
            }
            if room.had.get(had).is_none_or(|known| known.row != touch.row) {
                continue;
            }
            let said = is(&room.before, had);
            if !is_new && said != now {
                let offset = i64::try_from(touch.row).unwrap_or(i64::MAX);
                let (account, slot, occurred_at) = (day.account, *slot, touch.at);
                let revised = write::Revised { account, slot, offset, occurred_at, episode: episode() };
                write::revision(&revised, (Some(said), now, directory), out)?;
            }
            had += 1;
        }
        if known.is_none_or(|podcast| podcast.campaigns().is_empty()) {
            return Ok(None);
        }
        let touches: Vec<Touch> = room.has.clone();
        let outcomes = if limited { Vec::new() } else { room.after.clone() };
        let now = Evaluated { carry_in: carry, touches, outcomes, limited, ..Evaluated::default() };
        Ok(Some(handed_on(day, key, now, podcast)))
    }
}

/// Marks the rows (of one podcast) whose groups are alone.
fn mark(podcast: &PodcastState, of_podcast: &mut [Placed]) {
    if of_podcast.iter().any(|row| row.rare.as_ref().is_some_and(|rare| rare.previous.is_some())) {
        return;
    }
    let mut alone = Vec::with_capacity(of_podcast.len());
    for of_day in of_podcast.chunk_by(|a, b| a.day == b.day) {
        let free = is_free(podcast, of_day);
        for group in of_day.chunk_by(same_group) {
            let is_alone = free && !has_neighbour(podcast, of_podcast, (group[0].day, &group[0].key));
            alone.extend(std::iter::repeat_n(is_alone, group.len()));
        }
    }
    of_podcast.iter_mut().zip(alone).for_each(|(row, alone)| row.alone = alone);
}

/// Whether rows of a day change no group but their own: no address turns by them, and everybody is known by one
/// hash.
fn is_free(podcast: &PodcastState, of_day: &[Placed]) -> bool {
    let day = of_day[0].day.day;
    let linked = |day| podcast.open.get(&day).is_some_and(DayState::has_links);
    let Some(state) = podcast.open.get(&day).filter(|_| !linked(day) && !linked(day.next())) else { return false };
    let turns = |(household, more): (_, (u32, bool))| {
        more.1 && !state.is_exempt(&household) || state.would_turn(&household, more)
    };
    !more(state, of_day).into_iter().any(turns)
}

/// Whether the listener has asked for the episode on the day before or after, as far as that is open.
fn has_neighbour(podcast: &PodcastState, of_podcast: &[Placed], (at, key): (PodcastDay, &GroupKey)) -> bool {
    let is_there = |day| {
        podcast.open.get(&day).is_some_and(|state| state.holds(key))
            || of_podcast.binary_search_by(|row| (row.day.day, &row.key).cmp(&(day, key))).is_ok()
    };
    is_there(at.day.previous()) || is_there(at.day.next())
}
