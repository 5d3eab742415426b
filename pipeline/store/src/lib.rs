//! castback-store
