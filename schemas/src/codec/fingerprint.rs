//! What makes two texts the same schema: the registry gives one id to both.

use crate::edge::hash::{HashKey, fingerprint};

/// Names a schema by its text without insignificant white space. The key is no secret: it only has to be the
/// same everywhere.
#[must_use]
pub fn schema_fingerprint(text: &str) -> String {
    let plain =
        serde_json::from_str::<serde_json::Value>(text).map_or_else(|_| text.to_owned(), |json| json.to_string());
    fingerprint(&HashKey::from_bytes([0; 32]), plain.as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_makes_no_other_schema() {
        assert_eq!(schema_fingerprint("{\"type\": \"long\"}"), schema_fingerprint("{ \"type\":\"long\" }\n"));
        assert_ne!(schema_fingerprint("{\"type\": \"long\"}"), schema_fingerprint("{\"type\": \"int\"}"));
        assert_ne!(schema_fingerprint("no json"), schema_fingerprint("no  json"));
    }
}
