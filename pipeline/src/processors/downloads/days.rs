//! Days of podcasts: freezing them, and taking frozen ones up again for a recount.

use std::collections::BTreeSet;

use arrow::array::{AsArray, RecordBatch};
use arrow::error::ArrowError;
use castback_rules::window::{Carry, PlacementIds};
use castback_schemas::{AccountId, Day, EpisodeId, Micros, PodcastId, Topic};
use hashbrown::HashMap;

use super::rows::Requests;
use super::settle::note;
use super::state::{GroupKey, PodcastState};
use super::{Downloads, LATENESS, Settled, write};
use crate::change::Changes;
use crate::days::{DayRow, DayState};
use crate::directory::{Directory, Podcast};

/// A day of a podcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodcastDay {
    /// The account.
    pub account: AccountId,
    /// The podcast.
    pub podcast: PodcastId,
    /// The day.
    pub day: Day,
}

/// What a recount reads back before it judges.
#[derive(Debug, Default)]
pub struct Recount {
    /// Ledger rows of the day.
    pub requests: Vec<RecordBatch>,
    /// Carries of the day before, if that is frozen.
    pub carries_in: Vec<RecordBatch>,
    /// Carries of the day itself, as they stand.
    pub carries_out: Vec<RecordBatch>,
}

impl Downloads {
    /// How a day stands, as read back.
    ///
    /// # Errors
    /// A row can't be read.
    pub fn know_days(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        for row in DayRow::read(batch, Topic::ListenerRequests)? {
            let podcast = row.key.parse().map_err(|_| write::unreadable("key"))?;
            let podcast = self.podcast_mut(PodcastDay { account: row.account, podcast, day: row.day });
            match row.state {
                DayState::Open => {
                    podcast.days.open_since(row.day, row.noted_at);
                    podcast.open.insert(row.day, super::state::DayState::new(row.day));
                }
                DayState::Frozen => podcast.days.freeze(row.day, None),
                DayState::RecountDue => podcast.days.freeze(row.day, Some(row.noted_at)),
            }
        }
        Ok(())
    }

    /// Every day that is known, open or frozen.
    #[must_use]
    pub fn days(&self) -> Vec<PodcastDay> {
        self.each(|state| state.days.open().chain(state.days.frozen()).collect())
    }

    /// Days that are open.
    #[must_use]
    pub fn open_days(&self) -> Vec<PodcastDay> {
        self.each(|state| state.days.open().collect())
    }

    /// Open days of which requests found no episode, but would find it now.
    #[must_use]
    pub fn now_matched(&self, directory: &Directory) -> Vec<PodcastDay> {
        let mut matched = self.open_days();
        matched.retain(|day| {
            let state = self.podcast(day).and_then(|podcast| podcast.open.get(&day.day));
            podcast_of(directory, day).zip(state).is_some_and(|(podcast, state)| state.now_matched(podcast))
        });
        matched
    }

    /// The days that `of` gives for each podcast, in order.
    fn each(&self, of: impl Fn(&PodcastState) -> Vec<Day>) -> Vec<PodcastDay> {
        let mut all = Vec::new();
        for (&account, state) in &self.accounts {
            for (&podcast, state) in &state.podcasts {
                all.extend(of(state).into_iter().map(|day| PodcastDay { account, podcast, day }));
            }
        }
        all.sort_unstable();
        all
    }

    /// Whether a day is frozen.
    #[must_use]
    pub fn is_frozen(&self, day: &PodcastDay) -> bool {
        self.podcast(day).is_some_and(|podcast| podcast.days.is_frozen(day.day))
    }

    /// Frozen days whose carries are needed: the day after is not frozen.
    #[must_use]
    pub fn carrying(&self) -> Vec<PodcastDay> {
        self.each(|state| state.days.frozen().filter(|day| !state.days.is_frozen(day.next())).collect())
    }

    /// Puts back what a frozen day left.
    ///
    /// # Errors
    /// A row can't be read.
    pub fn know_carries(
        &mut self,
        day: PodcastDay,
        rows: &[RecordBatch],
        directory: &Directory,
    ) -> Result<(), ArrowError> {
        let carries = read_carries(rows, podcast_of(directory, &day))?;
        self.podcast_mut(day).carries.insert(day.day, carries);
        Ok(())
    }

