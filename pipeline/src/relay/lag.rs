//! How far the verdicts are behind the log: how many records wait, and since when.

use std::collections::{BTreeMap, VecDeque};

use castback_broker::{Log, ReadError};
use castback_catalogue::units::UnitStatus;
use castback_schemas::time::SECOND;
use castback_schemas::{Micros, Slot, Topic};

use crate::group::{PROCESSORS, judge_of};
use crate::task::Shared;

/// Ends of a slot that are remembered; of more, every second one is forgotten.
const MAX_SEEN: usize = 1_000;

/// Where each slot ended, at every look since.
#[derive(Debug, Default)]
pub(super) struct Lag {
    seen: BTreeMap<(Topic, Slot), Seen>,
}

impl Lag {
    /// Looks at every topic that is judged and tells its lag. What is not known stays as it was.
    pub(super) async fn tell(&mut self, shared: &Shared, units: &[UnitStatus]) {
        let now = shared.clock.now();
        for topic in PROCESSORS.iter().filter_map(|processor| processor.judges) {
            match self.of_topic(shared.log.as_ref(), units, (topic, now)).await {
                Ok((records, since)) => {
                    let waited = since.map_or(0, |since| (now.0 - since.0).max(0) / SECOND);
                    shared.metrics.lags(topic, records, waited);
                }
                Err(error) => tracing::debug!(topic = %topic, error = %error, "relay.lag_unknown"),
            }
        }
    }

    /// Records that wait for their verdicts, and since when the oldest is known to.
    async fn of_topic(
        &mut self,
        log: &dyn Log,
        units: &[UnitStatus],
        (topic, now): (Topic, Micros),
    ) -> Result<(i64, Option<Micros>), ReadError> {
        let (mut records, mut oldest) = (0, None::<Micros>);
        for status in units.iter().filter(|status| Some(status.unit.group) == judge_of(topic)) {
            let position = status.positions.0.get(topic.name()).copied().unwrap_or(0);
            let end = log.ends(topic, status.unit.slot).await?.end;
            records += (end - position).max(0);
            let since = self.seen.entry((topic, status.unit.slot)).or_default().since((position, end), now);
            oldest = oldest.into_iter().chain(since).min();
        }
        Ok((records, oldest))
    }
}

/// Ends of a slot that its position has not come to, each with the time at which it was first seen.
#[derive(Debug, Default)]
struct Seen(VecDeque<(i64, Micros)>);

impl Seen {
    /// Since when the record at `position` is known to be there; none if it is not.
    fn since(&mut self, (position, end): (i64, i64), now: Micros) -> Option<Micros> {
        if self.0.back().is_none_or(|(last, _)| *last < end) {
            self.0.push_back((end, now));
        }
        while self.0.front().is_some_and(|(end, _)| *end <= position) {
            self.0.pop_front();
        }
        if self.0.len() > MAX_SEEN {
            let mut keep = false;
            self.0.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.0.front().map(|(_, at)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_as_old_as_the_look_that_saw_it_first() {
        let mut seen = Seen::default();
        assert_eq!(seen.since((0, 0), Micros(1)), None);
        assert_eq!(seen.since((0, 5), Micros(2)), Some(Micros(2)));
        assert_eq!(seen.since((3, 9), Micros(3)), Some(Micros(2)), "the fourth is there since the second look");
        assert_eq!(seen.since((5, 9), Micros(4)), Some(Micros(3)));
        assert_eq!(seen.since((9, 9), Micros(5)), None);
        assert_eq!(seen.since((9, 10), Micros(6)), Some(Micros(6)));
    }

    #[test]
    fn a_long_wait_is_remembered_in_bounds() {
        let mut seen = Seen::default();
        for look in 1..10_000 {
            assert_eq!(seen.since((0, look), Micros(look)), Some(Micros(1)));
            assert!(seen.0.len() <= MAX_SEEN);
        }
        assert!(seen.since((5_000, 10_000), Micros(10_000)).is_some_and(|at| at.0 >= 5_001 && at.0 < 6_000));
    }
}
