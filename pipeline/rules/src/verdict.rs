//! The verdict on an accepted record: one bucket, and why.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use crate::filter::FilterReason;
use crate::named::{UnknownName, named};

named! {
    /// The bucket in which an accepted record ends: accepted is the sum of all five.
    Verdict "verdict" {
        /// Used in figures.
        Counted "counted",
        /// Said before, or part of what is counted elsewhere.
        Duplicate "duplicate",
        /// Refused by a rule.
        Filtered "filtered",
        /// Its day was frozen when it came.
        Late "late",
        /// Could not be read.
        DeadLettered "dead_lettered",
    }
}

named! {
    /// Why a record is a duplicate.
    DuplicateReason "reason for a duplicate" {
        /// The event id is known: the same send, again.
        SameEventId "same_event_id",
        /// A repeat inside the window of a download.
        SameDownload "same_download",
        /// A range that helped the row named in `duplicate_of`.
        PartOf "part_of",
    }
}

named! {
    /// Why a record is late.
    LateReason "reason for lateness" {
        /// The day it belongs to is frozen.
        DayFrozen "day_frozen",
    }
}

named! {
    /// Why a record is a dead letter.
    DeadLetterReason "reason for a dead letter" {
        /// No schema fits its bytes.
        Undecodable "undecodable",
        /// It was decoded, but its content breaks the contract.
        Schema "schema",
        /// It is larger than a record may be.
        TooLarge "too_large",
    }
}

/// Why a record was not counted; it decides the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// A duplicate.
    Duplicate(DuplicateReason),
    /// Filtered.
    Filtered(FilterReason),
    /// Late.
    Late(LateReason),
    /// Dead-lettered.
    DeadLettered(DeadLetterReason),
}

impl Reason {
    /// The verdict that goes with the reason.
    #[must_use]
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::Duplicate(_) => Verdict::Duplicate,
            Self::Filtered(_) => Verdict::Filtered,
            Self::Late(_) => Verdict::Late,
            Self::DeadLettered(_) => Verdict::DeadLettered,
        }
    }

    /// The reason's name in the ledger. No two reasons share one.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Duplicate(reason) => reason.as_str(),
            Self::Filtered(reason) => reason.as_str(),
            Self::Late(reason) => reason.as_str(),
            Self::DeadLettered(reason) => reason.as_str(),
        }
    }

    /// Every reason there is.
    pub fn all() -> impl Iterator<Item = Self> {
        let duplicate = DuplicateReason::ALL.iter().copied().map(Self::Duplicate);
        let filtered = FilterReason::ALL.iter().copied().map(Self::Filtered);
        let late = LateReason::ALL.iter().copied().map(Self::Late);
        let dead = DeadLetterReason::ALL.iter().copied().map(Self::DeadLettered);
        duplicate.chain(filtered).chain(late).chain(dead)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Reason {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        static NAMED: LazyLock<HashMap<&str, Reason>> =
            LazyLock::new(|| Reason::all().map(|reason| (reason.as_str(), reason)).collect());
        NAMED.get(name).copied().ok_or(UnknownName { set: "reason" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_comes_back_as_itself() {
        for reason in Reason::all() {
            assert_eq!(reason.as_str().parse(), Ok(reason));
        }
        for verdict in Verdict::ALL {
            assert_eq!(verdict.as_str().parse(), Ok(*verdict));
        }
        assert_eq!("counted".parse::<Reason>(), Err(UnknownName { set: "reason" }));
        assert_eq!("Counted".parse::<Verdict>(), Err(UnknownName { set: "verdict" }));
    }

    #[test]
    fn a_reason_decides_its_verdict() {
        for (name, verdict) in [
            ("same_event_id", Verdict::Duplicate),
            ("part_of", Verdict::Duplicate),
            ("below_threshold", Verdict::Filtered),
            ("day_frozen", Verdict::Late),
            ("too_large", Verdict::DeadLettered),
        ] {
            assert_eq!(name.parse::<Reason>().unwrap().verdict(), verdict, "{name}");
        }
    }
}
