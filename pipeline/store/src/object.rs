//! Commit objects: the rows of every dirty unit of one tick, in one immutable object.
//!
//! ```text
//! "CBCO" version 0 0 0 │ part │ part │ …       part = zstd(Arrow IPC stream), one per (unit, table)
//! ```
//! Where each part lies, how many rows of which days it holds, and its CRC-32 stand in the
//! [`SliceBody`] of its unit, which the catalogue keeps: a unit that was fenced has no slice
//! there, so its part is never read. A part whose bytes changed is refused, never guessed at.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use castback_schemas::Unit;
use castback_schemas::table::Table;
use serde::{Deserialize, Serialize};

use crate::columns::{conform, days};
use crate::error::{Result, StoreError};

const MAGIC: [u8; 8] = *b"CBCO\x01\0\0\0";
/// Level 1: a tick has 250 ms for everything, and compaction compresses again.
const ZSTD_LEVEL: i32 = 1;

/// What a unit writes in one commit.
#[derive(Debug, Clone)]
pub struct SliceRows {
    /// The unit.
    pub unit: Unit,
    /// Its new rows; several batches of one table are kept in their order.
    pub tables: Vec<(Table, RecordBatch)>,
}

/// A commit object, ready to be put.
#[derive(Debug, Clone)]
pub struct EncodedObject {
    /// The object.
    pub bytes: Bytes,
    /// What the catalogue keeps with each unit's commit; units without rows have an empty body.
    pub slices: Vec<(Unit, SliceBody)>,
}

/// Where a unit's rows lie in a commit object.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SliceBody {
    /// One part per table with rows.
    pub parts: Vec<PartBody>,
}

/// Where a unit's rows of one table lie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartBody {
    /// The table's stored name.
    pub table: String,
    /// First byte in the object.
    pub offset: u64,
    /// Bytes in the object.
    pub length: u64,
    /// Bytes before compression.
    pub raw_length: u64,
    /// CRC-32 of the bytes in the object.
    pub crc: u32,
    /// Rows.
    pub rows: u64,
    /// Earliest day of the rows, in days since 1970-01-01.
    pub first_day: i32,
    /// Latest day of the rows.
    pub last_day: i32,
}

impl SliceBody {
    /// The text that the catalogue keeps.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads the catalogue's text.
    ///
    /// # Errors
    /// [`StoreError::Description`] when it is not one of ours.
    pub fn from_json(text: &str, key: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|_| StoreError::Description { key: key.to_owned() })
    }
}

/// Encodes the rows of one tick.
///
/// # Errors
/// [`StoreError::Misfit`] when rows do not have their table's columns.
pub fn encode(slices: &[SliceRows]) -> Result<EncodedObject> {
    let mut bytes = MAGIC.to_vec();
    let mut bodies = Vec::with_capacity(slices.len());
    for slice in slices {
        let mut tables: BTreeMap<Table, Vec<RecordBatch>> = BTreeMap::new();
        for (table, batch) in slice.tables.iter().filter(|(_, batch)| batch.num_rows() > 0) {
            let batch = conform(batch, &bare(&table.spec().schema()), *table)?;
            tables.entry(*table).or_default().push(batch);
        }
        let mut body = SliceBody::default();
        for (table, batches) in tables {
            body.parts.push(append_part(&mut bytes, table, &batches)?);
        }
        bodies.push((slice.unit, body));
    }
    Ok(EncodedObject { bytes: bytes.into(), slices: bodies })
}

fn append_part(bytes: &mut Vec<u8>, table: Table, batches: &[RecordBatch]) -> Result<PartBody> {
    let (mut rows, mut first_day, mut last_day) = (0, i32::MAX, i32::MIN);
    for batch in batches {
        rows += batch.num_rows() as u64;
        for day in days(batch, table)? {
            first_day = first_day.min(day);
            last_day = last_day.max(day);
        }
    }
    let stream = write_stream(&bare(&table.spec().schema()), batches)?;
    let part = zstd::bulk::compress(&stream, ZSTD_LEVEL).map_err(|error| StoreError::Compress(Arc::new(error)))?;
    let offset = bytes.len() as u64;
    bytes.extend_from_slice(&part);
    Ok(PartBody {
        table: table.name().to_owned(),
        offset,
        length: part.len() as u64,
        raw_length: stream.len() as u64,
        crc: crc32fast::hash(&part),
        rows,
        first_day,
        last_day,
    })
}

fn write_stream(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Vec<u8>> {
    let encode = |error| StoreError::Encode(Arc::new(error));
    let mut writer = StreamWriter::try_new(Vec::new(), schema).map_err(encode)?;
    for batch in batches {
        writer.write(batch).map_err(encode)?;
    }
    writer.into_inner().map_err(encode)
}

/// The schema without the columns' comments, which need not travel with every tick.
fn bare(schema: &SchemaRef) -> SchemaRef {
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| Field::new(field.name(), field.data_type().clone(), field.is_nullable()))
        .collect();
    Arc::new(Schema::new(fields))
}

