//! Rows as a Parquet file for others to read.

use std::sync::Arc;

use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use crate::error::{Result, StoreError};

/// The rows as one Parquet file. It costs CPU time: call it where that is allowed.
///
/// # Errors
/// [`StoreError::Parquet`]: a type that Parquet has not; a defect.
pub fn parquet(rows: &RecordBatch) -> Result<Vec<u8>> {
    write(rows).map_err(|error| StoreError::Parquet(Arc::new(error)))
}

fn write(rows: &RecordBatch) -> Result<Vec<u8>, ParquetError> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_created_by("castback".to_owned())
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties))?;
    writer.write(rows)?;
    writer.into_inner()
}
