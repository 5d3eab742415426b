//! The outside world: the one guarded HTTP client, podcast feeds, and schema registries of others.
//!
//! Whatever goes by HTTP to where somebody's data says goes through [`http::Fetcher`], which refuses
//! private addresses; [`http::ServerClient`] goes to where the operator says. Nothing here knows
//! processors, reports or pages, and nothing here reads a clock: time is passed in.
//!
//! Where to add: a feed field is a row in `feeds/xml_fields.rs` (and `feeds/json.rs`) and a field in
//! [`feeds::Feed`] or [`feeds::Episode`]; another party (payments, mail, chat) is a module of its own
//! beside [`feeds`] that is given a [`http::Fetcher`].

pub mod agent;
pub mod feeds;
pub mod http;
pub mod registry;
