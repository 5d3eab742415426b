//! The statements of a question by bucket of `step` microseconds from the range's start: each answers for a bucket
//! what its namesake in [`super::statements`] answers for a range.

use super::Question;
use super::statements::IS_CONVERSION;

impl Question {
    /// The number of a row's bucket.
    pub(crate) fn bucket(&self, step: i64) -> String {
        format!("(CAST(occurred_at AS BIGINT) - {}) / {step}", self.from.0)
    }

    /// Impressions and the downloads that delivered them.
    pub(crate) fn delivered_by(&self, step: i64) -> String {
        let bucket = self.bucket(step);
        let from = self.delivered();
        format!(
            "SELECT {bucket} AS bucket, count(*) AS impressions, count(DISTINCT request_offset) AS downloads, \
             max(commit) AS revision FROM {from} GROUP BY {bucket}"
        )
    }

    /// Impressions before the range.
    pub(crate) fn delivered_before(&self) -> String {
        format!("SELECT count(*) AS impressions FROM {} AND occurred_at < '{}'", self.heard_of(), self.from)
    }

    /// What is credited.
    pub(crate) fn credited_by(&self, step: i64) -> String {
        let bucket = self.bucket(step);
        format!(
            "SELECT {bucket} AS bucket, {}, max(commit) AS revision FROM {} GROUP BY {bucket}",
            self.credited_sums(),
            self.credited()
        )
    }

    /// Distinct listeners or households within each bucket, as `amount` like the next two.
    pub(crate) fn reach_by(&self, of: &str, step: i64) -> String {
        let distinct = self.distinct_by(of, step);
        format!("SELECT bucket, count(*) AS amount FROM ({distinct}) AS d GROUP BY bucket")
    }

    /// Households that converted in a bucket, among those reached in it.
    pub(crate) fn converting_by(&self, step: i64) -> String {
        format!(
            "SELECT c.bucket AS bucket, count(*) AS amount FROM \
             (SELECT DISTINCT {} AS bucket, household FROM {} AND credit_micro > 0 AND {IS_CONVERSION}) AS c \
             JOIN ({}) AS d ON c.bucket = d.bucket AND c.household = d.household GROUP BY c.bucket",
            self.bucket(step),
            self.credited(),
            self.distinct_by("household", step)
        )
    }

    /// Conversions of the campaign's data sets that nothing is credited for.
    pub(crate) fn unattributed_by(&self, step: i64) -> String {
        let credits = format!("SELECT {} AS bucket, c.commit AS commit FROM {}", self.bucket(step), self.of_nobody());
        format!("SELECT bucket, count(*) AS amount, max(commit) AS revision FROM ({credits}) AS u GROUP BY bucket")
    }

    fn distinct_by(&self, of: &str, step: i64) -> String {
        format!("SELECT DISTINCT {} AS bucket, {of} FROM {}", self.bucket(step), self.delivered())
    }
}
