//! The processors: pure functions from changes to changes.

pub mod app_events;
pub mod campaign_performance;
pub mod counting;
pub mod downloads;
#[cfg(test)]
mod examples;
mod ids;
pub mod judged;
pub mod ledger;
#[cfg(test)]
pub(crate) mod samples;
pub mod tally;
