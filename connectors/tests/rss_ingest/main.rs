//! Feeds over HTTP: a local server that behaves, misbehaves and attacks, and the poller against it.

mod attacks;
mod corpus;
mod polling;
mod server;
