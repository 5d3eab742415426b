//! Event ids of an account over all its open days: 128-bit keyed fingerprints.

use std::hash::Hash;

use hashbrown::hash_map::Entry;
use hashbrown::{HashMap, HashSet};

/// Fingerprints, each with the day (`D`: key and day) on which it was first seen, as a number small
/// enough to stand beside millions of them.
#[derive(Debug)]
pub(crate) struct Ids<D> {
    seen: HashMap<[u8; 16], [u8; 4]>,
    tags: HashMap<D, u32>,
    next: u32,
}

impl<D> Default for Ids<D> {
    fn default() -> Self {
        Self { seen: HashMap::new(), tags: HashMap::new(), next: 0 }
    }
}

impl<D: Hash + Eq> Ids<D> {
    /// Whether the id is new; if so it is remembered with its day.
    pub(crate) fn first(&mut self, id: [u8; 16], day: D) -> bool {
        let next = &mut self.next;
        let tag = *self.tags.entry(day).or_insert_with(|| {
            *next = next.wrapping_add(1);
            *next
        });
        match self.seen.entry(id) {
            Entry::Occupied(_) => false,
            Entry::Vacant(entry) => {
                entry.insert(tag.to_le_bytes());
                true
            }
        }
    }

    /// Whether the id is remembered.
    pub(crate) fn holds(&self, id: &[u8; 16]) -> bool {
        self.seen.contains_key(id)
    }

    /// Forgets the ids first seen on days that froze, all in one walk.
    pub(crate) fn forget(&mut self, days: impl IntoIterator<Item = D>) {
        let tags: HashSet<[u8; 4]> =
            days.into_iter().filter_map(|day| self.tags.remove(&day)).map(u32::to_le_bytes).collect();
        if !tags.is_empty() {
            self.seen.retain(|_, seen| !tags.contains(seen));
        }
    }
}
