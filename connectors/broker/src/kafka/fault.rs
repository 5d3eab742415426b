//! What can fail between this process and the cluster.

use std::sync::Arc;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::log::{AppendError, ReadError};

/// What failed on the cluster, or on the way to it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("a client could not be made from the settings")]
    Client(#[source] KafkaError),
    #[error("the cluster did not say which topics it has: {reason}")]
    Metadata {
        reason: String,
        #[source]
        source: KafkaError,
    },
    /// What failed for several at once.
    #[error(transparent)]
    Shared(Arc<Fault>),
    #[error("topics could not be created")]
    Create(#[source] KafkaError),
    #[error("topic {topic} could not be created")]
    CreateTopic {
        topic: String,
        #[source]
        code: RDKafkaErrorCode,
    },
    #[error("topic {topic} has {found} partitions instead of {expected}")]
    Partitions { topic: String, found: usize, expected: usize },
    #[error("a record was not delivered")]
    Deliver(#[source] KafkaError),
    #[error("the producer went away before a record was delivered")]
    Undelivered,
    #[error("this user may not write")]
    Write(#[source] RDKafkaErrorCode),
    #[error("the cluster gave the producer no number, without which nothing can be written once")]
    Unnumbered,
    #[error("the ends of a slot could not be asked for")]
    Ends(#[source] KafkaError),
    #[error("a position could not be taken")]
    Assign(#[source] KafkaError),
    #[error("records could not be fetched")]
    Fetch(#[source] KafkaError),
    #[error("the cluster sent neither records nor the end of the slot")]
    Silent,
    #[error("a record came outside the queue of its slot")]
    Astray,
    #[error("the advice was not taken")]
    Advise(#[source] KafkaError),
    #[error("a task broke off")]
    Task(#[source] tokio::task::JoinError),
}

impl Fault {
    /// Whether the position may lie outside the log.
    pub(super) fn is_lost(&self) -> bool {
        let lost = [RDKafkaErrorCode::AutoOffsetReset, RDKafkaErrorCode::OffsetOutOfRange];
        matches!(self, Self::Fetch(error) if error.rdkafka_error_code().is_some_and(|code| lost.contains(&code)))
    }
}

impl From<Fault> for AppendError {
    fn from(fault: Fault) -> Self {
        Self::Unavailable { source: Arc::new(fault) }
    }
}

impl From<Fault> for ReadError {
    fn from(fault: Fault) -> Self {
        Self::Unavailable { source: Arc::new(fault) }
    }
}
