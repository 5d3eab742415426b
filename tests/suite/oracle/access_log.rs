//! The combined log format, read by hand: `host ident user [time] "request" status bytes "referer" "agent"`.

use super::{Request, SECOND};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Requests of every line; `ids` in the order of the lines where the caller knows them.
pub(crate) fn requests(podcast: &str, text: &str) -> Vec<Request> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let parsed = lines.enumerate().map(|(number, line)| {
        let mut request = request(line).unwrap_or_else(|| panic!("not a line of the combined format: {line}"));
        podcast.clone_into(&mut request.podcast);
        request.id = format!("line-{number:09}");
        request
    });
    parsed.collect()
}

/// One line as a request.
pub(crate) fn request(line: &str) -> Option<Request> {
    let (host, rest) = line.split_once(' ')?;
    let (_, rest) = rest.split_once('[')?;
    let (time, rest) = rest.split_once("] ")?;
    let (line, rest) = quoted(rest)?;
    let (status, rest) = rest.trim_start().split_once(' ')?;
    let (bytes, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let (_referer, rest) = quoted(rest.trim_start()).unwrap_or_default();
    let (agent, _) = quoted(rest.trim_start()).unwrap_or_default();
    let parts: Vec<&str> = line.split(' ').collect();
    let well_formed = parts.len() == 3
        && parts[0].chars().all(|c| c.is_ascii_uppercase())
        && !parts[0].is_empty()
        && parts[2].starts_with("HTTP/");
    Some(Request {
        url: parts.get(1).copied().unwrap_or_default().to_owned(),
        at: time_of(time)?,
        method: parts[0].to_owned(),
        status: status.parse().ok()?,
        bytes_sent: bytes.parse().ok(),
        agent: Some(agent).filter(|agent| agent != "-"),
        address: host.parse().ok(),
        malformed: !well_formed,
        ..Request::default()
    })
}

/// The text between quotes, its escapes undone, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.strip_prefix('"')?.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 2..])),
            '\\' => value.push(chars.next()?.1),
            _ => value.push(c),
        }
    }
    None
}

/// `03/Dec/2013:07:55:30 +0000` in microseconds.
pub(crate) fn time_of(text: &str) -> Option<i64> {
    let (moment, zone) = text.split_once(' ')?;
    let mut fields = moment.split(['/', ':']);
    let day: i64 = fields.next()?.parse().ok()?;
    let name = fields.next()?;
    let month = i64::try_from(MONTHS.iter().position(|month| *month == name)?).ok()? + 1;
    let year: i64 = fields.next()?.parse().ok()?;
    let mut clock = 0;
    for field in fields {
        clock = clock * 60 + field.parse::<i64>().ok()?;
    }
    let (hours, minutes) = zone.get(1..)?.split_at_checked(2)?;
    let offset = (hours.parse::<i64>().ok()? * 60 + minutes.parse::<i64>().ok()?) * 60;
    let offset = if zone.starts_with('-') { -offset } else { offset };
    Some((days_since_1970(year, month, day) * 86_400 + clock - offset) * SECOND)
}

/// Days from 1970-01-01 in the Gregorian calendar, counted year by year.
pub(crate) fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let leap = |y: i64| (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    let years: i64 = (1970..year).map(|y| if leap(y) { 366 } else { 365 }).sum();
    let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let months: i64 = lengths.iter().zip(1..month).map(|(length, _)| *length).sum();
    years + months + day - 1
}

/// The inverse: `2013-12-03`.
pub(crate) fn date_of(mut days: i64) -> String {
    let mut year = 1970;
    while days >= days_since_1970(year + 1, 1, 1) {
        year += 1;
    }
    let mut month = 12;
    while days_since_1970(year, month, 1) > days {
        month -= 1;
    }
    days -= days_since_1970(year, month, 1);
    format!("{year:04}-{month:02}-{:02}", days + 1)
}

/// RFC 3339 with microseconds, UTC.
pub(crate) fn rfc3339(at: i64) -> String {
    let (days, rest) = (at.div_euclid(super::DAY), at.rem_euclid(super::DAY));
    let seconds = rest / SECOND;
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{}T{h:02}:{m:02}:{s:02}.{:06}Z", date_of(days), rest % SECOND)
}
