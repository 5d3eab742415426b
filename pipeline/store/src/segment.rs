//! Segments: the rows of one table, slot and day as a Parquet file, sorted by account, key
//! and time, with `commit`.
//!
//! A file is read whole and its CRC-32 (kept by the catalogue) is compared before a row is
//! believed; only [`crate::bloom`] reads less, the filters and the footer at a file's end, which have
//! a checksum of their own, to find out which files to read at all.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{SortColumn, concat_batches, lexsort_to_indices, take_record_batch};
use bytes::Bytes;
use castback_schemas::table::{Kind, Table};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::properties::{BloomFilterPosition, EnabledStatistics, WriterProperties};
use parquet::file::statistics::Statistics;

use crate::columns::{COMMIT, conform, stored_schema};
use crate::error::{Result, StoreError};

/// Rows of a row group: what one account's scan skips or reads at a time.
const ROW_GROUP_ROWS: usize = 128 * 1024;
/// Rows of a batch handed on: small enough to stay in a core's cache.
pub(crate) const BATCH_ROWS: usize = 8192;
/// One wrong file in a hundred is opened for an event that is elsewhere.
const BLOOM_FALSE_POSITIVES: f64 = 0.01;

/// What is wanted of a segment.
#[derive(Debug, Clone)]
pub(crate) struct Wanted<'a> {
    pub(crate) table: Table,
    pub(crate) columns: &'a [&'a str],
    pub(crate) account: Option<&'a str>,
    pub(crate) revision: i64,
}

/// Sorted rows (with `commit`) as Parquet.
pub(crate) fn encode(table: Table, sorted: &RecordBatch) -> Result<Bytes> {
    write(table, sorted).map_err(|error| StoreError::Parquet(Arc::new(error)))
}

/// The rows in a segment's order.
pub(crate) fn sorted(table: Table, batches: &[RecordBatch]) -> Result<RecordBatch> {
    let schema = stored_schema(table);
    let batches: Vec<_> = batches.iter().map(|batch| conform(batch, &schema, table)).collect::<Result<_>>()?;
    sort(table, &concat_batches(&schema, &batches)?)
}

/// By account, key, time and commit; rows of one commit stay in the order they were written.
fn sort(table: Table, batch: &RecordBatch) -> Result<RecordBatch> {
    let rows = u32::try_from(batch.num_rows()).map_err(|_| StoreError::Misfit {
        table: table.name(),
        detail: "more rows than a segment can hold".to_owned(),
    })?;
    let spec = table.spec();
    let names = std::iter::once("account_id").chain(spec.key.iter().copied()).chain([spec.filed_by, COMMIT]);
    let mut columns: Vec<SortColumn> = names
        .filter_map(|name| batch.column_by_name(name))
        .map(|column| SortColumn { values: Arc::clone(column), options: None })
        .collect();
    let written = Arc::new(UInt32Array::from_iter_values(0..rows)) as ArrayRef;
    columns.push(SortColumn { values: written, options: None });
    let order = lexsort_to_indices(&columns, None)?;
    Ok(take_record_batch(batch, &order)?)
}

fn write(table: Table, batch: &RecordBatch) -> Result<Bytes, ParquetError> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_created_by("castback".to_owned());
    if table.spec().kind == Kind::Ledger && batch.column_by_name("event_id").is_some() {
        let column = parquet::schema::types::ColumnPath::from("event_id");
        properties = properties
            .set_bloom_filter_position(BloomFilterPosition::End)
            .set_column_bloom_filter_enabled(column.clone(), true)
            .set_column_bloom_filter_max_ndv(column.clone(), ROW_GROUP_ROWS as u64)
            .set_column_bloom_filter_fpp(column, BLOOM_FALSE_POSITIVES);
    }
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties.build()))?;
    writer.write(batch)?;
    writer.into_inner().map(Bytes::from)
}

/// Where the filters of a segment begin, behind which the footer lies, and the CRC-32 of both.
pub(crate) fn tail(bytes: &Bytes) -> Result<Option<(u64, u32)>> {
    let parquet = |error| StoreError::Parquet(Arc::new(error));
    let metadata = ParquetMetaDataReader::new().parse_and_finish(bytes).map_err(parquet)?;
    let columns = metadata.row_groups().iter().flat_map(RowGroupMetaData::columns);
    let first = columns.filter_map(ColumnChunkMetaData::bloom_filter_offset).min();
    let start = first.and_then(|first| usize::try_from(first).ok());
    Ok(start.and_then(|start| Some((start as u64, crc32fast::hash(bytes.get(start..)?)))))
}

/// Opens a segment's bytes for the wanted columns, skipping row groups of other accounts and
/// of later commits; what remains may still hold rows of both.
pub(crate) fn open(key: &str, crc: u32, bytes: Bytes, wanted: &Wanted<'_>) -> Result<ParquetRecordBatchReader> {
    let corrupt = |detail: String| StoreError::Corrupt { key: key.to_owned(), detail };
    if crc32fast::hash(&bytes) != crc {
        return Err(corrupt("its checksum differs".to_owned()));
    }
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|error| corrupt(error.to_string()))?;
    let groups: Vec<usize> = builder
        .metadata()
        .row_groups()
        .iter()
        .enumerate()
        .filter(|(_, group)| may_hold(group, wanted))
        .map(|(index, _)| index)
        .collect();
    let mask = ProjectionMask::columns(builder.parquet_schema(), wanted.columns.iter().copied());
    let reader = builder.with_row_groups(groups).with_projection(mask).with_batch_size(BATCH_ROWS).build();
    reader.map_err(|error| corrupt(error.to_string()))
}

fn may_hold(group: &RowGroupMetaData, wanted: &Wanted<'_>) -> bool {
    let statistics = |name: &str| {
        let column = group.columns().iter().find(|column| column.column_path().string() == name);
        column.and_then(|column| column.statistics())
    };
    let account = match (wanted.account, statistics("account_id")) {
        (Some(account), Some(Statistics::ByteArray(range))) => {
            let account = account.as_bytes();
            range.min_opt().is_none_or(|min| min.data() <= account)
                && range.max_opt().is_none_or(|max| account <= max.data())
        }
        _ => true,
    };
    let revision = match statistics(COMMIT) {
        Some(Statistics::Int64(range)) => range.min_opt().is_none_or(|min| *min <= wanted.revision),
        _ => true,
    };
    account && revision
}
