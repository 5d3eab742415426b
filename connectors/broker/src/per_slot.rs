//! A value for every slot of every topic.

use castback_schemas::topic::{SLOTS, Slot, TOPICS, Topic};

/// A table with one cell for every slot of every topic.
#[derive(Debug, Clone)]
pub(crate) struct PerSlot<T>(Vec<T>);

impl<T> PerSlot<T> {
    /// Fills every cell with what `make` gives.
    pub(crate) fn new(make: impl Fn() -> T) -> Self {
        Self((0..TOPICS.len() * usize::from(SLOTS)).map(|_| make()).collect())
    }

    /// The cell of a slot; `None` if there is no such slot.
    pub(crate) fn get(&self, topic: Topic, slot: Slot) -> Option<&T> {
        index(topic, slot).and_then(|index| self.0.get(index))
    }

    /// The cell of a slot, to be changed.
    pub(crate) fn get_mut(&mut self, topic: Topic, slot: Slot) -> Option<&mut T> {
        index(topic, slot).and_then(|index| self.0.get_mut(index))
    }

    /// Does something with every cell.
    pub(crate) fn each(&self, act: impl FnMut(&T)) {
        self.0.iter().for_each(act);
    }
}

fn index(topic: Topic, slot: Slot) -> Option<usize> {
    (slot.0 < SLOTS).then(|| topic as usize * usize::from(SLOTS) + usize::from(slot.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_apart_and_no_others_exist() {
        let mut table = PerSlot::new(|| 0);
        let mut n = 0;
        for spec in TOPICS {
            for slot in Slot::all() {
                n += 1;
                *table.get_mut(spec.topic, slot).unwrap() = n;
            }
        }
        let mut seen = 0;
        for spec in TOPICS {
            for slot in Slot::all() {
                seen += 1;
                assert_eq!(table.get(spec.topic, slot), Some(&seen));
            }
        }
        assert_eq!(table.get(Topic::AlertsLow, Slot(SLOTS)), None);
    }
}
