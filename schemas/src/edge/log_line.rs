//! Lines of access logs in the common, combined and virtual-host combined formats.
//!
//! ```text
//! [vhost] host ident user [time] "request" status bytes ["referer" "user agent" …]
//! ```
//! A request that makes no sense (`"-"`, or bytes of another protocol) is a fact about a
//! client, so it is a line like any other, with method `-`. An error is only a line that
//! can't be read at all. The format has no `Range` header: see [`crate::edge::range`].

use std::borrow::Cow;
use std::net::IpAddr;

use crate::edge::{log_time, quoted};
use crate::time::Micros;

/// Longest line read, in bytes: eight times the 8 KiB to which servers hold a request line
/// and each header. A longer one is refused with [`LogLineError::TooLong`].
pub const MAX_LINE: usize = 64 * 1024;

/// The method of a line whose request could not be read.
pub const MALFORMED_METHOD: &str = "-";

/// One line of an access log, borrowed from its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// The virtual host, where the format puts one first.
    pub vhost: Option<&'a str>,
    /// The client as written: an address, or a name where the server resolves names.
    pub host: &'a str,
    /// The client's address; none if the server wrote a name.
    pub address: Option<IpAddr>,
    /// When the server says the request came, to the second.
    pub occurred_at: Micros,
    /// The HTTP method; [`MALFORMED_METHOD`] if the request could not be read.
    pub method: &'a str,
    /// Path and query as asked for; empty if the request could not be read.
    pub target: Cow<'a, str>,
    /// The answer's status, from 100 on; 0 if the server gave none (`-` or `000`).
    pub status: u16,
    /// Body bytes sent. `-` is how the common format writes 0 (Apache's `%b`).
    pub bytes_sent: u64,
    /// The `Referer` header; none if missing, empty or `-`.
    pub referer: Option<Cow<'a, str>>,
    /// The `User-Agent` header; none if missing, empty or `-`.
    pub user_agent: Option<Cow<'a, str>>,
    /// Whatever the server adds after the user agent, unread.
    pub extra: &'a str,
}

/// Why a line could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogLineError {
    /// Nothing but white space.
    #[error("the line is empty")]
    Empty,
    /// More than [`MAX_LINE`] bytes.
    #[error("the line is longer than {MAX_LINE} bytes")]
    TooLong,
    /// No host, identity and user before the time.
    #[error("expected host, identity and user before the time")]
    Client,
    /// No `[dd/Mon/yyyy:HH:MM:SS ±hhmm]`.
    #[error("no time such as [03/Dec/2013:07:55:30 +0000]")]
    Time,
    /// A quoted field that is missing its start or end.
    #[error("the {field} is not readable")]
    Quoted {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        #[source]
        source: quoted::Unquoted,
    },
    /// The status is no three digits, or below 100.
    #[error("the status is no number of three digits from 100 on")]
    Status,
    /// The number of bytes is no number.
    #[error("the number of bytes sent is no number")]
    Bytes,
}

impl<'a> LogLine<'a> {
    /// Reads one line, with or without its line end.
    pub fn parse(line: &'a str) -> Result<Self, LogLineError> {
        let line = line.trim();
        match line.len() {
            0 => return Err(LogLineError::Empty),
            length if length > MAX_LINE => return Err(LogLineError::TooLong),
            _ => {}
        }
        let (client, occurred_at, rest) = split_at_time(line)?;
        let (vhost, host, address) = read_client(client)?;
        let (request, rest) = quoted_field("request", rest)?;
        let (method, target) = read_request(request);
        let (status, rest) = next_word(rest);
        let (bytes, rest) = next_word(rest);
        let (status, bytes_sent) = (read_status(status)?, read_bytes(bytes)?);
        let (referer, rest) = optional_field("referer", rest)?;
        let (user_agent, rest) = optional_field("user agent", rest)?;
        let extra = rest.trim();
        Ok(Self { vhost, host, address, occurred_at, method, target, status, bytes_sent, referer, user_agent, extra })
    }

