//! What players and browsers meet: the prefix redirect, the pixel, the vanity address.
//!
//! None of them waits for the catalogue or the log, and none of them is an acceptance: what was seen
//! goes into a bounded queue ([`queue`]), and what gets lost is counted (`redirects_unlogged`).

pub(crate) mod pixel;
pub(crate) mod prefix;
pub mod queue;
pub(crate) mod vanity;
