//! Dates as feeds and HTTP write them: RFC 3339 and W3C, RFC 822 and its looser relatives.

use castback_schemas::Micros;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;

/// A date that could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dated {
    /// The instant.
    pub(crate) at: Micros,
    /// No zone was written: UTC was assumed.
    pub(crate) zone_assumed: bool,
}

/// Time zones by name: those of RFC 822 and the few others that publishers write and that mean one thing.
const ZONES: [(&str, i32); 24] = [
    ("UT", 0),
    ("UTC", 0),
    ("GMT", 0),
    ("Z", 0),
    ("WET", 0),
    ("WEST", 60),
    ("BST", 60),
    ("CET", 60),
    ("CEST", 120),
    ("MEZ", 60),
    ("MESZ", 120),
    ("EET", 120),
    ("EEST", 180),
    ("MSK", 180),
    ("JST", 540),
    ("EST", -300),
    ("EDT", -240),
    ("CST", -360),
    ("CDT", -300),
    ("MST", -420),
    ("MDT", -360),
    ("PST", -480),
    ("PDT", -420),
    ("HST", -600),
];

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// Reads a date; `None` if it is not one, or not a possible one.
pub(crate) fn read(raw: &str) -> Option<Dated> {
    let raw = raw.trim();
    if raw.len() > 64 {
        return None;
    }
    if raw.as_bytes().get(4) == Some(&b'-') { read_iso(raw) } else { read_rfc822(raw) }
}

fn read_iso(raw: &str) -> Option<Dated> {
    if let Ok(at) = raw.parse::<Timestamp>() {
        return Some(Dated { at: Micros(at.as_microsecond()), zone_assumed: false });
    }
    if raw.ends_with(['Z', 'z']) {
        return None;
    }
    let local = raw.parse::<DateTime>().ok().or_else(|| format!("{raw}-01").parse().ok())?;
    dated(local, None)
}

fn dated(local: DateTime, offset: Option<Offset>) -> Option<Dated> {
    let at = offset.unwrap_or(Offset::UTC).to_timestamp(local).ok()?;
    Some(Dated { at: Micros(at.as_microsecond()), zone_assumed: offset.is_none() })
}

/// The parts of a date, as they are found.
#[derive(Default)]
struct Parts<'a> {
    day: Option<i8>,
    month: Option<i8>,
    year: Option<i16>,
    time: Option<&'a str>,
    zone: Option<Offset>,
}

/// `[Tue, ]23 Oct 2018 17:09[:31] [+0000|GMT]`, with the parts before the zone in any order that is clear.
fn read_rfc822(raw: &str) -> Option<Dated> {
    let mut parts = Parts::default();
    let separated = |letter: char| letter.is_whitespace() || letter == ',';
    for token in raw.split(separated).filter(|token| !token.is_empty()) {
        parts.take(token)?;
    }
    let date = Date::new(parts.year?, parts.month?, parts.day?).ok()?;
    let [hour, minute, second] = parts.time.map_or(Some([0; 3]), clock)?;
    dated(date.at(hour, minute, second, 0), parts.zone)
}

impl<'a> Parts<'a> {
    fn take(&mut self, token: &'a str) -> Option<()> {
        let first = token.chars().next()?;
        if first.is_ascii_digit() {
            return self.take_number(token);
        }
        if self.time.is_some() && self.zone.is_none() && self.month.is_some() {
            let zone = zone(token);
            // A comment such as "(PDT)" may follow; "Tue Oct 23 17:09:31 2018" is digits and was taken above.
            self.zone = zone;
            return zone.map(drop);
        }
        if first == '(' {
            return self.zone.map(drop);
        }
        if let Some(month) = month(token) {
            return self.month.replace(month).is_none().then_some(());
        }
        // The name of a day, in whatever language, can only stand first.
        (first.is_alphabetic() && self.day.is_none() && self.month.is_none()).then_some(())
    }

    fn take_number(&mut self, token: &'a str) -> Option<()> {
        if token.contains(':') {
            return self.time.replace(token).is_none().then_some(());
        }
        if let [day, month_name, year] = token.split('-').collect::<Vec<_>>()[..] {
            self.month = Some(month(month_name)?);
            self.day = Some(day.parse().ok()?);
            return self.take_year(year);
        }
        if self.day.is_none() && token.len() <= 2 {
            self.day = Some(token.parse().ok()?);
            return Some(());
        }
        self.take_year(token)
    }

    fn take_year(&mut self, token: &str) -> Option<()> {
        let year: i16 = token.parse().ok()?;
        let year = match (token.len(), year) {
            (2, ..50) => 2000 + year,
            (2, _) => 1900 + year,
            (4, _) => year,
            _ => return None,
        };
        self.year.replace(year).is_none().then_some(())
    }
}

