//! castback-catalogue
