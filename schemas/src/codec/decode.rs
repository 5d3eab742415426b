//! Framed Avro to Arrow batches, with poison taken out record by record.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use apache_avro::Schema;
use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow_avro::reader::{Decoder, ReaderBuilder};
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};

use super::{MAX_VALUE, schema_id};
use crate::topic::Topic;

/// Why a record can't be read; the reason of its dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadReason {
    /// Not framed Avro, cut short, too long, or not what its schema says.
    Undecodable,
    /// Its schema can't be resolved to the topic's.
    Schema,
    /// Larger than [`MAX_VALUE`].
    TooLarge,
}

impl DeadReason {
    /// The word of the verdict.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Undecodable => "undecodable",
            Self::Schema => "schema",
            Self::TooLarge => "too_large",
        }
    }
}

/// A record that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    /// Its place in what was given to [`BatchDecoder::decode`].
    pub index: usize,
    /// Why.
    pub reason: DeadReason,
    /// Why, in words.
    pub detail: String,
}

/// What came of a batch: rows in the order of the records, and the records that gave none.
#[derive(Debug)]
pub struct Decoded {
    /// One row per good record.
    pub batch: RecordBatch,
    /// For each row, the place of its record.
    pub rows: Vec<usize>,
    /// The others.
    pub bad: Vec<Bad>,
}

/// Why a batch can't be decoded at all.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// A record names a schema that is not loaded: ask the registry, then call again
    /// (with the id loaded, or declared unknown).
    #[error("schema id {id} is not loaded")]
    UnknownSchema {
        /// The id.
        id: u32,
    },
    /// The reader schema can't be used.
    #[error("the schema of {topic} can't be used to read")]
    Reader {
        /// The topic.
        topic: Topic,
        /// What Arrow says.
        #[source]
        source: Box<ArrowError>,
    },
}

/// Bytes of writers' schemas that a decoder remembers: dozens of them, and a topic has a few. A process has a decoder for
/// each slot of each topic, some two hundred, and whoever writes to a topic chooses the ids. Of more, those that the
/// records at hand don't name are forgotten, and asked for again.
pub(super) const MAX_KNOWN: usize = 256 << 10;

/// Decoders that stay from one batch to the next, each with some 100 KB of room for its columns. Of more, those of the
/// lowest ids, which are the oldest schemas, are made anew when they are needed.
const MAX_DECODERS: usize = 4;

/// What a schema costs in memory beside its text, in bytes.
const TEXT_OVERHEAD: usize = 256;

/// What is known of a writer's schema.
enum Writer {
    Usable(String),
    /// The registry knows the id, but it can't be resolved to the topic's schema.
    Unresolvable(String),
    /// The registry does not know the id.
    Unknown,
}

impl Writer {
    fn bytes(&self) -> usize {
        match self {
            Self::Usable(text) | Self::Unresolvable(text) => text.len() + TEXT_OVERHEAD,
            Self::Unknown => TEXT_OVERHEAD,
        }
    }
}

/// Reads the records of one topic as batches of the topic's own schema.
pub struct BatchDecoder {
    topic: Topic,
    arrow: SchemaRef,
    writers: BTreeMap<u32, Writer>,
    decoders: BTreeMap<u32, Decoder>,
    /// The ids of the records at hand, before the first that was not loaded.
    named: BTreeSet<u32>,
}

impl fmt::Debug for BatchDecoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BatchDecoder({}, {} schemas)", self.topic, self.writers.len())
    }
}

/// More rows than any batch holds, so that a decoder never fills up in the middle of one.
const UNBOUNDED: usize = 1 << 24;

fn decoder(topic: Topic, id: u32, writer: &str) -> Result<Decoder, ArrowError> {
    let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
    store.set(Fingerprint::Id(id), AvroSchema::new(writer.to_owned()))?;
    ReaderBuilder::new()
        .with_batch_size(UNBOUNDED)
        .with_reader_schema(AvroSchema::new(topic.spec().schema.to_owned()))
        .with_writer_schema_store(store)
        .with_active_fingerprint(Fingerprint::Id(id))
        .build_decoder()
}

impl BatchDecoder {
    /// A decoder that knows no writer schema yet.
    pub fn new(topic: Topic) -> Result<Self, DecodeError> {
        let arrow = decoder(topic, 0, topic.spec().schema)
            .map_err(|source| DecodeError::Reader { topic, source: Box::new(source) })?
            .schema();
        Ok(Self { topic, arrow, writers: BTreeMap::new(), decoders: BTreeMap::new(), named: BTreeSet::new() })
    }

