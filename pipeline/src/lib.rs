//! castback-pipeline
