//! The safe list: addresses that many listeners are known to share (a campus, a carrier),
//! which the rate filter spares.
//!
//! Addresses end at the edge, so the edge asks this list and the record carries the answer.

use std::net::IpAddr;

use castback_schemas::time::DAY;
use castback_schemas::{Day, Micros};
use ipnet::IpNet;

/// An entry counts for 90 days from its last verification, in microseconds.
pub const VERIFIED_FOR: i64 = 90 * DAY;

/// Most entries of a list: it is searched one by one for each request. A longer one is
/// refused with [`SafeListError::TooMany`].
pub const MAX_ENTRIES: usize = 1_000;

/// A network on the safe list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SafeEntry {
    /// The addresses.
    pub network: IpNet,
    /// Whose they are.
    pub name: String,
    /// The day somebody last made sure of it.
    pub verified_on: Day,
}

impl SafeEntry {
    /// Whether the entry still counts at `now`.
    #[must_use]
    pub fn is_verified(&self, now: Micros) -> bool {
        now < self.verified_on.start().plus(VERIFIED_FOR)
    }
}

/// A safe list that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SafeListError {
    /// A line is not `network,name,date`.
    #[error("line {line}: expected network,name,date such as 192.0.2.0/24,University of Somewhere,2026-10-01")]
    Line {
        /// The line, from 1.
        line: usize,
    },
    /// More than [`MAX_ENTRIES`].
    #[error("the list has more than {MAX_ENTRIES} entries")]
    TooMany,
}

/// The safe list; the default is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SafeList(Vec<SafeEntry>);

impl SafeList {
    /// Reads `network,name,verified on` lines; blank ones and those that begin with `#` are skipped.
    pub fn parse(text: &str) -> Result<Self, SafeListError> {
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        let entries: Vec<_> = lines
            .filter(|(_, text)| !text.is_empty() && !text.starts_with('#'))
            .map(|(line, text)| read_entry(text).ok_or(SafeListError::Line { line }))
            .collect::<Result<_, _>>()?;
        if entries.len() > MAX_ENTRIES { Err(SafeListError::TooMany) } else { Ok(Self(entries)) }
    }

    /// Whether `address` is on the list by an entry that is still verified at `now`.
    #[must_use]
    pub fn holds(&self, address: IpAddr, now: Micros) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|entry| entry.network.contains(&address) && entry.is_verified(now))
    }

    /// The entries that are refused at `now`, because nobody has verified them for 90 days.
    pub fn refused(&self, now: Micros) -> impl Iterator<Item = &SafeEntry> {
        self.0.iter().filter(move |entry| !entry.is_verified(now))
    }

    /// Every entry, verified or not.
    #[must_use]
    pub fn entries(&self) -> &[SafeEntry] {
        &self.0
    }
}

fn read_entry(line: &str) -> Option<SafeEntry> {
    let (network, rest) = line.split_once(',')?;
    let (name, date) = rest.rsplit_once(',')?;
    let network: IpNet = network.trim().parse().ok().or_else(|| network.trim().parse().map(IpAddr::into).ok())?;
    let entry = SafeEntry { network, name: name.trim().to_owned(), verified_on: date.trim().parse().ok()? };
    (!entry.name.is_empty()).then_some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "# shared\n192.0.2.0/24, University, of X, 2026-10-01\n\n2001:db8::1,One,2026-01-01\n";

    fn holds(address: &str, now: &str) -> bool {
        SafeList::parse(LIST).unwrap().holds(address.parse().unwrap(), now.parse().unwrap())
    }

    #[test]
    fn an_entry_counts_for_ninety_days() {
        assert!(holds("192.0.2.9", "2026-10-01"));
        assert!(holds("::ffff:192.0.2.9", "2026-12-29T23:59:59Z"));
        assert!(!holds("192.0.2.9", "2026-12-30"));
        assert!(!holds("192.0.3.9", "2026-10-01"));
        assert!(holds("2001:db8::1", "2026-02-01") && !holds("2001:db8::2", "2026-02-01"));
        let list = SafeList::parse(LIST).unwrap();
        let refused: Vec<_> = list.refused("2026-11-01".parse().unwrap()).map(|entry| &*entry.name).collect();
        assert_eq!(refused, ["One"]);
        assert_eq!(list.entries()[0].name, "University, of X");
    }

    #[test]
    fn bad_lines_are_named() {
        for line in ["192.0.2.0/24,X", "192.0.2.0/33,X,2026-01-01", "x,X,2026-01-01", "::1,X,soon", "::1, ,2026-01-01"]
        {
            assert_eq!(SafeList::parse(&format!("\n{line}")), Err(SafeListError::Line { line: 2 }), "{line}");
        }
        let long = "::1,X,2026-01-01\n".repeat(MAX_ENTRIES + 1);
        assert_eq!(SafeList::parse(&long), Err(SafeListError::TooMany));
    }
}
