//! The processors: pure functions from changes to changes.

pub mod app_events;
pub mod campaign_performance;
pub mod downloads;
pub mod tally;
