//! How far a unit may read that must not run ahead of another: the tally never counts what the
//! unit that gives the verdicts has not committed.

use std::sync::Arc;

use castback_catalogue::Catalogue;
use castback_schemas::{Group, Topic, Unit};

use crate::group::judge_of;
use crate::publisher::HeldUnits;

/// Committed positions of other units.
#[derive(Debug)]
pub struct Bounds {
    catalogue: Catalogue,
    units: Arc<HeldUnits>,
}

impl Bounds {
    /// Bounds by units held here, else by the catalogue.
    #[must_use]
    pub fn new(catalogue: Catalogue, units: Arc<HeldUnits>) -> Self {
        Self { catalogue, units }
    }

    /// The offset before which `unit` may read `topic`; none for units that follow nobody.
    pub async fn of(&self, unit: Unit, topic: Topic) -> Option<i64> {
        if unit.group != Group::Tally {
            return None;
        }
        let judge = Unit { group: judge_of(topic)?, slot: unit.slot };
        let positions = if let Some(held) = self.units.get(judge) {
            held.committed().borrow().positions.clone()
        } else {
            let units = self.catalogue.units().await.unwrap_or_default();
            units.into_iter().find(|status| status.unit == judge).map(|status| status.positions).unwrap_or_default()
        };
        Some(positions.0.get(topic.name()).copied().unwrap_or(0))
    }

    /// Whether `unit` may read at `position`.
    pub async fn admits(&self, unit: Unit, topic: Topic, position: i64) -> bool {
        self.of(unit, topic).await.is_none_or(|bound| position < bound)
    }
}
