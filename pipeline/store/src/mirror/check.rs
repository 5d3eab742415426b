//! The sample check: an hour of a series read back and compared, field by field.

use std::collections::BTreeMap;

use castback_schemas::time::{HOUR, SECOND};
use castback_schemas::{Micros, Series};
use influxdb2::api::query::FluxRecord;

use super::client::Influx;
use super::points::{Place, Point};
use super::{Bucket, MirrorError, seconds};

/// An hour of a series under its tags, as it should be in the mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The series.
    pub series: Series,
    /// Where its rows lie.
    pub place: Place,
    /// The tags' values, in the order of the series' row.
    pub tags: Vec<String>,
    /// The hour.
    pub hour: Micros,
    /// Every point of it.
    pub points: Vec<Point>,
}

/// A value that is not in the mirror as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The point's time.
    pub time: Micros,
    /// The field.
    pub field: String,
    /// What should be there.
    pub expected: i64,
    /// What is there.
    pub found: Option<i64>,
}

/// Values by time in seconds and field.
type Values = BTreeMap<(i64, String), i64>;

pub(super) async fn compare(influx: &Influx, bucket: &Bucket, sample: &Sample) -> Result<Vec<Difference>, MirrorError> {
    let flux = flux(&influx.options.bucket, sample);
    let records = influx.query(&bucket.organization, flux).await?;
    let found = records.iter().map(value).collect::<Result<Values, _>>()?;
    let spec = sample.series.spec();
    let mut expected = Values::new();
    for point in &sample.points {
        let fields = spec.fields.iter().zip(&point.fields);
        expected.extend(fields.map(|(name, value)| ((seconds(point.time), (*name).to_owned()), *value)));
    }
    // What is there and should not be is nothing as long as it is zero.
    let extra = found.iter().filter(|(key, value)| **value != 0 && !expected.contains_key(*key));
    let extra: Values = extra.map(|(key, _)| (key.clone(), 0)).collect();
    expected.extend(extra);
    let difference = |((time, field), expected): ((i64, String), i64)| {
        let found = found.get(&(time, field.clone())).copied();
        let time = Micros(time.saturating_mul(SECOND));
        (found != Some(expected)).then_some(Difference { time, field, expected, found })
    };
    Ok(expected.into_iter().filter_map(difference).collect())
}

/// The hour's values one to a row, as whole numbers without empty cells: what the client can read.
fn flux(bucket: &str, sample: &Sample) -> String {
    let spec = sample.series.spec();
    let tags = spec.tags.iter().zip(&sample.tags).filter(|(_, value)| !value.is_empty());
    let tags: Vec<String> =
        tags.map(|(name, value)| format!(" and r[{}] == {}", quoted(name), quoted(value))).collect();
    let tags = tags.concat();
    format!(
        "from(bucket: {bucket})\n  |> range(start: {start}, stop: {stop})\n  \
         |> filter(fn: (r) => r._measurement == {measurement}{tags})\n  \
         |> filter(fn: (r) => exists r._value)\n  \
         |> map(fn: (r) => ({{at: int(v: r._time), field: r._field, value: int(v: r._value)}}))",
        bucket = quoted(bucket),
        start = sample.hour,
        stop = sample.hour.plus(HOUR),
        measurement = quoted(spec.name),
    )
}

/// A text as Flux has it.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace("${", "\\${").replace('\n', "\\n");
    format!("\"{escaped}\"")
}

#[expect(clippy::redundant_closure_for_method_calls, reason = "the cells' type has no name outside the client")]
fn value(record: &FluxRecord) -> Result<((i64, String), i64), MirrorError> {
    let cell = |name: &str| record.values.get(name);
    let at = cell("at").and_then(|at| at.i64());
    let field = cell("field").and_then(|field| field.string());
    let value = cell("value").and_then(|value| value.i64());
    match (at, field, value) {
        (Some(at), Some(field), Some(value)) => Ok(((at.div_euclid(1_000_000_000), field), value)),
        _ => Err(MirrorError::Answer("a record has no at, field or value".to_owned())),
    }
}
