//! `downloads`: which listener requests are downloads.
//!
//! Every accepted request gets one ledger row and one current verdict. What is said of the open
//! days is a function of the set of their requests: a batch changes the groups (listener,
//! episode, day) it touches, each is evaluated before and after, and where a verdict that was
//! already said differs, a short row revises it. Live counting, recovery (ledger rows of open
//! days) and recount (ledger rows of a frozen day) take this one way; they differ only in what
//! was said before.

mod days;
mod filters;
mod rows;
mod settle;
mod state;
mod write;

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use castback_rules::filter::{FilterReason, Subject};
use castback_rules::ranges::Sent;
use castback_rules::window::{Carry, Outcome, PackedTouch, Touch, need_of};
use castback_schemas::edge::{HashKey, fingerprint};
use castback_schemas::{AccountId, Day, EpisodeId, Group, PodcastId, Slot, Topic};
use hashbrown::HashMap;

pub use days::{PodcastDay, Recount};
pub use filters::RuleSets;
use rows::Requests;
use state::{AccountState, GroupKey, PodcastState};

use crate::change::Changes;
use crate::days::DayState;
use crate::directory::{Directory, Podcast};
use crate::group::ProcessorSpec;
use crate::processors::judged::Judged;

/// The processor's row.
pub const SPEC: ProcessorSpec =
    ProcessorSpec { name: "downloads", group: Group::Counting, judges: Some(Topic::ListenerRequests) };

/// How long after a day its records may come before it freezes, in microseconds.
pub const LATENESS: i64 = 7 * castback_schemas::time::DAY;

/// A group's day after it was settled, for who counts what downloads carry.
#[derive(Debug)]
pub struct Settled {
    /// The account.
    pub account: AccountId,
    /// The podcast.
    pub podcast: PodcastId,
    /// The episode, by its index in the Directory.
    pub episode: u32,
    /// The listener's keyed hash.
    pub listener: [u8; 16],
    /// The household's.
    pub household: [u8; 16],
    /// What the day before left.
    pub carry_in: Carry,
    /// The requests, by time.
    pub touches: Vec<Touch>,
    /// What each is; empty if the address was filtered for its rate.
    pub outcomes: Vec<Outcome>,
    /// Ads that requests named: offset and JSON.
    pub ads: Vec<(u64, Box<str>)>,
}

/// Where a row's verdict stood before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prior {
    /// Nowhere: it is this row of the batch at hand.
    New(usize),
    /// Said already.
    Said(Judged),
}

/// Groups whose verdicts may change, and what was said of their rows.
type Dirty = BTreeMap<(AccountId, PodcastId, Day, GroupKey), Vec<(u64, Prior)>>;

/// What a row is until its group is settled.
#[derive(Debug, Clone, Copy)]
struct Row {
    judged: Option<Judged>,
    episode: Option<EpisodeId>,
}

/// The processor of one slot.
#[derive(Debug)]
pub struct Downloads {
    slot: Slot,
    /// Under which ids are remembered; random per process, since they are never stored.
    ids_key: HashKey,
    rules: RuleSets,
    accounts: HashMap<AccountId, AccountState>,
    dirty: Dirty,
}

/// The ledger rows that are being put in, and what they are known to be.
struct Admission<'a> {
    rows: &'a Requests<'a>,
    podcast_id: PodcastId,
    account_id: AccountId,
    directory: &'a Directory,
}

impl Downloads {
    /// A processor without state, for the records of `slot`.
    #[must_use]
    pub fn new(slot: Slot, ids_key: HashKey, rules: RuleSets) -> Self {
        Self { slot, ids_key, rules, accounts: HashMap::new(), dirty: Dirty::new() }
    }

    /// Judges a batch of new records (in the ledger's shape, without verdicts): says their rows
    /// and the verdicts that they revise, and answers the groups they touched.
    ///
    /// # Errors
    /// The batch is not in the ledger's shape.
    pub fn step(
        &mut self,
        batch: &RecordBatch,
        directory: &Directory,
        out: &mut Changes,
    ) -> Result<Vec<Settled>, ArrowError> {
        let rows = Requests::of(batch)?;
        let mut verdicts = vec![Row { judged: None, episode: None }; rows.len()];
        for (row, verdict) in verdicts.iter_mut().enumerate() {
            *verdict = self.admit_new(&rows, row, directory, out)?;
        }
        let settled = self.settle(directory, &mut verdicts, out)?;
        write::ledger(batch, &rows, (&verdicts, &mut self.rules, directory), out)?;
        Ok(settled)
    }

