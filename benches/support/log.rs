//! The log under a bench.

use std::path::Path;
use std::sync::Arc;

use castback_broker::{EmbeddedLog, EmbeddedOptions, KafkaLog, KafkaOptions, Log};
use castback_schemas::time::SystemClock;

use super::meter::Outcome;
use super::parts;

/// Opens it.
pub(crate) fn open(directory: &Path) -> Outcome<Arc<dyn Log>> {
    let clock = Arc::new(SystemClock);
    Ok(match kafka() {
        Some(options) => Arc::new(KafkaLog::new(options, clock)?),
        None => Arc::new(EmbeddedLog::open(&directory.join("log"), clock, EmbeddedOptions::default())?),
    })
}

/// How the cluster is reached, with topics that nobody else has; none if the log lies in the directory.
pub(crate) fn kafka() -> Option<KafkaOptions> {
    let prefix = format!("bench-{}.", std::process::id());
    parts::address("kafka").map(|brokers| KafkaOptions { brokers, prefix, ..KafkaOptions::default() })
}
