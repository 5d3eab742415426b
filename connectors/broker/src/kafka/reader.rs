//! Reading: a place in a client, from a position of one slot on.
//!
//! Nobody subscribes: who reads what is settled by leases.

use std::sync::Arc;
use std::time::Duration;

use castback_schemas::time::Micros;
use rdkafka::Message as _;
use rdkafka::error::KafkaError;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::admin::PATIENCE;
use super::client::{Place, Queue, Trouble};
use super::fault::Fault;
use super::handed_out::HandedOut;
use super::taken::{Owner, Taken, Taking};
use crate::log::{Ends, ReadLimits, Record};

/// A reader of one slot.
pub(super) struct Reader {
    queue: Queue,
    /// Says that the queue, which was empty, has something.
    more: Arc<Notify>,
    trouble: watch::Receiver<Trouble>,
    /// The offset it will hand out next.
    next: i64,
    /// Whether it has seen the end of the slot, and nothing since.
    at_end: bool,
    /// Whether it can't go on.
    failed: bool,
    /// What it has handed out last.
    handed_out: HandedOut,
    /// Bytes that it took last, and may find next time.
    expected: usize,
    /// Whose record it saw last.
    owner: Owner,
    /// When somebody last read here.
    pub(super) used_at: Micros,
    place: Place,
}

impl Reader {
    /// Stands at `from`, which lies in the log.
    pub(super) fn new(place: Place, from: i64, now: Micros) -> Result<Self, Fault> {
        let (more, trouble) = (Arc::new(Notify::new()), place.trouble());
        let tell = Arc::clone(&more);
        let queue = place.begin(from, move || tell.notify_one())?;
        Ok(Self {
            queue,
            more,
            trouble,
            next: from,
            at_end: false,
            failed: false,
            handed_out: HandedOut::at(from),
            expected: 0,
            owner: Owner::default(),
            used_at: now,
            place,
        })
    }

    /// Whether it can't go on.
    pub(super) fn failed(&self) -> bool {
        self.failed
    }

    /// Whether it can read from `from`: where it stands, or somewhere in what it has handed out last.
    pub(super) fn serves(&self, from: i64) -> bool {
        !self.failed && (self.handed_out.from()..=self.next).contains(&from)
    }

    /// What its slot holds; blocks.
    pub(super) fn ends(&self) -> Result<Ends, Fault> {
        self.place.ends()
    }

    /// Reads from `from`, which it serves. Whoever gives this up loses nothing: what is taken from the queue is
    /// returned without waiting.
    pub(super) async fn read(&mut self, from: i64, limits: ReadLimits) -> Result<Vec<Record>, Fault> {
        self.handed_out.forget_before(from);
        let max_bytes = limits.max_bytes.max(1);
        let (mut records, bytes) = self.handed_out.first(max_bytes);
        if bytes < max_bytes {
            let wait = records.is_empty().then_some(limits.wait);
            let taken = self.take(max_bytes - bytes, wait).await;
            self.failed |= taken.is_err();
            let taken = taken?;
            taken.add_to(&mut records, from, usize::MAX);
            self.handed_out.add(taken, self.next);
        }
        Ok(records)
    }

    /// Takes what there is, up to the record that reaches `max_bytes`. If that is nothing it waits, unless no `wait` says
    /// that the caller has something to hand out anyway.
    async fn take(&mut self, max_bytes: usize, wait: Option<Duration>) -> Result<Taken, Fault> {
        let begun = Instant::now();
        loop {
            let (taken, error) = self.drain(max_bytes);
            // Looked at after the queue and before anything of it is handed out: if a record has gone astray, those
            // drained may lie behind it, and it would never be missed. The next reader fetches them again.
            if self.trouble.has_changed().unwrap_or(true) {
                return Err(self.heard());
            }
            let wait = wait.filter(|_| taken.is_empty());
            match (wait, error) {
                (None, error) => {
                    // What came before an error is good; the next read meets it again.
                    self.failed |= error.is_some();
                    return Ok(taken);
                }
                (Some(_), Some(error)) => return Err(Fault::Fetch(error)),
                (Some(wait), None) => {
                    // At the end as long as the caller wants; else until the cluster must have answered.
                    let until = begun + if self.at_end { wait } else { PATIENCE };
                    if Instant::now() >= until {
                        return if self.at_end { Ok(taken) } else { Err(Fault::Silent) };
                    }
                    self.more_until(until).await?;
                }
            }
        }
    }

