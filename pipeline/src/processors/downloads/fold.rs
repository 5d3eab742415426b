//! Putting committed rows of open days back.
//!
//! What was judged by these rules is believed and goes straight into its group, without the filters. Then every
//! group is evaluated once: where that is not what the ledger says of its rows, the day is judged again, row by
//! row, and what differs is said. So recovery ends where a recount of all open days would, but reads less.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;
use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use castback_rules::filter::FilterReason;
use castback_rules::verdict::{DuplicateReason, Reason};
use castback_rules::window::Touch;
use castback_schemas::EpisodeId;
use castback_schemas::edge::fingerprint;
use hashbrown::DefaultHashBuilder;

use super::place::{Admission, touch};
use super::rows::Requests;
use super::settle::Carried;
use super::state::{DayState, GroupKey, PodcastState, Room};
use super::{Downloads, PodcastDay, Prior, Row, Settled, write};
use crate::change::Changes;
use crate::directory::Directory;
use crate::ledger::judged::Judged;

/// Rows that wait to be put into their groups together, at most: 32 MiB. Most groups are then packed once.
const MAX_WAITING: usize = 512 * 1024;

/// No row.
const NONE: u32 = u32::MAX;

/// Days that are being put back.
#[derive(Debug, Default)]
pub(super) struct Fold {
    days: BTreeMap<PodcastDay, FoldDay>,
    waiting: usize,
    /// Days that hold what these rules did not say.
    differing: BTreeSet<PodcastDay>,
    hasher: DefaultHashBuilder,
}

/// A day that is being put back; groups by their places.
#[derive(Debug, Default)]
struct FoldDay {
    /// Rows that wait, each with the one of its group before it.
    rows: Vec<(u32, Touch)>,
    /// The last of them, by group.
    newest: Vec<u32>,
    /// Groups of which rows wait.
    touched: Vec<u32>,
    /// What the ledger says, by group: the sum of its rows' hashes.
    said: Vec<u64>,
}

impl FoldDay {
    fn add(&mut self, place: usize, touch: Touch, said: u64) {
        if self.said.len() <= place {
            self.said.resize(place + 1, 0);
            self.newest.resize(place + 1, NONE);
        }
        self.said[place] = self.said[place].wrapping_add(said);
        if self.newest[place] == NONE {
            self.touched.push(u32::try_from(place).unwrap_or(NONE));
        }
        let row = u32::try_from(self.rows.len()).unwrap_or(NONE);
        self.rows.push((std::mem::replace(&mut self.newest[place], row), touch));
    }

    /// Puts what waits into the groups.
    fn put_in(&mut self, state: &mut DayState, room: &mut Room) {
        let mut of_group = Vec::new();
        for place in self.touched.drain(..) {
            let mut row = std::mem::replace(&mut self.newest[place as usize], NONE);
            while let Some((before, touch)) = self.rows.get(row as usize) {
                of_group.push(*touch);
                row = *before;
            }
            state.insert(place as usize, of_group.drain(..).rev(), room);
        }
        self.rows.clear();
    }
}

impl Downloads {
    /// Puts ledger rows of open days back (of their columns, [`super::KEPT`] are enough). After the last batch,
    /// [`Self::differing`] says which days are to be judged again.
    ///
    /// # Errors
    /// The batch is not in the ledger's shape.
    pub fn put_back(&mut self, batch: &RecordBatch, directory: &Directory) -> Result<(), ArrowError> {
        let rows = Requests::kept(batch)?;
        let mut from = 0;
        while from < rows.len() {
            let to = rows.run(from);
            self.put_run_back(&rows, from..to, directory)?;
            from = to;
        }
        if self.fold.waiting >= MAX_WAITING {
            self.put_all_in();
        }
        Ok(())
    }

