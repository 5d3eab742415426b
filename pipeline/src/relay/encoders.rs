//! The encoders of outgoing topics, made when first needed.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use castback_broker::AppendError;
use castback_catalogue::{Catalogue, CatalogueError};
use castback_schemas::Topic;
use castback_schemas::codec::{EncodeError, Encoder, schema_fingerprint};
use castback_store::StoreError;

/// Why events can't be sent on; they are sent again later.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// The catalogue does not answer.
    #[error("the catalogue does not answer")]
    Catalogue(#[from] CatalogueError),
    /// The registry gave an id that is none.
    #[error("the registry's id {0} is not usable")]
    SchemaId(i32),
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
    catalogue: Catalogue,
    known: BTreeMap<Topic, Encoder>,
}

impl Encoders {
    pub(super) fn new(catalogue: Catalogue) -> Self {
        Self { catalogue, known: BTreeMap::new() }
    }

    /// The encoder of a topic under the id by which the registry knows its schema.
    pub(super) async fn of(&mut self, topic: Topic) -> Result<&Encoder, SendError> {
        match self.known.entry(topic) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => {
                let schema = topic.spec().schema;
                let subject = format!("{topic}-value");
                let known = self.catalogue.register_schema(&subject, schema, &schema_fingerprint(schema)).await?;
                let id = u32::try_from(known.id).map_err(|_| SendError::SchemaId(known.id))?;
                Ok(place.insert(Encoder::new(topic, id)?))
            }
        }
    }
}