    /// Puts ledger rows of open days back: after every batch, [`Self::settle_back`] says where
    /// the ledger and these rules differ.
    ///
    /// # Errors
    /// The batch is not in the ledger's shape.
    pub fn put_back(
        &mut self,
        batch: &RecordBatch,
        directory: &Directory,
        out: &mut Changes,
    ) -> Result<(), ArrowError> {
        let rows = Requests::of(batch)?;
        for row in 0..rows.len() {
            let Some(said) = rows.committed(row) else { return Err(write::unreadable("verdict")) };
            self.admit_back(&rows, row, (said, directory), out)?;
        }
        Ok(())
    }

    /// Settles everything put back.
    ///
    /// # Errors
    /// A row can't be written.
    pub fn settle_back(&mut self, directory: &Directory, out: &mut Changes) -> Result<Vec<Settled>, ArrowError> {
        self.settle(directory, &mut [], out)
    }

    fn admit_new(
        &mut self,
        rows: &Requests<'_>,
        row: usize,
        directory: &Directory,
        out: &mut Changes,
    ) -> Result<Row, ArrowError> {
        let now = |judged| Ok(Row { judged: Some(judged), episode: None });
        let Some(account_id) = self.account_of(rows, row) else {
            return now(Judged::filtered(FilterReason::Rerouted));
        };
        let Ok(podcast_id) = rows.podcast.value(row).parse::<PodcastId>() else {
            return now(Judged::filtered(FilterReason::UnknownPodcast));
        };
        let (occurred, log_time) = (rows.occurred_at(row), rows.recorded_at(row));
        let day = occurred.day();
        let account = self.accounts.entry(account_id).or_default();
        let podcast = account.podcasts.entry(podcast_id).or_default();
        if podcast.days.is_frozen(day) {
            podcast.days.late(day, log_time);
            write::day((account_id, podcast_id), (day, log_time, DayState::RecountDue), out)?;
            return now(Judged::LATE);
        }
        if podcast.days.record(occurred, log_time) {
            write::day((account_id, podcast_id), (day, log_time, DayState::Open), out)?;
        }
        podcast.open.entry(day).or_default();
        let id = fingerprint(&self.ids_key, rows.event_id.value(row).as_bytes());
        if !account.ids.first(*id.as_bytes(), (podcast_id, day)) {
            return now(Judged::SAME_EVENT);
        }
        let admission = Admission { rows, podcast_id, account_id, directory };
        Ok(self.place(&admission, row, Prior::New(row)))
    }

    fn admit_back(
        &mut self,
        rows: &Requests<'_>,
        row: usize,
        (said, directory): (Judged, &Directory),
        out: &mut Changes,
    ) -> Result<(), ArrowError> {
        let (Some(account_id), Ok(podcast_id)) = (self.account_of(rows, row), rows.podcast.value(row).parse()) else {
            return Ok(());
        };
        if said == Judged::SAME_EVENT {
            return Ok(());
        }
        let (occurred, log_time) = (rows.occurred_at(row), rows.recorded_at(row));
        let account = self.accounts.entry(account_id).or_default();
        let podcast: &mut PodcastState = account.podcasts.entry(podcast_id).or_default();
        if !podcast.open.contains_key(&occurred.day()) {
            return Ok(());
        }
        podcast.days.record(occurred, log_time);
        let id = fingerprint(&self.ids_key, rows.event_id.value(row).as_bytes());
        let first = account.ids.first(*id.as_bytes(), (podcast_id, occurred.day()));
        let admission = Admission { rows, podcast_id, account_id, directory };
        let now = if said == Judged::LATE && !first {
            Row { judged: Some(Judged::SAME_EVENT), episode: None }
        } else {
            self.place(&admission, row, Prior::Said(said))
        };
        match now.judged {
            Some(judged) if judged != said => write::revision(&self.revised(rows, row, now), (judged, directory), out),
            _ => Ok(()),
        }
    }

    /// The account, if the record lies in its slot.
    fn account_of(&self, rows: &Requests<'_>, row: usize) -> Option<AccountId> {
        let account: AccountId = rows.account.value(row).parse().ok()?;
        (Slot::of(account) == self.slot).then_some(account)
    }

    fn revised(&self, rows: &Requests<'_>, row: usize, now: Row) -> write::Revised {
        write::Revised {
            account: rows.account.value(row).to_owned(),
            slot: self.slot,
            offset: rows.offset.value(row),
            occurred_at: rows.occurred_at(row),
            episode: now.episode,
        }
    }