fn month(token: &str) -> Option<i8> {
    let start = token.get(..3)?;
    let place = MONTHS.iter().position(|month| month.eq_ignore_ascii_case(start))?;
    token.chars().all(char::is_alphabetic).then(|| i8::try_from(place + 1).ok()).flatten()
}

fn clock(token: &str) -> Option<[i8; 3]> {
    let mut time = [0; 3];
    for (place, part) in token.split(':').enumerate() {
        if part.len() > 2 || !part.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        *time.get_mut(place)? = part.parse().ok()?;
    }
    // A leap second counts as the second before it.
    time[2] = if time[2] == 60 { 59 } else { time[2] };
    (time[0] < 24 && time[1] < 60 && time[2] < 60).then_some(time)
}

fn zone(token: &str) -> Option<Offset> {
    let minutes = ZONES.iter().find(|(name, _)| name.eq_ignore_ascii_case(token)).map(|(_, minutes)| *minutes);
    let minutes = minutes.or_else(|| numeric_zone(token))?;
    Offset::from_seconds(minutes * 60).ok()
}

/// `+0200`, `-05:00`, `GMT+0200`; offsets that no place on earth has are refused.
fn numeric_zone(token: &str) -> Option<i32> {
    let token = token.strip_prefix("GMT").or_else(|| token.strip_prefix("UTC")).unwrap_or(token);
    let (sign, digits) = match token.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let digits = digits.replacen(':', "", 1);
    if digits.len() != 4 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let value: i32 = digits.parse().ok()?;
    let minutes = sign * (value / 100 * 60 + value % 100);
    (value % 100 < 60 && (-12 * 60..=14 * 60).contains(&minutes)).then_some(minutes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(raw: &str) -> Option<String> {
        read(raw).map(|dated| dated.at.to_string())
    }

    #[test]
    fn one_instant_in_many_spellings() {
        for raw in [
            "Tue, 23 Oct 2018 17:09:31 +0000",
            "Tue, 23 Oct 2018 19:09:31 +0200",
            "23 Oct 2018 12:09:31 CDT",
            "Tue, 23 October 2018 17:09:31 GMT",
            "Di, 23 Oct 18 17:09:31 UT",
            "Tuesday, 23-Oct-18 17:09:31 GMT",
            "Tue Oct 23 17:09:31 2018",
            "Oct 23, 2018 17:09:31 GMT+0000",
            " Tue,23 Oct 2018  17:09:31 +00:00 ",
            "2018-10-23T17:09:31Z",
            "2018-10-23T19:09:31+02:00",
            "2018-10-23 19:09:31+0200",
            "2018-10-23T17:09:31",
        ] {
            assert_eq!(at(raw).as_deref(), Some("2018-10-23T17:09:31Z"), "{raw}");
        }
        assert_eq!(at("Tue, 23 Oct 2018").as_deref(), Some("2018-10-23T00:00:00Z"));
        assert_eq!(at("2018-10-23").as_deref(), Some("2018-10-23T00:00:00Z"));
        assert_eq!(at("2018-10").as_deref(), Some("2018-10-01T00:00:00Z"));
        assert_eq!(at("1 Jan 70 00:00 GMT").as_deref(), Some("1970-01-01T00:00:00Z"));
    }

    #[test]
    fn a_missing_zone_is_told() {
        assert!(read("Tue, 23 Oct 2018 17:09:31").unwrap().zone_assumed);
        assert!(read("2018-10-23T17:09:31").unwrap().zone_assumed);
        assert!(!read("2018-10-23T17:09:31Z").unwrap().zone_assumed);
    }

    #[test]
    fn impossible_dates_are_none() {
        for raw in [
            "",
            "now",
            "yesterday",
            "Tue, 23 Oct 2018 24:28:20 CST",
            "Tue, 23 Oct 2018 15:12:352 CST",
            "Tue, 23 Oct 2018 012:31:50 CST",
            "Tue, 23 Oct 2018 10:00:00 -3000",
            "Tue, 23 Oct 2018 10:00:00 +0060",
            "Tue, 31 Feb 2018 10:00:00 GMT",
            "Tue, 23 Οκτ 2018 10:00:00 GMT",
            "23 Oct 2018 10:00:00 XYZ",
            "2018-13-01",
            "2018-02-30T10:00:00Z",
            "10/23/2018",
            "23 Oct 2018 10:00 AM",
            "١ Oct 2018 10:00:00 GMT",
            "99999999999999999999 Oct 2018",
            "-",
            "Oct",
            "1 2 3 4",
        ] {
            assert_eq!(at(raw), None, "{raw}");
        }
    }
}
