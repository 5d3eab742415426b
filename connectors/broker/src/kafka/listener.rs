//! What librdkafka says on the side.

use std::sync::{Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Remembers why a connection failed, which is in no answer of librdkafka's, and keeps quiet about what is no error.
#[derive(Debug, Default)]
pub(super) struct Listener(Mutex<Option<String>>);

impl Listener {
    /// Why nobody answered.
    pub(super) fn reason(&self) -> String {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        said.unwrap_or_else(|| "nobody answers at its address".to_owned())
    }
}

impl ClientContext for Listener {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, message, "kafka.client");
        // Why a connection failed, such as that the password is wrong.
        if facility == "FAIL" {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(message.to_owned());
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            // A reader that has caught up.
            Some(RDKafkaErrorCode::PartitionEOF) => {}
            // Each client of a process says so again and again while brokers are away.
            Some(RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure) => {
                tracing::debug!(error = %error, reason, "kafka.brokers_away");
            }
            _ => tracing::warn!(error = %error, reason, "kafka.client_error"),
        }
    }
}

impl ConsumerContext for Listener {}
