//! From a row to its place: the filters, then the group of its listener, episode and day.

use castback_rules::filter::{FilterReason, Subject};
use castback_rules::ranges::{Bytes, REACH, Sent};
use castback_rules::window::{Carry, Need, Touch, need_of};
use castback_schemas::{AccountId, PodcastId};

use super::rows::Requests;
use super::state::{GroupKey, Hash};
use super::{Downloads, PodcastDay, Prior, Row, Settled};
use crate::directory::{Directory, Podcast};
use crate::ledger::judged::Judged;

/// A row that is being put in, and what it is known to be.
pub(super) struct Admission<'a> {
    pub(super) rows: &'a Requests<'a>,
    pub(super) row: usize,
    pub(super) podcast_id: PodcastId,
    pub(super) account_id: AccountId,
    pub(super) directory: &'a Directory,
}

/// A row that passed the filters, on its way into its group.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) day: PodcastDay,
    pub(super) key: GroupKey,
    pub(super) household: Hash,
    pub(super) touch: Touch,
    pub(super) prior: Prior,
    /// What few rows have.
    pub(super) rare: Option<Box<Rare>>,
    /// Nothing hangs on its group, and that on nothing.
    pub(super) alone: bool,
}

/// What few rows have.
#[derive(Debug)]
pub(super) struct Rare {
    /// The listener's hash under the month before's key.
    pub(super) previous: Option<Hash>,
    /// The address is on the safe list.
    pub(super) safe_listed: bool,
    /// Ads named, as JSON.
    pub(super) ads: Option<Box<str>>,
}

impl Admission<'_> {
    /// The row as a group of its own of which nothing comes.
    pub(super) fn gone(&self) -> Settled {
        let (rows, row) = (self.rows, self.row);
        let touch = Touch {
            at: rows.occurred_at(row),
            row: offset(rows, row),
            bytes: Bytes::Unplaced(0),
            need: Need::NEVER,
            file: REACH,
        };
        Settled {
            account: self.account_id,
            podcast: self.podcast_id,
            episode: u32::MAX,
            listener: rows.listener(row),
            household: rows.household(row),
            carry_in: Carry::default(),
            touches: vec![touch],
            outcomes: Vec::new(),
            ads: Vec::new(),
        }
    }

    fn rare(&self) -> Option<Box<Rare>> {
        let (previous, safe_listed) = (self.rows.listener_previous(self.row), self.rows.safe_listed(self.row));
        let ads = self.rows.ads(self.row).map(Into::into);
        let any = previous.is_some() || safe_listed || ads.is_some();
        any.then(|| Box::new(Rare { previous, safe_listed, ads }))
    }
}

/// What a row that passed the filters asked of an episode.
pub(super) fn touch(rows: &Requests<'_>, row: usize, (podcast, index): (&Podcast, usize)) -> Touch {
    let at = rows.occurred_at(row);
    let facts = podcast.episode(index).and_then(|episode| episode.facts.at(at)).copied().unwrap_or_default();
    let (status, file_bytes) = (rows.status(row), rows.file_bytes(row));
    let size = facts.file_size(file_bytes);
    let sent = Sent { status, range: rows.range(row), bytes_sent: rows.bytes_sent(row), file_bytes: size };
    let (need, file) = (need_of(&facts, file_bytes, status), size.unwrap_or(REACH).min(REACH));
    Touch { at, row: offset(rows, row), bytes: sent.bytes(), need, file }
}

fn offset(rows: &Requests<'_>, row: usize) -> u64 {
    u64::try_from(rows.offset.value(row)).unwrap_or(0)
}

impl Downloads {
    /// Judges a row by the filters; one that passes is placed, and judged when its group is.
    pub(super) fn place(&mut self, admission: &Admission<'_>, prior: Prior) -> Row {
        let (rows, row, directory) = (admission.rows, admission.row, admission.directory);
        let occurred = rows.occurred_at(row);
        let facts = directory.account(admission.account_id);
        let known = facts.and_then(|account| account.podcast(admission.podcast_id)).map(AsRef::as_ref);
        let known = known.filter(|podcast| podcast.window(occurred).is_some());
        let enclosure = rows.enclosure.value(row);
        let episode = known
            .and_then(|podcast| self.finder.episode((admission.podcast_id, podcast), enclosure, directory))
            .zip(known);
        let id = episode.and_then(|(index, podcast)| podcast.episode(index)).map(|episode| episode.id);
        let subject = match (known, episode) {
            (None, _) => Subject::UnknownPodcast,
            (Some(_), None) => Subject::NotAnEpisode,
            (Some(_), Some(_)) => Subject::Episode,
        };
        let filtered = |reason| Row { judged: Some(Judged::filtered(reason)), episode: id };
        if let Some(reason) = self.rules.judge(rows, row, subject) {
            if matches!(reason, FilterReason::NotAnEpisode | FilterReason::UnknownPodcast) {
                self.not_found(admission, reason);
            }
            return filtered(reason);
        }
        let Some((index, podcast)) = episode else { return filtered(FilterReason::NotAnEpisode) };
        self.placed.push(Placed {
            day: PodcastDay { account: admission.account_id, podcast: admission.podcast_id, day: occurred.day() },
            key: GroupKey { listener: rows.listener(row), episode: u32::try_from(index).unwrap_or(u32::MAX) },
            household: rows.household(row),
            touch: touch(rows, row, (podcast, index)),
            prior,
            rare: admission.rare(),
            alone: false,
        });
        Row { judged: None, episode: id }
    }

    /// Remembers what was asked for and found in no feed, or of a podcast that nobody has, yet.
    fn not_found(&mut self, admission: &Admission<'_>, reason: FilterReason) {
        let podcast =
            self.accounts.get_mut(&admission.account_id).and_then(|a| a.podcasts.get_mut(&admission.podcast_id));
        let day = admission.rows.occurred_at(admission.row).day();
        if let Some(state) = podcast.and_then(|podcast| podcast.open.get_mut(&day)) {
            match reason {
                FilterReason::UnknownPodcast => state.unconnected(),
                _ => state.unmatched(admission.rows.enclosure.value(admission.row)),
            }
        }
    }
}
