//! What a group's day says, and the verdicts that follow.

use castback_rules::filter::FilterReason;
use castback_rules::verdict::DuplicateReason;
use castback_rules::window::{Carry, Outcome, Touch, TouchVerdict, Window};

use crate::ledger::judged::Judged;

/// What a group's day says.
#[derive(Debug, Default)]
pub(super) struct Evaluated {
    pub(super) carry_in: Carry,
    pub(super) touches: Vec<Touch>,
    pub(super) outcomes: Vec<Outcome>,
    pub(super) carry_out: Carry,
    /// The address has asked for too much.
    pub(super) limited: bool,
    /// Rows that helped a download of the day after, with the row that they helped.
    pub(super) helped: Vec<(u64, u64)>,
}

impl Evaluated {
    /// The verdict of the touch at an index.
    pub(super) fn judged(&self, index: usize) -> Judged {
        if self.limited {
            return Judged::filtered(FilterReason::Rate);
        }
        let (Some(outcome), Some(touch)) = (self.outcomes.get(index), self.touches.get(index)) else {
            return Judged::filtered(FilterReason::BelowThreshold);
        };
        let helped = self.helped.iter().find(|(row, _)| *row == touch.row).map(|(_, of)| *of);
        match (outcome.verdict, helped) {
            (TouchVerdict::SameDownload { .. } | TouchVerdict::BelowThreshold, Some(of)) => {
                Judged::duplicate(DuplicateReason::PartOf, of)
            }
            _ => judged(outcome),
        }
    }
}

/// The verdict that an outcome by itself is.
pub(super) fn judged(outcome: &Outcome) -> Judged {
    match outcome.verdict {
        TouchVerdict::Counted => {
            Judged { counted: Window::ALL.map(|window| outcome.counted(window)), ..Judged::COUNTED }
        }
        TouchVerdict::PartOf { of } => Judged::duplicate(DuplicateReason::PartOf, of),
        TouchVerdict::SameDownload { of } => Judged::duplicate(DuplicateReason::SameDownload, of),
        TouchVerdict::BelowThreshold => Judged::filtered(FilterReason::BelowThreshold),
    }
}
