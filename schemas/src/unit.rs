//! Units: who owns which work, and the number of a commit.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::topic::Slot;

/// A group of processors that share one position per input and one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// Downloads and campaign performance.
    Counting,
    /// App events.
    Experience,
    /// Anomalies and alerts.
    Watch,
    /// The other side of the balance.
    Tally,
}

impl Group {
    /// Every group.
    pub const ALL: [Self; 4] = [Self::Counting, Self::Experience, Self::Watch, Self::Tally];

    /// The group's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counting => "counting",
            Self::Experience => "experience",
            Self::Watch => "watch",
            Self::Tally => "tally",
        }
    }
}

/// A group of one slot: the grain of ownership and of commits. Written `counting/3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unit {
    /// The group.
    pub group: Group,
    /// The slot.
    pub slot: Slot,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.group.as_str(), self.slot)
    }
}

/// A text that is no unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no such unit: expected group/slot such as counting/3")]
pub struct UnknownUnit;

impl FromStr for Unit {
    type Err = UnknownUnit;

    fn from_str(text: &str) -> Result<Self, UnknownUnit> {
        let (group, slot) = text.split_once('/').ok_or(UnknownUnit)?;
        let group = Group::ALL.into_iter().find(|known| known.as_str() == group).ok_or(UnknownUnit)?;
        let slot = slot.parse().map_err(|_| UnknownUnit)?;
        Ok(Self { group, slot: Slot(slot) })
    }
}

/// The number of a commit, one counter for the installation; the revision of what it wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub i64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
