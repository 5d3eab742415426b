//! The store beneath the embedded log: a topic is a row of segments, a segment is a keyspace.
//!
//! A segment holds all slots of its topic over an eighth of the topic's retention. Whole
//! keyspaces are dropped, never single records. Its keys are `slot, last offset of the entry`
//! (big-endian), so the entry that holds an offset is the first at or above it; one more key
//! holds the header: when the segment was opened, and the end of every slot at that moment. The
//! header keeps offsets growing after everything of a slot was dropped.
//!
//! *A quiet topic and the journal.* fjall frees a journal only when every keyspace written in it
//! has been flushed, and a keyspace is flushed when its own memtable is full. So one record in a
//! quiet topic pins every journal from there on, until they exceed `max_journaling_size`; then
//! fjall flushes the keyspaces that hold the oldest and lets go. Seen by experiment, with 1.5 GiB
//! written to a busy topic after one record to a quiet one: with a limit of 512 MiB the journals
//! grew to 557 MiB (without that record: to 160), then fell; with 128 MiB they stayed below 160
//! either way. Hence the low limit, which also bounds what is replayed after a crash.

use std::path::Path;

use bytes::Bytes;
use castback_schemas::time::Micros;
use castback_schemas::topic::{SLOTS, Slot, TOPICS, Topic};
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode};

use super::EmbeddedOptions;
use super::entry::{CorruptEntry, Entry};
use crate::log::{Ends, Record};
use crate::per_slot::PerSlot;

/// Segments in a topic's retention: what is dropped late is at most an eighth of it.
const SEGMENTS: i64 = 8;
/// Journals may hold this much, which bounds the replay after a crash: 128 MiB, two of fjall's
/// pieces of 64. Beyond it fjall flushes what pins them.
const JOURNAL_BYTES: u64 = 128 << 20;
/// Entries of this size and above are written once, apart from the tree, and only their handles
/// are compacted: 4 KiB.
const APART_BYTES: u32 = 4 << 10;
/// The header's key lies above those of all slots.
const HEADER_KEY: [u8; 10] = [0xff; 10];

/// An offset for every slot of a topic.
pub(super) type Bases = [i64; SLOTS as usize];

