//! `GET /v1/campaigns/{id}/timeseries`: one metric, bucket by bucket.

mod metrics;

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use castback_catalogue::campaigns::Campaign;
use castback_rules::rates::{self, Rate};
use castback_schemas::time::{DAY, HOUR, MINUTE};
use castback_schemas::{AccountId, Currency, Micros};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{HEARD, MODELS};
use crate::App;
use crate::extract::{Path, Query, id};
use crate::figures::{Question, credited_sums};
use crate::identity::Scope;
use crate::problem::{Problem, Result};
use crate::query::Ask;
use crate::query::range::{range, word};

use metrics::{Amount, METRICS, Metric};

/// Buckets of an answer.
const MAX_BUCKETS: i64 = 5_000;

const STEPS: [(&str, i64); 7] = [
    ("1d", DAY),
    ("1m", MINUTE),
    ("5m", 5 * MINUTE),
    ("15m", 15 * MINUTE),
    ("1h", HOUR),
    ("6h", 6 * HOUR),
    ("7d", 7 * DAY),
];

/// The parameters.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Parameters {
    /// `impressions`, `impressions_prefix_estimated`, `downloads`, `reach_device`, `reach_household` (distinct within
    /// the bucket), `frequency`, `visits`, `leads`, `conversions`, `unattributed_conversions`, `revenue`, `spend`, `cpm`,
    /// `cpv`, `cpl`, `cpa`, `aov`, `conversion_rate`, `roas`, `roi` or `pacing` (from the flight's start to the bucket's
    /// end).
    metric: Option<String>,
    /// The first instant; the flight's first if not given.
    from: Option<String>,
    /// The first instant no longer shown; now if not given.
    to: Option<String>,
    /// `1m`, `5m`, `15m`, `1h`, `6h`, `1d` or `7d`.
    step: Option<String>,
    /// As for performance.
    window: Option<String>,
    /// As for performance.
    model: Option<String>,
}

/// A bucket.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Bucket {
    /// Its first instant.
    #[schema(value_type = String)]
    t: Micros,
    /// Its value: 0 for a count of nothing, null for a rate of nothing.
    #[schema(value_type = Option<f64>)]
    value: Value,
    /// The newest commit among what it is made of; 0 for nothing.
    revision: i64,
}

/// A series.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Series {
    /// The metric.
    metric: &'static str,
    /// The length of a bucket.
    step: &'static str,
    /// The currency of money.
    #[schema(value_type = String)]
    currency: Currency,
    /// The buckets in order.
    items: Vec<Bucket>,
    /// The commit that was read.
    revision: i64,
}

/// A bucket's figures.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sums {
    /// The bucket's first instant.
    pub(crate) at: Micros,
    /// What rates are made of; households only where the metric needs them, as the reach and what follows it.
    rates: rates::Sums,
    /// Downloads that delivered an ad.
    downloads: u64,
    reach_device: u64,
    unattributed: u64,
    prefix_estimated: u64,
    /// Spend against time at the bucket's end.
    pacing: Option<f64>,
    revision: i64,
}

/// One metric of a campaign over time.
#[utoipa::path(get, path = "/v1/campaigns/{id}/timeseries", tag = "performance", params(("id" = String, Path), Parameters),
    responses((status = 200, body = Series)))]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    scope: Scope,
    Path(campaign): Path<String>,
    Query(parameters): Query<Parameters>,
) -> Result<Answer<Series>> {
    let account = scope.one()?;
    let campaign = app.catalogue.campaign(account, id(&campaign, "campaign")?).await?;
    let now = app.clock.now();
    let metric = word(parameters.metric.as_deref(), "metric", &METRICS.map(|metric| (metric.name, metric)))?;
    let (step_name, step) = word(parameters.step.as_deref(), "step", &STEPS.map(|step| (step.0, step)))?;
    let whole = Question::flight((campaign.id, &campaign.terms), now);
    let given = (parameters.from.as_deref(), parameters.to.as_deref());
    let (from, to) = range(given, (whole.from, now.max(whole.from.plus(1))))?;
    if (to.0 - from.0) / step >= MAX_BUCKETS {
        return Err(Problem::field("step", format!("the range has more than {MAX_BUCKETS} buckets")));
    }
    let question = Question::range((campaign.id, &campaign.terms), (from, to), now).by(
        word(parameters.window.as_deref(), "window", &HEARD)?,
        word(parameters.model.as_deref(), "model", &MODELS)?,
    );
    let ask = Ask::newest(&app, Scope::Account(account)).await?.keeping();
    let mut buckets = read(&ask, &question, step).await?;
    add(&app, &ask, (account, &campaign), (&question, step, metric), &mut buckets).await?;
    let items = buckets.iter().map(|sums| sums.bucket(metric)).collect();
    let currency = campaign.terms.currency;
    Ok(Answer(Series { metric: metric.name, step: step_name, currency, items, revision: ask.revision().0 }))
}

