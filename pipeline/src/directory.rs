//! The Directory: what people set, as an immutable snapshot, looked up as of event time.
//!
//! Every version of a thing is kept with the instant from which it holds, so that a recount
//! of March uses March's prices and enclosures. A snapshot is replaced as a whole, after a
//! batch was read and before it is processed.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use castback_catalogue::directory::{DirectoryRows, EpisodeVersion, PodcastVersion};
use castback_rules::window::{EpisodeFacts, Window};
use castback_schemas::campaign::{CampaignState, CampaignVersion};
use castback_schemas::{AccountId, CampaignId, EpisodeId, Micros, PodcastId};

use crate::enclosure;

/// Versions of one thing, oldest first.
#[derive(Debug, Clone)]
pub struct Versions<T>(Vec<(Micros, T)>);

impl<T> Default for Versions<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Versions<T> {
    /// Adds a version; of two with the same date the later change stands.
    fn push(&mut self, valid_from: Micros, value: T) {
        let place = self.0.partition_point(|(from, _)| *from < valid_from);
        match self.0.get_mut(place) {
            Some((from, known)) if *from == valid_from => *known = value,
            _ => self.0.insert(place, (valid_from, value)),
        }
    }

    /// The version in force at `at`.
    #[must_use]
    pub fn at(&self, at: Micros) -> Option<&T> {
        let place = self.0.partition_point(|(from, _)| *from <= at);
        place.checked_sub(1).and_then(|index| self.0.get(index)).map(|(_, value)| value)
    }

    /// Every version, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &(Micros, T)> {
        self.0.iter()
    }
}

/// An episode: what its file is, version by version.
#[derive(Debug, Clone)]
pub struct Episode {
    /// Its id.
    pub id: EpisodeId,
    /// Its GUID.
    pub guid: String,
    /// Length and duration of its file.
    pub facts: Versions<EpisodeFacts>,
}

/// A podcast: its chosen window and its episodes, found by enclosure.
#[derive(Debug, Clone, Default)]
pub struct Podcast {
    windows: Versions<Option<Window>>,
    episodes: Vec<Episode>,
    by_id: HashMap<EpisodeId, usize>,
    by_enclosure: HashMap<Box<str>, Found>,
    campaigns: Vec<Arc<Campaign>>,
}

/// What an enclosure key leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    One(usize),
    /// Several episodes share the key: it decides nothing.
    Several,
}

impl Podcast {
    /// The window that reports, exposures and credits use for what happened at `at`; `None`
    /// once the podcast was removed.
    #[must_use]
    pub fn window(&self, at: Micros) -> Option<Window> {
        self.windows.at(at).copied().flatten()
    }

    /// The episode whose enclosure was asked for, by index for [`Self::episode`].
    #[must_use]
    pub fn find(&self, enclosure_url: &str) -> Option<usize> {
        enclosure::asked(enclosure_url).into_iter().find_map(|key| match self.by_enclosure.get(key.as_str()) {
            Some(Found::One(index)) => Some(*index),
            _ => None,
        })
    }

    /// The episode at an index.
    #[must_use]
    pub fn episode(&self, index: usize) -> Option<&Episode> {
        self.episodes.get(index)
    }

    /// The index of an episode.
    #[must_use]
    pub fn index_of(&self, episode: EpisodeId) -> Option<usize> {
        self.by_id.get(&episode).copied()
    }

    /// Campaigns that ever named this podcast.
    #[must_use]
    pub fn campaigns(&self) -> &[Arc<Campaign>] {
        &self.campaigns
    }

    fn add_episode(&mut self, version: EpisodeVersion) {
        let index = *self.by_id.entry(version.episode).or_insert_with(|| {
            self.episodes.push(Episode { id: version.episode, guid: String::new(), facts: Versions::default() });
            self.episodes.len() - 1
        });
        for key in enclosure::keys(&version.facts.enclosure_url) {
            self.by_enclosure
                .entry(key.into_boxed_str())
                .and_modify(|found| {
                    if *found != Found::One(index) {
                        *found = Found::Several;
                    }
                })
                .or_insert(Found::One(index));
        }
        let seconds = version.facts.duration_ms.map(|ms| u32::try_from(ms / 1000).unwrap_or(u32::MAX));
        let facts = EpisodeFacts { length: version.facts.length, duration_s: seconds, header_bytes: 0 };
        let episode = &mut self.episodes[index];
        episode.guid = version.facts.guid;
        episode.facts.push(version.valid_from, facts);
    }
}

/// A campaign, version by version.
#[derive(Debug, Clone)]
pub struct Campaign {
    /// Its id.
    pub id: CampaignId,
    /// Its versions.
    pub versions: Versions<CampaignVersion>,
}