/// What failed in the store.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    #[error("the store could not be opened")]
    Open(#[source] fjall::Error),
    #[error("a segment could not be opened")]
    Roll(#[source] fjall::Error),
    #[error("a segment could not be dropped")]
    Drop(#[source] fjall::Error),
    #[error("a batch could not be written")]
    Write(#[source] fjall::Error),
    #[error("an entry could not be read")]
    Read(#[source] fjall::Error),
    #[error("an entry could not be decoded")]
    Decode(#[source] CorruptEntry),
    #[error("the store, or a segment in it, is not open")]
    NotOpen,
}

/// An entry ready to be written.
pub(super) struct Sealed {
    pub(super) topic: Topic,
    pub(super) slot: Slot,
    pub(super) last: i64,
    pub(super) bytes: Bytes,
}

struct Segment {
    number: u64,
    keyspace: Keyspace,
    opened_at: Micros,
    bases: Bases,
}

/// The open store. Holds the directory's lock until dropped.
pub(super) struct Store {
    db: Database,
    options: EmbeddedOptions,
    topics: Vec<Vec<Segment>>,
}

/// What an opened store holds.
pub(super) struct Found {
    pub(super) ends: PerSlot<Ends>,
    /// The latest append time.
    pub(super) newest: Micros,
}

impl Store {
    pub(super) fn open(dir: &Path, options: EmbeddedOptions) -> Result<Self, StoreError> {
        let db = Database::builder(dir)
            .max_journaling_size(JOURNAL_BYTES)
            .cache_size(options.cache_bytes)
            // Packs are compressed once, when they are flushed; the writer's time is dearer.
            .journal_compression(CompressionType::None)
            .open()
            .map_err(StoreError::Open)?;
        let mut store = Self { db, options, topics: TOPICS.iter().map(|_| Vec::new()).collect() };
        store.find_segments()?;
        Ok(store)
    }

    fn find_segments(&mut self) -> Result<(), StoreError> {
        for name in self.db.list_keyspace_names() {
            let Some((topic, number)) = parse_name(&name) else {
                tracing::warn!(keyspace = &*name, "unknown keyspace in the log's directory");
                continue;
            };
            let keyspace = self.db.keyspace(&name, || self.keyspace_options()).map_err(StoreError::Open)?;
            let header = keyspace.get(HEADER_KEY).map_err(StoreError::Open)?;
            let Some((opened_at, bases)) = header.as_deref().and_then(parse_header) else {
                // A crash came between the keyspace and its header: nothing was written to it.
                self.db.delete_keyspace(keyspace).map_err(StoreError::Open)?;
                continue;
            };
            self.topics[topic as usize].push(Segment { number, keyspace, opened_at, bases });
        }
        for segments in &mut self.topics {
            segments.sort_by_key(|segment| segment.number);
        }
        Ok(())
    }

    fn keyspace_options(&self) -> KeyspaceCreateOptions {
        KeyspaceCreateOptions::default().max_memtable_size(self.options.memtable_bytes).with_kv_separation(Some(
            KvSeparationOptions::default().separation_threshold(APART_BYTES).compression(CompressionType::Lz4),
        ))
    }

    /// Reads the ends of every slot, and the latest append time.
    pub(super) fn found(&self) -> Result<Found, StoreError> {
        let mut found = Found { ends: PerSlot::new(Ends::default), newest: Micros(0) };
        for spec in TOPICS {
            let segments = &self.topics[spec.topic as usize];
            let (Some(first), Some(last)) = (segments.first(), segments.last()) else { continue };
            found.newest = found.newest.max(last.opened_at);
            for slot in Slot::all() {
                let base = last.bases[usize::from(slot.0)];
                let mut ends = Ends { start: first.bases[usize::from(slot.0)], end: base };
                if let Some(guard) = last.keyspace.range(whole(slot)).next_back() {
                    let (key, value) = guard.into_inner().map_err(StoreError::Read)?;
                    ends.end = parse_key(&key).ok_or(StoreError::Decode(CorruptEntry))? + 1;
                    let entry = Entry::open(value.into()).map_err(StoreError::Decode)?;
                    found.newest = found.newest.max(entry.appended_at());
                }
                if let Some(cell) = found.ends.get_mut(spec.topic, slot) {
                    *cell = ends;
                }
            }
        }
        Ok(found)
    }

    /// The oldest offset kept of a slot.
    pub(super) fn start(&self, topic: Topic, slot: Slot) -> i64 {
        self.topics[topic as usize].first().map_or(0, |segment| segment.bases[usize::from(slot.0)])
    }

    /// Whether records of `topic` appended at `at` belong into a segment that is not there yet.
    pub(super) fn needs_segment(&self, topic: Topic, at: Micros) -> bool {
        let span = topic.spec().retention / SEGMENTS;
        self.topics[topic as usize].last().is_none_or(|segment| at >= segment.opened_at.plus(span))
    }

    /// Whether there are records in the topic's last segment, given the ends of its slots.
    pub(super) fn last_segment_holds(&self, topic: Topic, ends: Bases) -> bool {
        self.topics[topic as usize].last().is_some_and(|segment| segment.bases != ends)
    }

    /// Opens the topic's next segment; `bases` are the ends of its slots.
    pub(super) fn open_segment(&mut self, topic: Topic, opened_at: Micros, bases: Bases) -> Result<(), StoreError> {
        let last = self.topics[topic as usize].last();
        let number = last.map_or(0, |segment| segment.number + 1);
        let name = segment_name(topic, number);
        let keyspace = self.db.keyspace(&name, || self.keyspace_options()).map_err(StoreError::Roll)?;
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncAll));
        batch.insert(&keyspace, HEADER_KEY, header(opened_at, &bases));
        batch.commit().map_err(StoreError::Roll)?;
        if let Some(last) = last {
            last.keyspace.rotate_memtable().map_err(StoreError::Roll)?;
        }
        self.topics[topic as usize].push(Segment { number, keyspace, opened_at, bases });
        Ok(())
    }

    /// Writes all entries or none; they are durable when this returns.
    pub(super) fn write(&self, entries: Vec<Sealed>) -> Result<(), StoreError> {
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncAll));
        for entry in entries {
            let segment = self.topics[entry.topic as usize].last().ok_or(StoreError::NotOpen)?;
            batch.insert(&segment.keyspace, key(entry.slot, entry.last), entry.bytes);
        }
        batch.commit().map_err(StoreError::Write)
    }

    /// Reads from `within.start` on, up to `within.end`, until `max_bytes` are reached.
    pub(super) fn read(
        &self,
        (topic, slot): (Topic, Slot),
        within: Ends,
        max_bytes: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let segments = &self.topics[topic as usize];
        let holds = |s: &Segment| s.bases[usize::from(slot.0)] <= within.start;
        let first = segments.partition_point(holds).saturating_sub(1);
        let mut records = Vec::new();
        let mut bytes = 0;
        for segment in &segments[first..] {
            let range = key(slot, within.start)..=key(slot, i64::MAX);
            for guard in segment.keyspace.range(range) {
                let value = guard.value().map_err(StoreError::Read)?;
                for record in Entry::open(value.into()).map_err(StoreError::Decode)? {
                    let record = record.map_err(StoreError::Decode)?;
                    if record.offset < within.start {
                        continue;
                    }
                    if record.offset >= within.end {
                        return Ok(records);
                    }
                    bytes += record.key.len() + record.value.len();
                    records.push(record);
                    if bytes >= max_bytes {
                        return Ok(records);
                    }
                }
            }
        }
        Ok(records)
    }

    /// Drops the topic's oldest segment if all of it was appended before `before` and lies below
    /// the floors; says whether it did.
    pub(super) fn drop_oldest(
        &mut self,
        topic: Topic,
        before: Micros,
        floor: impl Fn(Slot) -> Option<i64>,
    ) -> Result<bool, StoreError> {
        let segments = &mut self.topics[topic as usize];
        let [oldest, next, ..] = segments.as_slice() else { return Ok(false) };
        let needed = |slot: Slot| floor(slot).is_some_and(|f| f < next.bases[usize::from(slot.0)]);
        if next.opened_at > before || Slot::all().any(needed) {
            return Ok(false);
        }
        self.db.delete_keyspace(oldest.keyspace.clone()).map_err(StoreError::Drop)?;
        segments.remove(0);
        Ok(true)
    }
}

fn segment_name(topic: Topic, number: u64) -> String {
    format!("{topic}.{number:08}")
}

fn parse_name(name: &str) -> Option<(Topic, u64)> {
    let (topic, number) = name.rsplit_once('.')?;
    Some((topic.parse().ok()?, number.parse().ok()?))
}

fn key(slot: Slot, last: i64) -> [u8; 10] {
    let mut key = [0; 10];
    key[..2].copy_from_slice(&slot.0.to_be_bytes());
    key[2..].copy_from_slice(&last.to_be_bytes());
    key
}

fn whole(slot: Slot) -> std::ops::RangeInclusive<[u8; 10]> {
    key(slot, 0)..=key(slot, i64::MAX)
}

fn parse_key(key: &[u8]) -> Option<i64> {
    Some(i64::from_be_bytes(key.get(2..)?.try_into().ok()?))
}

fn header(opened_at: Micros, bases: &Bases) -> Vec<u8> {
    let mut header = opened_at.0.to_be_bytes().to_vec();
    for base in bases {
        header.extend_from_slice(&base.to_be_bytes());
    }
    header
}

fn parse_header(header: &[u8]) -> Option<(Micros, Bases)> {
    let (numbers, rest) = header.as_chunks::<8>();
    let [opened_at, bases @ ..] = numbers else { return None };
    let mut parsed = [0; SLOTS as usize];
    if bases.len() != parsed.len() || !rest.is_empty() {
        return None;
    }
    for (to, from) in parsed.iter_mut().zip(bases) {
        *to = i64::from_be_bytes(*from);
    }
    Some((Micros(i64::from_be_bytes(*opened_at)), parsed))
}
