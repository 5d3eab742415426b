//! The language of Castback: identifiers, time, money, events, topics and series,
//! and the pure edge (log lines, keyed hashes, address ranges).
//!
//! This crate does no IO and has no async; it knows nothing of ours. Everything that
//! crosses a package is declared here.
//!
//! Where to add: a topic is a row in [`topic::TOPICS`] with its `.avsc` file; a stored
//! table is a row in [`table::TABLES`]; a series is a row in [`series::SERIES`]; an identifier is one line in [`id`].

pub mod campaign;
pub mod codec;
pub mod edge;
pub mod event;
pub mod id;
pub mod money;
pub mod series;
pub mod table;
pub mod time;
pub mod topic;
pub mod unit;

pub use id::{AccountId, CampaignId, EpisodeId, PodcastId};
pub use money::{Currency, Money};
pub use series::Series;
pub use time::{Clock, Day, ManualClock, Micros, Month, SystemClock};
pub use topic::{SLOTS, Slot, Topic};
pub use unit::{Group, Revision, Unit};
