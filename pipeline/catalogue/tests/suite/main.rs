//! One suite over both databases. The PostgreSQL half needs a server, named by
//! `CASTBACK_TEST_POSTGRES_URL`; without it, it fails.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed expectation fails the test")]

#[macro_use]
mod harness;

mod campaigns;
mod commits;
mod concurrency;
mod directory;
mod installation;
mod keys;
mod migrations;
mod operations;
mod people;
mod podcasts;
mod reports;
mod segments;
mod separation;
mod units;
