//! The group `counting`: downloads first, then what they carry.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::AsArray;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;
use async_trait::async_trait;
use castback_schemas::table::Table;
use castback_schemas::time::{HOUR, MINUTE};
use castback_schemas::{AccountId, Day, Group, Micros, Topic};

use crate::change::Changes;
use crate::directory::Directory;
use crate::group::{GroupSpec, GroupState, Input, Making, RecountRequest};
use crate::ledger::{FoldError, Ledger, only, unreadable};
use crate::processors::campaign_performance::{CampaignPerformance, Names};
use crate::processors::downloads::{Downloads, KEPT, PodcastDay, Recount, RuleSets};

/// The group's row.
pub(crate) const GROUP: GroupSpec = GroupSpec {
    group: Group::Counting,
    inputs: &[Topic::ListenerRequests, Topic::Conversions],
    decoded: true,
    make: |making| Box::new(Counting::new(making)),
};

/// Log time between two recounts of an account: a trickle of late records must not recount
/// the same days all day long.
const BETWEEN_RECOUNTS: i64 = 10 * MINUTE;

/// Log time between two looks at which days nothing open reaches any more.
const BETWEEN_SWEEPS: i64 = HOUR;

#[derive(Debug)]
struct Counting {
    downloads: Downloads,
    performance: CampaignPerformance,
    /// The directory's change up to which unknown enclosures were looked for again.
    looked_at: i64,
    last_recount: BTreeMap<AccountId, Micros>,
    /// When days that nothing open reaches were forgotten.
    swept: Micros,
}

impl Counting {
    fn new(making: &Making) -> Self {
        Self {
            downloads: Downloads::new(making.slot, making.key(), RuleSets::new(making.lists.clone())),
            performance: CampaignPerformance::new(making.slot),
            looked_at: 0,
            last_recount: BTreeMap::new(),
            swept: Micros(i64::MIN),
        }
    }

    /// Days of which requests are taken in as they come.
    fn open_days(&self) -> BTreeSet<Day> {
        self.downloads.open_days().iter().map(|day| day.day).collect()
    }

    async fn reach(&mut self, days: impl IntoIterator<Item = Day>, ledger: &Ledger) -> Result<(), FoldError> {
        let lacks = self.performance.lacks(days);
        if lacks.is_empty() { Ok(()) } else { self.recall(&lacks, ledger).await }
    }

    /// Late records that have settled, of accounts not recounted just now.
    fn due(&self, log_time: Micros) -> Vec<PodcastDay> {
        let mut due = self.downloads.due(log_time);
        due.retain(|day| {
            self.last_recount.get(&day.account).is_none_or(|last| last.plus(BETWEEN_RECOUNTS) <= log_time)
        });
        due
    }

    /// Judges a day again, and the frozen days after it as far as what reaches them changes; days
    /// of `done` were judged again just now.
    async fn again(
        &mut self,
        (day, done): (PodcastDay, &mut BTreeSet<PodcastDay>),
        log_time: Micros,
        (ledger, directory): (&Ledger, &Directory),
        out: &mut Changes,
    ) -> Result<(), FoldError> {
        let mut day = day;
        while done.insert(day) {
            self.reach([day.day], ledger).await?;
            let (account, podcast) = (day.account.to_string(), day.podcast.to_string());
            let wanted = [("account_id", account.as_str()), ("podcast_id", podcast.as_str())];
            let before = PodcastDay { day: day.day.previous(), ..day };
            let mut carries_in = Vec::new();
            if self.downloads.is_frozen(&before) {
                carries_in = only(&ledger.day(Table::Carries, before.day).await?, &wanted)?;
            }
            let recount = Recount {
                requests: only(&ledger.day(Table::Requests, day.day).await?, &wanted)?,
                carries_in,
                carries_out: only(&ledger.day(Table::Carries, day.day).await?, &wanted)?,
            };
            let (settled, follow) = self.downloads.recount(day, (&recount, log_time), directory, out)?;
            self.performance.settled(&settled, (&Names::default(), directory), out)?;
            if !follow {
                return Ok(());
            }
            day = PodcastDay { day: day.day.next(), ..day };
        }
        Ok(())
    }
}

#[async_trait]
impl GroupState for Counting {
    async fn restore(&mut self, ledger: &Ledger, directory: &Directory, out: &mut Changes) -> Result<(), FoldError> {
        for batch in ledger.all(Table::Days).await? {
            self.downloads.know_days(&batch)?;
            self.performance.know_days(&batch)?;
        }
        self.performance.keep(BTreeSet::new());
        let needed = self.performance.needs(self.open_days());
        self.recall(&needed, ledger).await?;
        for batch in ledger.all(Table::Conversions).await? {
            self.performance.know_conversions(&batch)?;
        }
        self.performance.know_attribution(&ledger.all(Table::Touches).await?, &ledger.all(Table::Credits).await?)?;
        for day in self.downloads.carrying() {
            let (account, podcast) = (day.account.to_string(), day.podcast.to_string());
            let wanted = [("account_id", account.as_str()), ("podcast_id", podcast.as_str())];
            let rows = only(&ledger.day(Table::Carries, day.day).await?, &wanted)?;
            self.downloads.know_carries(day, &rows, directory)?;
        }
        for day in days_of(&self.downloads.open_days()) {
            let rows = (Table::Requests, day);
            ledger.each_of_day(rows, KEPT, |batch| self.downloads.put_back(batch, directory)).await?;
        }
        let differing = tokio::task::block_in_place(|| self.downloads.differing(directory));
        if !differing.is_empty() {
            self.downloads.reopen(&differing);
            for day in days_of(&differing) {
                let rows = ledger.day(Table::Requests, day).await?;
                let mut judge = |batch| self.downloads.judge_back(batch, &differing, directory, out);
                tokio::task::block_in_place(|| rows.iter().try_for_each(&mut judge))?;
            }
            let settled = tokio::task::block_in_place(|| self.downloads.settle_back(directory, out))?;
            self.performance.settled(&settled, (&Names::default(), directory), out)?;
        }
        self.performance.restored(directory);
        self.recall(&self.performance.waits(), ledger).await?;
        self.performance.finish(directory, out)?;
        self.looked_at = directory.change();
        Ok(())
    }

