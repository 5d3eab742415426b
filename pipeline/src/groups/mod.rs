//! The groups: which processors meet on which input, and what they read back of what was committed.

pub(crate) mod counting;
pub(crate) mod experience;
pub(crate) mod tally;
