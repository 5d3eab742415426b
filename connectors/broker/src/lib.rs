//! castback-broker