    fn lacks(&self, input: &Input<'_>) -> Result<BTreeSet<Day>, ArrowError> {
        let Some(rows) = &input.rows else { return Ok(BTreeSet::new()) };
        if input.topic == Topic::Conversions {
            return self.performance.lacks_for(rows);
        }
        let times = rows.column_by_name("occurred_at").and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
        let times = times.ok_or_else(|| unreadable("occurred_at"))?;
        Ok(self.performance.lacks(times.values().iter().map(|at| Micros(*at).day())))
    }

    async fn recall(&mut self, days: &BTreeSet<Day>, ledger: &Ledger) -> Result<(), FoldError> {
        let deliveries = ledger.days(Table::AdDeliveries, days).await?;
        let minutes = ledger.days(Table::CampaignPerformance, days).await?;
        Ok(self.performance.recall(days, (&deliveries, &minutes))?)
    }

    fn step(&mut self, input: &Input<'_>, directory: &Directory, out: &mut Changes) -> Result<(), ArrowError> {
        let Some(rows) = input.rows.as_ref().filter(|rows| rows.num_rows() > 0) else { return Ok(()) };
        if input.topic == Topic::Conversions {
            self.performance.step(rows, directory, out)?;
        } else {
            let settled = self.downloads.step(rows, directory, out)?;
            self.performance.settled(&settled, (&Names::of_batch(rows), directory), out)?;
        }
        self.performance.finish(directory, out)
    }

    fn tick(&mut self, log_time: Micros, directory: &Directory, out: &mut Changes) -> Result<bool, ArrowError> {
        self.downloads.freeze(log_time, directory, out)?;
        self.performance.freeze(log_time, out)?;
        if self.swept.plus(BETWEEN_SWEEPS) <= log_time {
            self.performance.keep(self.performance.needs(self.open_days()));
            self.swept = log_time;
        }
        let matched = self.looked_at != directory.change() && !self.downloads.now_matched(directory).is_empty();
        if !matched {
            self.looked_at = directory.change();
        }
        let reads_back = !self.performance.unnamed().is_empty() || !self.performance.waits().is_empty();
        Ok(matched || reads_back || !self.due(log_time).is_empty() || !self.performance.due(log_time).is_empty())
    }

    async fn recount(
        &mut self,
        asked: Option<&RecountRequest>,
        log_time: Micros,
        (ledger, directory): (&Ledger, &Directory),
        out: &mut Changes,
    ) -> Result<(), FoldError> {
        let mut days = if let Some(asked) = asked {
            let mut days = self.downloads.days();
            days.retain(|day| asked.names(day));
            days
        } else {
            let mut days = self.due(log_time);
            days.extend(self.downloads.now_matched(directory));
            days
        };
        days.sort_unstable();
        days.dedup();
        let mut done = BTreeSet::new();
        for day in days {
            if self.downloads.is_frozen(&day) && !ledger.is_whole(day.account, day.day) {
                self.downloads.stays_late(day, log_time, out)?;
                continue;
            }
            self.last_recount.insert(day.account, log_time);
            self.again((day, &mut done), log_time, (ledger, directory), out).await?;
        }
        for day in self.performance.due(log_time) {
            let rows = ledger.day(Table::Conversions, day).await?;
            for batch in &rows {
                let lacks = self.performance.lacks_for(batch)?;
                self.recall(&lacks, ledger).await?;
            }
            self.performance.recount((day, log_time), &rows, directory, out)?;
        }
        for day in self.performance.unnamed() {
            self.performance.name(day, &ledger.day(Table::Requests, day).await?, out)?;
        }
        if let Some(asked) = asked {
            self.reach((asked.from.0..=asked.to.0).map(Day), ledger).await?;
            self.performance.reattribute(asked.account, (asked.from, asked.to));
        }
        self.recall(&self.performance.waits(), ledger).await?;
        self.performance.finish(directory, out)?;
        self.looked_at = directory.change();
        Ok(())
    }
}

impl RecountRequest {
    fn names(&self, day: &PodcastDay) -> bool {
        self.account.is_none_or(|account| account == day.account)
            && self.podcast.is_none_or(|podcast| podcast == day.podcast)
            && (self.from..=self.to).contains(&day.day)
    }
}

fn days_of(days: &[PodcastDay]) -> BTreeSet<Day> {
    days.iter().map(|day| day.day).collect()
}
