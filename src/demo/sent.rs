//! What the demo sends, and how it is written.

use castback_schemas::Micros;
use castback_schemas::time::SECOND;
use serde_json::{Value, json};

use super::cast::{CAMPAIGNS, PODCASTS};
use super::dates;

/// A request for an episode's file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Request {
    pub(crate) id: String,
    /// Index of the podcast.
    pub(crate) podcast: usize,
    /// Index of its episode.
    pub(crate) episode: usize,
    pub(crate) at: Micros,
    pub(crate) method: &'static str,
    pub(crate) status: u16,
    /// First and last byte.
    pub(crate) range: Option<(u64, u64)>,
    /// Bytes sent.
    pub(crate) bytes: u64,
    pub(crate) agent: Option<&'static str>,
    pub(crate) address: String,
    /// Whether the file is one of the feed's.
    pub(crate) known_file: bool,
}

/// Somebody bought something, or gave it back.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Conversion {
    pub(crate) id: String,
    /// Index of the campaign whose shop it was.
    pub(crate) campaign: usize,
    pub(crate) kind: &'static str,
    pub(crate) at: Micros,
    pub(crate) cents: i64,
    pub(crate) transaction: String,
    /// Whether they typed the campaign's promo code.
    pub(crate) with_code: bool,
    pub(crate) address: String,
}

/// What a user of the advertiser's app did.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AppEvent {
    pub(crate) id: String,
    pub(crate) kind: &'static str,
    pub(crate) at: Micros,
    pub(crate) user: String,
    pub(crate) feature: &'static str,
}

/// Anything that is sent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sent {
    Request(Request),
    Conversion(Conversion),
    Event(AppEvent),
    /// A page of the campaign's shop loads the pixel: anybody could.
    Pixel {
        campaign: usize,
        id: String,
        cents: i64,
    },
    /// Somebody types the campaign's vanity address.
    Visit {
        campaign: usize,
    },
}

impl From<Request> for Sent {
    fn from(request: Request) -> Self {
        Self::Request(request)
    }
}

impl From<Conversion> for Sent {
    fn from(conversion: Conversion) -> Self {
        Self::Conversion(conversion)
    }
}

impl From<AppEvent> for Sent {
    fn from(event: AppEvent) -> Self {
        Self::Event(event)
    }
}

impl Sent {
    /// The request, if it is one.
    pub(crate) fn as_request(&self) -> Option<&Request> {
        if let Self::Request(request) = self { Some(request) } else { None }
    }
}

impl Request {
    fn file(&self) -> String {
        let file = PODCASTS[self.podcast].file(self.episode);
        if self.known_file { file } else { file.replace("/episode-", "/teaser-") }
    }

    /// As `POST /v1/listener-requests` takes it; `podcasts` are the ids by index.
    pub(crate) fn json(&self, podcasts: &[String]) -> Value {
        let mut value = json!({
            "id": self.id,
            "podcast_id": podcasts.get(self.podcast),
            "enclosure_url": self.file(),
            "occurred_at": self.at,
            "method": self.method,
            "status": self.status,
            "bytes_sent": self.bytes,
            "ip": self.address,
        });
        if let Some((first, last)) = self.range {
            value["range"] = json!(format!("bytes={first}-{last}"));
        }
        if let Some(agent) = self.agent {
            value["user_agent"] = json!(agent);
        }
        value
    }

    /// As a web server's access log has it.
    pub(crate) fn log_line(&self) -> String {
        let file = self.file();
        let path = file.strip_prefix("https://media.castback.example").unwrap_or(&file);
        let (when, agent) = (dates::in_a_log(self.at), self.agent.unwrap_or("-"));
        let Self { address, method, status, bytes, .. } = self;
        format!("{address} - - [{when}] \"{method} {path} HTTP/1.1\" {status} {bytes} \"-\" \"{agent}\"\n")
    }
}

impl Conversion {
    /// As IAB's ECAPI has it.
    pub(crate) fn json(&self) -> Value {
        let campaign = &CAMPAIGNS[self.campaign];
        let mut value = json!({
            "data_set_id": campaign.data_set,
            "id": self.id,
            "event_type": self.kind,
            "timestamp": self.at.0 / SECOND,
            "value": in_dollars(self.cents),
            "currency_code": "USD",
            "user_data": { "event_ip_address": self.address, "event_user_agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0" },
            "properties": { "transaction_id": self.transaction },
        });
        if self.with_code {
            value["properties"]["coupon"] = json!(campaign.promo_code);
        }
        value
    }
}

impl AppEvent {
    /// As `POST /v1/events` takes it.
    pub(crate) fn json(&self) -> Value {
        json!({
            "id": self.id, "type": self.kind, "occurred_at": self.at, "user_id": self.user, "feature": self.feature,
            "page": "/campaigns",
        })
    }
}

/// Cents as dollars, a number with two decimals exactly.
fn in_dollars(cents: i64) -> Value {
    // A number of at most two decimals is written back as it was read.
    dollars(cents).parse::<f64>().map_or(Value::Null, Value::from)
}

/// Cents as dollars, in text.
pub(crate) fn dollars(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_exact() {
        for cents in [0, 1, 10, 99, 100, 2_999, 6_499, 12_345] {
            let text = in_dollars(cents).to_string();
            let (whole, part) = text.split_once('.').unwrap();
            let read: i64 = whole.parse::<i64>().unwrap() * 100 + format!("{part:0<2}").parse::<i64>().unwrap();
            assert_eq!(read, cents, "{text}");
        }
    }

    #[test]
    fn a_request_is_written_both_ways() {
        let request = Request {
            id: "t-1".to_owned(),
            podcast: 2,
            episode: 0,
            at: "2026-11-24T10:00:00Z".parse().unwrap(),
            method: "GET",
            status: 206,
            range: Some((0, 1)),
            bytes: 2,
            agent: None,
            address: "2001:db8::1".to_owned(),
            known_file: true,
        };
        let ids = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(request.json(&ids)["podcast_id"], "c");
        assert_eq!(request.json(&ids)["range"], "bytes=0-1");
        assert_eq!(request.json(&ids)["occurred_at"], "2026-11-24T10:00:00Z");
        assert_eq!(
            request.log_line(),
            "2001:db8::1 - - [24/Nov/2026:10:00:00 +0000] \"GET /late-signals/episode-01.mp3 HTTP/1.1\" 206 2 \"-\" \"-\"\n"
        );
    }
}
