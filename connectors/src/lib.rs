//! castback-connectors
