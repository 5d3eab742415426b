//! What a slot holds, as the cluster says.

use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::Consumer;
use super::admin::PATIENCE;
use super::fault::Fault;
use crate::log::Ends;

/// Between two questions to a partition whose leader is changing.
const PAUSE: Duration = Duration::from_millis(100);

/// Asks the cluster for the ends of a slot; blocks, on a thread of the runtime that may.
///
/// Not by librdkafka's query for watermarks: when one of its two requests fails and the other does
/// not, it answers with the one twice, and a good position would seem to lie outside the log.
pub(super) fn ends(consumer: &Consumer, topic: &str, partition: i32) -> Result<Ends, Fault> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match ask(consumer, topic, partition) {
            Err(Fault::Ends(error)) if passes(&error) && Instant::now() < deadline => {
                Handle::current().block_on(tokio::time::sleep(PAUSE));
                // By itself, librdkafka repeats for minutes that there is no leader, without asking the cluster. What it
                // hears now is in the next answer; that it hears nothing is, too.
                drop(consumer.fetch_metadata(Some(topic), deadline.saturating_duration_since(Instant::now())));
            }
            answer => return answer,
        }
    }
}

/// Whether an error is one of a partition whose leader is just changing, or has just been made.
fn passes(error: &KafkaError) -> bool {
    let codes = [
        RDKafkaErrorCode::NotLeaderForPartition,
        RDKafkaErrorCode::LeaderNotAvailable,
        RDKafkaErrorCode::UnknownTopicOrPartition,
        RDKafkaErrorCode::UnknownPartition,
        RDKafkaErrorCode::UnknownTopic,
    ];
    error.rdkafka_error_code().is_some_and(|code| codes.contains(&code))
}

fn ask(consumer: &Consumer, topic: &str, partition: i32) -> Result<Ends, Fault> {
    let ask = |end: Offset| {
        let mut question = TopicPartitionList::with_capacity(1);
        question.add_partition_offset(topic, partition, end).map_err(Fault::Ends)?;
        let answer = consumer.offsets_for_times(question, PATIENCE).map_err(Fault::Ends)?;
        let answer = answer.find_partition(topic, partition).ok_or(Fault::Silent)?;
        answer.error().map_err(Fault::Ends)?;
        match answer.offset() {
            Offset::Offset(offset) => Ok(offset),
            _ => Err(Fault::Silent),
        }
    };
    Ok(Ends { start: ask(Offset::Beginning)?, end: ask(Offset::End)? })
}
