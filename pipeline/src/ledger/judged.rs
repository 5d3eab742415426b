//! A verdict as a processor holds it: small, comparable, without text of its own.

use castback_rules::filter::FilterReason;
use castback_rules::verdict::{DuplicateReason, LateReason, Reason, Verdict};

/// The verdict of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Judged {
    /// Why it is not counted; `None`: counted.
    pub reason: Option<Reason>,
    /// The offset of the row it repeats or helped.
    pub duplicate_of: Option<i64>,
    /// Whether it completes a download, by window in the order of `Window::ALL`.
    pub counted: [bool; 3],
}

impl Judged {
    /// Used.
    pub const COUNTED: Self = Self { reason: None, duplicate_of: None, counted: [false; 3] };

    /// Its day is frozen.
    pub const LATE: Self = Self::because(Reason::Late(LateReason::DayFrozen));

    /// The same send again.
    pub const SAME_EVENT: Self = Self::because(Reason::Duplicate(DuplicateReason::SameEventId));

    /// Not counted, for that reason.
    #[must_use]
    pub const fn because(reason: Reason) -> Self {
        Self { reason: Some(reason), ..Self::COUNTED }
    }

    /// Excluded by a filter.
    #[must_use]
    pub const fn filtered(reason: FilterReason) -> Self {
        Self::because(Reason::Filtered(reason))
    }

    /// A repeat or a part of the row at `of`.
    #[must_use]
    pub fn duplicate(reason: DuplicateReason, of: u64) -> Self {
        Self { duplicate_of: i64::try_from(of).ok(), ..Self::because(Reason::Duplicate(reason)) }
    }

    /// The verdict that goes with the reason.
    #[must_use]
    pub fn verdict(self) -> Verdict {
        self.reason.map_or(Verdict::Counted, Reason::verdict)
    }

    /// Whether an ad may have been delivered by such a row.
    #[must_use]
    pub const fn may_have_delivered(self) -> bool {
        let repeats =
            matches!(self.reason, Some(Reason::Duplicate(DuplicateReason::SameDownload | DuplicateReason::PartOf)));
        repeats || self.reason.is_none()
    }

    /// A verdict read back from the ledger; `None` if its reason is not one of ours.
    #[must_use]
    pub fn read(reason: Option<&str>, duplicate_of: Option<i64>, counted: [bool; 3]) -> Option<Self> {
        let reason = match reason {
            None => None,
            Some(text) => Some(text.parse().ok()?),
        };
        Some(Self { reason, duplicate_of, counted })
    }
}
