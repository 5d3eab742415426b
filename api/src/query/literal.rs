//! Values written into statements: ours are ids, words of closed lists and times; text from outside
//! is quoted.

use castback_schemas::Micros;

/// The UTC day of event time, as a number.
pub(crate) const DAY_NUMBER: &str = "CAST(occurred_at AS BIGINT) / 86400000000";

/// A text as SQL writes it.
pub(crate) fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// Texts as SQL lists them; an empty list holds nothing.
pub(crate) fn list<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    let values: Vec<String> = values.into_iter().map(text).collect();
    if values.is_empty() { "(NULL)".to_owned() } else { format!("({})", values.join(", ")) }
}

/// `column >= 'from' AND column < 'to'`.
pub(crate) fn within(column: &str, from: Micros, to: Micros) -> String {
    format!("{column} >= '{from}' AND {column} < '{to}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_its_quotes() {
        assert_eq!(text("O'Brien' OR '1'='1"), "'O''Brien'' OR ''1''=''1'");
        assert_eq!(list(["a", "b'"]), "('a', 'b''')");
        assert_eq!(list([]), "(NULL)");
        let week = within("t", Micros(0), Micros(1_500_000));
        assert_eq!(week, "t >= '1970-01-01T00:00:00Z' AND t < '1970-01-01T00:00:01.5Z'");
    }
}
