//! What parent and worker say to each other.
//!
//! Request: `u32 length │ JSON │ catalogue rows as Arrow IPC streams, in the order named`.
//! Answer: `'A' u64 length │ Arrow IPC stream`, if the query ran, then `'T' u64 length │ JSON`.

use std::io::{self, Cursor, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Result, StoreError};
use crate::session::{Answer, CatalogueTables, Scope, SqlError};
use crate::view::PinnedView;

/// A request's JSON may be this long: a view of a million files.
const MAX_REQUEST: u32 = 256 * 1024 * 1024;

/// What a query may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Rows of the answer; what is beyond is cut off and said to be.
    pub rows: usize,
    /// Bytes of the answer, decoded; beyond, the query fails for memory.
    pub answer_bytes: usize,
    /// Bytes for sorts, joins and groups.
    pub pool_bytes: usize,
    /// Bytes of the whole process; beyond, it dies.
    pub process_bytes: u64,
    /// Time from the call to the answer; then the worker is killed.
    pub deadline: Duration,
}

impl Default for Limits {
    /// What customers may use: 100,000 rows, 30 s.
    fn default() -> Self {
        Self {
            rows: 100_000,
            answer_bytes: 128 * 1024 * 1024,
            pool_bytes: 256 * 1024 * 1024,
            process_bytes: 1024 * 1024 * 1024,
            deadline: Duration::from_secs(30),
        }
    }
}

/// A query for a worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// What exists; restricted to the scope's slot.
    pub view: PinnedView,
    /// The object store.
    pub address: String,
    /// Whose rows.
    pub scope: Scope,
    /// The statement.
    pub sql: String,
    /// The values of `$1 …`.
    pub params: Vec<Value>,
    /// What it may use.
    pub limits: Limits,
    /// The caller's catalogue rows.
    #[serde(skip)]
    pub catalogue: CatalogueTables,
    #[serde(default)]
    streams: Vec<(String, usize)>,
}

impl Request {
    /// A query as of a view, with the usual limits and no parameters.
    #[must_use]
    pub fn new(view: &PinnedView, address: &str, scope: Scope, sql: &str) -> Self {
        let view =
            scope.account().map_or_else(|| view.clone(), |account| view.of_slot(castback_schemas::Slot::of(account)));
        Self {
            view,
            address: address.to_owned(),
            scope,
            sql: sql.to_owned(),
            params: Vec::new(),
            limits: Limits::default(),
            catalogue: CatalogueTables::default(),
            streams: Vec::new(),
        }
    }

    /// The request's bytes.
    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let mut request = self.clone();
        let mut streams = Vec::new();
        for (name, rows) in self.catalogue.iter() {
            let stream = stream(&rows.schema(), std::slice::from_ref(rows))?;
            request.streams.push((name.to_owned(), stream.len()));
            streams.push(stream);
        }
        let json = serde_json::to_vec(&request).map_err(|error| StoreError::Request(Arc::new(error)))?;
        let length = u32::try_from(json.len()).unwrap_or(u32::MAX);
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend_from_slice(&json);
        bytes.extend(streams.into_iter().flatten());
        Ok(bytes)
    }

    /// Reads a request.
    pub(super) fn read(input: &mut impl Read) -> io::Result<Self> {
        let mut length = [0; 4];
        input.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length);
        if length > MAX_REQUEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut request: Self = serde_json::from_slice(&exactly(input, length as usize)?)?;
        for (name, length) in std::mem::take(&mut request.streams) {
            let bytes = exactly(input, length)?;
            for batch in StreamReader::try_new(Cursor::new(bytes), None).map_err(io::Error::other)? {
                request.catalogue.add(&name, &batch.map_err(io::Error::other)?).map_err(io::Error::other)?;
            }
        }
        Ok(request)
    }
}

fn exactly(input: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    input.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn stream(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Vec<u8>> {
    let encode = |error| StoreError::Encode(Arc::new(error));
    let mut writer = StreamWriter::try_new(Vec::new(), schema).map_err(encode)?;
    for batch in batches {
        writer.write(batch).map_err(encode)?;
    }
    writer.into_inner().map_err(encode)
}

/// How a query went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Trailer {
    Done { row_count: usize, truncated: bool, elapsed_ms: u64 },
    Failed { code: String, message: String },
}

/// Writes an answer and how it went.
pub(super) fn write_answer(
    output: &mut impl Write,
    answer: Result<Answer, SqlError>,
    elapsed: Duration,
) -> io::Result<()> {
    let trailer = match answer {
        Ok(answer) => {
            let bytes = stream(&answer.schema, &answer.batches).map_err(io::Error::other)?;
            frame(output, b'A', &bytes)?;
            Trailer::Done {
                row_count: answer.batches.iter().map(RecordBatch::num_rows).sum(),
                truncated: answer.truncated,
                elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            }
        }
        Err(error) => Trailer::Failed { code: error.code().to_owned(), message: error.to_string() },
    };
    frame(output, b'T', &serde_json::to_vec(&trailer)?)?;
    output.flush()
}

fn frame(output: &mut impl Write, kind: u8, bytes: &[u8]) -> io::Result<()> {
    output.write_all(&[kind])?;
    output.write_all(&(bytes.len() as u64).to_be_bytes())?;
    output.write_all(bytes)
}

/// A worker's answer.
#[derive(Debug, Clone)]
pub struct WorkerAnswer {
    /// The rows as an Arrow IPC stream.
    pub stream: Bytes,
    /// Rows.
    pub row_count: usize,
    /// Whether there were more rows than allowed.
    pub truncated: bool,
    /// Milliseconds in the worker.
    pub elapsed_ms: u64,
}

impl WorkerAnswer {
    /// The columns and the rows.
    ///
    /// # Errors
    /// [`StoreError::Arrange`]: the worker's bytes are no Arrow stream.
    pub fn decode(&self) -> Result<(SchemaRef, Vec<RecordBatch>)> {
        let reader = StreamReader::try_new(Cursor::new(&self.stream), None)?;
        let schema = reader.schema();
        Ok((schema, reader.collect::<Result<_, _>>()?))
    }
}
