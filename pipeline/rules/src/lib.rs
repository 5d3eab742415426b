//! The pure rules: what a record's verdict is, what a download is, what it is worth.
//!
//! A rule is a function of its arguments: no IO, no clock, no randomness, and nothing of
//! topics, rows or HTTP. Lists that rules need (`lists/`) come in as text.
//!
//! Where to add: one rule, one file. A filter is a line of [`filter::FilterReason`] and a
//! condition beside it; a list is a row in `lists.rs`.

pub mod agents;
pub mod credit;
pub mod delivery;
pub mod filter;
pub mod interval;
pub mod lists;
pub mod named;
pub mod patterns;
pub mod ranges;
pub mod rates;
pub mod safe_list;
pub mod spend;
pub mod verdict;
pub mod window;
