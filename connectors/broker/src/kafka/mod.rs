//! The log on a Kafka cluster.
//!
//! A topic of ours is a topic there, a slot is a partition; the account stands in a header. No
//! consumer group ever decides anything: readers are assigned what they ask for, many slots to one
//! client, and offsets are committed only so that lag tools can show them. Append times are the
//! brokers': they grow with the offsets as far as the clocks of a partition's successive leaders
//! agree.

mod admin;
mod client;
mod ends;
mod fault;
mod handed_out;
mod listener;
#[cfg(test)]
pub(crate) mod mock;
mod options;
mod pool;
mod producer;
mod reader;
#[cfg(test)]
pub(crate) mod real;
mod survey;
mod taken;
#[cfg(test)]
mod tests;
mod topics;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use castback_schemas::time::{Clock, Micros};
use castback_schemas::topic::{SLOTS, Slot, Topic};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

use self::fault::Fault;
use self::listener::Listener;
pub use self::options::KafkaOptions;
use self::pool::Readers;
use self::producer::Producer;
pub use self::survey::Survey;
use self::topics::Topics;

use crate::log::{AppendError, Cause, Ends, Log, NewRecord, ReadError, ReadLimits, Record, check_append};

/// The header that names a record's account.
pub(crate) const ACCOUNT_HEADER: &str = "account_id";

/// A consumer of ours.
type Consumer = BaseConsumer<Listener>;

/// The settings do not make a client.
#[derive(Debug, thiserror::Error)]
#[error("the settings for Kafka are not usable")]
pub struct KafkaSettingsError {
    /// What librdkafka said.
    source: Cause,
}

/// The log on a Kafka cluster.
pub struct KafkaLog {
    inner: Arc<Inner>,
}

struct Inner {
    options: Arc<KafkaOptions>,
    topics: Arc<Topics>,
    producer: Producer,
    readers: Arc<Readers>,
    /// Asks for ends, on behalf of no group.
    asker: Consumer,
    /// One a group; as many as the program names.
    advisers: Mutex<HashMap<String, Arc<Consumer>>>,
    closed: AtomicBool,
}

impl fmt::Debug for KafkaLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaLog").field("options", &self.inner.options).finish_non_exhaustive()
    }
}

impl KafkaLog {
    /// A log on the cluster of `options`. Returns without asking the cluster, which may not be
    /// there yet: until it is, appends and reads are unavailable, which each says within 2 s. The first of them that
    /// gets through creates the topics that are missing.
    pub fn new(options: KafkaOptions, clock: Arc<dyn Clock>) -> Result<Self, KafkaSettingsError> {
        let options = Arc::new(options);
        let unusable = |fault: Fault| KafkaSettingsError { source: Arc::new(fault) };
        let asker = options
            .adviser("ends")
            .create_with_context(Listener::default())
            .map_err(Fault::Client)
            .map_err(unusable)?;
        let inner = Inner {
            topics: Arc::new(Topics::new(Arc::clone(&options))),
            producer: Producer::new(Arc::clone(&options)).map_err(unusable)?,
            readers: Arc::new(Readers::new(Arc::clone(&options), clock)),
            asker,
            advisers: Mutex::default(),
            closed: AtomicBool::new(false),
            options,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Waits for what is on its way (2 s at most). Appends and reads fail as closed from here on.
    pub async fn close(&self) {
        let inner = Arc::clone(&self.inner);
        if let Err(error) = tokio::task::spawn_blocking(move || inner.close()).await {
            tracing::error!(error = &error as &dyn std::error::Error, "the log closed badly");
        }
    }

    /// Asks the cluster once for all that the log needs of it: topics (made if missing), and to read and write them.
    ///
    /// # Errors
    /// What is wrong, with what the broker said of it.
    pub async fn survey(&self) -> Result<Survey, ReadError> {
        // With more patience than an append has.
        let asker = admin::Asker::new(&self.inner.options)?;
        admin::ensure_topics(&self.inner.options, &asker, || ()).await?;
        self.ends(Topic::ListenerRequests, Slot(0)).await?;
        Ok(survey::survey(&self.inner.options).await?)
    }

    /// Returns once the log can be read.
    async fn ready(&self) -> Result<(), ReadError> {
        if self.inner.closed.load(Ordering::SeqCst) {
            return Err(ReadError::Closed);
        }
        Ok(self.inner.topics.ready().await?)
    }

    /// Runs what blocks beside the runtime.
    async fn blocking<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Inner) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        self.ready().await?;
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || run(&inner)).await.map_err(Fault::Task)?
    }
}

impl Inner {
    fn close(&self) {
        if !self.closed.swap(true, Ordering::SeqCst) {
            self.producer.flush();
            // Their clients end beside this: they hold nothing that could be lost.
            self.readers.close_idle_since(Micros(i64::MAX));
        }
    }

    fn ends(&self, topic: Topic, slot: Slot) -> Result<Ends, ReadError> {
        if slot.0 >= SLOTS {
            return Err(ReadError::NoSuchSlot);
        }
        // What it was told meanwhile concerns nobody.
        drop(self.asker.poll(Duration::ZERO));
        Ok(ends::ends(&self.asker, &self.options.topic(topic), i32::from(slot.0))?)
    }

    fn adviser(&self, group: &str) -> Result<Arc<Consumer>, Fault> {
        let mut advisers = self.advisers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(adviser) = advisers.get(group) {
            return Ok(Arc::clone(adviser));
        }
        let adviser: Consumer =
            self.options.adviser(group).create_with_context(Listener::default()).map_err(Fault::Client)?;
        let adviser = Arc::new(adviser);
        advisers.insert(group.to_owned(), Arc::clone(&adviser));
        Ok(adviser)
    }

    fn advise(&self, group: &str, positions: &[(Topic, Slot, i64)]) -> Result<(), ReadError> {
        if positions.is_empty() {
            return Ok(());
        }
        let mut offsets = TopicPartitionList::with_capacity(positions.len());
        for (topic, slot, position) in positions {
            let (topic, partition) = (self.options.topic(*topic), i32::from(slot.0));
            offsets.add_partition_offset(&topic, partition, Offset::Offset(*position)).map_err(Fault::Advise)?;
        }
        let adviser = self.adviser(group)?;
        Ok(adviser.commit(&offsets, CommitMode::Sync).map_err(Fault::Advise)?)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

#[async_trait]
impl Log for KafkaLog {
    async fn append(&self, records: Vec<NewRecord>) -> Result<Vec<i64>, AppendError> {
        check_append(&records)?;
        if self.inner.closed.load(Ordering::SeqCst) {
            return Err(AppendError::Closed);
        }
        self.inner.topics.ready().await?;
        self.inner.producer.append(records).await
    }

    async fn read(&self, topic: Topic, slot: Slot, from: i64, limits: ReadLimits) -> Result<Vec<Record>, ReadError> {
        self.ready().await?;
        // Whoever reads a backlog finds something every time, and would never let others have the thread.
        tokio::task::yield_now().await;
        self.inner.readers.read((topic, slot), from, limits).await
    }

    async fn ends(&self, topic: Topic, slot: Slot) -> Result<Ends, ReadError> {
        self.blocking(move |inner| inner.ends(topic, slot)).await
    }

    async fn advise(&self, group: &str, positions: &[(Topic, Slot, i64)]) -> Result<(), ReadError> {
        let (group, positions) = (group.to_owned(), positions.to_vec());
        self.blocking(move |inner| inner.advise(&group, &positions)).await
    }
}
