//! Black-box tests of the whole product: the real binary, over HTTP, against the contract and an independent oracle.
//!
//! - `oracle` recomputes every figure from the inputs, by rules written down from the domain document alone.
//! - `support` starts, kills and audits the process, and sends traffic from a seed.
//! - `journeys` walk through the product; `kill` and `disk_full` break it on the way; `fuzz` corrupts what
//!   it reads; `durability` watches what it has put on the disk.
//! - `servers` has what only Kafka, PostgreSQL and S3 can show. `CASTBACK_TEST_ON=servers` runs everything else on them
//!   too.
//!
//! `CASTBACK_CORPUS` names a folder with recorded feeds, logs and lists; without it, made-up ones are used.
//! `CASTBACK_KILLS` sets the length of the kill loop, `CASTBACK_FUZZ` that of the fuzzing, `CASTBACK_SEED` repeats a run.

#[cfg(test)]
mod deployment;
#[cfg(test)]
mod disk_full;
#[cfg(test)]
mod durability;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod journeys;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod servers;
#[cfg(test)]
mod support;
