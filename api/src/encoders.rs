//! The topics' encoders, each under the id that the registry gave its schema.

use std::collections::HashMap;
use std::sync::Arc;

use castback_catalogue::registry::{RegistryError, SchemaRegistry};
use castback_schemas::Topic;
use castback_schemas::codec::{EncodeError, Encoder};
use castback_schemas::event::Event;
use castback_schemas::topic::TOPICS;

use crate::problem::Problem;

/// Why encoders can't be made.
#[derive(Debug, thiserror::Error)]
pub enum EncodersError {
    /// The registry did not take a schema.
    #[error("the schema of {topic} can't be registered")]
    Register {
        /// The topic.
        topic: Topic,
        /// Why.
        source: RegistryError,
    },
    /// No encoder was made for a topic.
    #[error("{topic} has no encoder")]
    Missing {
        /// The topic.
        topic: Topic,
    },
    /// A schema that can't be parsed.
    #[error(transparent)]
    Schema(#[from] EncodeError),
}

/// One encoder a topic.
#[derive(Debug, Clone)]
pub struct Encoders(Arc<HashMap<Topic, Encoder>>);

impl Encoders {
    /// Registers every topic's schema (subject `<topic>-value`); one that is known keeps its id.
    pub async fn register(schemas: &dyn SchemaRegistry) -> Result<Self, EncodersError> {
        let mut encoders = HashMap::new();
        for spec in TOPICS {
            let topic = spec.topic;
            let registered = schemas.register(&format!("{topic}-value"), spec.schema).await;
            let id = registered.map_err(|source| EncodersError::Register { topic, source })?;
            encoders.insert(topic, Encoder::new(topic, id)?);
        }
        Ok(Self(Arc::new(encoders)))
    }

    /// Appends the framed value of `event` to `out`.
    pub fn encode_into<E: Event>(&self, event: &E, out: &mut Vec<u8>) -> Result<(), Problem> {
        let encoder =
            self.0.get(&E::TOPIC).ok_or_else(|| Problem::internal(EncodersError::Missing { topic: E::TOPIC }))?;
        encoder.encode_into(event, out).map_err(Problem::internal)
    }
}
