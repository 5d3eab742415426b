//! Series: what adds up, by minute or hour, absolute; mirrored point by point for dashboards.
//!
//! A point is all fields of a series at a time under its tags. It is always whole: a field that
//! holds nothing is 0. The last part of a field's name is its unit: `_micro` is a millionth,
//! `_minor` minor units of the tag `currency`; without one it is a count.

use crate::table::Table;
use crate::time::{HOUR, MINUTE};

/// A series. Its row in [`SERIES`] says the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Series {
    /// Campaigns by minute.
    CampaignPerformance,
    /// Podcasts by hour.
    ListenerMetrics,
    /// Records on the log by hour.
    Tallies,
}

/// Where the values of a series stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// In a versioned table, a row per point.
    Rows(Table),
    /// Nowhere: they are sums over the ledger rows of requests.
    Requests,
}

/// A row of [`SERIES`].
#[derive(Debug, Clone, Copy)]
pub struct SeriesSpec {
    /// The series.
    pub series: Series,
    /// Its name: the measurement, and the public SQL table.
    pub name: &'static str,
    /// What a point is.
    pub doc: &'static str,
    /// Where its values stand.
    pub source: Source,
    /// Microseconds between two points.
    pub step: i64,
    /// The columns whose values tell series of points apart.
    pub tags: &'static [&'static str],
    /// The column of the time.
    pub time: &'static str,
    /// The columns that hold values.
    pub fields: &'static [&'static str],
}

/// Every series.
pub const SERIES: &[SeriesSpec] = &[
    SeriesSpec {
        series: Series::CampaignPerformance,
        name: "campaign_performance",
        doc: "a campaign's minute",
        source: Source::Rows(Table::CampaignPerformance),
        step: MINUTE,
        tags: &["account_id", "campaign_id", "currency"],
        time: "bucket_start",
        fields: &[
            "impressions_utc_day",
            "impressions_first_touch",
            "impressions_last_touch",
            "impressions_position_unknown",
            "downloads",
            "visits_micro",
            "leads_micro",
            "unattributed_conversions",
            "conversions_first_micro",
            "conversions_last_micro",
            "conversions_equal_micro",
            "conversions_time_decay_micro",
            "revenue_first_minor",
            "revenue_last_minor",
            "revenue_equal_minor",
            "revenue_time_decay_minor",
        ],
    },
    SeriesSpec {
        series: Series::ListenerMetrics,
        name: "listener_metrics",
        doc: "a podcast's hour of requests",
        source: Source::Requests,
        step: HOUR,
        tags: &["account_id", "podcast_id"],
        time: "bucket_start",
        fields: &[
            "requests",
            "downloads_utc_day",
            "downloads_first_touch",
            "downloads_last_touch",
            "downloads_prefix_estimated",
            "counted",
            "duplicate",
            "filtered",
            "late",
        ],
    },
    SeriesSpec {
        series: Series::Tallies,
        name: "tallies",
        doc: "an account's hour on a topic",
        source: Source::Rows(Table::Tallies),
        step: HOUR,
        tags: &["account_id", "topic"],
        time: "hour",
        fields: &["accepted"],
    },
];

impl Series {
    /// The series' row.
    #[must_use]
    pub fn spec(self) -> &'static SeriesSpec {
        // SERIES is in the order of the enum; kept by a test.
        &SERIES[self as usize]
    }

    /// The series' name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.spec().name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::ColumnType;

    #[test]
    fn series_stand_in_the_order_of_the_enum() {
        for (index, spec) in SERIES.iter().enumerate() {
            assert_eq!(spec.series as usize, index, "{}", spec.name);
            assert_eq!(spec.tags[0], "account_id", "{}", spec.name);
        }
    }

    #[test]
    fn a_series_of_rows_has_every_value_of_its_table() {
        for spec in SERIES {
            let Source::Rows(table) = spec.source else { continue };
            let of = |kind| table.spec().columns.iter().filter(move |c| c.column_type == kind).map(|c| c.name);
            assert_eq!(of(ColumnType::Int).collect::<Vec<_>>(), spec.fields, "{}", spec.name);
            assert!(of(ColumnType::Text).eq(spec.tags.iter().copied()), "{}", spec.name);
            assert_eq!(of(ColumnType::Time).collect::<Vec<_>>(), [spec.time], "{}", spec.name);
            assert!(table.spec().key.iter().all(|key| spec.tags.contains(key) || *key == spec.time), "{}", spec.name);
        }
    }
}
