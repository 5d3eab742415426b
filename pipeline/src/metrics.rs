//! What the pipeline measures of itself.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch, StringArray};
use castback_schemas::Topic;
use castback_schemas::table::Table;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry, exponential_buckets,
};

/// The pipeline's metrics, made once and passed. Labels are closed lists, never an id.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// `castback_records_total`: committed records by topic and first verdict.
    records: IntCounterVec,
    /// `castback_dead_letters_total`: dead letters by topic and reason.
    dead_letters: IntCounterVec,
    /// `castback_lag_records`: records on the log that no verdict was committed for, by topic.
    lag_records: IntGaugeVec,
    /// `castback_store_write_duration_seconds`: time to make a commit object durable.
    store_write: HistogramVec,
    /// `castback_commits_total`: commits by outcome of their units.
    commits: IntCounterVec,
    /// `castback_retention_rows_removed_total`: ledger rows past their retention that went.
    expired: IntCounter,
    /// `castback_orphan_objects_removed_total`: objects that never came into force and were removed.
    orphans: IntCounter,
}

impl Metrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// A metric of that name is registered already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts = |name: &str, help: &str| Opts::new(name, help).namespace("castback");
        let metrics = Self {
            records: IntCounterVec::new(
                opts("records_total", "Committed records by first verdict"),
                &["topic", "verdict"],
            )?,
            dead_letters: IntCounterVec::new(
                opts("dead_letters_total", "Records that could not be read"),
                &["topic", "reason"],
            )?,
            lag_records: IntGaugeVec::new(opts("lag_records", "Records without a committed verdict"), &["topic"])?,
            store_write: HistogramVec::new(
                HistogramOpts::from(opts("store_write_duration_seconds", "Time to make rows durable"))
                    .buckets(exponential_buckets(0.000_5, 2.0, 16)?),
                &["backend"],
            )?,
            commits: IntCounterVec::new(opts("unit_commits_total", "Commits of units"), &["outcome"])?,
            expired: IntCounter::with_opts(opts("retention_rows_removed_total", "Ledger rows past their retention"))?,
            orphans: IntCounter::with_opts(opts("orphan_objects_removed_total", "Objects that never came into force"))?,
        };
        registry.register(Box::new(metrics.records.clone()))?;
        registry.register(Box::new(metrics.dead_letters.clone()))?;
        registry.register(Box::new(metrics.lag_records.clone()))?;
        registry.register(Box::new(metrics.store_write.clone()))?;
        registry.register(Box::new(metrics.commits.clone()))?;
        registry.register(Box::new(metrics.expired.clone()))?;
        registry.register(Box::new(metrics.orphans.clone()))?;
        Ok(metrics)
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

    /// So many records of a topic wait for a verdict.
    pub(crate) fn lags(&self, topic: Topic, records: i64) {
        self.lag_records.with_label_values(&[topic.name()]).set(records);
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

fn dead_letters(batch: &RecordBatch) -> Vec<(Topic, String, u64)> {
    let Some((topics, reasons)) = text(batch, "topic").zip(text(batch, "reason")) else { return Vec::new() };
    let row = |row: usize| Some((topics.value(row).parse().ok()?, format!("dead_lettered/{}", reasons.value(row)), 1));
    (0..batch.num_rows()).filter_map(row).collect()
}

fn text<'a>(batch: &'a RecordBatch, name: &str) -> Option<&'a StringArray> {
    batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>())
}
