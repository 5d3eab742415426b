//! What the pipeline measures of itself.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch, StringArray};
use arrow::datatypes::TimestampMicrosecondType;
use castback_schemas::series::SERIES;
use castback_schemas::table::Table;
use castback_schemas::time::SECOND;
use castback_schemas::{Micros, Series, Topic};
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    exponential_buckets,
};

use crate::group::PROCESSORS;

/// The pipeline's metrics, made once and passed. Labels are closed lists, never an id.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// `castback_heartbeat_timestamp_seconds`: when the publisher last ended a turn.
    heartbeat: IntGauge,
    /// `castback_records_total`: committed records by topic and first verdict.
    records: IntCounterVec,
    /// `castback_dead_letters_total`: dead letters by topic and reason.
    dead_letters: IntCounterVec,
    /// `castback_lag_records`: records on the log that no verdict was committed for, by topic.
    lag_records: IntGaugeVec,
    /// `castback_lag_seconds`: how long the oldest of them is known to wait, by topic.
    lag_seconds: IntGaugeVec,
    /// `castback_ingestion_latency_seconds`: from the append of the oldest record of a commit to its verdict.
    ingestion: Histogram,
    /// `castback_store_write_duration_seconds`: time to make a commit object durable.
    store_write: HistogramVec,
    /// `castback_unit_commits_total`: commits by outcome of their units.
    commits: IntCounterVec,
    /// `castback_retention_rows_removed_total`: ledger rows past their retention that went.
    expired: IntCounter,
    /// `castback_orphan_objects_removed_total`: objects that never came into force and were removed.
    orphans: IntCounter,
    /// What goes to the mirror.
    pub(crate) mirror: MirrorMetrics,
}

/// How the mirror is kept, by series.
#[derive(Debug, Clone)]
pub(crate) struct MirrorMetrics {
    /// `castback_mirror_points_total`: points by what became of them.
    points: IntCounterVec,
    /// `castback_mirror_retries_total`: writes that were tried again.
    retries: IntCounter,
    /// `castback_mirror_lag_commits`: commits that the mirror does not have.
    lag: IntGaugeVec,
    /// `castback_mirror_caught_up_timestamp_seconds`: when it last had everything.
    caught_up: IntGaugeVec,
    /// `castback_mirror_checks_total`: hours read back, by outcome.
    checks: IntCounterVec,
}

/// What became of points on their way to the mirror.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Passed {
    /// Read from the store.
    Read,
    /// Taken by the mirror.
    Written,
    /// Refused by it for good.
    Rejected,
    /// Older than what the bucket keeps.
    TooOld,
    /// Written again after a check.
    Repaired,
}

impl Passed {
    fn label(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Written => "written",
            Self::Rejected => "rejected",
            Self::TooOld => "too_old",
            Self::Repaired => "repaired",
        }
    }
}

impl MirrorMetrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts = |name: &str, help: &str| Opts::new(name, help).namespace("castback");
        let points = opts("mirror_points_total", "Points on their way to InfluxDB, by what became of them");
        let caught_up = opts("mirror_caught_up_timestamp_seconds", "When InfluxDB last had every commit");
        let metrics = Self {
            points: IntCounterVec::new(points, &["series", "outcome"])?,
            retries: IntCounter::with_opts(opts("mirror_retries_total", "Writes to InfluxDB that were tried again"))?,
            lag: IntGaugeVec::new(opts("mirror_lag_commits", "Commits that InfluxDB does not have yet"), &["series"])?,
            caught_up: IntGaugeVec::new(caught_up, &["series"])?,
            checks: IntCounterVec::new(
                opts("mirror_checks_total", "Hours read back from InfluxDB, by outcome"),
                &["series", "outcome"],
            )?,
        };
        registry.register(Box::new(metrics.points.clone()))?;
        registry.register(Box::new(metrics.retries.clone()))?;
        registry.register(Box::new(metrics.lag.clone()))?;
        registry.register(Box::new(metrics.caught_up.clone()))?;
        registry.register(Box::new(metrics.checks.clone()))?;
        Ok(metrics)
    }

    /// A mirror is there; it is taken to have had everything until now.
    pub(crate) fn begin(&self, now: Micros) {
        for spec in SERIES {
            self.caught_up(spec.series, now);
            for outcome in ["same", "different", "unreadable"] {
                self.checks.with_label_values(&[spec.name, outcome]);
            }
            for passed in [Passed::Read, Passed::Written, Passed::Rejected, Passed::TooOld, Passed::Repaired] {
                self.points.with_label_values(&[spec.name, passed.label()]);
            }
        }
    }

    /// Something became of so many points.
    pub(crate) fn passed(&self, series: Series, passed: Passed, points: usize) {
        if points > 0 {
            let points = u64::try_from(points).unwrap_or(u64::MAX);
            self.points.with_label_values(&[series.name(), passed.label()]).inc_by(points);
        }
    }

    /// A write is tried again.
    pub(crate) fn retried(&self) {
        self.retries.inc();
    }

    /// The mirror lacks so many commits.
    pub(crate) fn lags(&self, series: Series, commits: i64) {
        self.lag.with_label_values(&[series.name()]).set(commits);
    }

    /// The mirror has every commit.
    pub(crate) fn caught_up(&self, series: Series, now: Micros) {
        self.lags(series, 0);
        self.caught_up.with_label_values(&[series.name()]).set(now.0.div_euclid(SECOND));
    }

    /// An hour was read back.
    pub(crate) fn checked(&self, series: Series, outcome: &str) {
        self.checks.with_label_values(&[series.name(), outcome]).inc();
    }
}