    /// Freezes the days that are ripe at `log_time`. A frozen day to which one of them leaves
    /// something is due for a recount: it was judged without that.
    ///
    /// # Errors
    /// A row can't be written.
    pub fn freeze(&mut self, log_time: Micros, directory: &Directory, out: &mut Changes) -> Result<(), ArrowError> {
        let ripe = self.each(|state| state.days.ripe(log_time, LATENESS));
        for day in &ripe {
            if self.close(*day, (&HashMap::new(), log_time), directory, out)? {
                let next = PodcastDay { day: day.day.next(), ..*day };
                self.podcast_mut(next).days.late(next.day, log_time);
                write::day((next.account, next.podcast), (next.day, log_time, DayState::RecountDue), out)?;
            }
        }
        self.forget_ids(&ripe);
        Ok(())
    }

    pub(super) fn forget_ids(&mut self, days: &[PodcastDay]) {
        for of_account in days.chunk_by(|a, b| a.account == b.account) {
            if let Some(account) = self.accounts.get_mut(&of_account[0].account) {
                account.ids.forget(of_account.iter().map(|day| (day.podcast, day.day)));
            }
        }
    }

    /// Frozen days that are due for a recount at `log_time`.
    #[must_use]
    pub fn due(&self, log_time: Micros) -> Vec<PodcastDay> {
        self.each(|state| state.days.due(log_time))
    }

    /// A frozen day can't be judged again, since rows of it have gone: what came late stays late.
    ///
    /// # Errors
    /// A row can't be written.
    pub fn stays_late(&mut self, day: PodcastDay, log_time: Micros, out: &mut Changes) -> Result<(), ArrowError> {
        let days = &mut self.podcast_mut(day).days;
        if days.is_due(day.day) {
            days.recounted(day.day);
            write::day((day.account, day.podcast), (day.day, log_time, DayState::Frozen), out)?;
        }
        Ok(())
    }

    /// Judges a day again from its ledger rows. A frozen day is frozen again; answers the groups
    /// settled, and whether the day after must follow (frozen too, and what reaches it changed).
    ///
    /// # Errors
    /// A row can't be read or written.
    pub fn recount(
        &mut self,
        day: PodcastDay,
        (recount, log_time): (&Recount, Micros),
        directory: &Directory,
        out: &mut Changes,
    ) -> Result<(Vec<Settled>, bool), ArrowError> {
        let known = podcast_of(directory, &day);
        let carries_in = read_carries(&recount.carries_in, known)?;
        let before = read_carries(&recount.carries_out, known)?;
        let frozen = self.is_frozen(&day);
        self.empty(day, frozen.then_some(carries_in));
        for batch in &write::late_last(&recount.requests)? {
            let rows = Requests::of(batch)?;
            for row in 0..rows.len() {
                let said = rows.committed(row).ok_or_else(|| write::unreadable("verdict"))?;
                self.admit_back(&rows, row, (said, directory), out)?;
            }
        }
        self.note();
        self.put_in();
        let settled = self.settle(directory, &mut [], out)?;
        let mut follow = false;
        if frozen {
            follow = self.close(day, (&before, log_time), directory, out)?;
            self.forget_ids(&[day]);
        }
        Ok((settled, follow))
    }

    /// Takes everything out of a day that is to be filled again, after noting what was said of the
    /// days around it.
    fn empty(&mut self, day: PodcastDay, carries_in: Option<HashMap<GroupKey, Carry>>) {
        self.note_around(day);
        self.dirty.retain(|(noted, _), _| *noted != day);
        let podcast = self.podcast_mut(day);
        if let Some(carries_in) = carries_in {
            // What a recount of the day before has just left is newer than what was read.
            podcast.carries.entry(day.day.previous()).or_insert(carries_in);
        }
        podcast.open.insert(day.day, super::state::DayState::new(day.day));
    }

    /// Notes what is said of a day and of the day after.
    pub(super) fn note_around(&mut self, day: PodcastDay) {
        let Self { accounts, dirty, .. } = self;
        let podcast = accounts.entry(day.account).or_default().podcasts.entry(day.podcast).or_default();
        for around in [day.day, day.day.next()] {
            let keys: Vec<GroupKey> = podcast.open.get(&around).map(|state| state.keys().collect()).unwrap_or_default();
            for key in keys {
                note(dirty, (podcast, PodcastDay { day: around, ..day }), key);
            }
        }
    }

