//! Single values of a feed: texts, addresses, lengths, durations, flags.

use url::Url;

use super::warning::{Warning, Warnings};

/// Bytes of a title, a name or a GUID.
const MAX_TEXT: usize = 4096;

/// Bytes of an address.
const MAX_URL: usize = 4096;

/// Shortest file in bytes that can be a recording: feeds write 0 or 1 for "unknown", and a
/// length of 1 would let every request pass for a whole download.
const MIN_LENGTH: u64 = 1024;

/// Longest duration believed: 30 days.
const MAX_DURATION: u32 = 30 * 24 * 3600;

/// What reading a feed's values needs and leaves behind.
#[derive(Debug)]
pub(super) struct Context {
    /// The feed's own address.
    pub(super) base: Url,
    /// What was wrong so far.
    pub(super) warnings: Warnings,
}

impl Context {
    /// A web address, resolved against the feed's own.
    pub(super) fn url(&mut self, raw: &str) -> Option<String> {
        web_url(raw, &self.base, &mut self.warnings)
    }
}

/// A line of text: control characters removed (databases refuse NUL), whitespace collapsed, cut at the limit.
pub(super) fn line(raw: &str, warnings: &mut Warnings) -> Option<String> {
    let mut text = collapse(raw);
    if text.len() > MAX_TEXT {
        warnings.add(Warning::TextTooLong);
        text.truncate(text.floor_char_boundary(MAX_TEXT));
    }
    (!text.is_empty()).then_some(text)
}

/// A text that identifies: like a line, but dropped instead of cut, since a cut one could name two things.
pub(super) fn identifier(raw: &str, warnings: &mut Warnings) -> Option<String> {
    let text = collapse(raw);
    if text.len() > MAX_TEXT {
        warnings.add(Warning::TextTooLong);
        return None;
    }
    (!text.is_empty()).then_some(text)
}

fn collapse(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len().min(MAX_TEXT));
    for word in raw.split(|letter: char| letter.is_whitespace() || letter.is_control()) {
        if !word.is_empty() {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(word);
        }
    }
    text
}

fn web_url(raw: &str, base: &Url, warnings: &mut Warnings) -> Option<String> {
    let raw = raw.trim();
    if raw.is_empty() {
        return None;
    }
    let url = base.join(raw).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = url.map(String::from).filter(|url| url.len() <= MAX_URL);
    if url.is_none() {
        warnings.add(Warning::BadUrl);
    }
    url
}

/// An enclosure's length in bytes; unknown if it is none or zero.
pub(super) fn length(raw: &str, warnings: &mut Warnings) -> Option<u64> {
    let bytes = raw.trim().parse::<u64>().ok();
    if bytes == Some(0) {
        return None;
    }
    let known = bytes.filter(|bytes| *bytes >= MIN_LENGTH);
    if known.is_none() {
        warnings.add(Warning::BadLength);
    }
    known
}

/// A duration in seconds from `hh:mm:ss`, `mm:ss` or seconds, each with an optional fraction; zero is unknown.
pub(super) fn duration(raw: &str, warnings: &mut Warnings) -> Option<u32> {
    let raw = raw.trim();
    if raw.is_empty() {
        return None;
    }
    let seconds = read_duration(raw).filter(|seconds| *seconds <= MAX_DURATION);
    if seconds.is_none() {
        warnings.add(Warning::BadDuration);
    }
    seconds.filter(|seconds| *seconds > 0)
}

fn read_duration(raw: &str) -> Option<u32> {
    let whole = raw
        .split_once('.')
        .map_or(Some(raw), |(whole, fraction)| fraction.bytes().all(|digit| digit.is_ascii_digit()).then_some(whole))?;
    let mut total: u32 = 0;
    for (place, part) in whole.split(':').enumerate() {
        let value: u32 = part.trim().parse().ok()?;
        if place > 2 {
            return None;
        }
        total = total.checked_mul(60)?.checked_add(value)?;
    }
    Some(total)
}

/// A small number such as a season.
pub(super) fn number(raw: &str) -> Option<u32> {
    raw.trim().parse().ok()
}

/// `yes` and `true` in any case.
pub(super) fn flag(raw: &str) -> bool {
    let raw = raw.trim();
    raw.eq_ignore_ascii_case("yes") || raw.eq_ignore_ascii_case("true")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_in_every_spelling() {
        let mut warnings = Warnings::default();
        let cases = [
            ("01:02:03", Some(3723)),
            ("62:03", Some(3723)),
            ("3723", Some(3723)),
            (" 3723.9 ", Some(3723)),
            ("1:2:3", Some(3723)),
            ("00:59:59.500", Some(3599)),
            ("0", None),
            ("00:00:00", None),
            ("", None),
        ];
        for (raw, seconds) in cases {
            assert_eq!(duration(raw, &mut warnings), seconds, "{raw}");
        }
        assert!(warnings.is_empty());
        for raw in ["1:2:3:4", "an hour", "http://example.org/", "-5", "12:", "99999999999", "1.5:00", "3000000"] {
            assert_eq!(duration(raw, &mut warnings), None, "{raw}");
        }
        assert_eq!(warnings.count(Warning::BadDuration), 8);
    }

    #[test]
    fn lengths_that_say_nothing_are_unknown() {
        let mut warnings = Warnings::default();
        assert_eq!(length("0", &mut warnings), None);
        assert!(warnings.is_empty());
        assert_eq!(length(" 48000123 ", &mut warnings), Some(48_000_123));
        for raw in ["", "1", "179.5", "-3", "48,000,123", "unknown"] {
            assert_eq!(length(raw, &mut warnings), None, "{raw}");
        }
        assert_eq!(warnings.count(Warning::BadLength), 6);
    }

    #[test]
    fn addresses_are_of_the_web() {
        let base = Url::parse("https://example.org/show/feed.xml").unwrap();
        let mut warnings = Warnings::default();
        let mut read = |raw: &str| web_url(raw, &base, &mut warnings);
        assert_eq!(read(" http://Cdn.Example/a b.mp3\n").as_deref(), Some("http://cdn.example/a%20b.mp3"));
        assert_eq!(read("/audio/1.mp3").as_deref(), Some("https://example.org/audio/1.mp3"));
        assert_eq!(read("//cdn.example/1.mp3").as_deref(), Some("https://cdn.example/1.mp3"));
        assert_eq!(read(""), None);
        for raw in ["file:///etc/passwd", "javascript:alert(1)", "http://", "mailto:a@example.org"] {
            assert_eq!(read(raw), None, "{raw}");
        }
        assert_eq!(read(&format!("/{}", "x".repeat(MAX_URL))), None);
        assert_eq!(warnings.count(Warning::BadUrl), 5);
    }

    #[test]
    fn texts_are_one_clean_line() {
        let mut warnings = Warnings::default();
        assert_eq!(line("  A\u{0}\n\t title\u{1b}[31m ", &mut warnings).as_deref(), Some("A title [31m"));
        assert_eq!(line(" \n ", &mut warnings), None);
        let long = "ü".repeat(MAX_TEXT);
        assert_eq!(line(&long, &mut warnings).map(|text| text.len()), Some(MAX_TEXT));
        assert_eq!(identifier(&long, &mut warnings), None);
        assert_eq!(warnings.count(Warning::TextTooLong), 2);
    }
}
