//! The pipeline: from records on the log to committed rows, exactly once.
//!
//! ```text
//! Log ─read─▶ Record ─decode─▶ rows ─step─▶ Changes ─tick─▶ commit object + one transaction ─▶ relays
//!             task.rs  decode.rs  processors/  change.rs     publisher.rs                       relay/
//! ```
//! A unit (group of processors × slot) is leased; its task folds the ledger's rows of open days
//! into state, then reads on from its committed positions. Positions and rows move together or
//! not at all, and nothing leaves before. So a crash at any moment loses what was not committed,
//! which nobody has seen, and reads it again.
//!
//! It must not know: HTTP, pages, reports, feeds. Processors must not know: IO, clocks,
//! randomness. Where to add: a processor is one file in `processors/` and one row in
//! [`group::PROCESSORS`]; an input is a topic in its group's row.

pub mod bounds;
pub mod change;
mod compaction;
pub mod days;
pub mod decode;
pub mod directory;
pub mod directory_cache;
pub mod enclosure;
#[cfg(test)]
mod examples;
pub mod group;
mod groups;
pub mod ledger;
pub mod metrics;
pub mod processors;
pub mod publisher;
mod relay;
pub mod retention;
pub mod runtime;
#[cfg(test)]
mod samples;
pub mod task;
pub mod unit;

pub use metrics::Metrics;
pub use retention::LedgerDays;
pub use runtime::{Runtime, RuntimeError, RuntimeParts};
