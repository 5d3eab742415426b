//! castback-rules
