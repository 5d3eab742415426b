//! What the API measures of itself.

use std::time::Duration;

use castback_catalogue::Catalogue;
use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry, exponential_buckets,
};

/// The API's metrics, made once and passed. Labels are closed lists, never an id.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// `castback_http_requests_total`: calls by route, method and class of status.
    pub http_requests: IntCounterVec,
    /// `castback_http_request_duration_seconds`: time to the answer's head, by route.
    pub http_duration: HistogramVec,
    /// `castback_accepted_records_total`: records made durable by the API, by topic.
    pub accepted: IntCounterVec,
    /// `castback_rejected_records_total`: records refused with their index, by topic and code.
    pub rejected: IntCounterVec,
    /// `castback_redirects_unlogged_total`: what redirects and pixels saw and could not be kept.
    pub redirects_unlogged: IntCounter,
    /// `castback_queue_depth`: what waits, by queue.
    pub queue_depth: IntGaugeVec,
    /// `castback_user_created_total`: sign-ups.
    pub user_created: IntCounter,
    /// `castback_user_creation_duration_seconds`: time of a sign-up.
    pub user_creation: Histogram,
    /// `castback_feed_connections_total`: feeds connected, by outcome of the first poll.
    pub feed_connections: IntCounterVec,
    /// `castback_onboarding_duration_seconds`: from an account's sign-up to its first feed that could be read.
    onboarding: Histogram,
    /// `castback_time_to_first_value_seconds`: from an account's sign-up to the first answer with a counted download.
    first_value: Histogram,
    /// `castback_database_query_duration_seconds`: time of the catalogue's database, by operation (read, change, urgent).
    database: HistogramVec,
    /// `castback_campaign_created_total`: campaigns made.
    pub campaign_created: IntCounter,
    /// `castback_campaign_creation_duration_seconds`: time to make a campaign.
    pub campaign_creation: Histogram,
    /// `castback_campaign_launches_total`: launch calls by outcome.
    pub campaign_launches: IntCounterVec,
    /// `castback_limit_checks_total`: checks of a subscription's limit, by limit and outcome.
    pub limit_checks: IntCounterVec,
    /// `castback_connections_refused_total`: connections closed unheard, by reason.
    pub connections_refused: IntCounterVec,
}

impl Metrics {
    /// Registers the metrics.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let kit = Kit(registry);
        let metrics = Self {
            http_requests: kit.counters("http_requests_total", "HTTP calls", &["route", "method", "class"])?,
            http_duration: kit.histograms("http_request_duration_seconds", "Time to the answer's head", &["route"])?,
            accepted: kit.counters("accepted_records_total", "Records made durable", &["topic"])?,
            rejected: kit.counters("rejected_records_total", "Records refused by their index", &["topic", "code"])?,
            redirects_unlogged: kit.counter("redirects_unlogged_total", "Redirects and pixels that left no record")?,
            queue_depth: kit.gauges("queue_depth", "What waits", &["queue"])?,
            user_created: kit.counter("user_created_total", "Sign-ups")?,
            user_creation: kit.histogram("user_creation_duration_seconds", "Time of a sign-up")?,
            feed_connections: kit.counters("feed_connections_total", "First polls of feeds", &["outcome"])?,
            onboarding: kit
                .waits("onboarding_duration_seconds", "From a sign-up to the first feed that could be read")?,
            first_value: kit
                .waits("time_to_first_value_seconds", "From a sign-up to the first counted download shown")?,
            database: kit.histograms(
                "database_query_duration_seconds",
                "Time of the catalogue's database, with the wait for a turn",
                &["operation"],
            )?,
            campaign_created: kit.counter("campaign_created_total", "Campaigns made")?,
            campaign_creation: kit.histogram("campaign_creation_duration_seconds", "Time to make a campaign")?,
            campaign_launches: kit.counters("campaign_launches_total", "Launch calls", &["outcome"])?,
            limit_checks: kit.counters("limit_checks_total", "Checks of limits", &["limit", "outcome"])?,
            connections_refused: kit.counters(
                "connections_refused_total",
                "Connections closed unheard",
                &["reason"],
            )?,
        };
        // Whoever watches sees a nought, not nothing, before the first.
        for reason in ["address", "silent"] {
            metrics.connections_refused.with_label_values(&[reason]);
        }
        metrics.queue_depth.with_label_values(&["redirects"]);
        Ok(metrics)
    }

    /// Measures the catalogue's database from now on.
    pub(crate) fn watch(&self, catalogue: &Catalogue) {
        let database = self.database.clone();
        let told = move |operation: &'static str, took: Duration| {
            database.with_label_values(&[operation]).observe(took.as_secs_f64());
        };
        catalogue.observe(told);
    }

    /// An account has its first feed, so many microseconds after it was made.
    pub fn onboarded(&self, after: i64) {
        self.onboarding.observe(seconds(after));
    }

    /// An account sees its first counted download, so many microseconds after it was made.
    pub(crate) fn valued(&self, after: i64) {
        self.first_value.observe(seconds(after));
    }
}

fn seconds(micros: i64) -> f64 {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0)).as_secs_f64()
}

/// Makes and registers metrics under the product's name.
struct Kit<'a>(&'a Registry);

impl Kit<'_> {
    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        let counter = IntCounter::with_opts(Opts::new(name, help).namespace("castback"))?;
        self.0.register(Box::new(counter.clone()))?;
        Ok(counter)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        let counters = IntCounterVec::new(Opts::new(name, help).namespace("castback"), labels)?;
        self.0.register(Box::new(counters.clone()))?;
        Ok(counters)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        let gauges = IntGaugeVec::new(Opts::new(name, help).namespace("castback"), labels)?;
        self.0.register(Box::new(gauges.clone()))?;
        Ok(gauges)
    }

    fn histogram(&self, name: &str, help: &str) -> Result<Histogram, prometheus::Error> {
        let histogram = Histogram::with_opts(opts(name, help)?)?;
        self.0.register(Box::new(histogram.clone()))?;
        Ok(histogram)
    }

    /// What takes people seconds to months.
    fn waits(&self, name: &str, help: &str) -> Result<Histogram, prometheus::Error> {
        let buckets = exponential_buckets(1.0, 4.0, 13)?;
        let histogram = Histogram::with_opts(HistogramOpts::new(name, help).namespace("castback").buckets(buckets))?;
        self.0.register(Box::new(histogram.clone()))?;
        Ok(histogram)
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str]) -> Result<HistogramVec, prometheus::Error> {
        let histograms = HistogramVec::new(opts(name, help)?, labels)?;
        self.0.register(Box::new(histograms.clone()))?;
        Ok(histograms)
    }
}

/// From 1 ms, doubling, to 16 s.
fn opts(name: &str, help: &str) -> Result<HistogramOpts, prometheus::Error> {
    Ok(HistogramOpts::new(name, help).namespace("castback").buckets(exponential_buckets(0.001, 2.0, 15)?))
}