    /// Puts rows of one account, podcast and day back.
    fn put_run_back(
        &mut self,
        rows: &Requests<'_>,
        run: Range<usize>,
        directory: &Directory,
    ) -> Result<(), ArrowError> {
        let Some(account_id) = self.finder.account(rows, run.start, self.slot) else { return Ok(()) };
        let podcast_id = self.finder.podcast(rows, run.start);
        let day = PodcastDay { account: account_id, podcast: podcast_id, day: rows.occurred_at(run.start).day() };
        let Self { accounts, finder, ids_key, fold, .. } = self;
        let account = accounts.entry(account_id).or_default();
        let podcast = account.podcasts.entry(podcast_id).or_default();
        let Some(state) = podcast.open.get_mut(&day.day) else { return Ok(()) };
        let newest = run.clone().map(|row| rows.recorded_at(row)).max();
        let latest = run.clone().map(|row| rows.occurred_at(row)).max();
        if let Some((latest, newest)) = latest.zip(newest) {
            podcast.days.record(latest, newest);
        }
        let known = directory.account(account_id).and_then(|account| account.podcast(podcast_id)).map(AsRef::as_ref);
        let of_day = fold.days.entry(day).or_default();
        for row in run {
            let said = rows.committed(row).ok_or_else(|| write::unreadable("verdict"))?;
            let as_ever = match said.reason {
                Some(Reason::Duplicate(DuplicateReason::SameEventId)) => continue,
                Some(Reason::Late(_) | Reason::DeadLettered(_)) => false,
                _ => rows.is_ours(row),
            };
            if !as_ever {
                fold.differing.insert(day);
                continue;
            }
            let id = fingerprint(ids_key, rows.event_id.value(row).as_bytes());
            account.ids.first(*id.as_bytes(), (podcast_id, day.day));
            match said.reason {
                Some(Reason::Filtered(FilterReason::NotAnEpisode)) => state.unmatched(rows.enclosure.value(row)),
                Some(Reason::Filtered(FilterReason::UnknownPodcast)) => state.unconnected(),
                Some(Reason::Filtered(reason)) if !is_of_groups(reason) => {}
                _ => {
                    let offered = known.filter(|podcast| podcast.window(rows.occurred_at(row)).is_some());
                    let found = offered.zip(rows.episode(row)).and_then(|(podcast, episode)| {
                        Some((podcast, finder.kept((podcast_id, podcast), episode, directory)?))
                    });
                    let Some((podcast, index)) = found else {
                        fold.differing.insert(day);
                        continue;
                    };
                    let place = place(state, rows, row, index);
                    let touch = touch(rows, row, (podcast, index));
                    of_day.add(place, touch, fold.hasher.hash_one((touch.row, said)));
                    fold.waiting += 1;
                }
            }
        }
        Ok(())
    }

    fn put_all_in(&mut self) {
        let Self { accounts, fold, room, .. } = self;
        for (day, of_day) in &mut fold.days {
            let podcast = accounts.get_mut(&day.account).and_then(|account| account.podcasts.get_mut(&day.podcast));
            if let Some(state) = podcast.and_then(|podcast| podcast.open.get_mut(&day.day)) {
                of_day.put_in(state, room);
            }
        }
        fold.waiting = 0;
    }

    /// Everything is put back: days of which the ledger does not say what these rules say, in order.
    pub fn differing(&mut self, directory: &Directory) -> Vec<PodcastDay> {
        self.put_all_in();
        let Fold { days, mut differing, hasher, .. } = std::mem::take(&mut self.fold);
        let mut carried = Carried::default();
        for (day, of_day) in &days {
            let podcast = self.accounts.get(&day.account).and_then(|account| account.podcasts.get(&day.podcast));
            if podcast.is_some_and(|podcast| !agrees((podcast, *day), &of_day.said, (&mut carried, &hasher))) {
                differing.insert(*day);
            }
        }
        differing.extend(self.now_matched(directory));
        differing.into_iter().collect()
    }

    /// Empties days that are to be judged again from their ledger rows.
    pub fn reopen(&mut self, days: &[PodcastDay]) {
        for day in days {
            self.note_around(*day);
        }
        self.dirty.retain(|(noted, _), _| !days.contains(noted));
        for day in days {
            self.podcast_mut(*day).open.insert(day.day, DayState::new(day.day));
        }
        self.forget_ids(days);
    }