    /// Freezes a day: says what it leaves, unless that was said before; answers whether a frozen
    /// day after it must follow.
    fn close(
        &mut self,
        day: PodcastDay,
        (before, log_time): (&HashMap<GroupKey, Carry>, Micros),
        directory: &Directory,
        out: &mut Changes,
    ) -> Result<bool, ArrowError> {
        let known = podcast_of(directory, &day);
        let podcast = self.podcast_mut(day);
        let mut carries = carries_of(podcast, day.day);
        // What is not written again stays as it was said: recovery reads that.
        for (key, carry) in &mut carries {
            if let Some(said) = before.get(key).filter(|said| *said == carry) {
                carry.clone_from(said);
            }
        }
        let mut changed = false;
        let keys: BTreeSet<GroupKey> = carries.keys().chain(before.keys()).copied().collect();
        for key in keys.into_iter().filter(|key| carries.get(key) != before.get(key)) {
            let Some(episode) = known.and_then(|podcast| podcast.episode(key.episode as usize)) else { continue };
            let bytes = carries.get(&key).map(Carry::to_bytes).unwrap_or_default();
            write::carry((day.account, day.podcast, day.day), (key.listener, episode.id), &bytes, out)?;
            changed = true;
        }
        let next_frozen = podcast.days.is_frozen(day.day.next());
        podcast.open.remove(&day.day);
        podcast.days.freeze(day.day, None);
        let follow = changed && next_frozen;
        if follow || !next_frozen {
            podcast.carries.insert(day.day, carries);
        } else {
            podcast.carries.remove(&day.day);
        }
        // The day before was needed by this one only.
        podcast.carries.remove(&day.day.previous());
        write::day((day.account, day.podcast), (day.day, log_time, DayState::Frozen), out)?;
        Ok(follow)
    }

    fn podcast(&self, day: &PodcastDay) -> Option<&PodcastState> {
        self.accounts.get(&day.account)?.podcasts.get(&day.podcast)
    }

    pub(super) fn podcast_mut(&mut self, day: PodcastDay) -> &mut PodcastState {
        self.accounts.entry(day.account).or_default().podcasts.entry(day.podcast).or_default()
    }
}

fn podcast_of<'a>(directory: &'a Directory, day: &PodcastDay) -> Option<&'a Podcast> {
    directory.account(day.account).and_then(|account| account.podcast(day.podcast)).map(AsRef::as_ref)
}

fn carries_of(podcast: &PodcastState, day: Day) -> HashMap<GroupKey, Carry> {
    let Some(state) = podcast.open.get(&day) else { return HashMap::new() };
    let mut ids = PlacementIds::default();
    let carry = |key: GroupKey| {
        let mut carry = podcast.carry_out(day, &key);
        ids.intern(&mut carry);
        (key, carry)
    };
    state.keys().map(carry).filter(|(_, carry)| !carry.is_empty()).collect()
}

fn read_carries(rows: &[RecordBatch], podcast: Option<&Podcast>) -> Result<HashMap<GroupKey, Carry>, ArrowError> {
    let (mut carries, mut ids) = (HashMap::new(), PlacementIds::default());
    for batch in rows {
        let column = |name: &str| batch.column_by_name(name).ok_or_else(|| write::unreadable(name));
        let (listeners, episodes) = (column("listener")?, column("episode_id")?);
        let listeners = listeners.as_fixed_size_binary_opt().ok_or_else(|| write::unreadable("listener"))?;
        let episodes = episodes.as_string_opt::<i32>().ok_or_else(|| write::unreadable("episode_id"))?;
        let bytes = column("carry")?.as_binary_opt::<i32>().ok_or_else(|| write::unreadable("carry"))?;
        for row in 0..batch.num_rows() {
            let episode = episodes.value(row).parse::<EpisodeId>().map_err(|_| write::unreadable("episode_id"))?;
            let Some(index) = podcast.and_then(|podcast| podcast.index_of(episode)) else { continue };
            let listener = listeners.value(row).try_into().map_err(|_| write::unreadable("listener"))?;
            let mut carry = Carry::from_bytes(bytes.value(row)).map_err(|_| write::unreadable("carry"))?;
            ids.intern(&mut carry);
            carries.insert(GroupKey { listener, episode: u32::try_from(index).unwrap_or(u32::MAX) }, carry);
        }
    }
    Ok(carries)
}
