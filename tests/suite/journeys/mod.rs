//! Walks through the product, each with its own server.

mod access_logs;
mod bad_input;
mod feeds;
pub(crate) mod figures;
mod hostile_sql;
mod mirror;
mod outbound;
pub(crate) mod processes;
mod redirects;
mod registry;
mod separation;
pub(crate) mod walk;