    /// Judges ledger rows of reopened days again: after the last batch, [`Self::settle_back`] says where the
    /// ledger and these rules differ.
    ///
    /// # Errors
    /// The batch is not in the ledger's shape.
    pub fn judge_back(
        &mut self,
        batch: &RecordBatch,
        days: &[PodcastDay],
        directory: &Directory,
        out: &mut Changes,
    ) -> Result<(), ArrowError> {
        let rows = Requests::of(batch)?;
        for row in 0..rows.len() {
            let Some(account) = self.finder.account(&rows, row, self.slot) else { continue };
            let day =
                PodcastDay { account, podcast: self.finder.podcast(&rows, row), day: rows.occurred_at(row).day() };
            if days.contains(&day) {
                let said = rows.committed(row).ok_or_else(|| write::unreadable("verdict"))?;
                self.admit_back(&rows, row, (said, directory), out)?;
            }
        }
        self.put_in();
        Ok(())
    }

    /// Settles everything judged again.
    ///
    /// # Errors
    /// A row can't be written.
    pub fn settle_back(&mut self, directory: &Directory, out: &mut Changes) -> Result<Vec<Settled>, ArrowError> {
        self.settle(directory, &mut [], out)
    }

    pub(super) fn admit_back(
        &mut self,
        rows: &Requests<'_>,
        row: usize,
        (said, directory): (Judged, &Directory),
        out: &mut Changes,
    ) -> Result<(), ArrowError> {
        let Some(account_id) = self.finder.account(rows, row, self.slot) else { return Ok(()) };
        let podcast_id = self.finder.podcast(rows, row);
        let (occurred, log_time) = (rows.occurred_at(row), rows.recorded_at(row));
        let account = self.accounts.entry(account_id).or_default();
        let podcast = account.podcasts.entry(podcast_id).or_default();
        if !podcast.open.contains_key(&occurred.day()) {
            return Ok(());
        }
        podcast.days.record(occurred, log_time);
        if said == Judged::SAME_EVENT {
            return Ok(());
        }
        let id = fingerprint(&self.ids_key, rows.event_id.value(row).as_bytes());
        let first = account.ids.first(*id.as_bytes(), (podcast_id, occurred.day()));
        let admission = Admission { rows, row, podcast_id, account_id, directory };
        let now = if said == Judged::LATE && !first {
            Row { judged: Some(Judged::SAME_EVENT), episode: None }
        } else {
            self.place(&admission, Prior::Said(said))
        };
        let Some(judged) = now.judged.filter(|judged| *judged != said) else { return Ok(()) };
        if said.may_have_delivered() {
            self.gone.push(admission.gone());
        }
        write::revision(&self.revised(&admission, now.episode), (Some(said), judged, directory), out)
    }

    fn revised(&self, admission: &Admission<'_>, episode: Option<EpisodeId>) -> write::Revised {
        write::Revised {
            account: admission.account_id,
            slot: self.slot,
            offset: admission.rows.offset.value(admission.row),
            occurred_at: admission.rows.occurred_at(admission.row),
            episode,
        }
    }
}

/// Whether a row with this reason is in a group.
fn is_of_groups(reason: FilterReason) -> bool {
    matches!(reason, FilterReason::Rate | FilterReason::BelowThreshold)
}

/// Where the group of a row stands; notes what else its day keeps of it.
fn place(state: &mut DayState, rows: &Requests<'_>, row: usize, index: usize) -> usize {
    let (listener, household) = (rows.listener(row), rows.household(row));
    state.link(listener, rows.listener_previous(row));
    if rows.safe_listed(row) {
        state.exempt(&household);
    }
    if let Some(ads) = rows.ads(row) {
        state.ads.insert(u64::try_from(rows.offset.value(row)).unwrap_or(0), ads.into());
    }
    state.place(GroupKey { listener, episode: u32::try_from(index).unwrap_or(u32::MAX) }, &household)
}

/// Whether the groups of a day say what was said.
fn agrees(
    (podcast, day): (&PodcastState, PodcastDay),
    said: &[u64],
    (carried, hasher): (&mut Carried, &DefaultHashBuilder),
) -> bool {
    let Some(state) = podcast.open.get(&day.day) else { return true };
    said.iter().enumerate().all(|(place, said)| {
        let Some(key) = state.key_at(place) else { return false };
        let now = carried.judge(podcast, day, &key);
        let hash = |(index, touch): (usize, &Touch)| hasher.hash_one((touch.row, now.judged(index)));
        now.touches.iter().enumerate().map(hash).fold(0, u64::wrapping_add) == *said
    })
}
