//! The runtime over a real log, catalogue and store: counting end to end, crashes, zombies,
//! poison, recounts, relays.

#![expect(clippy::unwrap_used, reason = "a test that can't go on should say where")]

mod crashes;
mod house;
mod journeys;
mod poison;
mod relays;
mod zombies;
