//! Event ids of an account over all its open days: 128-bit keyed fingerprints.

use std::hash::Hash;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

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

    /// Forgets the ids first seen on a day that froze.
    pub(crate) fn forget(&mut self, day: &D) {
        if let Some(tag) = self.tags.remove(day) {
            self.seen.retain(|_, seen| *seen != tag.to_le_bytes());
        }
    }
}
