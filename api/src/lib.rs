//! castback-api

pub mod render;
