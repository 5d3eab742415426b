//! Event ids of an account over all its open days: keyed fingerprints, 16 bytes each with the day
//! on which it was first seen, in a table that is never less than 4/5 full.

use std::hash::Hash;

use hashbrown::{HashMap, HashSet};

/// Fingerprints, each with the day (`D`: key and day) on which it was first seen.
#[derive(Debug)]
pub(crate) struct Ids<D> {
    seen: Seen,
    tags: HashMap<D, u32>,
    next: u32,
}

impl<D> Default for Ids<D> {
    fn default() -> Self {
        Self { seen: Seen::default(), tags: HashMap::new(), next: 0 }
    }
}

impl<D: Hash + Eq> Ids<D> {
    /// Whether the id is new; if so it is remembered with its day.
    pub(crate) fn first(&mut self, id: [u8; 16], day: D) -> bool {
        let next = &mut self.next;
        let tag = *self.tags.entry(day).or_insert_with(|| {
            *next = next.wrapping_add(1).max(1);
            *next
        });
        self.seen.insert(id, tag)
    }

    /// Whether the id is remembered.
    pub(crate) fn holds(&self, id: &[u8; 16]) -> bool {
        self.seen.find(fingerprint(*id)).is_ok()
    }

    /// Forgets the ids first seen on days that froze, all in one walk.
    pub(crate) fn forget(&mut self, days: impl IntoIterator<Item = D>) {
        let tags: HashSet<u32> = days.into_iter().filter_map(|day| self.tags.remove(&day)).collect();
        if !tags.is_empty() {
            self.seen.retain(|tag| !tags.contains(&tag));
        }
    }
}

/// A table of fingerprints (96 bits, of 2^48 of which two are alike with even chances) and tags (32 bits, never
/// 0) as one number each, in ascending order: a fingerprint's home is where it would stand if all were spread
/// evenly, and it stands there or, pushed on by smaller ones, behind, with no gap between. So a table may be very
/// full before a search becomes long, and grows by a little at a time, in one walk through both.
#[derive(Debug, Default)]
struct Seen {
    /// 0 where nothing stands; the homes, and behind them whatever was pushed over their end.
    places: Vec<u128>,
    homes: usize,
    count: usize,
}

const TAG_BITS: u32 = 32;

/// A table grows when it is fuller than nine tenths: to four fifths.
const FULL: (usize, usize) = (9, 10);
const GROWN: (usize, usize) = (5, 4);
const LEAST: usize = 16;

fn fingerprint(id: [u8; 16]) -> u128 {
    u128::from_be_bytes(id) >> TAG_BITS
}

#[expect(clippy::cast_possible_truncation, reason = "the low 32 bits are the tag")]
fn tag(place: u128) -> u32 {
    place as u32
}

impl Seen {
    /// Where a fingerprint that is home at `homes` of them would stand.
    fn home(fingerprint: u128, homes: usize) -> usize {
        let high = fingerprint >> (u128::BITS - TAG_BITS - u64::BITS);
        usize::try_from((high * homes as u128) >> u64::BITS).unwrap_or(0)
    }

    /// Where a fingerprint stands, or else belongs.
    fn find(&self, fingerprint: u128) -> Result<usize, usize> {
        let home = Self::home(fingerprint, self.homes);
        let behind = self.places.get(home..).unwrap_or_default();
        let smaller = |place: &&u128| **place != 0 && **place >> TAG_BITS < fingerprint;
        let at = home + behind.iter().take_while(smaller).count();
        let found = self.places.get(at).is_some_and(|place| *place != 0 && *place >> TAG_BITS == fingerprint);
        if found { Ok(at) } else { Err(at) }
    }

    /// Whether the fingerprint of the id is new; if so it is put in.
    fn insert(&mut self, id: [u8; 16], tag: u32) -> bool {
        let fingerprint = fingerprint(id);
        let Err(mut at) = self.find(fingerprint) else { return false };
        if self.count >= self.homes / FULL.1 * FULL.0 {
            self.resize((self.count + 1) * GROWN.0 / GROWN.1 + LEAST, |_| true);
            at = self.find(fingerprint).unwrap_or_else(|at| at);
        }
        let gap = self.places[at..].iter().position(|place| *place == 0).map(|gap| at + gap);
        let gap = gap.unwrap_or_else(|| {
            self.places.push(0);
            self.places.len() - 1
        });
        self.places.copy_within(at..gap, at + 1);
        self.places[at] = fingerprint << TAG_BITS | u128::from(tag);
        self.count += 1;
        true
    }

    fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        self.count = self.places.iter().filter(|place| **place != 0 && keep(tag(**place))).count();
        self.resize(self.count * GROWN.0 / GROWN.1 + LEAST, keep);
    }

    /// Moves what is kept to a table of so many homes.
    fn resize(&mut self, homes: usize, keep: impl Fn(u32) -> bool) {
        let mut places = vec![0; homes + LEAST];
        let mut next = 0;
        for place in self.places.iter().filter(|place| **place != 0 && keep(tag(**place))) {
            next = next.max(Self::home(*place >> TAG_BITS, homes));
            if next == places.len() {
                places.push(0);
            }
            places[next] = *place;
            next += 1;
        }
        (self.places, self.homes) = (places, homes);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Ids that are crowded at both ends and in the middle.
    fn id() -> impl Strategy<Value = [u8; 16]> {
        let crowd = (prop_oneof![Just(0), Just(0x7f), Just(0xff)], 0..40_u8);
        let crowded = crowd.prop_map(|(first, last)| {
            let mut id = [first; 16];
            id[11] = last;
            id
        });
        prop_oneof![crowded, any::<[u8; 16]>()]
    }

    proptest! {
        #[test]
        fn an_id_is_new_once_until_its_day_is_forgotten(
            steps in prop::collection::vec((id(), 0..4_u8), 0..400), forgotten in 0..4_u8,
        ) {
            let mut ids = Ids::default();
            let mut known: BTreeMap<Vec<u8>, u8> = BTreeMap::new();
            for (id, day) in &steps {
                let new = !known.contains_key(&id[..12]);
                known.entry(id[..12].to_vec()).or_insert(*day);
                prop_assert_eq!(ids.first(*id, *day), new);
            }
            ids.forget([forgotten]);
            known.retain(|_, day| *day != forgotten);
            prop_assert_eq!(ids.seen.count, known.len());
            prop_assert!(ids.seen.places.iter().filter(|place| **place != 0).is_sorted());
            for (id, _) in &steps {
                prop_assert_eq!(ids.holds(id), known.contains_key(&id[..12]));
            }
        }
    }

    #[test]
    fn an_id_takes_twenty_bytes_at_most() {
        let mut ids = Ids::default();
        for number in 0..200_000_u64 {
            let high = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            assert!(ids.first((u128::from(high) << 64).to_be_bytes(), ()));
            let bytes = ids.seen.places.capacity() * size_of::<u128>();
            assert!(number < 1_000 || bytes <= 20 * (ids.seen.count + 100), "{bytes} bytes for {number}");
        }
    }
}
