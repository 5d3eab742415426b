//! The processors: pure functions from changes to changes.

pub mod app_events;
pub mod campaign_performance;
pub mod counting;
pub mod downloads;
mod ids;
pub mod judged;
pub mod ledger;
pub mod tally;
