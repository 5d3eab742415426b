//! Ordered lists of named patterns, in the JSON form of the Open Podcast Analytics Working
//! Group (OPAWG): the first entry that matches names the text.

use regex::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use serde::Deserialize;

/// Memory for one compiled set and for one thread's matching cache, in bytes. The seed takes
/// a small part; a list that needs more is refused with [`PatternError::Set`].
const SET_BYTES: usize = 64 * 1024 * 1024;

/// A list of patterns that can't be used.
///
/// A list is taken whole or not at all: a list without the entry that its author meant would
/// count bots as people in silence. Who loads a list keeps the one before.
#[derive(Debug, thiserror::Error)]
pub enum PatternError {
    /// The text is not JSON of the OPAWG form.
    #[error("the list {list} is not a patterns file")]
    Json {
        /// Which list.
        list: &'static str,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// The list has no entries.
    #[error("the list {list} is empty")]
    Empty {
        /// Which list.
        list: &'static str,
    },
    /// A pattern that this regular expression engine does not know, such as a look-ahead or
    /// a back-reference, which OPAWG's schema asks authors to avoid.
    #[error("the list {list} has an unusable pattern in its entry {entry:?}")]
    Pattern {
        /// Which list.
        list: &'static str,
        /// The entry's name.
        entry: String,
        /// What is wrong with it.
        #[source]
        source: Box<regex::Error>,
    },
    /// The patterns are too large together.
    #[error("the patterns are too large together")]
    Set(#[source] Box<regex::Error>),
}

/// An entry of a list.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// A regular expression, searched anywhere in the text, case-sensitive.
    pub pattern: String,
    /// What the list's author files it under.
    #[serde(default)]
    pub category: Option<String>,
    /// Texts that it is meant to match.
    #[serde(default)]
    pub examples: Vec<String>,
}

#[derive(Deserialize)]
struct File {
    entries: Vec<Entry>,
}

/// Reads a list and makes sure that each of its patterns is usable.
pub fn read(list: &'static str, json: &str) -> Result<Vec<Entry>, PatternError> {
    let file: File = serde_json::from_str(json).map_err(|source| PatternError::Json { list, source })?;
    for entry in &file.entries {
        compile(&entry.pattern).map_err(|source| {
            let source = Box::new(source);
            PatternError::Pattern { list, entry: entry.name.clone(), source }
        })?;
    }
    if file.entries.is_empty() { Err(PatternError::Empty { list }) } else { Ok(file.entries) }
}

fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(SET_BYTES).build()
}

/// The patterns of some entries, matched all at once.
#[derive(Debug, Clone)]
pub struct PatternSet(RegexSet);

impl PatternSet {
    /// Compiles the patterns of `entries`, in their order.
    pub fn new<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Result<Self, PatternError> {
        let patterns = entries.into_iter().map(|entry| &entry.pattern);
        let set = RegexSetBuilder::new(patterns).size_limit(SET_BYTES).dfa_size_limit(SET_BYTES).build();
        set.map(Self).map_err(|source| PatternError::Set(Box::new(source)))
    }

    /// The index of the first entry whose pattern is found in `text`.
    #[must_use]
    pub fn first(&self, text: &str) -> Option<usize> {
        self.0.matches(text).into_iter().next()
    }

    /// Whether any pattern is found in `text`.
    #[must_use]
    pub fn any(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"{"comments": ["c"], "entries": [
        {"name": "Two", "pattern": "^b", "category": "bot", "svg": "b.svg"},
        {"name": "One", "pattern": "[ab]/\\d"}]}"#;

    #[test]
    fn the_first_entry_wins_wherever_it_matches() {
        let entries = read("test", LIST).unwrap();
        assert_eq!(entries[0].category.as_deref(), Some("bot"));
        let set = PatternSet::new(&entries).unwrap();
        for (text, first) in [("b/1", Some(0)), ("a b/1", Some(1)), ("B/1", None), ("", None)] {
            assert_eq!(set.first(text), first, "{text}");
            assert_eq!(set.any(text), first.is_some(), "{text}");
        }
    }

    #[test]
    fn an_unusable_list_is_refused_by_name() {
        let look_ahead = LIST.replace("^b", "b(?!ot)");
        let error = read("bots", &look_ahead).unwrap_err();
        assert_eq!(error.to_string(), "the list bots has an unusable pattern in its entry \"Two\"");
        assert!(matches!(read("bots", r#"{"entries": []}"#), Err(PatternError::Empty { list: "bots" })));
        assert!(matches!(read("bots", "[]"), Err(PatternError::Json { list: "bots", .. })));
    }
}
