//! Feeds over HTTP: a local server that behaves, misbehaves and attacks, and the poller against it.

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod corpus;
#[cfg(test)]
mod polling;
#[cfg(test)]
mod server;
