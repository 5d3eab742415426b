//! The clients that read: each serves many slots, with a queue for each of them.
//!
//! A client can stand at one place of a slot only, so there are as many as a slot has readers at a time: mostly one for
//! each group that reads the topic.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use castback_schemas::topic::{Slot, Topic};
use rdkafka::consumer::Consumer as _;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::watch;

use super::ends::ends;
use super::fault::Fault;
use super::listener::Listener;
use super::{Consumer, KafkaOptions};
use crate::log::Ends;
use crate::per_slot::PerSlot;

/// Between two looks whether a client is still used.
const LOOK: Duration = Duration::from_secs(1);

/// What a client fetched of one slot.
pub(super) type Queue = PartitionQueue<Listener>;

/// What went wrong last for a whole client.
pub(super) type Trouble = Option<Arc<Fault>>;

/// The clients that read.
pub(super) struct Clients {
    options: Arc<KafkaOptions>,
    open: Mutex<Vec<Arc<Client>>>,
}

/// A client that reads.
struct Client {
    options: Arc<KafkaOptions>,
    /// Which slots have a reader here.
    taken: PerSlot<AtomicBool>,
    consumer: Arc<Consumer>,
    /// The last to go, here as in each reader: without any, the client is closed, see [`listen`].
    trouble: watch::Receiver<Trouble>,
}

/// A slot's place in a client, for one reader.
pub(super) struct Place {
    topic: Topic,
    slot: Slot,
    client: Arc<Client>,
}

impl Clients {
    pub(super) fn new(options: Arc<KafkaOptions>) -> Self {
        Self { options, open: Mutex::default() }
    }

    /// A place in the first client that has one for the slot, or in a new client; blocks.
    pub(super) fn place(&self, topic: Topic, slot: Slot) -> Result<Place, Fault> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = open.iter().find(|client| client.claim(topic, slot)) {
            return Ok(Place { topic, slot, client: Arc::clone(client) });
        }
        let client = Arc::new(Client::new(Arc::clone(&self.options))?);
        client.claim(topic, slot);
        open.push(Arc::clone(&client));
        Ok(Place { topic, slot, client })
    }

    /// Closes the clients in which nobody has a place.
    pub(super) fn close_unused(&self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|client| Arc::strong_count(client) > 1);
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.open.lock().unwrap().len()
    }
}

impl Client {
    fn new(options: Arc<KafkaOptions>) -> Result<Self, Fault> {
        let consumer: Consumer = options.reader().create_with_context(Listener::default()).map_err(Fault::Client)?;
        let consumer = Arc::new(consumer);
        let (tell, trouble) = watch::channel(None);
        let heard = Arc::clone(&consumer);
        std::thread::spawn(move || listen(&heard, &tell));
        Ok(Self { options, taken: PerSlot::new(AtomicBool::default), consumer, trouble })
    }

    /// Whether the slot was free here; it is taken now. A client that failed for good takes nobody any more.
    fn claim(&self, topic: Topic, slot: Slot) -> bool {
        self.consumer.client().fatal_error().is_none()
            && self.taken.get(topic, slot).is_some_and(|taken| !taken.swap(true, Ordering::SeqCst))
    }
}

/// Hears what concerns the whole client and tells all who read, as long as anybody may. What calls this has the client
/// to itself after it, and closes it on a thread where nobody waits for that.
fn listen(consumer: &Consumer, tell: &watch::Sender<Trouble>) {
    while !tell.is_closed() {
        let trouble = match consumer.poll(LOOK) {
            None => continue,
            Some(Err(error)) if is_of_one_broker(&error) => continue,
            Some(Err(error)) => Fault::Fetch(error),
            // Who reads its slot would miss it.
            Some(Ok(_)) => Fault::Astray,
        };
        tell.send_replace(Some(Arc::new(trouble)));
    }
}

/// Whether it concerns one broker and passes: a slot that it leads falls silent, and the others go on.
fn is_of_one_broker(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{BrokerTransportFailure, OperationTimedOut, Resolve};
    matches!(error.rdkafka_error_code(), Some(BrokerTransportFailure | OperationTimedOut | Resolve))
}

impl Place {
    /// What the slot holds; blocks. The client knows after it who leads the partition.
    pub(super) fn ends(&self) -> Result<Ends, Fault> {
        ends(&self.client.consumer, &self.client.options.topic(self.topic), i32::from(self.slot.0))
    }

    /// Hears of the trouble that the client has from now on.
    pub(super) fn trouble(&self) -> watch::Receiver<Trouble> {
        let mut trouble = self.client.trouble.clone();
        trouble.mark_unchanged();
        trouble
    }

    /// Has the slot fetched from `from` on; `on_more` is called whenever its empty queue is filled.
    pub(super) fn begin(&self, from: i64, on_more: impl Fn() + Send + Sync + 'static) -> Result<Queue, Fault> {
        let (topic, partition) = (self.client.options.topic(self.topic), i32::from(self.slot.0));
        // Its own queue comes first: librdkafka leaves it apart then, and no record goes to the queue of all.
        let queue = self.client.consumer.split_partition_queue(&topic, partition);
        let mut queue = queue.ok_or_else(|| Fault::Assign(KafkaError::Subscription(topic)))?;
        queue.set_nonempty_callback(on_more);
        let position = self.at(Offset::Offset(from)).map_err(Fault::Assign)?;
        self.client.consumer.incremental_assign(&position).map_err(Fault::Assign)?;
        Ok(queue)
    }

    /// Has no more of the slot fetched, and lets go of what was fetched for nobody.
    pub(super) fn end(&self, queue: &Queue) {
        if let Err(error) = self.stop() {
            // A client that failed for good has let go of its slots by itself.
            tracing::warn!(topic = %self.topic, slot = %self.slot, error = %error, "kafka.slot_not_left");
        }
        while queue.poll(Duration::ZERO).is_some() {}
    }

    fn stop(&self) -> KafkaResult<()> {
        let consumer = &self.client.consumer;
        consumer.incremental_unassign(&self.at(Offset::Invalid)?)?;
        // librdkafka (2.12) aborts the process when a client is closed while one of its fetches is being stopped. Its
        // thread stops one in two turns, and takes turns in order: after two answers of that thread, it has stopped.
        consumer.assignment()?;
        consumer.assignment()?;
        Ok(())
    }

    fn at(&self, offset: Offset) -> KafkaResult<TopicPartitionList> {
        let mut position = TopicPartitionList::with_capacity(1);
        position.add_partition_offset(&self.client.options.topic(self.topic), i32::from(self.slot.0), offset)?;
        Ok(position)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(taken) = self.client.taken.get(self.topic, self.slot) {
            taken.store(false, Ordering::SeqCst);
        }
    }
}
