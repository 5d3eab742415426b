//! One value, written for people ([`std::fmt::Display`]), for machines (`raw`) and as JSON.

use std::fmt;

use castback_schemas::time::{DAY, HOUR, MINUTE, SECOND};
use castback_schemas::{Day, Micros, Money};
use serde::{Serialize, Serializer};

/// What stands where there is no value.
const NOTHING: &str = "–";

/// A value of a fact, a figure or a cell.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value: a zero denominator, an interval that does not apply.
    Null,
    /// Words.
    Text(String),
    /// A number of things.
    Count(i64),
    /// An amount in one currency.
    Money(Money),
    /// A ratio, such as ROAS.
    Rate(f64),
    /// A share: 0.25 is 25 %.
    Percent(f64),
    /// An instant, printed in UTC.
    Time(Micros),
    /// A UTC day.
    Day(Day),
}

impl Value {
    /// Words.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// The ratio, or nothing if it is absent.
    #[must_use]
    pub fn rate(ratio: Option<f64>) -> Self {
        ratio.map_or(Self::Null, Self::Rate)
    }

    /// The share, or nothing if it is absent.
    #[must_use]
    pub fn percent(share: Option<f64>) -> Self {
        share.map_or(Self::Null, Self::Percent)
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_null(&self) -> bool {
        *self == Self::Null
    }

    /// The name of the kind of value, as the CSV of key figures tells it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Text(_) => "text",
            Self::Count(_) => "count",
            Self::Money(_) => "money_minor",
            Self::Rate(_) => "rate",
            Self::Percent(_) => "share",
            Self::Time(_) => "time",
            Self::Day(_) => "day",
        }
    }

    /// For machines: no separators, full precision, money in minor units, RFC 3339, empty for nothing.
    pub(super) fn raw(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Count(count) => count.to_string(),
            Self::Money(money) => money.amount.to_string(),
            Self::Rate(number) | Self::Percent(number) if number.is_finite() => number.to_string(),
            Self::Null | Self::Rate(_) | Self::Percent(_) => String::new(),
            Self::Time(time) => time.to_string(),
            Self::Day(day) => day.to_string(),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str(NOTHING),
            Self::Text(text) => f.write_str(text),
            Self::Count(count) => f.write_str(&grouped(&count.to_string())),
            Self::Money(money) => f.write_str(&grouped(&money.to_string())),
            Self::Rate(number) => f.write_str(&rate(*number)),
            Self::Percent(share) => match rounded(share * 100.0, 2) {
                Some(number) => write!(f, "{number}%"),
                None => f.write_str(NOTHING),
            },
            Self::Time(time) => f.write_str(&instant(*time)),
            Self::Day(day) => day.fmt(f),
        }
    }
}

impl Serialize for Value {
    /// As the API writes them: money as `{amount, currency}` in minor units, shares as fractions.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Count(count) => serializer.serialize_i64(*count),
            Self::Money(money) => money.serialize(serializer),
            Self::Rate(number) | Self::Percent(number) => serializer.serialize_f64(*number),
            Self::Time(time) => time.serialize(serializer),
            Self::Day(day) => day.serialize(serializer),
        }
    }
}

/// A ratio: the smaller, the more decimals, so that at least two digits tell something.
fn rate(number: f64) -> String {
    let magnitude = number.abs();
    let decimals = match magnitude {
        _ if magnitude < 1.0 => 4,
        _ if magnitude < 10.0 => 3,
        _ => 2,
    };
    rounded(number, decimals).unwrap_or_else(|| NOTHING.to_owned())
}

/// `number` with `decimals`, grouped; none if it isn't finite. Zero has neither sign nor decimals.
pub(super) fn rounded(number: f64, decimals: usize) -> Option<String> {
    if !number.is_finite() {
        return None;
    }
    let text = format!("{number:.decimals$}");
    let zero = text.bytes().all(|byte| matches!(byte, b'0' | b'.' | b'-'));
    let text = if zero { text.trim_start_matches('-') } else { &text };
    Some(if number.to_bits() << 1 == 0 { "0".to_owned() } else { grouped(text) })
}

/// Puts commas between the thousands of the integer that `text` begins with.
fn grouped(text: &str) -> String {
    let digits = text.trim_start_matches('-');
    let sign = &text[..text.len() - digits.len()];
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let (whole, rest) = digits.split_at(end);
    let mut out = String::with_capacity(text.len() + whole.len() / 3);
    out.push_str(sign);
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out.push_str(rest);
    out
}

/// `2026-03-01 06:30 UTC`; seconds only where there are any.
fn instant(time: Micros) -> String {
    let within = time.0.rem_euclid(DAY);
    let (hour, minute, second) = (within / HOUR, within % HOUR / MINUTE, within % MINUTE / SECOND);
    if second == 0 {
        format!("{} {hour:02}:{minute:02} UTC", time.day())
    } else {
        format!("{} {hour:02}:{minute:02}:{second:02} UTC", time.day())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usd(amount: i64) -> Value {
        Value::Money(Money { amount, currency: castback_schemas::Currency::USD })
    }

    #[test]
    fn people_read_separators_units_and_dashes() {
        let cases = [
            (Value::Null, "–"),
            (Value::Count(1_234_567), "1,234,567"),
            (Value::Count(i64::MIN), "-9,223,372,036,854,775,808"),
            (Value::Count(-999), "-999"),
            (usd(123_456_789), "1,234,567.89 USD"),
            (usd(-5), "-0.05 USD"),
            (Value::Rate(0.015_37), "0.0154"),
            (Value::Rate(3.214_159), "3.214"),
            (Value::Rate(12_345.678), "12,345.68"),
            (Value::Rate(0.0), "0"),
            (Value::Rate(-0.000_001), "0.0000"),
            (Value::Rate(f64::NAN), "–"),
            (Value::Percent(0.236_58), "23.66%"),
            (Value::Percent(f64::INFINITY), "–"),
            (Value::Time("2026-03-01T06:30:00Z".parse().unwrap()), "2026-03-01 06:30 UTC"),
            (Value::Time("2026-03-01T06:30:09.5Z".parse().unwrap()), "2026-03-01 06:30:09 UTC"),
            (Value::Day("1969-12-31".parse().unwrap()), "1969-12-31"),
        ];
        for (value, text) in cases {
            assert_eq!(value.to_string(), text);
        }
    }

    #[test]
    fn machines_read_minor_units_and_full_precision() {
        assert_eq!(usd(123_456_789).raw(), "123456789");
        assert_eq!(Value::Rate(0.1 + 0.2).raw(), "0.30000000000000004");
        assert_eq!(Value::Percent(f64::NAN).raw(), "");
        assert_eq!(serde_json::to_string(&usd(2900)).unwrap(), r#"{"amount":2900,"currency":"USD"}"#);
        assert_eq!(serde_json::to_string(&Value::Rate(f64::NAN)).unwrap(), "null");
    }
}
