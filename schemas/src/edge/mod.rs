//! The pure edge: what turns a line, a header or an address into something typed.
//!
//! A raw address and a raw log line end here: behind the edge there are only keyed
//! hashes, a network class and ids. Nothing in this module does IO or reads a clock.
//!
//! Where to add: another input format is a file beside [`log_line`]; another keyed hash
//! is a [`hash`] function with a tag of its own.

pub mod hash;
pub mod line_id;
pub mod log_line;
pub mod log_time;
pub mod network;
pub mod public_address;
pub mod quoted;
pub mod range;
pub mod seal;
pub mod signature;

pub use hash::{Hash128, HashKey, fingerprint, household, listener};
pub use line_id::{LineNumbers, line_id};
pub use log_line::{LogLine, LogLineError};
pub use network::{NetworkClass, Networks, NetworksError};
pub use public_address::is_public;
pub use range::{ByteRange, InvalidRange};
