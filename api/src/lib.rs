//! The API: REST over axum, from the socket to catalogue, log and store.
//!
//! ```text
//! connection ─serve─▶ call ─router─▶ handler ─▶ catalogue | log | store ─▶ answer or Problem
//! ```
//! It must not know how records are judged (`castback-pipeline`): it puts records on the log and reads
//! what was committed. No address, key or e-mail is logged; every call is about one account unless an
//! operator names another ([`identity`]).
//!
//! Where to add: a resource is one file with its handlers, each with its `#[utoipa::path]`, its `mod`
//! line here and its rows in [`mod@router`]. What it refuses is a [`Problem`]; what it is given is [`App`].

mod accept;
mod agent_runs;
pub mod app;
mod campaigns;
mod conversions;
mod dead_letters;
mod described;
mod downloads;
mod edge_map;
pub mod encoders;
mod extract;
mod figures;
mod health;
mod idempotency;
pub mod identity;
mod intake;
mod key_ring;
mod ledger;
mod limits;
mod methodology;
mod metrics;
mod operations;
mod pages;
mod peer;
mod performance;
mod podcasts;
pub mod problem;
pub mod query;
mod quota;
mod recount;
pub mod redirects;
mod registry;
pub mod render;
pub mod report_jobs;
mod reports;
pub mod router;
mod serve;
mod sessions;
mod sql;
pub mod tiers;
mod topics;
mod trace;
mod unread;
mod users;

pub use app::{App, AppError, AppParts, Part, Settings};
pub use ledger::watch::run as watch_balance;
pub use metrics::Metrics;
pub use problem::{Code, Problem};
pub use quota::{Buckets, Left, Quotas, Rate};
pub use router::{metrics_router, openapi, router};
pub use serve::{serve, serve_metrics};

#[cfg(test)]
mod tests;
