//! The events that Castback puts on the log, typed: one struct per Avro record.
//!
//! Every value begins with the same five fields ([`Envelope`]); the `.avsc` files in
//! `schemas/avro/` are the contract, held equal to these structs by a test.

mod conversion;
mod outgoing;
mod request;

use serde::{Deserialize, Serialize};

pub use conversion::{Conversion, HouseholdKey};
pub use outgoing::{AppEvent, CampaignChange, CampaignPerformance, DeadLetter, FeedUpdate, UserChange};
pub use request::{AdBytes, ListenerRequest};

use crate::id::AccountId;
use crate::time::Micros;
use crate::topic::Topic;

/// What every value begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Unique id of the record; receivers deduplicate on it.
    pub event_id: String,
    /// Whose it is.
    pub account_id: AccountId,
    /// When it happened.
    pub occurred_at: Micros,
    /// When Castback received it.
    pub recorded_at: Micros,
    /// The commit that made it; 0 for what came from outside.
    pub revision: i64,
}

/// A struct that is the value of one topic.
pub trait Event: Serialize {
    /// The topic it goes to.
    const TOPIC: Topic;
}
