//! Appending: every record to its slot's partition, acknowledged when all are delivered.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use tokio::sync::Semaphore;

use super::fault::Fault;
use super::{ACCOUNT_HEADER, KafkaOptions};
use crate::log::{AppendError, NewRecord};

/// What may be on its way to the cluster, 64 MiB; beyond it appends are refused as overloaded.
/// librdkafka's own queue is larger, so it never fills in the middle of an append.
const QUEUE_BYTES: usize = 64 << 20;
/// What a record costs beside its key and value, in bytes; also bounds their number.
const RECORD_OVERHEAD: usize = 128;
/// How long closing waits for what is on its way, 2 s: whoever appended has gone by then and was told of no success, so
/// that a cluster that is away need not keep a shutdown.
const FLUSH: Duration = Duration::from_secs(2);

/// The one producer of the process.
pub(super) struct Producer {
    options: Arc<KafkaOptions>,
    current: RwLock<FutureProducer>,
    queue: Arc<Semaphore>,
}

impl Producer {
    pub(super) fn new(options: Arc<KafkaOptions>) -> Result<Self, Fault> {
        let current = options.producer().create().map_err(Fault::Client)?;
        let queue = Arc::new(Semaphore::new(QUEUE_BYTES));
        Ok(Self { options, current: RwLock::new(current), queue })
    }

    pub(super) async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<i64>, AppendError> {
        let size = |r: &NewRecord| r.key.len() + r.value.len() + RECORD_OVERHEAD;
        let bytes: usize = records.iter().map(size).sum();
        let bytes = u32::try_from(bytes).map_err(|_| AppendError::Overloaded)?;
        let share = Arc::clone(&self.queue).try_acquire_many_owned(bytes);
        let share = share.map_err(|_| AppendError::Overloaded)?;
        let producer = self.current()?;
        let (sent, refused) = self.send(&producer, &records);
        // Its own task, so that the share of the queue stays taken if the caller goes away.
        let delivered = tokio::spawn(async move {
            let delivered = delivered(sent).await;
            drop(share);
            delivered
        });
        let delivered = delivered.await.map_err(Fault::Task)?;
        match refused {
            Some(error) => Err(refusal(error)),
            None => delivered,
        }
    }

    /// Hands over records until one is refused.
    fn send(
        &self,
        producer: &FutureProducer,
        records: &[NewRecord],
    ) -> (Vec<DeliveryFuture>, Option<(usize, KafkaError)>) {
        let mut sent = Vec::with_capacity(records.len());
        for (index, record) in records.iter().enumerate() {
            let topic = self.options.topic(record.topic);
            let account = record.account.to_string();
            let header = Header { key: ACCOUNT_HEADER, value: Some(account.as_str()) };
            let message = FutureRecord::to(&topic)
                .partition(i32::from(record.slot.0))
                .key(&record.key[..])
                .payload(&record.value[..])
                .headers(OwnedHeaders::new_with_capacity(1).insert(header));
            match producer.send_result(message) {
                Ok(delivery) => sent.push(delivery),
                Err((error, _)) => return (sent, Some((index, error))),
            }
        }
        (sent, None)
    }

    /// The producer; a new one if the last can send no more, as an idempotent one may after a
    /// broker lost what it had acknowledged.
    fn current(&self) -> Result<FutureProducer, Fault> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some((code, _)) = current.client().fatal_error() else { return Ok(current) };
        tracing::error!(kafka.error = ?code, "the producer failed for good; making a new one");
        let new: FutureProducer = self.options.producer().create().map_err(Fault::Client)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new.clone();
        Ok(new)
    }

    /// Waits for what is on its way; blocks up to [`FLUSH`].
    pub(super) fn flush(&self) {
        let producer = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        let flushed = producer.flush(FLUSH);
        let left = producer.in_flight_count();
        if let Err(error) = flushed {
            let error = &error as &dyn std::error::Error;
            tracing::error!(error, records = left, "the producer closes with records on their way");
        } else if left != 0 {
            tracing::error!(records = left, "the producer closes with records on their way");
        }
    }
}

async fn delivered(sent: Vec<DeliveryFuture>) -> Result<Vec<i64>, AppendError> {
    let mut offsets = Vec::with_capacity(sent.len());
    let mut failed = None;
    for (index, delivery) in sent.into_iter().enumerate() {
        match delivery.await {
            Ok(Ok(delivery)) => offsets.push(delivery.offset),
            Ok(Err((error, _))) => failed = failed.or(Some(refusal((index, error)))),
            Err(_) => failed = failed.or(Some(Fault::Undelivered.into())),
        }
    }
    failed.map_or(Ok(offsets), Err)
}

fn refusal((index, error): (usize, KafkaError)) -> AppendError {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::QueueFull) if index == 0 => AppendError::Overloaded,
        Some(RDKafkaErrorCode::MessageSizeTooLarge) if index == 0 => AppendError::TooLarge { index },
        _ => Fault::Deliver(error).into(),
    }
}
