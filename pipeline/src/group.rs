//! Groups: ordered processors over inputs of one slot that share one position per input and
//! one commit.
//!
//! Where to add: a processor is one file in `processors/` and one row in [`PROCESSORS`]; it runs
//! in the group that its row names.

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use async_trait::async_trait;
use castback_broker::Record;
use castback_rules::lists::DatedLists;
use castback_schemas::edge::HashKey;
use castback_schemas::{AccountId, Day, Group, Micros, PodcastId, Slot, Topic};
use serde::{Deserialize, Serialize};

use crate::change::Changes;
use crate::directory::Directory;
use crate::groups::{counting, experience, tally};
use crate::ledger::{FoldError, Ledger};

/// What a group's state is made with.
#[derive(Debug, Clone)]
pub struct Making {
    /// The slot.
    pub slot: Slot,
    /// Random bytes under which event ids are remembered.
    pub ids_key: [u8; 32],
    /// The lists of the filters.
    pub lists: DatedLists,
    /// The account of the installation itself.
    pub installation: AccountId,
}

impl Making {
    /// The key under which ids are remembered.
    #[must_use]
    pub fn key(&self) -> HashKey {
        HashKey::from_bytes(self.ids_key)
    }
}

/// A row of [`PROCESSORS`].
#[derive(Debug, Clone, Copy)]
pub struct ProcessorSpec {
    /// Its name.
    pub name: &'static str,
    /// The group it runs in; processors of a group run in the order of the table.
    pub group: Group,
    /// The topic whose records it gives their verdicts, if it does.
    pub judges: Option<Topic>,
}

/// Every processor.
pub const PROCESSORS: &[ProcessorSpec] = &[
    crate::processors::downloads::SPEC,
    crate::processors::campaign_performance::SPEC,
    crate::processors::app_events::SPEC,
    crate::processors::tally::SPEC,
];

/// A row of [`GROUPS`].
#[derive(Debug, Clone, Copy)]
pub struct GroupSpec {
    /// The group.
    pub group: Group,
    /// The topics it reads.
    pub inputs: &'static [Topic],
    /// Whether its processors read rows; else records are given as they lie on the log.
    pub decoded: bool,
    /// Makes a state.
    pub make: fn(&Making) -> Box<dyn GroupState>,
}

/// Every group that runs.
pub const GROUPS: &[GroupSpec] = &[counting::GROUP, experience::GROUP, tally::GROUP];

/// The group that gives a topic's records their verdicts.
#[must_use]
pub fn judge_of(topic: Topic) -> Option<Group> {
    PROCESSORS.iter().find(|processor| processor.judges == Some(topic)).map(|processor| processor.group)
}

/// A batch of input.
#[derive(Debug)]
pub struct Input<'a> {
    /// Where it comes from.
    pub topic: Topic,
    /// The records as they lie on the log.
    pub records: &'a [Record],
    /// Their rows in the ledger's shape, if the group reads rows.
    pub rows: Option<RecordBatch>,
}

/// What is to be judged again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecountRequest {
    /// Of which account; none: of all.
    #[serde(default)]
    pub account: Option<AccountId>,
    /// Of which podcast; none: of all.
    #[serde(default)]
    pub podcast: Option<PodcastId>,
    /// First day.
    pub from: Day,
    /// Last day, included.
    pub to: Day,
}

/// The processors of a group for one slot: pure but for reading back what was committed.
#[async_trait]
pub trait GroupState: Send + std::fmt::Debug {
    /// Puts state back from committed rows; says what these rules would have said otherwise.
    async fn restore(&mut self, ledger: &Ledger, directory: &Directory, out: &mut Changes) -> Result<(), FoldError>;

    /// Days that must be at hand before a batch is taken in, and are not.
    fn lacks(&self, _input: &Input<'_>) -> Result<BTreeSet<Day>, ArrowError> {
        Ok(BTreeSet::new())
    }

    /// Takes such days back from the ledger, in which everything said so far is committed.
    async fn recall(&mut self, _days: &BTreeSet<Day>, _ledger: &Ledger) -> Result<(), FoldError> {
        Ok(())
    }

    /// Takes a batch in; nothing may be lacking.
    fn step(&mut self, input: &Input<'_>, directory: &Directory, out: &mut Changes) -> Result<(), ArrowError>;

    /// Log time has come to `log_time`: days freeze. Answers whether something is to be judged
    /// again, which needs everything said so far to be committed.
    fn tick(&mut self, _log_time: Micros, _directory: &Directory, _out: &mut Changes) -> Result<bool, ArrowError> {
        Ok(false)
    }

    /// Judges again what is due at `log_time`, or what was asked for.
    async fn recount(
        &mut self,
        _asked: Option<&RecountRequest>,
        _log_time: Micros,
        _at_hand: (&Ledger, &Directory),
        _out: &mut Changes,
    ) -> Result<(), FoldError> {
        Ok(())
    }
}
