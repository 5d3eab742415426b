//! Dates as feeds and access logs write them.

use castback_schemas::Micros;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Day, month's name, year and time of an instant.
fn parts(at: Micros) -> (String, &'static str, String, String) {
    let text = at.to_string();
    let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or_default().to_owned();
    let month = part(5..7).parse::<usize>().ok().and_then(|month| MONTHS.get(month.wrapping_sub(1)));
    (part(8..10), month.copied().unwrap_or("Jan"), part(0..4), part(11..19))
}

/// As RSS has it: `24 Nov 2026 10:00:00 GMT`.
pub(crate) fn in_a_feed(at: Micros) -> String {
    let (day, month, year, time) = parts(at);
    format!("{day} {month} {year} {time} GMT")
}

/// As an access log has it: `24/Nov/2026:10:00:00 +0000`.
pub(crate) fn in_a_log(at: Micros) -> String {
    let (day, month, year, time) = parts(at);
    format!("{day}/{month}/{year}:{time} +0000")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_right() {
        let at: Micros = "2026-01-05T07:08:09.5Z".parse().unwrap();
        assert_eq!(in_a_feed(at), "05 Jan 2026 07:08:09 GMT");
        assert_eq!(in_a_log(at), "05/Jan/2026:07:08:09 +0000");
    }
}
