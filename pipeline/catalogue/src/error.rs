//! What can go wrong in the catalogue, whose fault it is, and whether to try again.

use std::sync::Arc;

use castback_schemas::campaign::CampaignState;
use castback_schemas::id::CampaignId;

/// Why an operation of the catalogue did not succeed. Nothing of it was kept, except that
/// after [`CatalogueError::Unavailable`] the outcome is unknown: look before repeating what
/// must not happen twice.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CatalogueError {
    /// The database did not answer, or not in time.
    #[error("the catalogue is unavailable")]
    Unavailable(#[source] Arc<sqlx::Error>),
    /// Too many changes wait already; nothing was tried.
    #[error("the catalogue has too many changes waiting")]
    Overloaded,
    /// No such thing, or another account's.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// A name that must be unique is taken; the field is named.
    #[error("{0} is in use")]
    InUse(&'static str),
    /// A podcast that a campaign still needs.
    #[error(
        "campaign {name} ({campaign}) uses the podcast: complete or cancel it first, or take the podcast out of it"
    )]
    Needed {
        /// The campaign.
        campaign: CampaignId,
        /// Its name.
        name: String,
    },
    /// Not possible in this state.
    #[error("not possible for a campaign that is {}, missing: {}", .state.as_str(), .missing.join(", "))]
    WrongState {
        /// The state it is in.
        state: CampaignState,
        /// What has to be there first.
        missing: Vec<&'static str>,
    },
    /// Changed since the caller read it.
    #[error("changed meanwhile, now version {current}")]
    PreconditionFailed {
        /// The present version.
        current: i64,
    },
    /// One more would exceed the account's limit.
    #[error("limit of {limit} reached: {used} of {allowed}")]
    LimitReached {
        /// Which limit.
        limit: &'static str,
        /// How many there are.
        used: i64,
        /// How many are allowed.
        allowed: i64,
    },
    /// What was to be replaced is no longer live: someone else replaced it.
    #[error("replaced meanwhile")]
    Stale,
    /// A cursor that was not made by a list of this kind.
    #[error("not a cursor of this list")]
    InvalidCursor,
    /// Not a password this version can store (argon2 refused it).
    #[error("the password can't be kept")]
    Password,
    /// The settings don't fit this installation; said in words that help.
    #[error("{0}")]
    Refused(String),
    /// The tables can't be brought to this version.
    #[error("the catalogue's tables can't be brought to this version")]
    Migration(#[source] Arc<sqlx::migrate::MigrateError>),
    /// A stored value that can't be read: another program, or an older version, wrote it.
    #[error("the catalogue holds a value that can't be read: {0}")]
    Corrupt(String),
}

/// The outcome of an operation of the catalogue.
pub type Result<T, E = CatalogueError> = std::result::Result<T, E>;

impl CatalogueError {
    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Overloaded | Self::Stale)
    }

    /// Names the field when `cause` says that a unique value is taken.
    pub(crate) fn taken(field: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |cause| match cause.as_database_error() {
            Some(error) if error.is_unique_violation() => Self::InUse(field),
            _ => Self::from(cause),
        }
    }

    /// A stored text that does not parse.
    pub(crate) fn unreadable(what: &str) -> Self {
        Self::Corrupt(what.to_owned())
    }
}

impl From<sqlx::Error> for CatalogueError {
    fn from(cause: sqlx::Error) -> Self {
        match cause {
            sqlx::Error::ColumnDecode { index, source } => Self::Corrupt(format!("column {index}: {source}")),
            sqlx::Error::Decode(source) => Self::Corrupt(source.to_string()),
            other => Self::Unavailable(Arc::new(other)),
        }
    }
}
