//! Listener requests from a seed: whole files, pieces, repeats, probes, robots, and all that must not count.

use std::net::IpAddr;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::oracle::access_log::rfc3339;
use crate::oracle::agents::{Agents, Kind, Networks};
use crate::oracle::{DAY, Episode, Oracle, Podcast, Request};

/// Agents of the traffic and what the published lists say of them.
pub(crate) const AGENTS: &[(&str, Kind)] = &[
    ("AppleCoreMedia/1.0.0.19A583 (iPhone; U; CPU OS 15_0 like Mac OS X; en_us)", Kind::Listener),
    ("Overcast/3.0 (+http://overcast.fm/; iOS podcast app)", Kind::Listener),
    ("PlayerOfATest/2.1 (Linux)", Kind::Listener),
    ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", Kind::Bot),
    ("ExampleCrawler/1.0 (+https://crawler.example/)", Kind::Bot),
    ("Python/3.10 aiohttp/3.9.3", Kind::BotLibrary),
];

/// Addresses of a data centre, as the published ranges have it.
pub(crate) const DATACENTRE: &str = "3.3.2.0,3.3.2.255,Amazon AWS,http://www.amazon.com/aws/";

/// Requests lie in the days before now.
const SPAN: i64 = 3 * DAY;

/// A generator of requests for one podcast.
#[derive(Debug)]
pub(crate) struct Traffic {
    rng: StdRng,
    podcast: String,
    newest: i64,
    number: u64,
    past: Vec<Request>,
}

/// Episodes of every kind: with a length and duration, short, without a duration.
pub(crate) fn episodes() -> Vec<Episode> {
    let episode = |name: &str, length, duration| Episode {
        guid: format!("guid-{name}"),
        url: format!("https://media.example/episodes/{name}.mp3"),
        length,
        duration,
    };
    vec![
        episode("01", 4_800_000, 600),
        episode("02", 9_600_000, 1200),
        episode("03", 360_000, 45),
        episode("04", 2_000_000, 0),
    ]
}

/// The oracle for this traffic.
pub(crate) fn oracle(podcast: &str) -> Oracle {
    Oracle {
        podcasts: vec![Podcast { id: podcast.to_owned(), episodes: episodes() }],
        agents: Agents::Table(AGENTS),
        networks: Networks::of(std::iter::once(DATACENTRE)),
    }
}

impl Traffic {
    /// `newest` is the time of the latest request there may be.
    pub(crate) fn new(seed: u64, podcast: &str, newest: i64) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        Self { rng, podcast: podcast.to_owned(), newest, number: 0, past: Vec::new() }
    }

    /// The next requests; about a fifth are repeats of records sent before.
    pub(crate) fn batch(&mut self, size: usize) -> Vec<Request> {
        let mut batch = Vec::new();
        for _ in 0..size {
            let again = self.rng.random_bool(0.2).then(|| self.past.choose(&mut self.rng).cloned()).flatten();
            batch.push(if let Some(request) = again { request } else { self.request() });
        }
        self.past.extend(batch.iter().cloned());
        batch
    }

    fn request(&mut self) -> Request {
        self.number += 1;
        let known = episodes();
        let episode = &known[self.rng.random_range(0..known.len())];
        let mut request = Request {
            id: format!("request-{:09}", self.number),
            podcast: self.podcast.clone(),
            url: episode.url.clone(),
            at: self.newest - self.rng.random_range(0..SPAN),
            method: "GET".to_owned(),
            status: 200,
            bytes_sent: Some(episode.length),
            agent: Some(AGENTS[self.rng.random_range(0..3)].0.to_owned()),
            address: Some(self.address()),
            ..Request::default()
        };
        match self.rng.random_range(0..100) {
            0..35 => {}
            35..70 => self.piece(&mut request, episode.length),
            70..80 => request.bytes_sent = Some(self.rng.random_range(0..episode.length / 8)),
            _ => self.spoil(&mut request),
        }
        request
    }

    /// Fifty households, some of them with several addresses of one IPv6 network.
    fn address(&mut self) -> IpAddr {
        let household = self.rng.random_range(1..=50_u16);
        let text = if household > 40 {
            format!("2001:db8:0:{household:x}::{:x}", self.rng.random_range(1..=3_u16))
        } else {
            format!("198.51.100.{household}")
        };
        text.parse().expect("an address")
    }

    fn piece(&mut self, request: &mut Request, length: u64) {
        let from = self.rng.random_range(0..length - 10);
        let bytes = self.rng.random_range(3..=(length - from).min(length / 3).max(3)).min(length - from);
        request.status = 206;
        request.range = Some(format!("bytes={from}-{}", from + bytes - 1));
        request.bytes_sent = Some(bytes);
    }

    /// Something that no rule counts.
    fn spoil(&mut self, request: &mut Request) {
        match self.rng.random_range(0..9) {
            0 => request.method = "HEAD".to_owned(),
            1 => request.status = 304,
            2 => (request.status, request.range, request.bytes_sent) = (206, Some("bytes=0-1".to_owned()), Some(2)),
            3 => request.agent = None,
            4 => request.agent = Some("atc/1.0 watchOS/9.1 model/Watch6,2".to_owned()),
            5 => request.agent = Some(AGENTS[self.rng.random_range(3..AGENTS.len())].0.to_owned()),
            6 => request.address = "3.3.2.77".parse().ok(),
            7 => request.url = "https://media.example/episodes/99.mp3".to_owned(),
            _ => (request.status, request.bytes_sent) = (200, Some(0)),
        }
    }
}

/// The request as the contract has it.
pub(crate) fn to_json(request: &Request) -> Value {
    let mut value = json!({
        "id": request.id,
        "podcast_id": request.podcast,
        "enclosure_url": request.url,
        "occurred_at": rfc3339(request.at),
        "method": request.method,
        "status": request.status,
    });
    let mut set = |name: &str, given: Option<Value>| {
        if let Some(given) = given {
            value[name] = given;
        }
    };
    set("range", request.range.clone().map(Value::from));
    set("bytes_sent", request.bytes_sent.map(Value::from));
    set("file_bytes", request.file_bytes.map(Value::from));
    set("user_agent", request.agent.clone().map(Value::from));
    set("ip", request.address.map(|address| Value::from(address.to_string())));
    let ad = |(id, from, to): &(String, u64, u64)| json!({"placement_id": id, "from_byte": from, "to_byte": to});
    set("ads", (!request.ads.is_empty()).then(|| request.ads.iter().map(ad).collect()));
    value
}

/// The request as a line of the combined log format.
pub(crate) fn to_line(request: &Request) -> String {
    let moment = rfc3339(request.at);
    let (date, time) = moment.split_once('T').expect("a date and a time");
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month: usize = date[5..7].parse().expect("a month");
    let when = format!("{}/{}/{}:{} +0000", &date[8..10], months[month - 1], &date[..4], &time[..8]);
    let path = request.url.strip_prefix("https://media.example").unwrap_or(&request.url);
    let address = request.address.map_or("-".to_owned(), |address| address.to_string());
    let bytes = request.bytes_sent.map_or("-".to_owned(), |bytes| bytes.to_string());
    let agent = request.agent.as_deref().unwrap_or("-");
    let (method, status) = (&request.method, request.status);
    format!("{address} - - [{when}] \"{method} {path} HTTP/1.1\" {status} {bytes} \"-\" \"{agent}\"\n")
}
