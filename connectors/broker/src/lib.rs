//! The log: where records are durable before they are acknowledged, and where processors read
//! them from.
//!
//! One contract ([`Log`]), two logs: [`EmbeddedLog`] in a directory of this machine, and
//! [[`KafkaLog`]] on a Kafka cluster. One suite of tests runs over both.
//!
//! It must not know what is in a record: no codec, no schema, no processor. It keeps no
//! positions: those move with the commit. A new topic is a row in `schemas`; a new log is a
//! folder here that passes the suite in `conformance`.

#[cfg(test)]
mod conformance;
mod embedded;
mod kafka;
mod log;
mod per_slot;

pub use crate::embedded::{EmbeddedLog, EmbeddedOptions, Floors, OpenError, RetainError};
pub use crate::kafka::{KafkaLog, KafkaOptions, KafkaSettingsError, Survey};
pub use crate::log::{
    AppendError, Cause, Ends, Log, MAX_APPEND_BYTES, MAX_RECORD_BYTES, NewRecord, ReadError, ReadLimits, Record,
};
