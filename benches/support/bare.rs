//! What is read from Kafka without any of our own: a consumer of librdkafka, assigned a partition.

use castback_broker::KafkaOptions;
use castback_schemas::codec::BatchDecoder;
use castback_schemas::{Slot, Topic};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::BorrowedMessage;
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use super::meter::Outcome;

/// Bytes that are decoded at a time: those of a read of ours.
const BATCH_BYTES: usize = 1 << 20;
/// Longest wait for a record that must be there.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// Reads a partition from its start to its end.
pub(crate) struct BareReader {
    consumer: BaseConsumer,
    end: i64,
}

impl BareReader {
    pub(crate) fn new(options: &KafkaOptions, (topic, slot): (Topic, Slot)) -> Outcome<Self> {
        let (name, partition) = (format!("{}{topic}", options.prefix), i32::from(slot.0));
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &options.brokers)
            .set("group.id", "bare")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // Its defaults stall such a reader for a second whenever it has kept up.
            .set("fetch.queue.backoff.ms", "5")
            .set("queued.min.messages", "1000000")
            .create()?;
        let (_, end) = consumer.fetch_watermarks(&name, partition, PATIENCE)?;
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(&name, partition, Offset::Beginning)?;
        consumer.assign(&assignment)?;
        Ok(Self { consumer, end })
    }

    /// Decodes everything; how many records there were.
    pub(crate) fn run(self, mut decoder: BatchDecoder) -> Outcome<u64> {
        let (mut next, mut events) = (0, 0);
        while next < self.end {
            let messages = self.batch(&mut next)?;
            let values: Vec<&[u8]> = messages.iter().filter_map(Message::payload).collect();
            events += u64::try_from(decoder.decode(&values)?.batch.num_rows())?;
        }
        Ok(events)
    }

    fn batch(&self, next: &mut i64) -> Outcome<Vec<BorrowedMessage<'_>>> {
        let (mut messages, mut bytes) = (Vec::new(), 0);
        while bytes < BATCH_BYTES && *next < self.end {
            let message = self.consumer.poll(PATIENCE).ok_or("a record does not come")??;
            *next = message.offset() + 1;
            bytes += message.payload_len();
            messages.push(message);
        }
        Ok(messages)
    }
}