/// The sums of every bucket from the range's start to its end.
pub(crate) async fn read(ask: &Ask, question: &Question, step: i64) -> Result<Vec<Sums>> {
    let statements = [question.delivered_by(step), question.credited_by(step), question.delivered_before()];
    let [delivered, credited, before] = ask.all(statements.each_ref().map(String::as_str)).await?;
    let count = usize::try_from((question.to.0 - question.from.0 + step - 1) / step).unwrap_or(0);
    let start = |bucket: usize| question.from.plus(i64::try_from(bucket).unwrap_or(0).saturating_mul(step));
    let mut buckets: Vec<Sums> = (0..count).map(|bucket| Sums { at: start(bucket), ..Sums::default() }).collect();
    for row in 0..delivered.len() {
        if let Some(sums) = bucket_of(&mut buckets, delivered.int(row, "bucket")) {
            sums.rates.impressions = delivered.count(row, "impressions");
            sums.downloads = delivered.count(row, "downloads");
            sums.revision = delivered.int(row, "revision");
        }
    }
    for row in 0..credited.len() {
        if let Some(sums) = bucket_of(&mut buckets, credited.int(row, "bucket")) {
            let impressions = sums.rates.impressions;
            sums.rates = rates::Sums { impressions, ..credited_sums(&credited, row) };
            sums.revision = sums.revision.max(credited.int(row, "revision"));
        }
    }
    let mut impressions = before.count(0, "impressions");
    let mut spent = question.spent(impressions, question.from.min(question.as_of));
    for sums in &mut buckets {
        impressions += sums.rates.impressions;
        let until = sums.at.plus(step).min(question.to).min(question.as_of);
        let now = question.spent(impressions, until);
        sums.pacing = question.pacing(now, until);
        (sums.rates.spend, spent) = (now - spent, now);
    }
    Ok(buckets)
}

/// Adds what only this metric needs.
async fn add(
    app: &App,
    ask: &Ask,
    (account, campaign): (AccountId, &Campaign),
    (question, step, metric): (&Question, i64, Metric),
    buckets: &mut [Sums],
) -> Result<()> {
    for more in metric.more {
        let campaign = (account, &campaign.terms);
        for Amount { bucket, count, revision } in more.read(app, ask, campaign, (question, step)).await? {
            if let Some(sums) = bucket_of(buckets, bucket) {
                *more.place(sums) += count;
                sums.revision = sums.revision.max(revision);
            }
        }
    }
    Ok(())
}

fn bucket_of(buckets: &mut [Sums], number: i64) -> Option<&mut Sums> {
    usize::try_from(number).ok().and_then(|number| buckets.get_mut(number))
}

impl Sums {
    /// Adds what adds up of another bucket.
    pub(crate) fn add(&mut self, other: &Self) {
        self.rates.impressions += other.rates.impressions;
        self.rates.spend += other.rates.spend;
        self.rates.revenue += other.rates.revenue;
        self.rates.revenue_squares += other.rates.revenue_squares;
    }

    /// Revenue per spend with its interval.
    pub(crate) fn roas(&self) -> (Option<f64>, Option<(f64, f64)>) {
        let Rate { value, low, high } = self.rates.roas();
        (value, low.zip(high))
    }

    /// Downloads that delivered an ad, for a chart.
    pub(crate) fn downloads_real(&self) -> f64 {
        real(i64::try_from(self.downloads).unwrap_or(i64::MAX))
    }

    /// Credited conversions, for a chart.
    pub(crate) fn conversions_real(&self) -> f64 {
        real(self.rates.conversions_micro) / real(castback_rules::credit::ONE)
    }

    fn bucket(&self, metric: Metric) -> Bucket {
        Bucket { t: self.at, value: (metric.value)(self), revision: self.revision }
    }
}

#[expect(clippy::cast_precision_loss, reason = "rates are approximate; below 2^53 nothing is lost")]
fn real(amount: i64) -> f64 {
    amount as f64
}
