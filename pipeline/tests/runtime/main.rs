//! The runtime over a real log, catalogue and store: counting end to end, crashes, zombies,
//! poison, recounts, relays.

mod crashes;
mod house;
mod journeys;
mod poison;
mod relays;
mod zombies;
