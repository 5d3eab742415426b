//! Ad-hoc SQL in a process of its own, which can die alone.
//!
//! ```text
//! Pool::run ─spawn─▶ sql-worker     request: pinned view, scope, catalogue rows, SQL   (stdin)
//!           ◀────────               answer: Arrow IPC stream, then a trailer           (stdout)
//! ```
//! The worker gets the list of files of one view, restricted to the caller's slot, and opens
//! nothing else. It limits its own memory, files and core dumps before it reads a row, and ends
//! when its input closes: when the parent has the answer, gives up, or is gone.

mod child;
mod pool;
mod protocol;

pub use child::main;
pub use pool::{Pool, WorkerError};
pub use protocol::{Limits, Request, WorkerAnswer};
