//! Whether two versions of a schema read each other's records: `FULL`, which over all versions of a
//! subject is `FULL_TRANSITIVE`.

use apache_avro::Schema;
use apache_avro::schema_compatibility::SchemaCompatibility;

/// Why a schema is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaRefusal {
    /// Not an Avro schema.
    #[error("not an Avro schema: {0}")]
    Unreadable(String),
    /// Records of one of the two can't be read by the other.
    #[error("not compatible both ways: {0}")]
    Incompatible(String),
}

/// Checks that `new` reads what `old` wrote, and `old` what `new` writes.
pub fn check_compatible(new: &str, old: &str) -> Result<(), SchemaRefusal> {
    let (new, old) = (parsed(new)?, parsed(old)?);
    for (writer, reader) in [(&old, &new), (&new, &old)] {
        SchemaCompatibility::can_read(writer, reader)
            .map_err(|error| SchemaRefusal::Incompatible(error.to_string()))?;
    }
    Ok(())
}

/// Checks that a text is a schema.
pub fn check_schema(text: &str) -> Result<(), SchemaRefusal> {
    parsed(text).map(|_| ())
}

fn parsed(text: &str) -> Result<Schema, SchemaRefusal> {
    Schema::parse_str(text).map_err(|error| SchemaRefusal::Unreadable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::TOPICS;

    fn record(fields: &str) -> String {
        format!(r#"{{"type": "record", "name": "R", "namespace": "castback.v1", "fields": [{fields}]}}"#)
    }

    #[test]
    fn optional_fields_may_come_and_nothing_else() {
        let one = record(r#"{"name": "a", "type": "string"}"#);
        let optional =
            record(r#"{"name": "a", "type": "string"}, {"name": "b", "type": ["null", "long"], "default": null}"#);
        let required = record(r#"{"name": "a", "type": "string"}, {"name": "b", "type": "long"}"#);
        let retyped = record(r#"{"name": "a", "type": "long"}"#);
        assert_eq!(check_compatible(&optional, &one), Ok(()));
        assert_eq!(check_compatible(&one, &optional), Ok(()));
        for bad in [&required, &retyped] {
            assert!(matches!(check_compatible(bad, &one), Err(SchemaRefusal::Incompatible(_))), "{bad}");
        }
        assert!(matches!(check_schema("{}"), Err(SchemaRefusal::Unreadable(_))));
    }

    #[test]
    fn every_topic_reads_itself() {
        for spec in TOPICS {
            assert_eq!(check_compatible(spec.schema, spec.schema), Ok(()), "{}", spec.name);
        }
    }
}
