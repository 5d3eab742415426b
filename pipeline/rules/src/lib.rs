//! castback-rules
pub mod ranges;
pub mod window;
