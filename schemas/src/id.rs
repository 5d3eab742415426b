//! Identifier newtypes: UUIDs that cannot be mistaken for one another.

use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::{Builder, Uuid};

use crate::time::Micros;

/// A text that is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id: expected a hyphenated UUID")]
pub struct InvalidId;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID made by an [`IdSource`] or read back from the store.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID itself.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0.hyphenated(), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0.hyphenated())
            }
        }

        impl Serialize for $name {
            /// Text in every format: ids are strings on the log and in JSON.
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::try_parse(text).map(Self).map_err(|_| InvalidId)
            }
        }
    )+};
}

ids! {
    /// Who owns data: everything is separated by account.
    AccountId;
    /// A person who signs in.
    UserId;
    /// An API key (its public half).
    ApiKeyId;
    /// A connected podcast.
    PodcastId;
    /// An episode of a podcast.
    EpisodeId;
    /// An advertising campaign.
    CampaignId;
    /// A report job.
    ReportId;
}

/// Makes identifiers (UUID v7) from a passed time and passed randomness.
pub trait IdSource: Send + Sync + fmt::Debug {
    /// A new UUID, later than every earlier one of a later millisecond.
    fn next(&self, now: Micros) -> Uuid;
}

/// An [`IdSource`] over a keyed hash counter: unpredictable when seeded with randomness,
/// repeatable when seeded with a constant.
#[derive(Debug)]
pub struct SeededIds {
    state: Mutex<blake3::Hasher>,
}

impl SeededIds {
    /// Ids drawn from `seed`: 32 random bytes in production, a constant in tests.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        Self { state: Mutex::new(blake3::Hasher::new_keyed(&seed)) }
    }
}

impl IdSource for SeededIds {
    fn next(&self, now: Micros) -> Uuid {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        state.update(&now.0.to_le_bytes());
        let hash = state.finalize();
        let mut random = [0; 10];
        random.copy_from_slice(&hash.as_bytes()[..10]);
        let millis = u64::try_from(now.0 / 1000).unwrap_or(0);
        Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }
}
