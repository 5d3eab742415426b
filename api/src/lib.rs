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
//! line here and its rows in [`router`]. What it refuses is a [`Problem`]; what it is given is [`App`].

pub mod app;
mod campaigns;
mod edge_map;
pub mod encoders;
mod extract;
mod health;
mod idempotency;
pub mod identity;
mod intake;
mod key_ring;
mod limits;
mod metrics;
mod peer;
mod podcasts;
pub mod problem;
mod quota;
mod recount;
pub mod redirects;
pub mod render;
pub mod router;
mod serve;
mod sessions;
pub mod tiers;
mod trace;
mod users;

pub use app::{App, AppError, AppParts, Part, Settings};
pub use metrics::Metrics;
pub use problem::{Code, Problem};
pub use quota::{Buckets, Left, Quotas, Rate};
pub use router::{metrics_router, openapi, router};
pub use serve::serve;

#[cfg(test)]
mod tests;
