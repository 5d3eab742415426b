//! Reading a body: decoded as it arrives and cut at the limit, so that a bomb never unfolds.
//!
//! We decode gzip ourselves, since the client's own decoder silently ends at the first of several members.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::MultiGzDecoder;
use reqwest::Response;
use reqwest::header::{CONTENT_ENCODING, HeaderValue};

use super::fetch::FetchError;

/// Reads the decoded body, at most `limit` bytes of it.
pub(super) async fn read(mut response: Response, limit: usize) -> Result<Bytes, FetchError> {
    if response.content_length().is_some_and(|length| length > limit as u64) {
        return Err(FetchError::TooLarge { limit });
    }
    let sink = Capped { bytes: Vec::new(), limit, full: false };
    let mut decoder = match response.headers().get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"" | b"identity") => Decoder::Plain(sink),
        Some(b"gzip" | b"x-gzip") => Decoder::Gzip(Box::new(MultiGzDecoder::new(sink))),
        Some(_) => return Err(FetchError::Unreadable(io::Error::other("a content encoding that was not asked for"))),
    };
    let mut empty = true;
    while let Some(chunk) = response.chunk().await.map_err(|error| FetchError::Unreadable(io::Error::other(error)))? {
        empty &= chunk.is_empty();
        let written = decoder.write(&chunk);
        decoder.check(written)?;
    }
    if empty {
        return Ok(Bytes::new());
    }
    let finished = decoder.finish();
    decoder.check(finished)?;
    Ok(decoder.take())
}

enum Decoder {
    Plain(Capped),
    Gzip(Box<MultiGzDecoder<Capped>>),
}

impl Decoder {
    fn write(&mut self, chunk: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(sink) => sink.write_all(chunk),
            Self::Gzip(decoder) => decoder.write_all(chunk),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Gzip(decoder) => decoder.try_finish(),
        }
    }

    fn sink(&mut self) -> &mut Capped {
        match self {
            Self::Plain(sink) => sink,
            Self::Gzip(decoder) => decoder.get_mut(),
        }
    }

    /// Tells a full sink from a broken stream.
    fn check(&mut self, result: io::Result<()>) -> Result<(), FetchError> {
        let sink = self.sink();
        if sink.full { Err(FetchError::TooLarge { limit: sink.limit }) } else { result.map_err(FetchError::Unreadable) }
    }

    fn take(mut self) -> Bytes {
        std::mem::take(&mut self.sink().bytes).into()
    }
}

/// Takes bytes up to a limit; the first byte too many is an error.
struct Capped {
    bytes: Vec<u8>,
    limit: usize,
    full: bool,
}

impl Write for Capped {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + more.len() > self.limit {
            self.full = true;
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
