//! castback-api
