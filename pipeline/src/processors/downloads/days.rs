//! Days of podcasts: freezing them, and taking frozen ones up again for a recount.

use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::error::ArrowError;
use castback_rules::window::Carry;
use castback_schemas::{AccountId, Day, EpisodeId, Micros, PodcastId, Topic};
use hashbrown::HashMap;

use super::state::{GroupKey, PodcastState};
use super::{Downloads, LATENESS, Settled, note, write};
use crate::change::Changes;
use crate::days::{DayRow, DayState};
use crate::directory::{Directory, Podcast};

/// A day of a podcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
                    podcast.open.insert(row.day, super::state::DayState::default());
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

    /// Freezes the days that are ripe at `log_time`.
    ///
    /// # Errors
    /// A row can't be written.
    pub fn freeze(&mut self, log_time: Micros, directory: &Directory, out: &mut Changes) -> Result<(), ArrowError> {
        for day in self.each(|state| state.days.ripe(log_time, LATENESS)) {
            self.close(day, (&HashMap::new(), log_time), directory, out)?;
        }
        Ok(())
    }

    /// Frozen days that are due for a recount at `log_time`.
    #[must_use]
    pub fn due(&self, log_time: Micros) -> Vec<PodcastDay> {
        self.each(|state| state.days.due(log_time))
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
        let owner = (day.account, day.podcast);
        let podcast = self.accounts.entry(day.account).or_default().podcasts.entry(day.podcast).or_default();
        let following: Vec<GroupKey> =
            podcast.open.get(&day.day.next()).map(|state| state.groups.keys().copied().collect()).unwrap_or_default();
        for key in following {
            note(&mut self.dirty, owner, (podcast, day.day.next()), key);
        }
        if frozen {
            podcast.carries.insert(day.day.previous(), carries_in);
        }
        podcast.open.insert(day.day, super::state::DayState::default());
        let mut late = Vec::new();
        for batch in &recount.requests {
            // What was late competes for its id only after what was not.
            let (first, then) = write::late_last(batch)?;
            self.put_back(&first, directory, out)?;
            late.push(then);
        }
        for batch in &late {
            self.put_back(batch, directory, out)?;
        }
        let settled = self.settle(directory, &mut [], out)?;
        let follow = frozen && self.close(day, (&before, log_time), directory, out)?;
        Ok((settled, follow))
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
        let Some(account) = self.accounts.get_mut(&day.account) else { return Ok(false) };
        account.ids.forget(&(day.podcast, day.day));
        let Some(podcast) = account.podcasts.get_mut(&day.podcast) else { return Ok(false) };
        let carries = carries_of(podcast, day.day);
        let mut changed = false;
        let keys: BTreeMap<GroupKey, ()> = carries.keys().chain(before.keys()).map(|key| (*key, ())).collect();
        for key in keys.into_keys().filter(|key| carries.get(key) != before.get(key)) {
            let Some(episode) = known.and_then(|podcast| podcast.episode(key.episode as usize)) else { continue };
            let bytes = carries.get(&key).map(Carry::to_bytes).unwrap_or_default();
            write::carry((day.account, day.podcast, day.day), (key.listener, episode.id), &bytes, out)?;
            changed = true;
        }
        let next_frozen = podcast.days.is_frozen(day.day.next());
        podcast.open.remove(&day.day);
        podcast.days.freeze(day.day, None);
        if next_frozen {
            podcast.carries.remove(&day.day);
        } else {
            podcast.carries.insert(day.day, carries);
        }
        // The day before was needed by this one only.
        podcast.carries.remove(&day.day.previous());
        write::day((day.account, day.podcast), (day.day, log_time, DayState::Frozen), out)?;
        Ok(changed && next_frozen)
    }

    fn podcast(&self, day: &PodcastDay) -> Option<&PodcastState> {
        self.accounts.get(&day.account)?.podcasts.get(&day.podcast)
    }

    fn podcast_mut(&mut self, day: PodcastDay) -> &mut PodcastState {
        self.accounts.entry(day.account).or_default().podcasts.entry(day.podcast).or_default()
    }
}

fn podcast_of<'a>(directory: &'a Directory, day: &PodcastDay) -> Option<&'a Podcast> {
    directory.account(day.account).and_then(|account| account.podcast(day.podcast)).map(AsRef::as_ref)
}

fn carries_of(podcast: &PodcastState, day: Day) -> HashMap<GroupKey, Carry> {
    let Some(state) = podcast.open.get(&day) else { return HashMap::new() };
    let carry = |key: &GroupKey| (*key, podcast.evaluate(day, key).carry_out);
    state.groups.keys().map(carry).filter(|(_, carry)| !carry.is_empty()).collect()
}

fn read_carries(rows: &[RecordBatch], podcast: Option<&Podcast>) -> Result<HashMap<GroupKey, Carry>, ArrowError> {
    let mut carries = HashMap::new();
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
            let carry = Carry::from_bytes(bytes.value(row)).map_err(|_| write::unreadable("carry"))?;
            carries.insert(GroupKey { listener, episode: u32::try_from(index).unwrap_or(u32::MAX) }, carry);
        }
    }
    Ok(carries)
}
