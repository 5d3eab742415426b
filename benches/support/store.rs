//! The store under a bench.

use std::path::Path;

use castback_store::Store;

use super::meter::Outcome;
use super::parts;

/// Opens it.
pub(crate) fn open(directory: &Path) -> Outcome<Store> {
    let address = match parts::address("s3-slow") {
        Some(_) => format!("s3://castback/bench-{}", std::process::id()),
        None => format!("file://{}", directory.join("objects").display()),
    };
    Ok(Store::open(&address)?)
}
