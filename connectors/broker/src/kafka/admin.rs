//! The topics on the cluster: create what is missing, refuse what is shaped otherwise.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use castback_schemas::topic::{SLOTS, TOPICS};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::Metadata;
use tokio::time::Instant;

use super::fault::Fault;
use super::listener::Listener;
use super::{Consumer, KafkaOptions};

/// How long the cluster may take to answer a question of ours, 10 s; then it counts as gone.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Longest wait for the leaders of topics just made, 30 s; a small cluster needs a few for all of them.
const LEADERS: Duration = Duration::from_secs(30);

/// Between two looks at topics that are being made.
const PAUSE: Duration = Duration::from_millis(100);

/// Makes sure that every topic is there, with a partition for every slot that somebody leads; `answered` is called as
/// soon as the cluster has said which there are.
pub(super) async fn ensure_topics(options: &KafkaOptions, asker: &Asker, answered: impl FnOnce()) -> Result<(), Fault> {
    let present = asker.present(None).await?;
    answered();
    let mut missing = Vec::new();
    for spec in TOPICS {
        let topic = options.topic(spec.topic);
        match present.get(&topic) {
            Some(found) if found.partitions == usize::from(SLOTS) => {}
            Some(found) => {
                let (found, expected) = (found.partitions, usize::from(SLOTS));
                return Err(Fault::Partitions { topic, found, expected });
            }
            None => missing.push((topic, (spec.retention / 1000).to_string())),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    create(options, &missing).await?;
    // A topic is made before its partitions have leaders; until then, all that is asked of it fails.
    let deadline = Instant::now() + LEADERS;
    for (topic, _) in missing {
        let led = async || Ok::<_, Fault>(asker.present(Some(&topic)).await?.get(&topic).is_some_and(Found::is_led));
        while !led().await? && Instant::now() < deadline {
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(())
}

/// How many brokers the cluster has.
pub(super) async fn count_brokers(options: &KafkaOptions) -> Result<usize, Fault> {
    Ok(Asker::new(options)?.metadata(None).await?.brokers().len())
}

/// A topic on the cluster.
#[derive(Debug)]
struct Found {
    partitions: usize,
    /// Partitions that have a leader.
    led: usize,
}

impl Found {
    fn is_led(&self) -> bool {
        self.led == usize::from(SLOTS)
    }
}

/// Asks what there is on the cluster. A consumer, since an administrator never hears why nobody answers.
#[derive(Clone)]
pub(super) struct Asker(Arc<Consumer>);

impl Asker {
    pub(super) fn new(options: &KafkaOptions) -> Result<Self, Fault> {
        let mut config = options.adviser("topics");
        // Why a connection fails is only in the log.
        config.set_log_level(RDKafkaLogLevel::Error);
        let consumer: Consumer = config.create_with_context(Listener::default()).map_err(Fault::Client)?;
        Ok(Self(Arc::new(consumer)))
    }

    /// The topics of the cluster, or one of them.
    async fn present(&self, topic: Option<&str>) -> Result<HashMap<String, Found>, Fault> {
        let metadata = self.metadata(topic).await?;
        let found = metadata.topics().iter().map(|topic| {
            let led = topic.partitions().iter().filter(|partition| partition.leader() >= 0).count();
            (topic.name().to_owned(), Found { partitions: topic.partitions().len(), led })
        });
        Ok(found.collect())
    }

    /// Why nobody has answered yet, as far as it is known.
    pub(super) fn silence(&self) -> Fault {
        self.unanswered(KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut))
    }

    fn unanswered(&self, source: KafkaError) -> Fault {
        // What was said on the side is heard by whoever polls.
        drop(self.0.poll(Duration::ZERO));
        Fault::Metadata { reason: self.0.context().reason(), source }
    }

    async fn metadata(&self, topic: Option<&str>) -> Result<Metadata, Fault> {
        let (asker, topic) = (self.clone(), topic.map(str::to_owned));
        // Asking blocks.
        let asked = tokio::task::spawn_blocking(move || {
            asker.0.fetch_metadata(topic.as_deref(), PATIENCE).map_err(|source| asker.unanswered(source))
        });
        asked.await.map_err(Fault::Task)?
    }
}

async fn create(options: &KafkaOptions, missing: &[(String, String)]) -> Result<(), Fault> {
    let admin: AdminClient<DefaultClientContext> = options.admin().create().map_err(Fault::Client)?;
    // -1 is Kafka's word for the cluster's default.
    let replicas = options.replication.map_or(-1, i32::from);
    let topics = missing.iter().map(|(topic, retention_ms)| {
        NewTopic::new(topic, i32::from(SLOTS), TopicReplication::Fixed(replicas))
            // Append times are the brokers', not those of producers we do not know.
            .set("message.timestamp.type", "LogAppendTime")
            .set("cleanup.policy", "delete")
            .set("retention.ms", retention_ms)
    });
    let topics: Vec<NewTopic<'_>> = topics.collect();
    let limits = AdminOptions::new().operation_timeout(Some(PATIENCE));
    for created in admin.create_topics(&topics, &limits).await.map_err(Fault::Create)? {
        match created {
            // Another process may have been faster.
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => return Err(Fault::CreateTopic { topic, code }),
        }
    }
    tracing::info!(topics = missing.len(), "created the missing topics");
    Ok(())
}
