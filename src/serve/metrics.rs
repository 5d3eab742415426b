//! What the agents of this process do, measured.

use prometheus::{GaugeVec, IntCounterVec, Opts, Registry};

/// Runs and polls of the agents.
#[derive(Debug, Clone)]
pub(crate) struct AgentMetrics {
    runs: IntCounterVec,
    last_success: GaugeVec,
    polls: IntCounterVec,
}

impl AgentMetrics {
    /// Registers them.
    pub(crate) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let runs = Opts::new("castback_agent_runs_total", "Runs of the agents, by how they ended");
        let last = Opts::new("castback_agent_last_success_timestamp_seconds", "When an agent last ended well");
        let polls = Opts::new("castback_feed_polls_total", "Polls of feeds, by outcome");
        let metrics = Self {
            runs: IntCounterVec::new(runs, &["agent", "outcome"])?,
            last_success: GaugeVec::new(last, &["agent"])?,
            polls: IntCounterVec::new(polls, &["outcome"])?,
        };
        registry.register(Box::new(metrics.runs.clone()))?;
        registry.register(Box::new(metrics.last_success.clone()))?;
        registry.register(Box::new(metrics.polls.clone()))?;
        for outcome in ["fetched", "not_modified", "gone", "failed"] {
            metrics.polls.with_label_values(&[outcome]);
        }
        Ok(metrics)
    }

    /// A run of an agent ended, well or not, at `now` (seconds since the epoch).
    pub(crate) fn ran(&self, agent: &str, well: bool, now: f64) {
        self.runs.with_label_values(&[agent, if well { "succeeded" } else { "failed" }]).inc();
        if well {
            self.last_success.with_label_values(&[agent]).set(now);
        }
    }

    /// A feed was polled.
    pub(crate) fn polled(&self, outcome: &str) {
        self.polls.with_label_values(&[outcome]).inc();
    }
}
