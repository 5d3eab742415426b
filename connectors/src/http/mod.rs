//! The one guarded HTTP client.
//!
//! ```text
//! Url ─Guard─▶ checked socket addresses ─pinned─▶ one request ─▶ capped body
//!  ▲                                                  │
//!  └──────────── redirect, at most three ─────────────┘
//! ```
//! The addresses that were checked are the addresses that are dialed: a name is resolved once a hop,
//! by us, and the client is given no other way to resolve. So a name that changes its answer
//! between check and use gains nothing.

mod body;
mod fetch;
mod guard;
mod host;
mod names;
mod pinned;
mod server_client;

pub use fetch::{FetchError, FetchRequest, Fetched, Fetcher, MAX_BODY_BYTES, PostRequest, TOTAL_DEADLINE};
pub use guard::{Guard, Refusal};
pub use server_client::{Answer, Body, ServerClient, ServerError, Streamed};
