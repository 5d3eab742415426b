//! Which segments to read for one event: their Bloom filters are fetched by ranges.
//!
//! Footers and filters are believed unread by the file's checksum; whatever a filter lets
//! through is read whole and checked.

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

struct Ranges {
    objects: Objects,
    key: String,
    bytes: u64,
}

impl AsyncFileReader for Ranges {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        let read = self.objects.get_range(&self.key, range);
        read.map(|bytes| bytes.map_err(|error| ParquetError::External(Box::new(error)))).boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        let bytes = self.bytes;
        let reader = ParquetMetaDataReader::new().with_arrow_reader_options(options);
        async move { reader.load_and_finish(self, bytes).await.map(Arc::new) }.boxed()
    }
}

/// Whether a piece may hold the event.
pub(crate) async fn may_hold_event(objects: &Objects, piece: &Piece, event_id: &str) -> Result<bool> {
    let Place::Segment { bytes, .. } = piece.place else { return Ok(true) };
    let failed = |error: ParquetError| match error {
        ParquetError::External(source) => match source.downcast::<StoreError>() {
            Ok(error) => *error,
            Err(other) => StoreError::Corrupt { key: piece.key.clone(), detail: other.to_string() },
        },
        other => StoreError::Corrupt { key: piece.key.clone(), detail: other.to_string() },
    };
    let ranges = Ranges { objects: objects.clone(), key: piece.key.clone(), bytes };
    let mut builder = ParquetRecordBatchStreamBuilder::new(ranges).await.map_err(failed)?;
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
