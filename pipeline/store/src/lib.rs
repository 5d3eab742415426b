//! What is kept and how it is asked: commit objects, Parquet segments, and rows as of a commit.
//!
//! ```text
//! SliceRows ─object─▶ commit object ─compaction─▶ segments      (immutable, durable, checksummed)
//!                └──────── PinnedView (catalogue) ────────┘
//!                                │ Scan
//!                      overlay: which version holds ─session─▶ SQL ─worker─▶ answers
//! ```
//! It must not know: what a verdict or a figure means, the log, HTTP, people. It reads no clock
//! and draws no randomness; names of objects are passed in.
//!
//! Where to add: a stored table is a row in `castback_schemas::table::TABLES`, nothing here; a public
//! SQL table is a row in `session::views` or `session::catalogue_tables`.

pub mod balance;
mod bloom;
mod columns;
mod compaction;
mod error;
pub mod export;
pub mod failpoint;
#[cfg(test)]
mod harness;
mod kept;
pub mod ledger;
mod load;
pub mod mirror;
mod newest;
pub mod object;
mod objects;
mod overlay;
mod read;
#[cfg(test)]
mod samples;
mod scan;
mod segment;
pub mod session;
pub mod sharing;
mod store;
mod sums;
mod view;
pub mod worker;

pub use columns::{COMMIT, stored_schema};
pub use compaction::{Compacted, Compactor, Expired, Retained};
pub use error::{Result, StoreError};
pub use kept::KeptColumns;
pub use object::{EncodedObject, SliceBody, SliceRows};
pub use objects::Objects;
pub use scan::{ALL_DAYS, Scan, Versions};
pub use store::Store;
pub use view::{Piece, PinnedView, Place};
