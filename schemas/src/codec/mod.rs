//! Avro with Confluent framing: `0`, the schema id (4 bytes, big-endian), the datum.
//!
//! Single events are written by serde ([`Encoder`]); what comes from the log is read as
//! Arrow batches ([`BatchDecoder`]), record by record, so that one bad record never harms
//! its neighbours.

mod compatibility;
mod decode;
mod encode;
mod fingerprint;

pub use compatibility::{SchemaRefusal, check_compatible, check_schema};
pub use decode::{Bad, BatchDecoder, DeadReason, DecodeError, Decoded};
pub use encode::{EncodeError, Encoder};
pub use fingerprint::schema_fingerprint;

/// Bytes before the datum: the magic byte and the schema id.
pub const FRAME: usize = 5;

/// The largest value that is accepted, in bytes: a record beyond it is dead-lettered
/// (`too_large`), so that one sender cannot make a batch outgrow memory.
pub const MAX_VALUE: usize = 1 << 20;

/// The schema id of a framed value, if it is framed.
#[must_use]
pub fn schema_id(value: &[u8]) -> Option<u32> {
    match value {
        [0, a, b, c, d, ..] => Some(u32::from_be_bytes([*a, *b, *c, *d])),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
