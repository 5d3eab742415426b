//! Where a setting's text comes from: the environment first, then the file of `--config`.

use std::collections::BTreeMap;
use std::path::Path;

use toml::{Table, Value};

use super::table;

/// Texts by the setting's name.
#[derive(Debug, Default)]
pub(crate) struct Source {
    environment: BTreeMap<String, String>,
    file: BTreeMap<String, String>,
    file_name: String,
}

impl Source {
    /// The settings among `environment`. A variable that is set to nothing counts as not set.
    pub(crate) fn new(environment: impl IntoIterator<Item = (String, String)>) -> Self {
        let environment = environment
            .into_iter()
            .filter(|(name, text)| table::spec(name).is_some() && !text.trim().is_empty())
            .collect();
        Self { environment, ..Self::default() }
    }

    /// Adds the file's settings; refuses names that are none, so that a slip is seen.
    pub(crate) fn with_file(mut self, path: &Path, text: &str) -> Result<Self, Vec<String>> {
        self.file_name = path.display().to_string();
        let table: Table = text.parse().map_err(|error| vec![format!("{}: {error}", path.display())])?;
        let mut wrong = Vec::new();
        for (key, value) in table {
            let name = key.to_uppercase();
            match (table::spec(&name), written(&value)) {
                (None, _) => wrong.push(format!("{}: {key} is no setting{}", self.file_name, meant(&name))),
                (Some(_), None) => {
                    wrong.push(format!("{}: {key}: expected a text, a number or a list", self.file_name));
                }
                (Some(_), Some(text)) => drop(self.file.insert(name, text)),
            }
        }
        if wrong.is_empty() { Ok(self) } else { Err(wrong) }
    }

    /// The text of a setting, and where it stands.
    pub(crate) fn get(&self, name: &str) -> Option<(&str, String)> {
        if let Some(text) = self.environment.get(name) {
            return Some((text.trim(), name.to_owned()));
        }
        self.file.get(name).map(|text| (text.trim(), format!("{name} in {}", self.file_name)))
    }

    /// The settings whose names begin with `prefix`, the environment's before the file's.
    pub(crate) fn beginning(&self, prefix: &str) -> BTreeMap<String, String> {
        let all = self.file.iter().chain(&self.environment);
        all.filter(|(name, _)| name.starts_with(prefix)).map(|(name, text)| (name.clone(), text.clone())).collect()
    }
}

/// A value as it would stand in the environment.
fn written(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(truth) => Some(truth.to_string()),
        Value::Array(values) => values.iter().map(written).collect::<Option<Vec<_>>>().map(|texts| texts.join(",")),
        Value::Float(_) | Value::Datetime(_) | Value::Table(_) => None,
    }
}

/// The setting that a slip most likely meant: the one that shares the longest beginning, if it is long enough.
fn meant(name: &str) -> String {
    let shared = |known: &str| known.chars().zip(name.chars()).take_while(|(a, b)| a == b).count();
    let best = table::SETTINGS.iter().max_by_key(|spec| shared(spec.name));
    match best.filter(|spec| shared(spec.name) >= 5) {
        Some(spec) => format!(" (did you mean {}?)", spec.name),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(environment: &[(&str, &str)], file: &str) -> Result<Source, Vec<String>> {
        let environment = environment.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        Source::new(environment).with_file(Path::new("castback.toml"), file)
    }

    #[test]
    fn the_environment_goes_before_the_file() {
        let given =
            source(&[("PUBLIC_URL", "http://a"), ("LOG_FORMAT", " ")], "public_url = 'http://b'\nLOG_FORMAT = 'json'");
        let given = given.unwrap();
        assert_eq!(given.get("PUBLIC_URL"), Some(("http://a", "PUBLIC_URL".to_owned())));
        assert_eq!(given.get("LOG_FORMAT"), Some(("json", "LOG_FORMAT in castback.toml".to_owned())));
        assert_eq!(given.get("OPERATORS"), None);
    }

    #[test]
    fn lists_numbers_and_truths_are_texts_too() {
        let file = "feed_poll_interval = 60\nmetrics_enabled = false\noutbound_allow = ['10.0.0.0/8', '127.0.0.0/8']";
        let given = source(&[], file).unwrap();
        assert_eq!(given.get("FEED_POLL_INTERVAL").unwrap().0, "60");
        assert_eq!(given.get("METRICS_ENABLED").unwrap().0, "false");
        assert_eq!(given.get("OUTBOUND_ALLOW").unwrap().0, "10.0.0.0/8,127.0.0.0/8");
    }

    #[test]
    fn slips_in_the_file_are_all_named() {
        let wrong = source(&[], "public_ulr = 'x'\n[section]\n").unwrap_err();
        assert_eq!(wrong.len(), 2);
        assert!(wrong[0].contains("public_ulr is no setting (did you mean PUBLIC_URL?)"), "{wrong:?}");
        assert!(source(&[], "= 1").unwrap_err()[0].starts_with("castback.toml: "));
    }
}