    /// Whether the request itself could not be read.
    #[must_use]
    pub fn is_malformed(&self) -> bool {
        self.method == MALFORMED_METHOD
    }
}

/// The first bracketed time, what stands before it and what behind: a user's name may hold brackets, too.
fn split_at_time(line: &str) -> Result<(&str, Micros, &str), LogLineError> {
    line.match_indices('[')
        .find_map(|(open, _)| {
            let (time, rest) = line[open + 1..].split_once(']')?;
            Some((&line[..open], log_time::parse(time)?, rest))
        })
        .ok_or(LogLineError::Time)
}

fn read_client(text: &str) -> Result<(Option<&str>, &str, Option<IpAddr>), LogLineError> {
    let mut words = text.split_ascii_whitespace();
    let (Some(first), Some(second), Some(_user)) = (words.next(), words.next(), words.next()) else {
        return Err(LogLineError::Client);
    };
    if let Ok(address) = first.parse() {
        return Ok((None, first, Some(address)));
    }
    match second.parse() {
        Ok(address) if words.next().is_some() => Ok((Some(first), second, Some(address))),
        _ => Ok((None, first, None)),
    }
}

/// `METHOD target HTTP/x`, three words (RFC 9112, section 3), or a malformed request.
fn read_request(text: Cow<'_, str>) -> (&str, Cow<'_, str>) {
    const MALFORMED: (&str, Cow<'_, str>) = (MALFORMED_METHOD, Cow::Borrowed(""));
    match text {
        Cow::Borrowed(text) => {
            split_request(text).map_or(MALFORMED, |(method, target)| (method, Cow::Borrowed(target)))
        }
        Cow::Owned(text) => split_request(&text)
            .and_then(|(method, target)| Some((known_method(method)?, Cow::Owned(target.to_owned()))))
            .unwrap_or(MALFORMED),
    }
}

fn split_request(text: &str) -> Option<(&str, &str)> {
    let mut words = text.split(' ');
    let (method, target, protocol) = (words.next()?, words.next()?, words.next()?);
    let is_method = !method.is_empty() && method != MALFORMED_METHOD && method.bytes().all(is_token);
    let is_target =
        !target.is_empty() && !target.contains(|c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER);
    let is_request = is_method && is_target && protocol.starts_with("HTTP/") && words.next().is_none();
    is_request.then_some((method, target))
}

/// Methods of requests that hold escapes, whose text can't be borrowed from the line.
fn known_method(method: &str) -> Option<&'static str> {
    ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "PROPFIND"]
        .into_iter()
        .find(|known| *known == method)
}

/// A `tchar` of RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn read_status(word: &str) -> Result<u16, LogLineError> {
    match word {
        // As Apache and nginx write that there was none.
        "-" | "000" => Ok(0),
        digits if digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0') => {
            digits.parse().map_err(|_| LogLineError::Status)
        }
        _ => Err(LogLineError::Status),
    }
}

fn read_bytes(word: &str) -> Result<u64, LogLineError> {
    if word == "-" { Ok(0) } else { word.parse().map_err(|_| LogLineError::Bytes) }
}

fn quoted_field<'a>(field: &'static str, text: &'a str) -> Result<(Cow<'a, str>, &'a str), LogLineError> {
    quoted::take(text.trim_start()).map_err(|source| LogLineError::Quoted { field, source })
}

/// A quoted field that the common format does not have, and that says nothing as `""` or `"-"`.
fn optional_field<'a>(field: &'static str, text: &'a str) -> Result<(Option<Cow<'a, str>>, &'a str), LogLineError> {
    if !text.trim_start().starts_with('"') {
        return Ok((None, text));
    }
    let (value, rest) = quoted_field(field, text)?;
    Ok(((!value.is_empty() && value != "-").then_some(value), rest))
}

fn next_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_once(' ').unwrap_or((text, ""))
}

#[cfg(test)]
#[path = "log_line_tests.rs"]
mod tests;
