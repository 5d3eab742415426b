//! The runtime over a real log, catalogue and store: counting end to end, crashes, zombies,
//! poison, recounts, relays. Each on SQLite and on PostgreSQL, which `CASTBACK_TEST_POSTGRES_URL` names.

#![expect(clippy::too_many_lines, reason = "a journey is told in one piece")]
#![expect(clippy::redundant_closure_for_method_calls, reason = "the method's path is longer than what it says")]
#![expect(clippy::unwrap_used, reason = "a test that can't go on should say where")]

#[macro_use]
mod house;

mod crashes;
mod influx;
mod journeys;
mod mirror;
mod poison;
mod processes;
mod relays;
mod retention;
mod zombies;
