//! What changed between two readings of one feed.

use std::collections::HashMap;

use castback_schemas::Micros;

use super::model::Episode;

/// A change of an episode, by its identity ([`Episode::guid`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedChange {
    /// An episode that was not there.
    Added {
        /// Its identity.
        guid: String,
    },
    /// An episode that is no longer listed (many feeds list only their newest).
    Removed {
        /// Its identity.
        guid: String,
    },
    /// The same episode under another identity: its file, or its title and publication time, stayed.
    GuidChanged {
        /// The identity it had.
        from: String,
        /// The identity it has.
        to: String,
    },
    /// Another file, such as after a move to another host.
    EnclosureChanged {
        /// The episode's present identity.
        guid: String,
        /// The address it had.
        from: Option<String>,
        /// The address it has.
        to: Option<String>,
    },
    /// Another title.
    TitleChanged {
        /// The episode's present identity.
        guid: String,
        /// The title it had.
        from: Option<String>,
        /// The title it has.
        to: Option<String>,
    },
}

/// Compares two readings. Changes of `new`'s episodes come in its order, removals follow in `old`'s order;
/// the order of episodes itself is no change. Takes linear time.
#[must_use]
pub fn diff(old: &[Episode], new: &[Episode]) -> Vec<FeedChange> {
    let mut changes = Vec::new();
    let mut rest = Unmatched::of(old, new);
    let by_guid: HashMap<&str, &Episode> = old.iter().map(|episode| (episode.guid.as_str(), episode)).collect();
    for episode in new {
        let before = by_guid.get(episode.guid.as_str()).copied();
        let Some(before) = before.or_else(|| rest.take_same(episode)) else {
            changes.push(FeedChange::Added { guid: episode.guid.clone() });
            continue;
        };
        changes.extend(changes_of(before, episode));
    }
    let gone = old.iter().filter(|episode| rest.guids.contains_key(episode.guid.as_str()));
    changes.extend(gone.map(|episode| FeedChange::Removed { guid: episode.guid.clone() }));
    changes
}

fn changes_of(before: &Episode, after: &Episode) -> impl Iterator<Item = FeedChange> {
    let guid = || after.guid.clone();
    let renamed =
        (before.guid != after.guid).then(|| FeedChange::GuidChanged { from: before.guid.clone(), to: guid() });
    let moved = (before.enclosure_url != after.enclosure_url).then(|| FeedChange::EnclosureChanged {
        guid: guid(),
        from: before.enclosure_url.clone(),
        to: after.enclosure_url.clone(),
    });
    let retitled = (before.title != after.title).then(|| FeedChange::TitleChanged {
        guid: guid(),
        from: before.title.clone(),
        to: after.title.clone(),
    });
    [renamed, moved, retitled].into_iter().flatten()
}

/// Old episodes whose identity is gone, to be found under a new one.
struct Unmatched<'a> {
    guids: HashMap<&'a str, &'a Episode>,
    enclosures: HashMap<&'a str, &'a Episode>,
    titles: HashMap<(&'a str, Micros), &'a Episode>,
}

impl<'a> Unmatched<'a> {
    fn of(old: &'a [Episode], new: &[Episode]) -> Self {
        let present: std::collections::HashSet<&str> = new.iter().map(|episode| episode.guid.as_str()).collect();
        let mut unmatched = Self { guids: HashMap::new(), enclosures: HashMap::new(), titles: HashMap::new() };
        for episode in old.iter().filter(|episode| !present.contains(episode.guid.as_str())) {
            unmatched.guids.insert(&episode.guid, episode);
            if let Some(url) = &episode.enclosure_url {
                unmatched.enclosures.insert(url, episode);
            }
            if let Some(key) = title_key(episode) {
                unmatched.titles.insert(key, episode);
            }
        }
        unmatched
    }

    /// The old episode with the same file, else with the same title and time; each is given once.
    fn take_same(&mut self, episode: &Episode) -> Option<&'a Episode> {
        let by_enclosure = episode.enclosure_url.as_deref().and_then(|url| self.enclosures.get(url).copied());
        let by_title = || title_key(episode).and_then(|key| self.titles.get(&key).copied());
        let given = |found: &&Episode| self.guids.contains_key(found.guid.as_str());
        let found = by_enclosure.filter(given).or_else(|| by_title().filter(given))?;
        self.guids.remove(found.guid.as_str());
        Some(found)
    }
}

fn title_key(episode: &Episode) -> Option<(&str, Micros)> {
    Some((episode.title.as_deref()?, episode.published_at?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::model::Identity;
    use super::*;

    fn episode(guid: &str, file: &str, title: &str) -> Episode {
        Episode {
            guid: guid.to_owned(),
            identity: Identity::Guid,
            title: Some(title.to_owned()),
            link: None,
            enclosure_url: Some(file.to_owned()),
            enclosure_length: None,
            enclosure_type: None,
            duration_seconds: None,
            published_at: Some(Micros(7)),
            image: None,
            season: None,
            number: None,
        }
    }

    #[test]
    fn each_change_is_told_once() {
        let old = [
            episode("same", "s.mp3", "Same"),
            episode("moved", "old.mp3", "Moved"),
            episode("retitled", "r.mp3", "Before"),
            episode("old-guid", "g.mp3", "By file"),
            episode("older-guid", "t.mp3", "By title"),
            episode("gone", "gone.mp3", "Gone"),
        ];
        let new = [
            episode("added", "a.mp3", "Added"),
            episode("new-guid", "g.mp3", "By file"),
            episode("newer-guid", "t2.mp3", "By title"),
            episode("retitled", "r.mp3", "After"),
            episode("moved", "new.mp3", "Moved"),
            episode("same", "s.mp3", "Same"),
        ];
        let text = |text: &str| text.to_owned();
        let some = |value: &str| Some(text(value));
        assert_eq!(
            diff(&old, &new),
            [
                FeedChange::Added { guid: text("added") },
                FeedChange::GuidChanged { from: text("old-guid"), to: text("new-guid") },
                FeedChange::GuidChanged { from: text("older-guid"), to: text("newer-guid") },
                FeedChange::EnclosureChanged { guid: text("newer-guid"), from: some("t.mp3"), to: some("t2.mp3") },
                FeedChange::TitleChanged { guid: text("retitled"), from: some("Before"), to: some("After") },
                FeedChange::EnclosureChanged { guid: text("moved"), from: some("old.mp3"), to: some("new.mp3") },
                FeedChange::Removed { guid: text("gone") },
            ]
        );
    }

    proptest! {
        #[test]
        fn additions_and_removals_balance(old in feeds(), new in feeds()) {
            let changes = diff(&old, &new);
            let count = |wanted: fn(&FeedChange) -> bool| changes.iter().filter(|change| wanted(change)).count();
            let added = count(|change| matches!(change, FeedChange::Added { .. }));
            let removed = count(|change| matches!(change, FeedChange::Removed { .. }));
            prop_assert_eq!(old.len() + added, new.len() + removed);
            prop_assert!(diff(&new, &new).is_empty());
        }
    }

    fn feeds() -> impl Strategy<Value = Vec<Episode>> {
        proptest::collection::btree_map(0_u8..12, (0_u8..6, 0_u8..3), 0..10).prop_map(|episodes| {
            let one = |(guid, (file, title)): (u8, (u8, u8))| {
                episode(&guid.to_string(), &format!("{file}.mp3"), &"x".repeat(usize::from(title)))
            };
            episodes.into_iter().map(one).collect()
        })
    }
}
