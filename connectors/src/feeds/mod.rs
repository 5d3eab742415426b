//! Podcast feeds: reading them, comparing two readings, and when to ask again.
//!
//! ```text
//! bytes ─encoding─▶ text ─xml | json─▶ drafts ─collector─▶ Feed ─diff─▶ FeedChange
//! ```
//! RSS 0.9x, 1.0 and 2.0 and Atom go through one tolerant reader of our own, for well-formed and broken
//! feeds alike: a general feed library fails a whole show on one stray `&` or on one unknown role.
//! Whatever was repaired or left out is counted in [`Warnings`].

mod dates;
mod diff;
mod draft;
mod encoding;
mod json;
mod model;
mod namespace;
mod poll;
mod refused;
mod schedule;
mod values;
mod warning;
mod xml;
mod xml_fields;

use url::Url;

pub use diff::{FeedChange, diff};
pub use model::{Episode, Feed, Format, Identity};
pub use poll::{PollFailure, PollKind, PollOutcome, poll_feed};
pub use schedule::{PollPolicy, PollState, Stopped};
pub use warning::{Warning, Warnings};

/// Why a document is no feed that we read.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// Neither RSS, RDF, Atom nor JSON Feed.
    #[error("this is {found}, not a feed")]
    NotAFeed {
        /// What it is instead.
        found: &'static str,
    },
    /// It goes beyond what any feed has, and would cost more than it can be worth.
    #[error("the document has more than {limit} {what}")]
    Excessive {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// It begins as JSON and is not a JSON feed.
    #[error("the document is not a JSON feed")]
    Json(#[source] serde_json::Error),
}

/// Reads a feed. `content_type` is the HTTP header (its charset goes before the document's own word),
/// `base_url` the address that answered, against which relative addresses are resolved.
///
/// Takes time in proportion to the document: call it where blocking is allowed.
pub fn parse(bytes: &[u8], content_type: Option<&str>, base_url: &Url) -> Result<Feed, FeedError> {
    let mut context = values::Context { base: base_url.clone(), warnings: Warnings::default() };
    let text = encoding::decode(bytes, content_type.and_then(charset), &mut context.warnings);
    if text.trim_start_matches('\u{feff}').trim_start().starts_with('{') {
        json::parse(text.trim_start_matches('\u{feff}'), context)
    } else {
        xml::parse(&text, context)
    }
}

/// The charset parameter of a content type.
fn charset(content_type: &str) -> Option<&str> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests;
