//! A touch: a listener request that passed every filter, as the windows see it.

use castback_schemas::Micros;

use super::need::Need;
use crate::ranges::Bytes;

/// A request of one listener for one episode that passed every filter but `below_threshold`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Touch {
    /// The event time.
    pub at: Micros,
    /// The row's identity: its offset on the slot's log. Breaks ties of time, the smaller first.
    pub row: u64,
    /// The bytes that it moved.
    pub bytes: Bytes,
    /// The bytes that make a download, as this request knows them.
    pub need: Need,
    /// The file's size, as this request knows it; [`REACH`](crate::ranges::REACH) if it does not.
    pub file: u64,
}
