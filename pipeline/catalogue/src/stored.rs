//! From stored values to ours, and back. A value that can't be read is an error, never a default.

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::any::AnyRow;
use sqlx::{Any, Decode, Row, Type};

use crate::error::{CatalogueError, Result};

/// A column by name.
pub(crate) fn column<'r, T>(row: &'r AnyRow, name: &'static str) -> Result<T>
where
    T: Decode<'r, Any> + Type<Any>,
{
    Ok(row.try_get(name)?)
}

/// A text column read as `T`.
pub(crate) fn parsed<T: FromStr>(row: &AnyRow, name: &'static str) -> Result<T> {
    parse(column(row, name)?, name)
}

/// A text column read as `T`, or nothing.
pub(crate) fn parsed_maybe<T: FromStr>(row: &AnyRow, name: &'static str) -> Result<Option<T>> {
    column::<Option<&str>>(row, name)?.map(|text| parse(text, name)).transpose()
}

/// A JSON column.
pub(crate) fn document<T: DeserializeOwned>(row: &AnyRow, name: &'static str) -> Result<T> {
    serde_json::from_str(column(row, name)?).map_err(|cause| CatalogueError::Corrupt(format!("{name}: {cause}")))
}

/// A stored text read as `T`.
pub(crate) fn parse<T: FromStr>(text: &str, what: &str) -> Result<T> {
    text.parse().map_err(|_| CatalogueError::unreadable(what))
}

/// A count or size: stored signed, never negative.
pub(crate) fn unsigned(value: i64, what: &str) -> Result<u64> {
    u64::try_from(value).map_err(|_| CatalogueError::unreadable(what))
}

/// A count or size as it is stored; beyond 63 bits it stays the largest.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A document as it is stored.
pub(crate) fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|cause| CatalogueError::Corrupt(cause.to_string()))
}

/// Bytes as they are stored.
pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Stored bytes.
pub(crate) fn bytes(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// A word of a closed list, stored as text.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $word)] $variant),+ }

        impl $name {
            /// The word used in the API and in storage.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::error::CatalogueError;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(crate::error::CatalogueError::unreadable(stringify!($name))),
                }
            }
        }
    };
}
pub(crate) use words;
