//! What can go wrong at the mirror, and how long to wait then.

use std::time::Duration;

/// Why the mirror did not take or give what it should. None of it stops anything else.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MirrorError {
    /// A client can't be made.
    #[error("the mirror's client can't be made: {0}")]
    Client(String),
    /// No answer came.
    #[error("the mirror does not answer: {0}")]
    Unreachable(String),
    /// The server has too much to do, or is not well.
    #[error("the mirror asks for time ({status}): {detail}")]
    Busy {
        /// The status: 429 or 5xx.
        status: u16,
        /// The answer.
        detail: String,
        /// What `Retry-After` said.
        retry_after: Option<Duration>,
    },
    /// The token may not do this.
    #[error("the mirror refuses the token ({status}): {detail}; see INFLUX_TOKEN and INFLUX_ORG")]
    Forbidden {
        /// The status: 401 or 403.
        status: u16,
        /// The answer.
        detail: String,
    },
    /// The bucket or the path is not there.
    #[error("the mirror has no such bucket or path: {0}")]
    Missing(String),
    /// Which of several organizations?
    #[error("the mirror has {0} organizations; set INFLUX_ORG to the one that owns the bucket")]
    Organization(usize),
    /// The request is larger than the server takes.
    #[error("the mirror takes no request of that size")]
    TooLarge,
    /// Some points were taken, the others never will be.
    #[error("the mirror has not taken {rejected} points: {detail}")]
    Partly {
        /// How many were not taken.
        rejected: usize,
        /// The answer.
        detail: String,
    },
    /// The request as a whole was refused for what it says.
    #[error("the mirror refuses the request ({status}): {detail}")]
    Rejected {
        /// The status: 400 or 422.
        status: u16,
        /// The answer.
        detail: String,
    },
    /// A status that nothing is known of: whoever answers may be no InfluxDB, or something before it.
    #[error("the mirror answers with an unexpected status ({status}): {detail}")]
    Unexpected {
        /// The status.
        status: u16,
        /// The answer.
        detail: String,
    },
    /// An answer that is not what was asked for.
    #[error("the mirror's answer can't be read: {0}")]
    Answer(String),
}

impl MirrorError {
    /// Whether the same request may succeed a little later.
    #[must_use]
    pub fn passes(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Busy { .. })
    }

    /// How long the server wants to be left alone.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
