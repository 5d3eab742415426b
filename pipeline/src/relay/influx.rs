//! Committed points to the mirror: each series with its own position, at least once.
//!
//! ```text
//! position ─▶ what changed since ─▶ batches, hour by hour ─▶ position     (every second; hours every minute)
//! once a night: some hours read back ─▶ what differs is written again
//! ```
//! Points are absolute, so a batch of which nobody knows whether it arrived is sent again. While
//! the mirror is away nothing is kept here and nothing else waits: the position stays where it is,
//! and what has changed since is read from the store when the mirror is back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use castback_schemas::series::{SERIES, SeriesSpec};
use castback_schemas::time::{DAY, HOUR, SECOND};
use castback_schemas::{Micros, Revision, Series};
use castback_store::mirror::{
    Batch, Bucket, Mirror, MirrorError, Place, Point, batches, changed_places, changed_points, sample,
};
use castback_store::{PinnedView, StoreError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::metrics::Passed;
use crate::task::{Shared, chain};

/// The relay's lease in the catalogue; its positions are `influx/<series>`.
const NAME: &str = "influx";

/// How often committed rows are looked for.
const EVERY: Duration = Duration::from_secs(1);

/// How often sums over hours are made anew: an hour under way changes all the time.
const HOURS_EVERY: Duration = Duration::from_mins(1);

/// How long a process holds the relay without renewal, in microseconds: longer than a write may take, so that no
/// older value of a process that was replaced arrives after a newer one.
const LEASE: i64 = 60 * SECOND;

/// Tries of a batch; after the last the round ends, and another begins later.
const TRIES: u32 = 5;

/// Waits between tries begin with this and double.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// Longest wait between two rounds while the mirror does not answer.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Longest wait within a round, half of [`LEASE`]: after a longer one a round begins anew, with what is true then.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Longest wait that a server may ask for; one that asks for more is asked again then.
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(1);

/// Hour of the UTC day from which on the sample is read back.
const NIGHT: i64 = 3 * HOUR;

/// Why a round ended early.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    /// Rows can't be read.
    #[error("the points can't be read")]
    Store(#[from] StoreError),
    /// The catalogue does not answer.
    #[error("the catalogue does not answer")]
    Catalogue(#[from] castback_catalogue::CatalogueError),
    /// The mirror does not take or give them.
    #[error("the mirror is behind")]
    Mirror(#[from] MirrorError),
}

/// The relay at work.
struct Influx {
    shared: Arc<Shared>,
    mirror: Mirror,
    owner: String,
    stop: CancellationToken,
    bucket: Option<Bucket>,
    summed: BTreeMap<Series, Instant>,
}

pub(super) async fn run(shared: Arc<Shared>, mirror: Mirror, owner: String, stop: CancellationToken) {
    let mut relay = Influx { shared, mirror, owner, stop, bucket: None, summed: BTreeMap::new() };
    relay.shared.metrics.mirror.begin(relay.shared.clock.now());
    let mut failures = 0;
    loop {
        let wait = match relay.round().await {
            Ok(()) => {
                if failures > 0 {
                    tracing::info!(relay.failures = failures, "relay.mirror_answers_again");
                }
                failures = 0;
                EVERY
            }
            Err(error) => {
                if failures == 0 {
                    tracing::warn!(error = %chain(&error), "relay.points_not_mirrored");
                }
                failures += 1;
                wait_after(&error, failures)
            }
        };
        if !relay.pause(wait).await {
            return;
        }
    }
}

/// How long to wait after a round that failed: longer each time, and as long as the server asked for.
fn wait_after(error: &RoundError, failures: u32) -> Duration {
    let doubled = FIRST_WAIT.saturating_mul(1 << failures.min(10)).min(LONGEST_WAIT);
    let asked = match error {
        RoundError::Mirror(error) => error.retry_after().unwrap_or_default().min(LONGEST_RETRY_AFTER),
        _ => Duration::ZERO,
    };
    doubled.max(asked)
}

/// How long to wait before a batch is tried again; none if the round is over.
fn wait_before(error: &MirrorError, failures: u32) -> Option<Duration> {
    let asked = error.retry_after().unwrap_or_default();
    let wait = FIRST_WAIT.saturating_mul(1 << failures.min(10)).max(asked);
    (error.passes() && failures < TRIES && wait <= LONGEST_PAUSE).then_some(wait)
}

/// A series' position in the catalogue.
fn position(series: Series) -> String {
    format!("{NAME}/{}", series.name())
}

impl Influx {
    /// Waits; false when the process stops.
    async fn pause(&self, time: Duration) -> bool {
        tokio::select! {
            () = self.stop.cancelled() => false,
            () = tokio::time::sleep(time) => true,
        }
    }

    async fn hold(&self) -> Result<bool, RoundError> {
        Ok(!self.stop.is_cancelled() && self.shared.catalogue.take_lease(NAME, &self.owner, LEASE).await?)
    }

    async fn round(&mut self) -> Result<(), RoundError> {
        let newest = self.shared.catalogue.newest_commit().await?;
        let mut behind = Vec::new();
        for spec in SERIES {
            let from = self.shared.catalogue.relay_position(&position(spec.series)).await?;
            if newest > from && self.is_due(spec) {
                behind.push((spec, from));
            }
        }
        let night = if newest.0 > 0 { self.night().await? } else { None };
        if (behind.is_empty() && night.is_none()) || !self.hold().await? {
            return Ok(());
        }
        if !behind.is_empty() {
            let view = Arc::new(PinnedView::load(&self.shared.catalogue, None).await?);
            for (spec, from) in behind {
                self.shared.metrics.mirror.lags(spec.series, view.revision().0 - from.0);
                if self.send(&view, spec.series, from).await? {
                    self.shared.catalogue.advance_relay(&position(spec.series), view.revision()).await?;
                    self.shared.metrics.mirror.caught_up(spec.series, self.shared.clock.now());
                    self.summed.insert(spec.series, Instant::now());
                }
            }
        }
        match night {
            Some(night) => self.check(night).await,
            None => Ok(()),
        }
    }

    /// Whether a series is to be looked at now: sums over hours not every second.
    fn is_due(&self, spec: &SeriesSpec) -> bool {
        spec.step < HOUR || self.summed.get(&spec.series).is_none_or(|last| last.elapsed() >= HOURS_EVERY)
    }

    /// Sends the points of a series that changed after its position; false if the process stops or another took over.
    async fn send(&mut self, view: &Arc<PinnedView>, series: Series, from: Revision) -> Result<bool, RoundError> {
        for place in changed_places(view, series, from) {
            let points = changed_points(&self.shared.store, view, (series, &place), from).await?;
            self.shared.metrics.mirror.passed(series, Passed::Read, points.len());
            if !self.put(series, points).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes points, what the bucket keeps of them.
    async fn put(&mut self, series: Series, points: Vec<Point>) -> Result<bool, RoundError> {
        let (bucket, now) = (self.bucket().await?, self.shared.clock.now());
        let all = points.len();
        let kept: Vec<Point> = points.into_iter().filter(|point| bucket.keeps(point.time, now)).collect();
        self.shared.metrics.mirror.passed(series, Passed::TooOld, all - kept.len());
        for batch in batches(kept) {
            if !self.write(series, &bucket, &batch).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes a batch, again and again if need be.
    async fn write(&mut self, series: Series, bucket: &Bucket, batch: &Batch) -> Result<bool, RoundError> {
        for failures in 1.. {
            if !self.hold().await? {
                return Ok(false);
            }
            let begun = Instant::now();
            match self.mirror.write(bucket, batch).await {
                Ok(written) => {
                    self.shared.metrics.mirrored(begun.elapsed());
                    self.shared.metrics.mirror.passed(series, Passed::Written, written.taken);
                    self.shared.metrics.mirror.passed(series, Passed::Rejected, written.rejected);
                    break;
                }
                Err(error) => {
                    let Some(wait) = wait_before(&error, failures) else {
                        // Who knows what has become of it: it is looked up before the next write.
                        self.bucket = None;
                        return Err(error.into());
                    };
                    self.shared.metrics.mirror.retried();
                    if !self.pause(wait).await {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    async fn bucket(&mut self) -> Result<Bucket, RoundError> {
        if let Some(bucket) = &self.bucket {
            return Ok(bucket.clone());
        }
        let bucket = self.mirror.prepare().await?;
        tracing::info!(
            mirror.organization = bucket.organization,
            mirror.kept_days = bucket.kept.map(|kept| kept / DAY),
            mirror.made = bucket.made,
            "relay.mirror_ready"
        );
        self.bucket = Some(bucket.clone());
        Ok(bucket)
    }

    /// The night whose check is due, as a day's number.
    async fn night(&self) -> Result<Option<i64>, RoundError> {
        let night = Micros(self.shared.clock.now().0 - NIGHT).day().0.into();
        let checked = self.shared.catalogue.relay_position(&format!("{NAME}/check")).await?;
        Ok((checked.0 < night).then_some(night))
    }

    /// Reads some hours back and writes again what is not as it should be.
    async fn check(&mut self, night: i64) -> Result<(), RoundError> {
        let bucket = self.bucket().await?;
        let since = Micros(bucket.kept.map_or(i64::MIN, |kept| self.shared.clock.now().0 - kept + DAY));
        for spec in SERIES {
            let at = self.shared.catalogue.relay_position(&position(spec.series)).await?;
            let view = Arc::new(PinnedView::load(&self.shared.catalogue, Some(at)).await?);
            let samples = sample(&self.shared.store, &view, spec.series, (night, since)).await?;
            let mut different: Vec<Place> = Vec::new();
            for sample in samples {
                let differences = match self.mirror.compare(&bucket, &sample).await {
                    Ok(differences) => differences,
                    Err(error) if error.passes() => return Err(error.into()),
                    Err(error) => {
                        self.shared.metrics.mirror.checked(spec.series, "unreadable");
                        tracing::warn!(error = %chain(&error), "relay.mirror_not_readable");
                        return self.checked(night).await;
                    }
                };
                let outcome = if differences.is_empty() { "same" } else { "different" };
                self.shared.metrics.mirror.checked(spec.series, outcome);
                if let Some(first) = differences.first() {
                    let (series, values) = (spec.name, differences.len());
                    tracing::warn!(mirror.series = series, mirror.values = values, mirror.first = ?first, "relay.mirror_differs");
                    if !different.contains(&sample.place) {
                        different.push(sample.place);
                    }
                }
            }
            for place in different {
                let points = changed_points(&self.shared.store, &view, (spec.series, &place), Revision(0)).await?;
                self.shared.metrics.mirror.passed(spec.series, Passed::Repaired, points.len());
                if !self.put(spec.series, points).await? {
                    return Ok(());
                }
            }
        }
        self.checked(night).await
    }

    async fn checked(&self, night: i64) -> Result<(), RoundError> {
        Ok(self.shared.catalogue.advance_relay(&format!("{NAME}/check"), Revision(night)).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(seconds: Option<u64>) -> MirrorError {
        let retry_after = seconds.map(Duration::from_secs);
        MirrorError::Busy { status: 503, detail: String::new(), retry_after }
    }

    fn busy(seconds: Option<u64>) -> RoundError {
        asks(seconds).into()
    }

    #[test]
    fn a_batch_is_tried_again_within_the_lease_only() {
        assert_eq!(wait_before(&asks(None), 1), Some(Duration::from_secs(1)));
        assert_eq!(wait_before(&asks(Some(30)), 1), Some(LONGEST_PAUSE));
        assert_eq!(wait_before(&asks(Some(31)), 1), None);
        assert_eq!(wait_before(&asks(None), TRIES), None);
        let unexpected = MirrorError::Unexpected { status: 405, detail: String::new() };
        assert_eq!(wait_before(&unexpected, 1), None, "the position stays, and another round looks again");
        assert_eq!(LONGEST_PAUSE.as_micros() * 2, u128::try_from(LEASE).unwrap());
    }

    #[test]
    fn waits_grow_to_a_bound_and_a_server_s_wish_is_heard() {
        assert_eq!(wait_after(&busy(None), 1), Duration::from_secs(1));
        assert_eq!(wait_after(&busy(None), 40), LONGEST_WAIT);
        assert_eq!(wait_after(&busy(Some(121)), 1), Duration::from_secs(121));
        assert_eq!(wait_after(&busy(Some(86_400)), 1), LONGEST_RETRY_AFTER);
        let gone = RoundError::Mirror(MirrorError::Missing("bucket".to_owned()));
        assert_eq!(wait_after(&gone, 3), Duration::from_secs(4));
    }
}