impl Metrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// A metric of that name is registered already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts = |name: &str, help: &str| Opts::new(name, help).namespace("castback");
        let metrics = Self {
            heartbeat: IntGauge::with_opts(opts("heartbeat_timestamp_seconds", "When a turn of work last ended"))?,
            records: IntCounterVec::new(
                opts("records_total", "Committed records by first verdict"),
                &["topic", "verdict"],
            )?,
            dead_letters: IntCounterVec::new(
                opts("dead_letters_total", "Records that could not be read"),
                &["topic", "reason"],
            )?,
            lag_records: IntGaugeVec::new(opts("lag_records", "Records without a committed verdict"), &["topic"])?,
            lag_seconds: IntGaugeVec::new(
                opts("lag_seconds", "How long the oldest record without a committed verdict waits"),
                &["topic"],
            )?,
            ingestion: Histogram::with_opts(
                HistogramOpts::from(opts("ingestion_latency_seconds", "From append to verdict, oldest of each commit"))
                    .buckets(exponential_buckets(0.016, 2.0, 16)?),
            )?,
            store_write: HistogramVec::new(
                HistogramOpts::from(opts("store_write_duration_seconds", "Time to make rows durable"))
                    .buckets(exponential_buckets(0.000_5, 2.0, 16)?),
                &["backend"],
            )?,
            commits: IntCounterVec::new(opts("unit_commits_total", "Commits of units"), &["outcome"])?,
            expired: IntCounter::with_opts(opts("retention_rows_removed_total", "Ledger rows past their retention"))?,
            orphans: IntCounter::with_opts(opts("orphan_objects_removed_total", "Objects that never came into force"))?,
            mirror: MirrorMetrics::new(registry)?,
        };
        registry.register(Box::new(metrics.heartbeat.clone()))?;
        registry.register(Box::new(metrics.records.clone()))?;
        registry.register(Box::new(metrics.dead_letters.clone()))?;
        registry.register(Box::new(metrics.lag_records.clone()))?;
        registry.register(Box::new(metrics.lag_seconds.clone()))?;
        registry.register(Box::new(metrics.ingestion.clone()))?;
        registry.register(Box::new(metrics.store_write.clone()))?;
        registry.register(Box::new(metrics.commits.clone()))?;
        registry.register(Box::new(metrics.expired.clone()))?;
        registry.register(Box::new(metrics.orphans.clone()))?;
        // Whoever watches sees a nought, not nothing, before the first.
        for topic in PROCESSORS.iter().filter_map(|processor| processor.judges) {
            metrics.dead_letters.with_label_values(&[topic.name(), "undecodable"]);
            for verdict in ["counted", "duplicate", "filtered", "late", "dead_lettered"] {
                metrics.records.with_label_values(&[topic.name(), verdict]);
            }
        }
        Ok(metrics)
    }

    /// A turn of work ended, or failed and is tried again.
    pub(crate) fn beat(&self, now: Micros) {
        self.heartbeat.set(now.0.div_euclid(SECOND));
    }

    /// Rows of a unit were committed.
    pub(crate) fn committed(&self, verdicts: &[(Topic, String, u64)]) {
        self.commits.with_label_values(&["accepted"]).inc();
        for (topic, verdict, count) in verdicts {
            match verdict.strip_prefix("dead_lettered/") {
                Some(reason) => {
                    self.records.with_label_values(&[topic.name(), "dead_lettered"]).inc_by(*count);
                    self.dead_letters.with_label_values(&[topic.name(), reason]).inc_by(*count);
                }
                None => self.records.with_label_values(&[topic.name(), verdict]).inc_by(*count),
            }
        }
    }

    /// A unit was fenced.
    pub(crate) fn fenced(&self) {
        self.commits.with_label_values(&["fenced"]).inc();
    }

    /// A commit object became durable.
    pub(crate) fn wrote(&self, took: Duration) {
        self.store_write.with_label_values(&["objects"]).observe(took.as_secs_f64());
    }

    /// Ledger rows past their retention went.
    pub(crate) fn expired(&self, rows: u64) {
        self.expired.inc_by(rows);
    }

    /// Orphans were removed.
    pub(crate) fn orphans_removed(&self, objects: usize) {
        self.orphans.inc_by(objects as u64);
    }

    /// The mirror took a batch.
    pub(crate) fn mirrored(&self, took: Duration) {
        self.store_write.with_label_values(&["influxdb"]).observe(took.as_secs_f64());
    }

    /// The verdict of a record is committed so many microseconds after its append.
    pub(crate) fn ingested(&self, after: i64) {
        self.ingestion.observe(Duration::from_micros(u64::try_from(after).unwrap_or(0)).as_secs_f64());
    }

    /// So many records of a topic wait for a verdict, the oldest for so many seconds.
    pub(crate) fn lags(&self, topic: Topic, records: i64, seconds: i64) {
        self.lag_records.with_label_values(&[topic.name()]).set(records);
        self.lag_seconds.with_label_values(&[topic.name()]).set(seconds);
    }
}