    /// Judges a row by the filters; one that passes goes into its group, which becomes dirty.
    fn place(&mut self, admission: &Admission<'_>, row: usize, prior: Prior) -> Row {
        let rows = admission.rows;
        let occurred = rows.occurred_at(row);
        let facts = admission.directory.account(admission.account_id);
        let known: Option<&Podcast> =
            facts.and_then(|account| account.podcast(admission.podcast_id)).map(AsRef::as_ref);
        let known = known.filter(|podcast| podcast.window(occurred).is_some());
        let episode = known.and_then(|podcast| podcast.find(rows.enclosure.value(row)));
        let id = known.zip(episode).and_then(|(podcast, index)| podcast.episode(index)).map(|episode| episode.id);
        let subject = match (known, episode) {
            (None, _) => Subject::UnknownPodcast,
            (Some(_), None) => Subject::NotAnEpisode,
            (Some(_), Some(_)) => Subject::Episode,
        };
        if let Some(reason) = self.rules.judge(rows, row, subject) {
            if reason == FilterReason::NotAnEpisode {
                self.unmatched(admission, row);
            }
            return Row { judged: Some(Judged::filtered(reason)), episode: id };
        }
        let (Some(podcast), Some(index)) = (known, episode) else {
            return Row { judged: Some(Judged::filtered(FilterReason::NotAnEpisode)), episode: None };
        };
        let touch = touch(rows, row, podcast, index);
        let episode = u32::try_from(index).unwrap_or(u32::MAX);
        let key = GroupKey { listener: rows.listener(row), episode };
        self.touch_group(admission, (row, key), (&touch, prior));
        Row { judged: None, episode: id }
    }

    /// Remembers what was asked for of a known podcast and found in no feed, yet.
    fn unmatched(&mut self, admission: &Admission<'_>, row: usize) {
        let podcast =
            self.accounts.get_mut(&admission.account_id).and_then(|a| a.podcasts.get_mut(&admission.podcast_id));
        let day = admission.rows.occurred_at(row).day();
        if let Some(state) = podcast.and_then(|podcast| podcast.open.get_mut(&day)) {
            state.unmatched(admission.rows.enclosure.value(row));
        }
    }

    /// Notes what was said of every row whose verdict may change, then puts the touch in.
    fn touch_group(
        &mut self,
        admission: &Admission<'_>,
        (row, key): (usize, GroupKey),
        (touch, prior): (&Touch, Prior),
    ) {
        let rows = admission.rows;
        let (account_id, podcast_id, day) = (admission.account_id, admission.podcast_id, touch.at.day());
        let household = rows.household(row);
        let Some(podcast) = self.accounts.get_mut(&account_id).and_then(|a| a.podcasts.get_mut(&podcast_id)) else {
            return;
        };
        let owner = (account_id, podcast_id);
        let state = podcast.open.entry(day).or_default();
        if let Some(previous) = rows.listener_previous(row) {
            state.link(key.listener, previous);
        }
        let crossing = !state.groups.contains_key(&key) && state.at_limit(&household);
        let also = if crossing { state.of_address(&household) } else { Vec::new() };
        for key in also.iter().chain([&key]) {
            note(&mut self.dirty, owner, (podcast, day), *key);
        }
        let state = podcast.open.entry(day).or_default();
        if rows.safe_listed(row) {
            state.exempt(household);
        }
        if let Some(ads) = rows.ads(row) {
            state.ads.insert(touch.row, ads.into());
        }
        state.insert(key, household, PackedTouch::from(touch));
        self.dirty.entry((owner.0, owner.1, day, key)).or_default().push((touch.row, prior));
    }
}

/// Marks a group and all that hang on it as dirty, with what is said of their rows now.
fn note(dirty: &mut Dirty, owner: (AccountId, PodcastId), (podcast, day): (&PodcastState, Day), key: GroupKey) {
    let (mut day, mut key) = match podcast.leader(day, &key) {
        Some(before) => (day.previous(), before),
        None => (day, key),
    };
    loop {
        let place = (owner.0, owner.1, day, key);
        if let std::collections::btree_map::Entry::Vacant(entry) = dirty.entry(place) {
            let before = podcast.judge(day, &key);
            let said = before.touches.iter().enumerate().map(|(i, touch)| (touch.row, Prior::Said(before.judged(i))));
            entry.insert(said.collect());
        }
        match podcast.follower(day, &key) {
            Some(next) => (day, key) = (day.next(), next),
            None => return,
        }
    }
}

fn touch(rows: &Requests<'_>, row: usize, podcast: &Podcast, index: usize) -> Touch {
    let at = rows.occurred_at(row);
    let facts = podcast.episode(index).and_then(|episode| episode.facts.at(at)).copied().unwrap_or_default();
    let (status, file_bytes) = (rows.status(row), rows.file_bytes(row));
    let sent = Sent {
        status,
        range: rows.range(row),
        bytes_sent: rows.bytes_sent(row),
        file_bytes: facts.file_size(file_bytes),
    };
    Touch {
        at,
        row: u64::try_from(rows.offset.value(row)).unwrap_or(0),
        bytes: sent.bytes(),
        need: need_of(&facts, file_bytes, status),
    }
}
