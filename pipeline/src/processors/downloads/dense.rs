//! Entries in one row, found by a key that is part of them: no slot of a half-empty table costs
//! more than four bytes.

use hashbrown::HashTable;

/// What can stand in a [`Dense`] table.
pub(super) trait Entry {
    /// What it is found by.
    type Key: Eq;

    /// Its key.
    fn key(&self) -> &Self::Key;

    /// Where a key is looked for. Keys are keyed hashes already, which nobody outside can choose.
    fn spread(key: &Self::Key) -> u64;
}

/// Entries by key. None is ever taken out.
#[derive(Debug)]
pub(super) struct Dense<E> {
    entries: Vec<E>,
    index: HashTable<u32>,
}

impl<E> Default for Dense<E> {
    fn default() -> Self {
        Self { entries: Vec::new(), index: HashTable::new() }
    }
}

/// What the row grows by, at least, and by which part of itself: doubling would leave half of it
/// empty.
const GROWTH: usize = 64;
const GROWTH_PART: usize = 8;

impl<E: Entry> Dense<E> {
    /// Where the entry of a key stands.
    pub(super) fn position(&self, key: &E::Key) -> Option<usize> {
        let same = |&at: &u32| self.entries[at as usize].key() == key;
        self.index.find(E::spread(key), same).map(|&at| at as usize)
    }

    pub(super) fn get(&self, key: &E::Key) -> Option<&E> {
        self.position(key).map(|at| &self.entries[at])
    }

    pub(super) fn at(&self, position: usize) -> Option<&E> {
        self.entries.get(position)
    }

    pub(super) fn at_mut(&mut self, position: usize) -> Option<&mut E> {
        self.entries.get_mut(position)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &E> {
        self.entries.iter()
    }

    /// Where the entry of a key stands, made if it is not there; and whether it was made.
    pub(super) fn position_or(&mut self, key: &E::Key, make: impl FnOnce() -> E) -> (usize, bool) {
        if let Some(at) = self.position(key) {
            return (at, false);
        }
        let at = self.entries.len();
        if at == self.entries.capacity() {
            self.entries.reserve_exact(at / GROWTH_PART + GROWTH);
        }
        self.entries.push(make());
        let entries = &self.entries;
        let position = u32::try_from(at).unwrap_or(u32::MAX);
        self.index.insert_unique(E::spread(key), position, |&at| E::spread(entries[at as usize].key()));
        (at, true)
    }
}