impl Campaign {
    /// The version by which something that happened at `at` is judged.
    #[must_use]
    pub fn at(&self, at: Micros) -> Option<&CampaignVersion> {
        self.versions.at(at)
    }

    /// The version that judges what happened at `at`: the one in force, or, for what happened
    /// before the launch, the one that launched it; `None` if it never was launched.
    #[must_use]
    pub fn in_force(&self, at: Micros) -> Option<&CampaignVersion> {
        let launch = self.versions.iter().map(|(_, version)| version).find(|version| version.state.delivers())?;
        let version = self.at(at)?;
        Some(if version.valid_from < launch.valid_from { launch } else { version })
    }

    /// Whether the campaign delivers at `at`: between its dates (both included), unless paused,
    /// cancelled or completed by then. Launched late, it delivers from its first day all the same.
    #[must_use]
    pub fn delivers(&self, at: Micros) -> bool {
        let Some(version) = self.in_force(at) else { return false };
        let (Some(first), Some(last)) = (version.terms.starts_on, version.terms.ends_on) else { return false };
        let completed = version.state == CampaignState::Completed && version.valid_from <= at;
        version.state.delivers() && !completed && first.start() <= at && at < last.next().start()
    }
}

/// One account's things.
#[derive(Debug, Clone, Default)]
pub struct AccountDirectory {
    podcasts: HashMap<PodcastId, Arc<Podcast>>,
    campaigns: HashMap<CampaignId, Arc<Campaign>>,
}

impl AccountDirectory {
    /// A podcast of the account.
    #[must_use]
    pub fn podcast(&self, id: PodcastId) -> Option<&Arc<Podcast>> {
        self.podcasts.get(&id)
    }

    /// A campaign of the account.
    #[must_use]
    pub fn campaign(&self, id: CampaignId) -> Option<&Arc<Campaign>> {
        self.campaigns.get(&id)
    }

    /// Every campaign of the account.
    pub fn campaigns(&self) -> impl Iterator<Item = &Arc<Campaign>> {
        self.campaigns.values()
    }
}

/// A snapshot of everything that people set.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    change: i64,
    accounts: HashMap<AccountId, Arc<AccountDirectory>>,
}

impl Directory {
    /// The number of the newest change in it; the `config_version` of what it judges.
    #[must_use]
    pub fn change(&self) -> i64 {
        self.change
    }

    /// One account's things.
    #[must_use]
    pub fn account(&self, id: AccountId) -> Option<&AccountDirectory> {
        self.accounts.get(&id).map(Arc::as_ref)
    }

    /// This snapshot with newer rows laid in; accounts without changes are shared.
    #[must_use]
    pub fn with(&self, rows: DirectoryRows) -> Self {
        let mut next = Self { change: self.change.max(rows.change), accounts: self.accounts.clone() };
        for PodcastVersion { account, podcast, valid_from, window, deleted, .. } in rows.podcasts {
            let window = (!deleted).then(|| Window::named(window.as_str()).unwrap_or_default());
            next.podcast_mut(account, podcast).windows.push(valid_from, window);
        }
        for version in rows.episodes {
            next.podcast_mut(version.account, version.podcast).add_episode(version);
        }
        for (account, version) in rows.campaigns {
            next.add_campaign(account, version);
        }
        next
    }

    fn account_mut(&mut self, account: AccountId) -> &mut AccountDirectory {
        Arc::make_mut(self.accounts.entry(account).or_default())
    }

    fn podcast_mut(&mut self, account: AccountId, podcast: PodcastId) -> &mut Podcast {
        Arc::make_mut(self.account_mut(account).podcasts.entry(podcast).or_default())
    }

    fn add_campaign(&mut self, account: AccountId, version: CampaignVersion) {
        let account = self.account_mut(account);
        let empty = || Arc::new(Campaign { id: version.campaign, versions: Versions::default() });
        let campaign = account.campaigns.entry(version.campaign).or_insert_with(empty);
        Arc::make_mut(campaign).versions.push(version.valid_from, version);
        let campaign = Arc::clone(campaign);
        let named = campaign.versions.iter().flat_map(|(_, version)| &version.terms.podcast_ids);
        let ever: BTreeSet<PodcastId> = named.copied().collect();
        for podcast in account.podcasts.values_mut().filter(|p| p.campaigns.iter().any(|c| c.id == campaign.id)) {
            Arc::make_mut(podcast).campaigns.retain(|known| known.id != campaign.id);
        }
        for id in ever {
            Arc::make_mut(account.podcasts.entry(id).or_default()).campaigns.push(Arc::clone(&campaign));
        }
    }
}
