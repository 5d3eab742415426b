//! Which of several media types a caller prefers (RFC 9110, section 12.5.1).

use std::cmp::Reverse;

use http::HeaderMap;
use http::header::ACCEPT;

/// The type that `Accept` weighs most: of equals the more exactly named, then the one named first, then the
/// one offered first. The usual one where none fits: an answer of another type says more than none.
pub(crate) fn preferred(headers: &HeaderMap, usual: &'static str, others: &[&'static str]) -> &'static str {
    let lines: Vec<&str> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    chosen(&lines.join(","), usual, others)
}

fn chosen(accept: &str, usual: &'static str, others: &[&'static str]) -> &'static str {
    let ranges: Vec<Range<'_>> = accept.split(',').enumerate().filter_map(Range::of).collect();
    let (mut best, mut most) = (usual, (0.0_f32, 0_u8, Reverse(usize::MAX)));
    for offered in std::iter::once(usual).chain(others.iter().copied()) {
        // The weight of a type is that of the range that names it most exactly.
        let named = ranges.iter().filter_map(|range| Some((range.exactness(offered)?, range)));
        let Some((exactness, range)) = named.max_by_key(|(exactness, range)| (*exactness, Reverse(range.place))) else {
            continue;
        };
        let rank = (range.weight, exactness, Reverse(range.place));
        if range.weight > 0.0 && rank > most {
            (best, most) = (offered, rank);
        }
    }
    best
}

/// `type/subtype`, `type/*` or `*/*`, its weight from 0 to 1, and where it stands.
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    weight: f32,
    place: usize,
}

impl<'a> Range<'a> {
    /// None for what is no range.
    fn of((place, text): (usize, &'a str)) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let weight = weight
            .map_or(Some(1.0), |text| text.parse::<f32>().ok().filter(|weight| (0.0_f32..=1.0).contains(weight)))?;
        Some(Self { kind, subtype, weight, place })
    }

    /// How exactly it names a type; none if not at all.
    fn exactness(&self, offered: &str) -> Option<u8> {
        let (kind, subtype) = offered.split_once('/')?;
        let is_kind = self.kind.eq_ignore_ascii_case(kind);
        match (self.kind, self.subtype) {
            ("*", "*") => Some(0),
            (_, "*") if is_kind => Some(1),
            (_, own) if is_kind && own.eq_ignore_ascii_case(subtype) => Some(2),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weightiest_type_is_chosen() {
        let of = |accept: &str| chosen(accept, "application/json", &["text/csv", "text/plain"]);
        for (accept, expected) in [
            ("", "application/json"),
            ("*/*", "application/json"),
            ("image/png", "application/json"),
            ("nonsense", "application/json"),
            ("text/csv", "text/csv"),
            ("TEXT/CSV; charset=utf-8", "text/csv"),
            ("text/csv;q=0.5, application/json", "application/json"),
            ("application/json;q=0.1, text/csv; q=0.2", "text/csv"),
            ("text/csv, application/json", "text/csv"),
            ("text/csv, */*", "text/csv"),
            ("*/*, text/plain;q=0.9", "application/json"),
            ("text/*", "text/csv"),
            ("text/*, text/csv;q=0", "text/plain"),
            ("text/csv;q=0", "application/json"),
            ("text/csv;q=7, text/plain;q=0.1", "text/plain"),
        ] {
            assert_eq!(of(accept), expected, "{accept}");
        }
    }

    #[test]
    fn several_headers_are_one_list() {
        let mut headers = HeaderMap::new();
        headers.append(ACCEPT, "application/json;q=0.5".parse().unwrap());
        headers.append(ACCEPT, "text/csv".parse().unwrap());
        assert_eq!(preferred(&headers, "application/json", &["text/csv"]), "text/csv");
    }
}
