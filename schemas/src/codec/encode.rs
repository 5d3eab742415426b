//! Events to framed Avro.

use std::fmt;

use apache_avro::Schema;
use apache_avro::writer::datum::GenericDatumWriter;

use crate::event::Event;
use crate::topic::Topic;

/// Why an event can't be written.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The topic's schema can't be parsed.
    #[error("the schema of {topic} can't be parsed")]
    Schema {
        /// The topic.
        topic: Topic,
        /// What Avro says.
        #[source]
        source: Box<apache_avro::Error>,
    },
    /// The value does not fit its schema.
    #[error("the event does not fit the schema of {topic}")]
    Value {
        /// The topic.
        topic: Topic,
        /// What Avro says.
        #[source]
        source: Box<apache_avro::Error>,
    },
}

/// Writes the events of one topic under one schema id.
pub struct Encoder {
    topic: Topic,
    schema: Schema,
    id: u32,
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Encoder({}, id {})", self.topic, self.id)
    }
}

impl Encoder {
    /// An encoder for `topic`, whose schema the registry knows as `id`.
    pub fn new(topic: Topic, id: u32) -> Result<Self, EncodeError> {
        let schema = Schema::parse_str(topic.spec().schema)
            .map_err(|source| EncodeError::Schema { topic, source: Box::new(source) })?;
        Ok(Self { topic, schema, id })
    }

    /// The framed value of `event`.
    pub fn encode<E: Event>(&self, event: &E) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::with_capacity(256);
        self.encode_into(event, &mut out)?;
        Ok(out)
    }

    /// The framed value of an event that is given as JSON, times in microseconds: events of
    /// topics that nobody here needs as a struct.
    pub fn encode_json(&self, event: serde_json::Value) -> Result<Vec<u8>, EncodeError> {
        let mut out = vec![0];
        out.extend_from_slice(&self.id.to_be_bytes());
        let written = apache_avro::types::Value::try_from(event)
            .and_then(|value| value.resolve(&self.schema))
            .and_then(|value| GenericDatumWriter::builder(&self.schema).build()?.write_value(&mut out, value));
        written.map(|_| out).map_err(|source| EncodeError::Value { topic: self.topic, source: Box::new(source) })
    }

    /// Appends the framed value of `event` to `out`; on an error `out` is as before.
    pub fn encode_into<E: Event>(&self, event: &E, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let start = out.len();
        out.push(0);
        out.extend_from_slice(&self.id.to_be_bytes());
        let written = GenericDatumWriter::builder(&self.schema)
            .human_readable(false)
            .build()
            .and_then(|writer| writer.write_ser(out, event));
        match written {
            Ok(_) => Ok(()),
            Err(source) => {
                out.truncate(start);
                Err(EncodeError::Value { topic: self.topic, source: Box::new(source) })
            }
        }
    }
}
