//! The time of an access log line: `03/Dec/2013:07:55:30 +0000`.

use jiff::civil::Date;

use crate::time::{DAY, HOUR, MINUTE, Micros, SECOND};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Reads `dd/Mon/yyyy:HH:MM:SS ±hhmm`, the time of the common log format (`%t`).
///
/// Second 60, a leap second, is the first instant of the next minute, as in POSIX time.
/// `None` if the text is anything else.
#[must_use]
pub fn parse(text: &str) -> Option<Micros> {
    let (date, rest) = text.split_at_checked(11)?;
    let (time, zone) = rest.strip_prefix(':')?.split_once(' ')?;
    Some(day(date)?.plus(time_of_day(time)?).plus(-offset(zone)?))
}

fn day(text: &str) -> Option<Micros> {
    let [day, month, year] = parts::<3>(text, '/')?;
    let month = MONTHS.iter().position(|name| *name == month)?;
    let date =
        Date::new(number(year, 4)?.try_into().ok()?, i8::try_from(month).ok()? + 1, number(day, 2)?.try_into().ok()?);
    let days = date.ok()?.duration_since(Date::constant(1970, 1, 1)).as_hours() / 24;
    Some(Micros(days * DAY))
}

fn time_of_day(text: &str) -> Option<i64> {
    let [hour, minute, second] = parts::<3>(text, ':')?;
    let (hour, minute, second) = (number(hour, 2)?, number(minute, 2)?, number(second, 2)?);
    (hour < 24 && minute < 60 && second <= 60).then_some(hour * HOUR + minute * MINUTE + second * SECOND)
}

fn offset(text: &str) -> Option<i64> {
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let value = number(digits, 4)?;
    let (hours, minutes) = (value / 100, value % 100);
    (hours < 24 && minutes < 60).then_some(sign * (hours * HOUR + minutes * MINUTE))
}

fn parts<const N: usize>(text: &str, separator: char) -> Option<[&str; N]> {
    text.split(separator).collect::<Vec<_>>().try_into().ok()
}

/// `digits` ASCII digits and nothing else.
fn number(text: &str, digits: usize) -> Option<i64> {
    let plain = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_dates_and_leap_seconds() {
        for (text, utc) in [
            ("03/Dec/2013:07:55:30 +0000", "2013-12-03T07:55:30Z"),
            ("01/Jan/2026:00:15:00 +0530", "2025-12-31T18:45:00Z"),
            ("31/Dec/2025:20:00:00 -0800", "2026-01-01T04:00:00Z"),
            ("29/Feb/2024:12:00:00 +0000", "2024-02-29T12:00:00Z"),
            ("31/Dec/2016:23:59:60 +0000", "2017-01-01T00:00:00Z"),
            ("31/Dec/1969:23:59:59 +0000", "1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(parse(text), Some(utc.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_time() {
        for text in [
            "",
            "2013-12-03T07:55:30Z",
            "3/Dec/2013:07:55:30 +0000",
            "31/Feb/2026:07:55:30 +0000",
            "03/Dez/2013:07:55:30 +0000",
            "03/Dec/2013:24:00:00 +0000",
            "03/Dec/2013:07:55:61 +0000",
            "03/Dec/2013:07:55:30",
            "03/Dec/2013:07:55:30 0000",
            "03/Dec/2013:07:55:30 +0060",
            "03/Dec/2013:07:55:30 ++000",
            "0é/Dec/2013:07:55:30 +0000",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
