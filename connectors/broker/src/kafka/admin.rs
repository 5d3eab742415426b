//! The topics on the cluster: create what is missing, refuse what is shaped otherwise.

use std::collections::HashMap;
use std::time::Duration;

use castback_schemas::topic::{SLOTS, TOPICS};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode;

use super::KafkaOptions;
use super::fault::Fault;

/// How long the cluster may take to answer a question of ours, 10 s; then it counts as gone.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

type Admin = AdminClient<DefaultClientContext>;

/// Makes sure that every topic is there, with a partition for every slot.
pub(super) async fn ensure_topics(options: &KafkaOptions) -> Result<(), Fault> {
    let admin: Admin = options.admin().create().map_err(Fault::Client)?;
    // Asking blocks.
    let asked = tokio::task::spawn_blocking(move || present(&admin).map(|found| (admin, found)));
    let (admin, present) = asked.await.map_err(Fault::Task)??;
    let mut missing = Vec::new();
    for spec in TOPICS {
        let topic = options.topic(spec.topic);
        match present.get(&topic) {
            Some(found) if *found == usize::from(SLOTS) => {}
            Some(found) => {
                let (found, expected) = (*found, usize::from(SLOTS));
                return Err(Fault::Partitions { topic, found, expected });
            }
            None => missing.push((topic, (spec.retention / 1000).to_string())),
        }
    }
    create(&admin, options, &missing).await
}

/// The topics of the cluster, with their partitions.
fn present(admin: &Admin) -> Result<HashMap<String, usize>, Fault> {
    let metadata = admin.inner().fetch_metadata(None, PATIENCE).map_err(Fault::Metadata)?;
    let topics = metadata.topics().iter();
    Ok(topics.map(|topic| (topic.name().to_owned(), topic.partitions().len())).collect())
}

async fn create(admin: &Admin, options: &KafkaOptions, missing: &[(String, String)]) -> Result<(), Fault> {
    if missing.is_empty() {
        return Ok(());
    }
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
