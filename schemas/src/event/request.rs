//! Listener requests: what a server saw of a download.

use serde::{Deserialize, Serialize};

use super::Event;
use crate::id::{AccountId, PodcastId};
use crate::time::Micros;
use crate::topic::Topic;

/// A request for an episode file. The address is gone: only keyed hashes are left of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerRequest {
    /// The sender's id, or the keyed hash of a log line.
    pub event_id: String,
    /// Whose it is.
    pub account_id: AccountId,
    /// When the request was made.
    pub occurred_at: Micros,
    /// When Castback received it.
    pub recorded_at: Micros,
    /// 0: from outside.
    pub revision: i64,
    /// The podcast asked for.
    pub podcast_id: PodcastId,
    /// The file asked for: a URL, or the path of a log line.
    pub enclosure_url: String,
    /// HTTP method; `-` where the line had none.
    pub method: String,
    /// HTTP status; 0 where there was none.
    pub status: i32,
    /// The Range header as sent.
    pub range: Option<String>,
    /// Body bytes sent.
    pub bytes_sent: Option<i64>,
    /// Size of the whole file.
    pub file_bytes: Option<i64>,
    /// User agent as sent.
    pub user_agent: Option<String>,
    /// `other`, `datacentre` or `unknown`.
    pub network: String,
    /// Version of the range list that said so.
    pub network_version: String,
    /// Referer as sent.
    pub referer: Option<String>,
    /// Country as given.
    pub country: Option<String>,
    /// Keyed hash of household and user agent under the key of the record's month.
    #[serde(with = "apache_avro::serde::fixed")]
    pub listener: [u8; 16],
    /// Keyed hash of the household under the same key.
    #[serde(with = "apache_avro::serde::fixed")]
    pub household: [u8; 16],
    /// The listener under the key of the month before, on the first day of a month.
    #[serde(with = "apache_avro::serde::fixed_opt")]
    pub listener_previous: Option<[u8; 16]>,
    /// The address is on the safe list.
    pub safe_listed: bool,
    /// `api`, `log` or `prefix`.
    pub source: String,
    /// Where ads were in the response.
    pub ads: Vec<AdBytes>,
}

/// The bytes of one ad in a response, half-open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdBytes {
    /// The placement.
    pub placement_id: String,
    /// First byte.
    pub from_byte: i64,
    /// Byte after the last.
    pub to_byte: i64,
}

impl Event for ListenerRequest {
    const TOPIC: Topic = Topic::ListenerRequests;
}
