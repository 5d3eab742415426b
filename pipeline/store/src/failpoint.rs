//! Places where a test can end the process, as a power cut would.
//!
//! `CASTBACK_FAILPOINT=name` aborts the process the first time it comes to `name`, and
//! `name:n` the n-th time. Unset (always, outside kill tests) a failpoint costs one load.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

struct Armed {
    name: String,
    remaining: AtomicU32,
}

static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

fn armed() -> Option<&'static Armed> {
    ARMED
        .get_or_init(|| {
            let setting = std::env::var("CASTBACK_FAILPOINT").ok()?;
            let (name, nth) = match setting.rsplit_once(':') {
                Some((name, nth)) => (name.to_owned(), nth.parse().unwrap_or(1)),
                None => (setting, 1),
            };
            Some(Armed { name, remaining: AtomicU32::new(nth) })
        })
        .as_ref()
}

/// Ends the process here if this failpoint is set and its turn has come.
pub fn hit(name: &str) {
    let Some(armed) = armed() else { return };
    if armed.name == name && armed.remaining.fetch_sub(1, Ordering::SeqCst) == 1 {
        std::process::abort();
    }
}
