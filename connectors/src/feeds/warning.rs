//! What was wrong with a feed that could be read nevertheless.

use std::collections::BTreeMap;
use std::fmt;

/// A kind of repair or omission. Repairs are never silent: each is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Warning {
    /// The bytes are in another encoding than declared.
    EncodingMismatch,
    /// No encoding was declared and the bytes are not UTF-8: it was guessed.
    EncodingGuessed,
    /// Bytes that are no characters were replaced by U+FFFD.
    BytesReplaced,
    /// The XML is not well-formed at this place.
    NotWellFormed,
    /// An entity that XML does not define; it stays as written, never expanded.
    UnknownEntity,
    /// A text over the limit was cut or, where it identifies something, dropped.
    TextTooLong,
    /// A date that cannot be read; the date is unknown, never "now".
    BadDate,
    /// A date without a time zone was read as UTC.
    ZoneAssumed,
    /// A duration that cannot be read.
    BadDuration,
    /// An enclosure length that cannot be read or cannot be that of a recording.
    BadLength,
    /// An address that is not a web address.
    BadUrl,
    /// An item without GUID, enclosure and link: it is no episode.
    NoIdentity,
    /// An item without an audio or video file: it is no episode that can be downloaded.
    NoEnclosure,
    /// A GUID that stands on several items: the later one goes by its enclosure, or is left out.
    DuplicateGuid,
    /// A feed without items: nothing was published yet, or what should publish them is broken.
    NoItems,
    /// More items than are read.
    TooManyItems,
}

impl Warning {
    /// The name in JSON, logs and tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EncodingMismatch => "encoding_mismatch",
            Self::EncodingGuessed => "encoding_guessed",
            Self::BytesReplaced => "bytes_replaced",
            Self::NotWellFormed => "not_well_formed",
            Self::UnknownEntity => "unknown_entity",
            Self::TextTooLong => "text_too_long",
            Self::BadDate => "bad_date",
            Self::ZoneAssumed => "zone_assumed",
            Self::BadDuration => "bad_duration",
            Self::BadLength => "bad_length",
            Self::BadUrl => "bad_url",
            Self::NoIdentity => "no_identity",
            Self::NoEnclosure => "no_enclosure",
            Self::DuplicateGuid => "duplicate_guid",
            Self::NoItems => "no_items",
            Self::TooManyItems => "too_many_items",
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How often each kind of warning occurred in one feed. Bounded by the number of kinds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Warnings(BTreeMap<Warning, u32>);

impl Warnings {
    pub(super) fn add(&mut self, warning: Warning) {
        let count = self.0.entry(warning).or_default();
        *count = count.saturating_add(1);
    }

    /// How often `warning` occurred.
    #[must_use]
    pub fn count(&self, warning: Warning) -> u32 {
        self.0.get(&warning).copied().unwrap_or(0)
    }

    /// The kinds that occurred, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (Warning, u32)> + '_ {
        self.0.iter().map(|(warning, count)| (*warning, *count))
    }

    /// Whether the feed was flawless.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