/// Decodes one part from its own bytes: the rows as they were written, without `commit`.
///
/// # Errors
/// [`StoreError::Corrupt`] when anything differs from what was written.
pub fn decode_part(key: &str, part: &PartBody, bytes: &[u8]) -> Result<Vec<RecordBatch>> {
    let corrupt =
        |detail: &str| StoreError::Corrupt { key: key.to_owned(), detail: format!("{}: {detail}", part.table) };
    if bytes.len() as u64 != part.length || crc32fast::hash(bytes) != part.crc {
        return Err(corrupt("its checksum differs"));
    }
    let capacity = usize::try_from(part.raw_length).map_err(|_| corrupt("it is too large"))?;
    let stream = zstd::bulk::decompress(bytes, capacity).map_err(|_| corrupt("it can't be decompressed"))?;
    let reader = StreamReader::try_new(Cursor::new(stream), None).map_err(|error| corrupt(&error.to_string()))?;
    let batches: Vec<_> = reader.collect::<Result<_, _>>().map_err(|error| corrupt(&error.to_string()))?;
    if batches.iter().map(|batch| batch.num_rows() as u64).sum::<u64>() != part.rows {
        return Err(corrupt("rows are missing"));
    }
    Ok(batches)
}

/// Decodes whole slices of an object.
///
/// # Errors
/// [`StoreError::Corrupt`] when anything differs from what was written.
pub fn decode(key: &str, bytes: &[u8], slices: &[(Unit, SliceBody)]) -> Result<Vec<SliceRows>> {
    let corrupt = |detail: &str| StoreError::Corrupt { key: key.to_owned(), detail: detail.to_owned() };
    if bytes.get(..MAGIC.len()) != Some(&MAGIC) {
        return Err(corrupt("it is no commit object of this version"));
    }
    let mut decoded = Vec::with_capacity(slices.len());
    for (unit, body) in slices {
        let mut tables = Vec::new();
        for part in &body.parts {
            let table = Table::named(&part.table).ok_or_else(|| corrupt("it holds an unknown table"))?;
            let range = part_range(part).ok_or_else(|| corrupt("a part is too large"))?;
            let bytes = bytes.get(range).ok_or_else(|| corrupt("it is too short"))?;
            tables.extend(decode_part(key, part, bytes)?.into_iter().map(|batch| (table, batch)));
        }
        decoded.push(SliceRows { unit: *unit, tables });
    }
    Ok(decoded)
}

/// The bytes of a part within its object.
pub(crate) fn part_range(part: &PartBody) -> Option<std::ops::Range<usize>> {
    let start = usize::try_from(part.offset).ok()?;
    Some(start..start.checked_add(usize::try_from(part.length).ok()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{account, request, requests, unit};

    fn sample() -> Vec<SliceRows> {
        let rows = |offset| requests(&[request(account(1), offset), request(account(2), offset + 1)]);
        vec![
            SliceRows { unit: unit(3), tables: vec![(Table::Requests, rows(0)), (Table::Requests, rows(2))] },
            SliceRows { unit: unit(4), tables: vec![] },
        ]
    }

    #[test]
    fn rows_come_back_as_they_were_written() {
        let object = encode(&sample()).unwrap();
        assert_eq!(object.slices[0].1.parts[0].rows, 4);
        assert_eq!(object.slices[1].1, SliceBody::default());
        let decoded = decode("o", &object.bytes, &object.slices).unwrap();
        assert_eq!(decoded.len(), 2);
        for ((table, written), (read_table, read)) in sample()[0].tables.iter().zip(&decoded[0].tables) {
            assert_eq!(table, read_table);
            assert_eq!(written.columns(), read.columns());
        }
        let text = object.slices[0].1.to_json();
        assert_eq!(SliceBody::from_json(&text, "o").unwrap(), object.slices[0].1);
    }

    #[test]
    fn a_flipped_bit_anywhere_is_detected() {
        let object = encode(&sample()).unwrap();
        for index in 0..object.bytes.len() {
            let mut bytes = object.bytes.to_vec();
            bytes[index] ^= 1 << (index % 8);
            let read = decode("o", &bytes, &object.slices);
            assert!(matches!(read, Err(StoreError::Corrupt { .. })), "byte {index}");
        }
    }

    #[test]
    fn a_cut_object_is_detected() {
        let object = encode(&sample()).unwrap();
        for length in 0..object.bytes.len() {
            assert!(decode("o", &object.bytes[..length], &object.slices).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn rows_of_other_columns_are_refused() {
        let slice = SliceRows { unit: unit(3), tables: vec![(Table::Days, requests(&[request(account(1), 0)]))] };
        assert!(matches!(encode(&[slice]), Err(StoreError::Misfit { .. })));
    }
}
