//! How long the database takes, told to whoever measures.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

type Observer = Box<dyn Fn(&'static str, Duration) + Send + Sync>;

/// Whoever measures, once there is one; clones have the same.
#[derive(Clone, Default)]
pub(crate) struct Watch(Arc<OnceLock<Observer>>);

impl Watch {
    /// Tells `observer` from now on, unless somebody is told already.
    pub(crate) fn tell(&self, observer: impl Fn(&'static str, Duration) + Send + Sync + 'static) {
        self.0.get_or_init(|| Box::new(observer));
    }

    /// An operation that began then has ended, well or not.
    pub(crate) fn ended(&self, operation: &'static str, begun: Instant) {
        if let Some(observer) = self.0.get() {
            observer(operation, begun.elapsed());
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("told", &self.0.get().is_some()).finish()
    }
}