    /// The schema of every batch.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.arrow
    }

    /// Tells what the registry says of `id`: its schema, or that there is none. Beyond 256 KiB of schemas others are
    /// forgotten, but none that the records name whose decoding asked for it.
    pub fn learn(&mut self, id: u32, schema: Option<&str>) {
        let writer = match schema {
            None => Writer::Unknown,
            Some(text) => match self.resolves(id, text) {
                Ok(()) => Writer::Usable(text.to_owned()),
                Err(detail) => Writer::Unresolvable(detail),
            },
        };
        self.writers.insert(id, writer);
        self.decoders.remove(&id);
        if self.writers.values().map(Writer::bytes).sum::<usize>() > MAX_KNOWN {
            let needed = |other: &u32| *other == id || self.named.contains(other);
            self.writers.retain(|other, _| needed(other));
            self.decoders.retain(|other, _| needed(other));
        }
    }

    fn resolves(&self, id: u32, text: &str) -> Result<(), String> {
        Schema::parse_str(text).map_err(|error| error.to_string())?;
        decoder(self.topic, id, text).map(|_| ()).map_err(|error| error.to_string())
    }

    /// Decodes `values` in order. Poison anywhere gives the same rows as each record alone.
    pub fn decode<B: AsRef<[u8]>>(&mut self, values: &[B]) -> Result<Decoded, DecodeError> {
        let mut bad = Vec::new();
        let mut groups: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (index, value) in values.iter().enumerate() {
            match self.sort_out(value.as_ref()) {
                Ok(Ok(id)) => groups.entry(id).or_default().push(index),
                Ok(Err((reason, detail))) => bad.push(Bad { index, reason, detail }),
                Err(unknown) => {
                    self.named = values.iter().take(index).filter_map(|value| schema_id(value.as_ref())).collect();
                    return Err(unknown);
                }
            }
        }
        let mut parts = Vec::new();
        let mut rows = Vec::new();
        for (id, indices) in groups {
            self.decode_group(id, values, &indices, (&mut parts, &mut rows, &mut bad))?;
        }
        while self.decoders.len() > MAX_DECODERS {
            self.decoders.pop_first();
        }
        let batch = concat_batches(&self.arrow, &parts).map_err(|source| self.reader_error(source))?;
        bad.sort_by_key(|bad| bad.index);
        self.in_order(batch, rows, bad)
    }

    fn reader_error(&self, source: ArrowError) -> DecodeError {
        DecodeError::Reader { topic: self.topic, source: Box::new(source) }
    }

    /// The schema id by which to read a value, or why it can't be read.
    fn sort_out(&self, value: &[u8]) -> Result<Result<u32, (DeadReason, String)>, DecodeError> {
        if value.len() > MAX_VALUE {
            let detail = format!("{} bytes: at most {MAX_VALUE} are accepted", value.len());
            return Ok(Err((DeadReason::TooLarge, detail)));
        }
        let Some(id) = schema_id(value) else {
            return Ok(Err((DeadReason::Undecodable, "not Avro with Confluent framing".to_owned())));
        };
        match self.writers.get(&id) {
            Some(Writer::Usable(_)) => Ok(Ok(id)),
            Some(Writer::Unresolvable(detail)) => Ok(Err((DeadReason::Schema, detail.clone()))),
            Some(Writer::Unknown) => {
                Ok(Err((DeadReason::Undecodable, format!("schema id {id} is not in the registry"))))
            }
            None => Err(DecodeError::UnknownSchema { id }),
        }
    }

    /// Decodes the records of one schema together; if one is bad, each alone.
    fn decode_group<B: AsRef<[u8]>>(
        &mut self,
        id: u32,
        values: &[B],
        indices: &[usize],
        (parts, rows, bad): (&mut Vec<RecordBatch>, &mut Vec<usize>, &mut Vec<Bad>),
    ) -> Result<(), DecodeError> {
        if let Ok(Some(batch)) = self.together(id, values, indices) {
            parts.push(batch);
            rows.extend_from_slice(indices);
            return Ok(());
        }
        for &index in indices {
            match self.together(id, values, &[index]) {
                Ok(Some(batch)) => {
                    parts.push(batch);
                    rows.push(index);
                }
                Ok(None) => return Err(DecodeError::UnknownSchema { id }),
                Err(detail) => bad.push(Bad { index, reason: DeadReason::Undecodable, detail }),
            }
        }
        Ok(())
    }

    /// One batch of all of `indices`, or what was wrong with the first bad one. A decoder
    /// that met a bad record holds half of it and is thrown away.
    fn together<B: AsRef<[u8]>>(
        &mut self,
        id: u32,
        values: &[B],
        indices: &[usize],
    ) -> Result<Option<RecordBatch>, String> {
        let mut decoder = match (self.decoders.remove(&id), self.writers.get(&id)) {
            (Some(decoder), _) => decoder,
            (None, Some(Writer::Usable(text))) => decoder(self.topic, id, text).map_err(|error| error.to_string())?,
            (None, _) => return Ok(None),
        };
        for &index in indices {
            one(&mut decoder, values[index].as_ref())?;
        }
        let batch = decoder.flush().map_err(|error| error.to_string())?;
        self.decoders.insert(id, decoder);
        match batch {
            Some(batch) if batch.num_rows() == indices.len() => Ok(Some(batch)),
            _ => Err("the record is not one row".to_owned()),
        }
    }

    fn in_order(&self, batch: RecordBatch, rows: Vec<usize>, bad: Vec<Bad>) -> Result<Decoded, DecodeError> {
        if rows.is_sorted() {
            return Ok(Decoded { batch, rows, bad });
        }
        let mut order: Vec<u32> = (0..u32::try_from(rows.len()).unwrap_or(u32::MAX)).collect();
        order.sort_by_key(|&row| rows[row as usize]);
        let rows = order.iter().map(|&row| rows[row as usize]).collect();
        let batch = take_record_batch(&batch, &UInt32Array::from(order)).map_err(|source| self.reader_error(source))?;
        Ok(Decoded { batch, rows, bad })
    }
}

/// Feeds exactly one record: it must be consumed to its last byte and add exactly one row.
fn one(decoder: &mut Decoder, value: &[u8]) -> Result<(), String> {
    let before = decoder.capacity();
    let consumed = decoder.decode(value).map_err(|error| error.to_string())?;
    if consumed != value.len() {
        return Err(format!("{consumed} of {} bytes make a record", value.len()));
    }
    if before - decoder.capacity() != 1 {
        return Err("the record is cut short or followed by another".to_owned());
    }
    Ok(())
}
