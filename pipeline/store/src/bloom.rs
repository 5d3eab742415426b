//! Which segments to read for one event: their Bloom filters are fetched with the footer, and
//! believed by a checksum of their own: a filter that lies would leave an event out.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStreamBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use crate::error::{Result, StoreError};
use crate::objects::Objects;
use crate::view::{Piece, Place};

/// The end of a file, as if it were all of it.
struct Tail {
    /// Where it begins.
    start: u64,
    bytes: Bytes,
    /// Bytes of the file.
    length: u64,
}

impl Tail {
    fn slice(&self, range: &Range<u64>) -> Option<Bytes> {
        let within = |at: u64| usize::try_from(at.checked_sub(self.start)?).ok().filter(|at| *at <= self.bytes.len());
        let (from, to) = (within(range.start)?, within(range.end)?);
        (from <= to).then(|| self.bytes.slice(from..to))
    }
}

impl AsyncFileReader for Tail {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        let bytes = self.slice(&range).ok_or_else(|| ParquetError::EOF(format!("{range:?} is not at hand")));
        std::future::ready(bytes).boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        let length = self.length;
        let reader = ParquetMetaDataReader::new().with_arrow_reader_options(options);
        async move { reader.load_and_finish(self, length).await.map(Arc::new) }.boxed()
    }
}

/// Whether a piece may hold the event.
pub(crate) async fn may_hold_event(objects: &Objects, piece: &Piece, event_id: &str) -> Result<bool> {
    let Place::Segment { bytes: length, tail: Some((start, crc)), .. } = piece.place else { return Ok(true) };
    let corrupt = |detail: String| StoreError::Corrupt { key: piece.key.clone(), detail };
    let bytes = objects.get_range(&piece.key, start..length).await?;
    if crc32fast::hash(&bytes) != crc {
        return Err(corrupt("the checksum of its filters differs".to_owned()));
    }
    let failed = |error: ParquetError| corrupt(error.to_string());
    let tail = Tail { start, bytes, length };
    let mut builder = ParquetRecordBatchStreamBuilder::new(tail).await.map_err(failed)?;
    let columns = builder.parquet_schema().columns();
    let Some(column) = columns.iter().position(|column| column.name() == "event_id") else { return Ok(true) };
    for group in 0..builder.metadata().num_row_groups() {
        let filter = builder.get_row_group_column_bloom_filter(group, column).await.map_err(failed)?;
        if filter.is_none_or(|filter| filter.check(&event_id)) {
            return Ok(true);
        }
    }
    Ok(false)
}
