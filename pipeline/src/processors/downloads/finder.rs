//! Whose a row is and what it asks for, with the last answers remembered: rows of one sender come
//! together, and a day's enclosures are few.

use castback_schemas::{AccountId, PodcastId, Slot};
use hashbrown::HashMap;
use uuid::Uuid;

use super::rows::Requests;
use crate::directory::{Directory, Podcast};

/// Enclosures remembered; all are forgotten when there are more. A scan of made-up ones costs
/// time, not memory.
const MAX_REMEMBERED: usize = 20_000;

/// Remembers answers that hold for one version of the Directory.
#[derive(Debug)]
pub(super) struct Finder {
    change: i64,
    known: usize,
    found: HashMap<PodcastId, HashMap<Box<str>, Option<usize>>>,
    account: (String, Option<AccountId>),
    podcast: (String, PodcastId),
}

impl Default for Finder {
    fn default() -> Self {
        let (account, podcast) = ((String::new(), None), (String::new(), NOBODYS));
        Self { change: 0, known: 0, found: HashMap::new(), account, podcast }
    }
}

impl Finder {
    /// The account, if the record lies in its slot.
    pub(super) fn account(&mut self, rows: &Requests<'_>, row: usize, slot: Slot) -> Option<AccountId> {
        let text = rows.account.value(row);
        if self.account.0 != text {
            let account = text.parse().ok().filter(|id| Slot::of(*id) == slot);
            self.account = (text.to_owned(), account);
        }
        self.account.1
    }

    /// The podcast; all that is no podcast's id is one podcast that nobody has.
    pub(super) fn podcast(&mut self, rows: &Requests<'_>, row: usize) -> PodcastId {
        let text = rows.podcast.value(row);
        if self.podcast.0 != text {
            self.podcast = (text.to_owned(), text.parse().unwrap_or(NOBODYS));
        }
        self.podcast.1
    }

    /// The episode of a podcast that an enclosure leads to.
    pub(super) fn episode(
        &mut self,
        (id, podcast): (PodcastId, &Podcast),
        enclosure: &str,
        directory: &Directory,
    ) -> Option<usize> {
        if self.change != directory.change() || self.known > MAX_REMEMBERED {
            self.found.clear();
            (self.change, self.known) = (directory.change(), 0);
        }
        let of_podcast = self.found.entry(id).or_default();
        if let Some(found) = of_podcast.get(enclosure) {
            return *found;
        }
        self.known += 1;
        let found = podcast.find(enclosure);
        of_podcast.insert(enclosure.into(), found);
        found
    }
}

/// What no podcast is called.
const NOBODYS: PodcastId = PodcastId::from_uuid(Uuid::nil());
