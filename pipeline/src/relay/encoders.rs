//! The encoders of outgoing topics, made when first needed.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use castback_broker::AppendError;
use castback_catalogue::CatalogueError;
use castback_catalogue::registry::{RegistryError, SchemaRegistry};
use castback_schemas::Topic;
use castback_schemas::codec::{EncodeError, Encoder};
use castback_store::StoreError;

/// Why events can't be sent on; they are sent again later.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// The catalogue does not answer.
    #[error("the catalogue does not answer")]
    Catalogue(#[from] CatalogueError),
    /// The registry gave no id.
    #[error("the schema of an event has no id")]
    Registry(#[from] RegistryError),
    /// An event does not fit its schema.
    #[error("an event can't be written")]
    Encode(#[from] EncodeError),
    /// The log does not take them.
    #[error("the log does not take events")]
    Append(#[from] AppendError),
    /// Committed rows can't be read.
    #[error("committed rows can't be read")]
    Store(#[from] StoreError),
    /// Committed rows are not what they should be.
    #[error("committed rows can't be understood")]
    Rows(#[from] arrow::error::ArrowError),
}

#[derive(Debug)]
pub(super) struct Encoders {
    schemas: Arc<dyn SchemaRegistry>,
    known: BTreeMap<Topic, Encoder>,
}

impl Encoders {
    pub(super) fn new(schemas: Arc<dyn SchemaRegistry>) -> Self {
        Self { schemas, known: BTreeMap::new() }
    }

    /// The encoder of a topic under the id by which the registry knows its schema.
    pub(super) async fn of(&mut self, topic: Topic) -> Result<&Encoder, SendError> {
        match self.known.entry(topic) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => {
                let id = self.schemas.register(&format!("{topic}-value"), topic.spec().schema).await?;
                Ok(place.insert(Encoder::new(topic, id)?))
            }
        }
    }
}
