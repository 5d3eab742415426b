//! Ranges of time as callers write them: RFC 3339 or dates, half-open, UTC.

use castback_schemas::Micros;

use crate::problem::{Problem, Result};

/// `[from, to)` as given, each end else as by default.
pub(crate) fn range(given: (Option<&str>, Option<&str>), usual: (Micros, Micros)) -> Result<(Micros, Micros)> {
    let read = |text: Option<&str>, field: &str, usual| match text {
        None => Ok(usual),
        Some(text) => {
            text.parse().map_err(|error: castback_schemas::time::InvalidTime| Problem::field(field, error.to_string()))
        }
    };
    let (from, to) = (read(given.0, "from", usual.0)?, read(given.1, "to", usual.1)?);
    if from < to { Ok((from, to)) } else { Err(Problem::field("to", "expected a time after from")) }
}

/// One word of a closed list; the first stands for none, and may be empty if no word says the same.
pub(crate) fn word<T: Copy>(given: Option<&str>, field: &str, words: &[(&str, T)]) -> Result<T> {
    let found = match given {
        None => words.first(),
        Some(given) => words.iter().find(|(word, _)| *word == given && !given.is_empty()),
    };
    found.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).filter(|word| !word.is_empty()).collect();
        Problem::field(field, format!("expected one of {}", words.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_goes_forwards() {
        let usual = (Micros(0), Micros(10));
        assert_eq!(range((None, None), usual).unwrap(), usual);
        let day = range((Some("2026-03-01"), Some("2026-03-02T00:00:00Z")), usual).unwrap();
        assert_eq!(day.1.0 - day.0.0, castback_schemas::time::DAY);
        assert!(range((Some("2026-03-01"), None), usual).is_err());
        assert!(range((Some("yesterday"), None), usual).is_err());
    }

    #[test]
    fn a_word_is_of_the_list() {
        let words = [("last", 1), ("first", 2)];
        assert_eq!(word(None, "model", &words).unwrap(), 1);
        assert_eq!(word(Some("first"), "model", &words).unwrap(), 2);
        assert!(word(Some("best"), "model", &words).is_err());
        let usual = [("", 2), ("last", 1), ("first", 2)];
        assert_eq!(word(None, "model", &usual).unwrap(), 2);
        for none in ["", "best"] {
            let refused = word(Some(none), "model", &usual).unwrap_err();
            assert_eq!(refused.errors()[0].detail, "expected one of last, first");
        }
    }
}