/// How many first verdicts of which kind rows bring: `verdict`, or `dead_lettered/<reason>`.
pub(crate) fn verdicts(tables: &[(Table, RecordBatch)]) -> Vec<(Topic, String, u64)> {
    let mut all = Vec::new();
    for (table, batch) in tables {
        let topic = match table {
            Table::Requests => Topic::ListenerRequests,
            Table::Conversions => Topic::Conversions,
            Table::AppEvents => Topic::AppEvents,
            Table::DeadLetters => {
                all.extend(dead_letters(batch));
                continue;
            }
            _ => continue,
        };
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for verdict in text(batch, "verdict").into_iter().flat_map(|column| column.iter().flatten()) {
            *counts.entry(verdict).or_default() += 1;
        }
        all.extend(counts.into_iter().map(|(verdict, count)| (topic, verdict.to_owned(), count)));
    }
    all
}

/// When the oldest of the records was appended that rows give their first verdict.
pub(crate) fn oldest(tables: &[(Table, RecordBatch)]) -> Option<Micros> {
    let first = [Table::Requests, Table::Conversions, Table::AppEvents, Table::DeadLetters];
    let batches = tables.iter().filter(|(table, _)| first.contains(table));
    let appended = |(_, batch): &(Table, RecordBatch)| {
        let times = batch.column_by_name("recorded_at")?.as_primitive_opt::<TimestampMicrosecondType>()?;
        times.iter().flatten().min()
    };
    batches.filter_map(appended).min().map(Micros)
}

fn dead_letters(batch: &RecordBatch) -> Vec<(Topic, String, u64)> {
    let Some((topics, reasons)) = text(batch, "topic").zip(text(batch, "reason")) else { return Vec::new() };
    let row = |row: usize| Some((topics.value(row).parse().ok()?, format!("dead_lettered/{}", reasons.value(row)), 1));
    (0..batch.num_rows()).filter_map(row).collect()
}

fn text<'a>(batch: &'a RecordBatch, name: &str) -> Option<&'a StringArray> {
    batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, TimestampMicrosecondArray};

    use super::*;

    fn value(registry: &Registry, name: &str) -> f64 {
        let families = registry.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        let metric = &family.get_metric()[0];
        if metric.get_histogram().get_sample_count() > 0 {
            metric.get_histogram().get_sample_sum()
        } else {
            metric.get_gauge().get_value()
        }
    }

    #[test]
    fn latency_is_that_of_the_oldest_record_judged() {
        let times = |times: Vec<i64>| {
            let column: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"));
            RecordBatch::try_from_iter([("recorded_at", column)]).unwrap()
        };
        let tables =
            [(Table::Requests, times(vec![5, 3])), (Table::DeadLetters, times(vec![4])), (Table::Days, times(vec![1]))];
        assert_eq!(oldest(&tables), Some(Micros(3)));
        assert_eq!(oldest(&tables[2..]), None);

        let registry = Registry::new();
        let metrics = Metrics::new(&registry).unwrap();
        metrics.ingested(1_500_000);
        metrics.lags(Topic::Conversions, 7, 42);
        for (name, expected) in
            [("castback_ingestion_latency_seconds", 1.5), ("castback_lag_records", 7.0), ("castback_lag_seconds", 42.0)]
        {
            assert!((value(&registry, name) - expected).abs() < 1e-9, "{name}");
        }
    }
}
