//! Splitting a body into the texts of its records, without reading them.

use std::fmt;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::MAX_RECORDS;
use super::body::Format;
use crate::problem::{Code, Problem, Result};

/// Levels of nesting that a body may have: ours have four.
const MAX_DEPTH: usize = 64;

/// Names that the outermost object may have: ours have twelve.
const MAX_NAMES: usize = 100;

/// The records of a body, in order. `wrapper` names the member of an outer object that may hold
/// them; an object without it is one record.
pub(crate) fn split<'a>(text: &'a str, format: Format, wrapper: &[&str]) -> Result<Vec<&'a str>> {
    let records = match format {
        Format::NdJson | Format::Text => lines(text).take(MAX_RECORDS + 1).collect(),
        Format::Json => json(text, wrapper)?,
    };
    if records.len() > MAX_RECORDS {
        return Err(Problem::new(Code::TooLarge, format!("at most {MAX_RECORDS} records at once")));
    }
    Ok(records)
}

/// The lines that say something.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').map(|line| line.trim_end_matches('\r')).filter(|line| !line.trim().is_empty())
}

fn json<'a>(text: &'a str, wrapper: &[&str]) -> Result<Vec<&'a str>> {
    check_depth(text)?;
    match text.trim_start().as_bytes().first() {
        Some(b'[') => elements(text),
        Some(b'{') => {
            let Names(names) = serde_json::from_str(text).map_err(|error| malformed(&error))?;
            let mut inner = names.iter().filter(|(name, _)| wrapper.contains(&name.as_str()));
            match (inner.next(), inner.next()) {
                (None, _) => Ok(vec![text]),
                (Some((_, records)), None) => elements(records.get()),
                (Some(_), Some(_)) => Err(Problem::new(Code::MalformedBody, "the records stand there twice")),
            }
        }
        _ => Err(Problem::new(Code::MalformedBody, "expected a JSON array or object")),
    }
}

fn elements(text: &str) -> Result<Vec<&str>> {
    let Elements(elements) = serde_json::from_str(text).map_err(|error| malformed(&error))?;
    Ok(elements.into_iter().map(RawValue::get).collect())
}

fn malformed(error: &serde_json::Error) -> Problem {
    Problem::new(Code::MalformedBody, error.to_string())
}

/// Refuses what is nested deeper than any record: before anything is built from it.
fn check_depth(text: &str) -> Result<()> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    let detail = format!("nested deeper than {MAX_DEPTH} levels");
                    return Err(Problem::new(Code::MalformedBody, detail));
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// The elements of an array as texts; one more than allowed at most.
struct Elements<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Elements<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ElementsVisitor).map(Self)
    }
}

struct ElementsVisitor;

impl<'de> Visitor<'de> for ElementsVisitor {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while elements.len() <= MAX_RECORDS
            && let Some(element) = seq.next_element()?
        {
            elements.push(element);
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(elements)
    }
}

/// The members of an object as texts.
struct Names<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Names<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(NamesVisitor).map(Self)
    }
}

struct NamesVisitor;

impl<'de> Visitor<'de> for NamesVisitor {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut names = Vec::new();
        while let Some(member) = map.next_entry()? {
            if names.len() == MAX_NAMES {
                return Err(serde::de::Error::custom("too many names"));
            }
            names.push(member);
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Code {
        split(text, Format::Json, &["events"]).unwrap_err().code()
    }

    #[test]
    fn records_are_found_in_each_shape() {
        let json = |text| split(text, Format::Json, &["events"]).unwrap();
        assert_eq!(json(r#" [1, {"a": "]"}, [2]] "#), ["1", r#"{"a": "]"}"#, "[2]"]);
        assert_eq!(json(r#"{"v": 1, "events": [{"a": 1}]}"#), [r#"{"a": 1}"#]);
        assert_eq!(json(r#"{"a": [1]}"#), [r#"{"a": [1]}"#]);
        assert_eq!(json("[]"), [""; 0]);
        assert_eq!(split("{}\r\n\n {\n", Format::NdJson, &[]).unwrap(), ["{}", " {"]);
    }

    #[test]
    fn unreadable_bodies_are_refused_whole() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        let names = format!("{{{}}}", (0..200).map(|n| format!("\"{n}\":1")).collect::<Vec<_>>().join(","));
        for text in [
            "",
            "7",
            "[1",
            "[{\"id\": ",
            "[1] 2",
            "[1 2]",
            &deep,
            &names,
            r#"{"events": [], "events": []}"#,
            r#"{"events": 7}"#,
        ] {
            assert_eq!(code(text), Code::MalformedBody, "{}", &text[..text.len().min(40)]);
        }
        assert_eq!(code(&format!("[{}0]", "0,".repeat(MAX_RECORDS))), Code::TooLarge);
        assert!(split(&format!("[{}0]", "0,".repeat(MAX_RECORDS - 1)), Format::Json, &[]).is_ok());
    }
}
