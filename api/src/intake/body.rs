//! Reading a body: capped as sent and as decoded, with a deadline for its sender.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::BodyExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout, timeout_at};

use super::PERMIT_BYTES;
use crate::App;
use crate::problem::{Code, Problem, Result};

/// Most bytes of a body, as sent and as decoded.
pub(crate) const MAX_BODY: usize = 16 << 20;

/// Longest silence of a sender in the middle of a body; then the connection is closed.
const SILENCE: Duration = Duration::from_secs(10);

/// Longest time for a whole body.
const DEADLINE: Duration = Duration::from_secs(30);

/// Longest wait for memory; then the caller is told to come again.
const ROOM_WAIT: Duration = Duration::from_secs(2);

/// What a body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// One JSON document.
    Json,
    /// A JSON document a line.
    NdJson,
    /// Lines of an access log.
    Text,
}

impl Format {
    /// By the content type.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self> {
        let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "application/json" => Ok(Self::Json),
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
                Ok(Self::NdJson)
            }
            "text/plain" => Ok(Self::Text),
            _ => Err(unsupported("expected application/json, application/x-ndjson or text/plain")),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Coding {
    Identity,
    Gzip,
    Deflate,
    Zstd,
}

impl Coding {
    fn of(headers: &HeaderMap) -> Result<Self> {
        let coding = headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match coding.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "deflate" => Ok(Self::Deflate),
            "zstd" => Ok(Self::Zstd),
            _ => Err(unsupported("expected Content-Encoding gzip, deflate or zstd, one of them")),
        }
    }
}

fn unsupported(detail: &str) -> Problem {
    Problem::new(Code::UnsupportedMediaType, detail)
}

fn too_large() -> Problem {
    Problem::new(Code::TooLarge, format!("at most {MAX_BODY} bytes, sent and decoded"))
}

/// A body as it was sent, with its share of memory.
#[derive(Debug)]
pub(crate) struct Payload {
    bytes: Vec<u8>,
    coding: Coding,
    _room: OwnedSemaphorePermit,
}

/// Reads a body as it is sent.
pub(crate) async fn read(app: &App, headers: &HeaderMap, body: Body) -> Result<Payload> {
    let coding = Coding::of(headers)?;
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > MAX_BODY) {
        return Err(too_large());
    }
    // What is not announced, and what unfolds, may become as large as a body may be.
    let expected = length.filter(|_| matches!(coding, Coding::Identity)).unwrap_or(MAX_BODY);
    let permits = u32::try_from(expected.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX);
    let room = timeout(ROOM_WAIT, Arc::clone(&app.bodies.bytes).acquire_many_owned(permits)).await;
    let overloaded = || Problem::new(Code::Overloaded, "too many bodies are being read").retry_after(1);
    let room = room.map_err(|_| overloaded())?.map_err(|_| overloaded())?;
    let bytes = collect(body, length.unwrap_or(0)).await?;
    Ok(Payload { bytes, coding, _room: room })
}

async fn collect(mut body: Body, expected: usize) -> Result<Vec<u8>> {
    let slow = |_| Problem::new(Code::MalformedBody, "the body did not arrive in time");
    let deadline = Instant::now() + DEADLINE;
    let mut bytes = Vec::with_capacity(expected);
    while let Some(frame) = timeout_at(deadline.min(Instant::now() + SILENCE), body.frame()).await.map_err(slow)? {
        let frame = frame.map_err(|error| Problem::new(Code::MalformedBody, "the body broke off").because(error))?;
        if let Ok(data) = frame.into_data() {
            if bytes.len() + data.len() > MAX_BODY {
                return Err(too_large());
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes)
}

impl Payload {
    /// The bytes as they are meant. Takes time: call it where blocking is allowed.
    pub(crate) fn decode(self) -> Result<(Vec<u8>, OwnedSemaphorePermit)> {
        let Self { bytes, coding, _room: room } = self;
        let decoded = match coding {
            Coding::Identity => return Ok((bytes, room)),
            Coding::Gzip => inflate(MultiGzDecoder::new(bytes.as_slice())),
            Coding::Deflate => inflate(ZlibDecoder::new(bytes.as_slice())),
            Coding::Zstd => inflate(zstd::stream::read::Decoder::new(bytes.as_slice()).map_err(broken)?),
        };
        Ok((decoded?, room))
    }
}

/// Reads to the end or to the first byte too many.
fn inflate(decoder: impl Read) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    let length = decoder.take(MAX_BODY as u64 + 1).read_to_end(&mut plain).map_err(broken)?;
    if length > MAX_BODY { Err(too_large()) } else { Ok(plain) }
}

fn broken(error: std::io::Error) -> Problem {
    Problem::new(Code::MalformedBody, "the body is not encoded as its header says").because(error)
}
