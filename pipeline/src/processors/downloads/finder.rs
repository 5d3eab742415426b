//! Whose a row is and what it asks for, with the last answers remembered: rows of one sender come
//! together, and a day's enclosures are few.

use castback_schemas::{AccountId, PodcastId, Slot};
use hashbrown::HashMap;
use uuid::Uuid;

use super::rows::Requests;
use crate::directory::{Directory, Podcast};

/// Texts of a kind that are remembered; all are forgotten when there are more. A scan of made-up
/// ones costs time, not memory.
const MAX_REMEMBERED: usize = 20_000;

/// Remembers answers: about episodes those of one version of the Directory.
#[derive(Debug, Default)]
pub(super) struct Finder {
    change: i64,
    known: usize,
    found: HashMap<PodcastId, HashMap<Box<str>, Option<usize>>>,
    kept: HashMap<PodcastId, HashMap<Box<str>, Option<usize>>>,
    accounts: HashMap<Box<str>, Option<AccountId>>,
    podcasts: HashMap<Box<str>, PodcastId>,
}

impl Finder {
    /// The account, if the record lies in its slot.
    pub(super) fn account(&mut self, rows: &Requests<'_>, row: usize, slot: Slot) -> Option<AccountId> {
        let own = |text: &str| text.parse().ok().filter(|id| Slot::of(*id) == slot);
        remembered(&mut self.accounts, rows.account.value(row), own)
    }

    /// The podcast; all that is no podcast's id is one podcast that nobody has.
    pub(super) fn podcast(&mut self, rows: &Requests<'_>, row: usize) -> PodcastId {
        remembered(&mut self.podcasts, rows.podcast.value(row), |text| text.parse().unwrap_or(NOBODYS))
    }

    /// The episode of a podcast that an enclosure leads to.
    pub(super) fn episode(
        &mut self,
        (id, podcast): (PodcastId, &Podcast),
        enclosure: &str,
        directory: &Directory,
    ) -> Option<usize> {
        self.keep_up(directory);
        let of_podcast = self.found.entry(id).or_default();
        answer((of_podcast, &mut self.known), enclosure, |enclosure| podcast.find(enclosure))
    }

    /// The episode of a podcast that has an id, as the ledger names it.
    pub(super) fn kept(
        &mut self,
        (id, podcast): (PodcastId, &Podcast),
        episode: &str,
        directory: &Directory,
    ) -> Option<usize> {
        self.keep_up(directory);
        let of_podcast = self.kept.entry(id).or_default();
        answer((of_podcast, &mut self.known), episode, |episode| podcast.index_of(episode.parse().ok()?))
    }

    fn keep_up(&mut self, directory: &Directory) {
        if self.change != directory.change() || self.known > MAX_REMEMBERED {
            self.found.clear();
            self.kept.clear();
            (self.change, self.known) = (directory.change(), 0);
        }
    }
}

fn answer(
    (known, count): (&mut HashMap<Box<str>, Option<usize>>, &mut usize),
    text: &str,
    make: impl FnOnce(&str) -> Option<usize>,
) -> Option<usize> {
    if let Some(answer) = known.get(text) {
        return *answer;
    }
    *count += 1;
    let answer = make(text);
    known.insert(text.into(), answer);
    answer
}

/// The answer about a text, made if it is not known.
fn remembered<T: Copy>(known: &mut HashMap<Box<str>, T>, text: &str, make: impl FnOnce(&str) -> T) -> T {
    if let Some(answer) = known.get(text) {
        return *answer;
    }
    if known.len() > MAX_REMEMBERED {
        known.clear();
    }
    let answer = make(text);
    known.insert(text.into(), answer);
    answer
}

/// What no podcast is called.
const NOBODYS: PodcastId = PodcastId::from_uuid(Uuid::nil());
