//! `downloads`: which listener requests are downloads.
//!
//! Every accepted request gets one ledger row and one current verdict. What is said of the open
//! days is a function of the set of their requests: a batch changes the groups (listener,
//! episode, day) it touches, each is evaluated before and after, and where a verdict that was
//! already said differs, a short row revises it. Live counting and recount (ledger rows of a
//! day) take this one way; they differ only in what was said before. Recovery (ledger rows of open
//! days, `fold.rs`) puts rows into their groups without the filters, evaluates every group, and
//! lets days that do not say what the ledger says take the whole way again.
//!
//! ```text
//! row ─filters, place.rs─▶ Placed ─note what was said─▶ into its group ─evaluate, settle.rs─▶ verdicts
//! ```

mod alone;
mod days;
mod dense;
mod evaluated;
mod filters;
mod finder;
mod fold;
mod place;
mod rows;
mod settle;
mod state;
#[cfg(test)]
mod tests;
mod touches;
mod write;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use castback_rules::filter::FilterReason;
use castback_rules::window::{Carry, Outcome, Touch};
use castback_schemas::edge::{HashKey, fingerprint};
use castback_schemas::{AccountId, EpisodeId, Group, PodcastId, Slot, Topic};
use hashbrown::HashMap;

pub use days::{PodcastDay, Recount};
pub use filters::RuleSets;
use finder::Finder;
use fold::Fold;
use place::{Admission, Placed};
pub use rows::KEPT;
use rows::Requests;
use settle::Dirty;
use state::{AccountState, DayState, Room};

use crate::change::Changes;
use crate::days::DayState as Standing;
use crate::directory::Directory;
use crate::group::ProcessorSpec;
use crate::ledger::judged::Judged;

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
    /// What each is; empty if no download may be made of them.
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
    finder: Finder,
    accounts: HashMap<AccountId, AccountState>,
    /// Rows on their way into their groups.
    placed: Vec<Placed>,
    /// Groups whose verdicts may change.
    dirty: Dirty,
    /// Rows that are in no group any more.
    gone: Vec<Settled>,
    room: Room,
    fold: Fold,
}

impl Downloads {
    /// A processor without state, for the records of `slot`.
    #[must_use]
    pub fn new(slot: Slot, ids_key: HashKey, rules: RuleSets) -> Self {
        Self {
            slot,
            ids_key,
            rules,
            finder: Finder::default(),
            accounts: HashMap::new(),
            placed: Vec::new(),
            dirty: Dirty::new(),
            gone: Vec::new(),
            room: Room::default(),
            fold: Fold::default(),
        }
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
        let mut settled = self.settle_alone(directory, &mut verdicts, out)?;
        self.note();
        self.put_in();
        settled.extend(self.settle(directory, &mut verdicts, out)?);
        write::ledger(batch, &rows, (&verdicts, &mut self.rules, directory), out)?;
        Ok(settled)
    }

    fn admit_new(
        &mut self,
        rows: &Requests<'_>,
        row: usize,
        directory: &Directory,
        out: &mut Changes,
    ) -> Result<Row, ArrowError> {
        let now = |judged| Ok(Row { judged: Some(judged), episode: None });
        let Some(account_id) = self.finder.account(rows, row, self.slot) else {
            return now(Judged::filtered(FilterReason::Rerouted));
        };
        let podcast_id = self.finder.podcast(rows, row);
        let (occurred, log_time) = (rows.occurred_at(row), rows.recorded_at(row));
        let day = occurred.day();
        let account = self.accounts.entry(account_id).or_default();
        let podcast = account.podcasts.entry(podcast_id).or_default();
        if podcast.days.is_frozen(day) {
            if podcast.days.late(day, log_time) {
                write::day((account_id, podcast_id), (day, log_time, Standing::RecountDue), out)?;
            }
            return now(Judged::LATE);
        }
        if podcast.days.record(occurred, log_time) {
            write::day((account_id, podcast_id), (day, log_time, Standing::Open), out)?;
            podcast.open.insert(day, DayState::new(day));
        }
        let id = fingerprint(&self.ids_key, rows.event_id.value(row).as_bytes());
        if !account.ids.first(*id.as_bytes(), (podcast_id, day)) {
            return now(Judged::SAME_EVENT);
        }
        let admission = Admission { rows, row, podcast_id, account_id, directory };
        Ok(self.place(&admission, Prior::New(row)))
    }
}
