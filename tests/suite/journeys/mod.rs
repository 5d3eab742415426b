//! Walks through the product, each with its own server.

mod access_logs;
mod bad_input;
mod feeds;
mod figures;
mod hostile_sql;
mod outbound;
mod processes;
mod redirects;
mod separation;
mod walk;
