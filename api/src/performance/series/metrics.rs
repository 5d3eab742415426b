//! The metrics of a series, one row each: each is the figure of the same name of performance, asked of its bucket alone.

use castback_schemas::AccountId;
use castback_schemas::campaign::CampaignTerms;
use serde_json::Value;

use super::Sums;
use crate::App;
use crate::figures::{Question, credited, frequency};
use crate::performance::estimate::Sighted;
use crate::problem::Result;
use crate::query::{Ask, Rows};

/// A metric.
#[derive(Debug, Clone, Copy)]
pub(super) struct Metric {
    /// Its name.
    pub(super) name: &'static str,
    /// What it needs beside what every series reads.
    pub(super) more: &'static [More],
    /// Its value: 0 for a count of nothing, null for a rate of nothing.
    pub(super) value: fn(&Sums) -> Value,
}

/// What one more statement answers by bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum More {
    /// Listeners reached.
    Devices,
    /// Households reached.
    Households,
    /// Of these, those that converted.
    Converting,
    /// Conversions that nothing is credited for.
    Unattributed,
    /// Impressions of which a prefix redirect lets one think.
    PrefixEstimated,
}

use More::{Converting, Devices, Households, PrefixEstimated, Unattributed};

const fn row(name: &'static str, more: &'static [More], value: fn(&Sums) -> Value) -> Metric {
    Metric { name, more, value }
}

/// Every metric; the first is the usual one.
pub(super) const METRICS: [Metric; 21] = [
    row("impressions", &[], |sums| sums.rates.impressions.into()),
    row("impressions_prefix_estimated", &[PrefixEstimated], |sums| sums.prefix_estimated.into()),
    row("downloads", &[], |sums| sums.downloads.into()),
    row("reach_device", &[Devices], |sums| sums.reach_device.into()),
    row("reach_household", &[Households], |sums| sums.rates.households.into()),
    row("frequency", &[Devices], |sums| frequency(sums.rates.impressions, sums.reach_device).value.into()),
    row("visits", &[], |sums| credited(sums.rates.visits_micro)),
    row("leads", &[], |sums| credited(sums.rates.leads_micro)),
    row("conversions", &[], |sums| credited(sums.rates.conversions_micro)),
    row("unattributed_conversions", &[Unattributed], |sums| sums.unattributed.into()),
    row("revenue", &[], |sums| sums.rates.revenue.into()),
    row("spend", &[], |sums| sums.rates.spend.into()),
    row("cpm", &[], |sums| sums.rates.cpm().value.into()),
    row("cpv", &[], |sums| sums.rates.cpv().value.into()),
    row("cpl", &[], |sums| sums.rates.cpl().value.into()),
    row("cpa", &[], |sums| sums.rates.cpa().value.into()),
    row("aov", &[], |sums| sums.rates.aov().value.into()),
    row("conversion_rate", &[Households, Converting], |sums| sums.rates.conversion_rate().value.into()),
    row("roas", &[], |sums| sums.rates.roas().value.into()),
    row("roi", &[], |sums| sums.rates.roi().value.into()),
    row("pacing", &[], |sums| sums.pacing.into()),
];

/// What a statement answers for a bucket; one bucket may have several.
#[derive(Debug, Clone, Copy)]
pub(super) struct Amount {
    /// The bucket's number.
    pub(super) bucket: i64,
    /// To be added.
    pub(super) count: u64,
    /// The newest commit among what it is made of, where it is asked.
    pub(super) revision: i64,
}

impl Amount {
    fn of(rows: &Rows, row: usize, times: u64) -> Self {
        let count = rows.count(row, "amount").saturating_mul(times);
        Self { bucket: rows.int(row, "bucket"), count, revision: rows.int(row, "revision") }
    }
}

impl More {
    /// Its amounts by bucket.
    pub(super) async fn read(
        self,
        app: &App,
        ask: &Ask,
        (account, terms): (AccountId, &CampaignTerms),
        (question, step): (&Question, i64),
    ) -> Result<Vec<Amount>> {
        let statement = match self {
            Self::Devices => question.reach_by("listener", step),
            Self::Households => question.reach_by("household", step),
            Self::Converting => question.converting_by(step),
            Self::Unattributed => question.unattributed_by(step),
            Self::PrefixEstimated => {
                let Some(sighted) = Sighted::of(app, account, terms).await? else { return Ok(Vec::new()) };
                let rows = ask.one(&sighted.by(question, ask.kept_from(), step)).await?;
                let times = |row| sighted.placements(rows.text(row, "episode_id"));
                return Ok((0..rows.len()).map(|row| Amount::of(&rows, row, times(row))).collect());
            }
        };
        let rows = ask.one(&statement).await?;
        Ok((0..rows.len()).map(|row| Amount::of(&rows, row, 1)).collect())
    }

    /// Where its amounts are added.
    pub(super) fn place(self, sums: &mut Sums) -> &mut u64 {
        match self {
            Self::Devices => &mut sums.reach_device,
            Self::Households => &mut sums.rates.households,
            Self::Converting => &mut sums.rates.converting_households,
            Self::Unattributed => &mut sums.unattributed,
            Self::PrefixEstimated => &mut sums.prefix_estimated,
        }
    }
}
