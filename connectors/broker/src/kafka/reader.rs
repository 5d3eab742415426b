//! Reading: a place in a client, from a position of one slot on.
//!
//! Nobody subscribes: who reads what is settled by leases.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use castback_schemas::id::AccountId;
use castback_schemas::time::Micros;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _};
use rdkafka::{Message as _, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::ACCOUNT_HEADER;
use super::admin::PATIENCE;
use super::client::{Place, Queue, Trouble};
use super::fault::Fault;
use super::handed_out::{HandedOut, size};
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
        let handed_out = HandedOut::at(from);
        Ok(Self { queue, more, trouble, next: from, at_end: false, failed: false, handed_out, used_at: now, place })
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
        let again = records.len();
        if bytes < max_bytes {
            let filled = self.fill(&mut records, max_bytes - bytes, limits.wait).await;
            self.failed |= filled.is_err();
            filled?;
        }
        self.handed_out.add(&records[again..], self.next);
        Ok(records)
    }

    /// Adds what there is, up to the record that reaches `max_bytes`, and waits only if there is nothing at all.
    async fn fill(&mut self, records: &mut Vec<Record>, max_bytes: usize, wait: Duration) -> Result<(), Fault> {
        let begun = Instant::now();
        loop {
            self.drain(records, max_bytes)?;
            // Looked at after the queue and before anything of it is handed out: if a record has gone astray, those
            // drained may lie behind it, and it would never be missed. The next reader fetches them again.
            if self.trouble.has_changed().unwrap_or(true) {
                return Err(self.heard());
            }
            if !records.is_empty() {
                return Ok(());
            }
            // At the end as long as the caller wants; else until the cluster must have answered.
            let until = begun + if self.at_end { wait } else { PATIENCE };
            if Instant::now() >= until {
                return if self.at_end { Ok(()) } else { Err(Fault::Silent) };
            }
            tokio::select! {
                () = self.more.notified() => {}
                _ = self.trouble.changed() => return Err(self.heard()),
                () = sleep_until(until) => {}
            }
        }
    }

    /// Adds what the queue has.
    fn drain(&mut self, records: &mut Vec<Record>, max_bytes: usize) -> Result<(), Fault> {
        let mut bytes = 0;
        while bytes < max_bytes {
            match self.queue.poll(Duration::ZERO) {
                None => break,
                // Of where another reader stood.
                Some(Ok(message)) if message.offset() < self.next => {}
                Some(Ok(message)) => {
                    let record = record(&message);
                    bytes += size(&record);
                    (self.next, self.at_end) = (record.offset + 1, false);
                    records.push(record);
                }
                Some(Err(KafkaError::PartitionEOF(_))) => self.at_end = true,
                Some(Err(error)) if records.is_empty() => return Err(Fault::Fetch(error)),
                // What came before the error is good; the next read meets it again.
                Some(Err(_)) => {
                    self.failed = true;
                    break;
                }
            }
        }
        Ok(())
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

fn record(message: &BorrowedMessage<'_>) -> Record {
    let copy = |bytes: Option<&[u8]>| bytes.map(Bytes::copy_from_slice).unwrap_or_default();
    Record {
        offset: message.offset(),
        appended_at: appended_at(message.timestamp()),
        account: account(message),
        key: copy(message.key()),
        value: copy(message.payload()),
    }
}

/// The brokers' append time. A topic that somebody else created may carry the producers' own
/// times instead; then those have to do.
fn appended_at(timestamp: Timestamp) -> Micros {
    Micros(timestamp.to_millis().unwrap_or(0).saturating_mul(1000))
}

fn account(message: &BorrowedMessage<'_>) -> Option<AccountId> {
    let headers = message.headers()?;
    let header = headers.iter().find(|header| header.key == ACCOUNT_HEADER)?;
    std::str::from_utf8(header.value?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
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