    /// Waits for more in the queue.
    async fn more_until(&mut self, until: Instant) -> Result<(), Fault> {
        tokio::select! {
            () = self.more.notified() => {}
            _ = self.trouble.changed() => return Err(self.heard()),
            () = sleep_until(until) => {}
        }
        Ok(())
    }

    /// What the queue has, and the error at which it ends.
    fn drain(&mut self, max_bytes: usize) -> (Taken, Option<KafkaError>) {
        let mut taking = Taking::expecting(self.expected.min(max_bytes));
        let mut error = None;
        while taking.bytes() < max_bytes && error.is_none() {
            match self.queue.poll(Duration::ZERO) {
                None => break,
                // Of where another reader stood.
                Some(Ok(message)) if message.offset() < self.next => {}
                Some(Ok(message)) => {
                    (self.next, self.at_end) = (message.offset() + 1, false);
                    taking.push(&message, self.owner.of(&message));
                }
                Some(Err(KafkaError::PartitionEOF(_))) => self.at_end = true,
                Some(Err(found)) => error = Some(found),
            }
        }
        let taken = taking.finish();
        self.expected = taken.bytes();
        (taken, error)
    }

    /// What befell the whole client.
    fn heard(&self) -> Fault {
        self.trouble.borrow().clone().map_or(Fault::Silent, Fault::Shared)
    }
}

impl Drop for Reader {
    /// Takes some turns of the client's thread.
    fn drop(&mut self) {
        self.place.end(&self.queue);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use castback_schemas::id::AccountId;
    use castback_schemas::time::SystemClock;
    use castback_schemas::topic::{Slot, Topic};
    use tokio::task::spawn_blocking;
    use uuid::Uuid;

    use super::*;
    use crate::kafka::client::Clients;
    use crate::kafka::mock::topics;
    use crate::{KafkaLog, Log as _, NewRecord};

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_fetched_is_not_handed_out_after_a_trouble_that_may_concern_it() {
        let (options, topic, slot) = (topics("trouble."), Topic::Conversions, Slot(9));
        let log = KafkaLog::new(options.clone(), Arc::new(SystemClock)).unwrap();
        let account = AccountId::from_uuid(Uuid::from_bytes([7; 16]));
        let bytes = Bytes::from_static(b"x");
        let record = NewRecord { topic, slot, account, key: bytes.clone(), value: bytes };
        log.append(vec![record.clone(), record]).await.unwrap();
        let begin = move || {
            let place = Clients::new(Arc::new(options)).place(topic, slot)?;
            place.ends()?;
            Reader::new(place, 0, Micros(0))
        };
        let mut reader = spawn_blocking(begin).await.unwrap().unwrap();
        let (tell, trouble) = watch::channel(None);
        reader.trouble = trouble;
        let one = ReadLimits { max_bytes: 1, wait: Duration::from_secs(30) };
        // The other one is fetched by then, too.
        assert_eq!(reader.read(0, one).await.unwrap().len(), 1);
        tell.send_replace(Some(Arc::new(Fault::Astray)));
        let told = reader.read(1, one).await.unwrap_err();
        assert!(matches!(&told, Fault::Shared(fault) if matches!(**fault, Fault::Astray)), "{told:?}");
        assert!(reader.failed() && !reader.serves(1));
        log.close().await;
    }
}
