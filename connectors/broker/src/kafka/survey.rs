//! What this user may do on the cluster, found out without leaving anything there.
//!
//! The client can't be asked for a user's rights, nor for the brokers' version. But a producer that numbers its records is
//! given a number only if its user may write, and topics can be created on trial.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use castback_schemas::topic::SLOTS;
use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::statistics::Statistics;
use tokio::time::Instant;

use super::KafkaOptions;
use super::admin::{self, PATIENCE};
use super::fault::Fault;

/// How often a producer says where it stands, in milliseconds.
const EVERY: &str = "100";

/// Between two looks at that.
const LOOK: Duration = Duration::from_millis(100);

/// What was found of a cluster on which all topics are there, to be read and written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// How many brokers it has.
    pub brokers: usize,
    /// Why no further topic could be created: such as a later version may need.
    pub no_topics: Option<String>,
}

/// Asks the cluster, where the topics are there already.
pub(super) async fn survey(options: &KafkaOptions) -> Result<Survey, Fault> {
    let brokers = admin::count_brokers(options).await?;
    may_write(options).await?;
    Ok(Survey { brokers, no_topics: may_create(options).await?.map(|code| code.to_string()) })
}

/// Notices when the producer was given its number.
#[derive(Debug, Default)]
struct Numbered(AtomicBool);

impl ClientContext for Numbered {
    fn stats(&self, statistics: Statistics) {
        if statistics.eos.is_some_and(|eos| eos.idemp_state == "Assigned") {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka.client_error");
    }
}

impl ProducerContext for Numbered {
    type DeliveryOpaque = ();

    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}

async fn may_write(options: &KafkaOptions) -> Result<(), Fault> {
    let mut config = options.producer();
    config.set("statistics.interval.ms", EVERY);
    let producer: BaseProducer<Numbered> = config.create_with_context(Numbered::default()).map_err(Fault::Client)?;
    let end = Instant::now() + PATIENCE;
    loop {
        // Serves what has happened; nothing is produced.
        producer.poll(Duration::ZERO);
        if producer.client().context().0.load(Ordering::SeqCst) {
            return Ok(());
        }
        if let Some((code, _)) = producer.client().fatal_error() {
            return Err(Fault::Write(code));
        }
        if Instant::now() >= end {
            return Err(Fault::Unnumbered);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Why no topic could be created, if none could.
async fn may_create(options: &KafkaOptions) -> Result<Option<RDKafkaErrorCode>, Fault> {
    let admin: AdminClient<DefaultClientContext> = options.admin().create().map_err(Fault::Client)?;
    let name = format!("{}castback-check", options.prefix);
    let replicas = options.replication.map_or(-1, i32::from);
    let topic = NewTopic::new(&name, i32::from(SLOTS), TopicReplication::Fixed(replicas));
    let on_trial = AdminOptions::new().validate_only(true).operation_timeout(Some(PATIENCE));
    let tried = admin.create_topics([&topic], &on_trial).await.map_err(Fault::Create)?;
    Ok(tried.into_iter().find_map(|outcome| match outcome {
        Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => None,
        Err((_, code)) => Some(code),
    }))
}
