//! The product on the servers that people run: Kafka, PostgreSQL and S3 as `tests/run` starts them; without them, these
//! tests fail.
//!
//! `CASTBACK_CHURN` sets for how many seconds processes come and go, `CASTBACK_OUTAGE` for how many a server is down.

mod broken;
mod checked;
mod outside;
mod several;

/// A number of seconds from the environment.
fn seconds(name: &str, otherwise: u64) -> std::time::Duration {
    let given = std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")));
    std::time::Duration::from_secs(given.unwrap_or(otherwise))
}
