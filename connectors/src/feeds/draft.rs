//! An item while it is read, and the feed that collects items into episodes.

use std::collections::HashSet;

use castback_schemas::Micros;

use super::dates;
use super::model::{Episode, Feed, Format, Identity};
use super::values;
use super::warning::{Warning, Warnings};

/// Episodes of one feed; items behind that are counted and left out. The largest feeds have some 5,000.
pub(super) const MAX_EPISODES: usize = 20_000;

/// A media file of an item.
#[derive(Debug, Default)]
pub(super) struct Enclosure {
    pub(super) url: String,
    pub(super) length: Option<u64>,
    pub(super) media_type: Option<String>,
}

impl Enclosure {
    fn is_media(&self) -> bool {
        let media_type = self.media_type.as_deref().unwrap_or_default();
        ["audio/", "video/"]
            .iter()
            .any(|kind| media_type.get(..6).is_some_and(|start| start.eq_ignore_ascii_case(kind)))
    }
}

/// An item as far as it has been read. The first value of a field stays.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) guid: Option<String>,
    pub(super) title: Option<String>,
    pub(super) itunes_title: Option<String>,
    pub(super) link: Option<String>,
    pub(super) duration_seconds: Option<u32>,
    pub(super) image: Option<String>,
    pub(super) season: Option<u32>,
    pub(super) number: Option<u32>,
    pub(super) about: Option<String>,
    pub(super) enclosure: Option<Enclosure>,
    pub(super) published_at: Option<Micros>,
    pub(super) updated_at: Option<Micros>,
}

impl Draft {
    /// Takes an enclosure: the first audio or video file, else the first of all.
    pub(super) fn offer(&mut self, enclosure: Enclosure) {
        match &self.enclosure {
            Some(held) if held.is_media() || !enclosure.is_media() => {}
            _ => self.enclosure = Some(enclosure),
        }
    }

    /// `rdf:about` identifies an item that has no GUID.
    pub(super) fn set_about(&mut self, raw: &str, warnings: &mut Warnings) {
        self.about = values::identifier(raw, warnings);
    }

    pub(super) fn set_published(&mut self, raw: &str, warnings: &mut Warnings) {
        let date = date(raw, warnings);
        self.published_at = self.published_at.or(date);
    }

    pub(super) fn set_updated(&mut self, raw: &str, warnings: &mut Warnings) {
        let date = date(raw, warnings);
        self.updated_at = self.updated_at.or(date);
    }

    fn into_episode(self) -> Option<Episode> {
        let enclosure = self.enclosure.unwrap_or_default();
        let enclosure_url = Some(enclosure.url).filter(|url| !url.is_empty());
        let identities = [
            (self.guid.or(self.about), Identity::Guid),
            (enclosure_url.clone(), Identity::Enclosure),
            (self.link.clone(), Identity::Link),
        ];
        let (guid, identity) = identities.into_iter().find_map(|(guid, identity)| Some((guid?, identity)))?;
        Some(Episode {
            guid,
            identity,
            title: self.title.or(self.itunes_title),
            link: self.link,
            enclosure_url,
            enclosure_length: enclosure.length,
            enclosure_type: enclosure.media_type,
            duration_seconds: self.duration_seconds,
            published_at: self.published_at.or(self.updated_at),
            image: self.image,
            season: self.season,
            number: self.number,
        })
    }
}

/// A date that cannot be read is unknown, never "now".
fn date(raw: &str, warnings: &mut Warnings) -> Option<Micros> {
    if raw.trim().is_empty() {
        return None;
    }
    let date = dates::read(raw);
    match date {
        None => warnings.add(Warning::BadDate),
        Some(dated) if dated.zone_assumed => warnings.add(Warning::ZoneAssumed),
        Some(_) => {}
    }
    date.map(|dated| dated.at)
}

/// A feed while it is read.
#[derive(Debug)]
pub(super) struct Collector {
    pub(super) feed: Feed,
}

impl Collector {
    pub(super) fn new(format: Format) -> Self {
        Self { feed: Feed::new(format) }
    }

    /// Adds an item, if it can be identified.
    pub(super) fn push(&mut self, draft: Draft, warnings: &mut Warnings) {
        if self.feed.episodes.len() >= MAX_EPISODES {
            self.skip(1, warnings);
            return;
        }
        self.feed.items_seen += 1;
        if draft.enclosure.is_none() {
            warnings.add(Warning::NoEnclosure);
        }
        match draft.into_episode() {
            Some(episode) => self.feed.episodes.push(episode),
            None => warnings.add(Warning::NoIdentity),
        }
    }

    /// Counts items that were not read.
    pub(super) fn skip(&mut self, count: usize, warnings: &mut Warnings) {
        self.feed.items_seen += count;
        if count > 0 {
            warnings.add(Warning::TooManyItems);
        }
    }

    /// The feed, with every identity unique.
    pub(super) fn finish(self, mut warnings: Warnings) -> Feed {
        let mut feed = self.feed;
        if feed.items_seen == 0 {
            warnings.add(Warning::NoItems);
        }
        separate(&mut feed.episodes, &mut warnings);
        feed.warnings = warnings;
        feed
    }
}

/// Feeds list the newest first, so of several items with one GUID the last keeps it: an old episode
/// does not change its identity because a new one copies its GUID. The others go by their enclosure.
fn separate(episodes: &mut Vec<Episode>, warnings: &mut Warnings) {
    let mut taken = HashSet::with_capacity(episodes.len());
    episodes.reverse();
    episodes.retain_mut(|episode| {
        if taken.insert(episode.guid.clone()) {
            return true;
        }
        warnings.add(Warning::DuplicateGuid);
        let Some(url) = episode.enclosure_url.clone().filter(|url| taken.insert(url.clone())) else { return false };
        episode.guid = url;
        episode.identity = Identity::Enclosure;
        true
    });
    episodes.reverse();
}
