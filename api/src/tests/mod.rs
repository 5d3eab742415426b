//! The router over a real catalogue, log and store in a directory of the test's own.

mod campaigns;
mod committed;
mod feeds;
mod intake;
mod keyed;
mod money;
mod people;
mod play;
mod problems;
mod reading;
mod redirects;
mod registry;
mod reporting;
mod separation;
mod series;
mod serving;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use castback_broker::{EmbeddedLog, EmbeddedOptions, Log, ReadLimits, Record};
use castback_catalogue::Catalogue;
use castback_connectors::agent::FeedPoller;
use castback_connectors::feeds::PollPolicy;
use castback_connectors::http::{Fetcher, Guard};
use castback_rules::lists::{DatedLists, ListTexts, Lists};
use castback_schemas::codec::{BatchDecoder, schema_id};
use castback_schemas::edge::HashKey;
use castback_schemas::id::SeededIds;
use castback_schemas::{ManualClock, Micros, Slot, Topic};
use castback_store::Store;
use castback_store::worker::Pool;
use http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt;
use url::Url;

use crate::query::SqlWorkers;
use crate::redirects::queue::SightingsReceiver;
use crate::tiers::Tiers;
use crate::{App, AppParts, Part, Settings, router};

/// 2026-11-24T10:00:00Z.
pub(super) const NOW: Micros = Micros(1_795_514_400_000_000);

/// Small lists: one data centre, one campus.
fn lists() -> Arc<DatedLists> {
    let names = ["bots", "apps", "libraries", "browsers", "referrers", "bad-referrers"];
    let pattern = |name: &str| format!(r#"{{"entries": [{{"name": "{name}", "pattern": "^{name}"}}]}}"#);
    let files = names.map(|name| (format!("{name}.json"), pattern(name)));
    let ranges = ("datacenters.csv".to_owned(), "203.0.113.0,203.0.113.255,A,\n".to_owned());
    let safe = ("safe-list.csv".to_owned(), "198.51.100.0/24,Campus,2026-11-01\n".to_owned());
    let texts = ListTexts::from_files(files.into_iter().chain([ranges, safe])).unwrap();
    Arc::new(DatedLists::new(Arc::new(Lists::new(&texts, Micros(0)).unwrap())))
}

/// A server without a socket.
pub(super) struct Bench {
    pub(super) app: Arc<App>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) log: Arc<EmbeddedLog>,
    router: Router,
    sightings: Option<SightingsReceiver>,
    folder: tempfile::TempDir,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn is(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self
    }

    /// A problem of this code, whose body shows no cause.
    pub(super) fn refused(self, status: u16, code: &str) -> Self {
        let answer = self.is(status);
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        assert_eq!(answer.json()["type"], format!("urn:castback:problem:{code}"), "{}", answer.text());
        answer
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
    }
}

impl Bench {
    pub(super) async fn new() -> Self {
        Self::with(|settings| settings.off.push(Part::Pricing)).await
    }

    pub(super) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(NOW));
        let database = format!("sqlite://{}", folder.path().join("castback.db").display());
        let catalogue = Catalogue::open(&database, clock.clone(), [7; 32]).await.unwrap();
        let objects = Url::from_directory_path(folder.path().join("objects")).unwrap();
        let log = EmbeddedLog::open(&folder.path().join("log"), clock.clone(), EmbeddedOptions::default()).unwrap();
        let log = Arc::new(log);
        let fetcher = Arc::new(Fetcher::new(Guard::new(vec!["127.0.0.1/32".parse().unwrap()])).unwrap());
        let mut settings = Settings {
            public_url: "https://cast.example/".parse().unwrap(),
            cors_origins: vec!["https://dash.example".to_owned()],
            operators: vec!["Root@listeners.example".to_owned()],
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            off: Vec::new(),
            tiers: Tiers::default(),
            secret: HashKey::from_bytes([5; 32]),
            registry: None,
        };
        change(&mut settings);
        let poller = FeedPoller::new(catalogue.clone(), Arc::clone(&fetcher), clock.clone(), PollPolicy::default());
        let parts = AppParts {
            schemas: Arc::new(catalogue.clone()),
            catalogue,
            store: Store::open(objects.as_str()).unwrap(),
            log: log.clone(),
            clock: clock.clone(),
            ids: Arc::new(SeededIds::new([3; 32])),
            lists: lists(),
            fetcher,
            poller,
            settings,
            sql: SqlWorkers { pool: Pool::new("/bin/false".into(), Vec::new(), 1), address: objects.to_string() },
            registry: prometheus::Registry::new(),
        };
        let (app, sightings) = App::new(parts).await.unwrap();
        let router = router(Arc::clone(&app));
        Self { app, clock, log, router, sightings: Some(sightings), folder }
    }

    /// The exit of the redirects' queue, once.
    pub(super) fn sightings(&mut self) -> SightingsReceiver {
        self.sightings.take().unwrap()
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    /// A call with these headers and this body.
    pub(super) async fn call(&self, line: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let (method, path) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    /// Signs a new person up.
    pub(super) async fn sign_up(&self, name: &str) -> Account<'_> {
        let body = json!({"email": format!("{name}@listeners.example"), "password": "a long pass phrase"});
        let answer = self.call("POST /v1/users", &[JSON], body.to_string()).await.is(201).json();
        let text = |field: &str| answer[field].as_str().unwrap().to_owned();
        Account { bench: self, id: text("account_id"), key: text("api_key") }
    }

    /// The operator of the installation.
    pub(super) async fn operator(&self) -> Account<'_> {
        let key = self.app.catalogue.create_operator_key().await.unwrap();
        Account { bench: self, id: self.app.catalogue.installation().account.to_string(), key }
    }

    /// All records of a topic, of all slots.
    pub(super) async fn records(&self, topic: Topic) -> Vec<Record> {
        let limits = ReadLimits { max_bytes: usize::MAX, wait: std::time::Duration::ZERO };
        let mut records = Vec::new();
        for slot in Slot::all() {
            let mut from = self.log.ends(topic, slot).await.unwrap().start;
            loop {
                let read = self.log.read(topic, slot, from, limits).await.unwrap();
                let Some(last) = read.last() else { break };
                from = last.offset + 1;
                records.extend(read);
            }
        }
        records
    }

    /// The values of a topic's records as JSON: hashes in hexadecimal, times as texts.
    pub(super) async fn values(&self, topic: Topic) -> Vec<Value> {
        let values: Vec<_> = self.records(topic).await.into_iter().map(|record| record.value).collect();
        let mut decoder = BatchDecoder::new(topic).unwrap();
        for id in values.iter().filter_map(|value| schema_id(value)) {
            let schema = self.app.schemas.look_up(id).await.unwrap();
            decoder.learn(id, schema.as_deref());
        }
        let decoded = decoder.decode(&values).unwrap();
        assert_eq!(decoded.bad, []);
        let mut writer = arrow::json::ArrayWriter::new(Vec::new());
        writer.write(&decoded.batch).unwrap();
        writer.finish().unwrap();
        let text = writer.into_inner();
        if text.is_empty() { Vec::new() } else { serde_json::from_slice(&text).unwrap() }
    }
}

pub(super) const JSON: (&str, &str) = ("content-type", "application/json");

/// Who signed up.
pub(super) struct Account<'a> {
    pub(super) bench: &'a Bench,
    pub(super) id: String,
    pub(super) key: String,
}

impl Account<'_> {
    pub(super) async fn call(&self, line: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let authorization = format!("Bearer {}", self.key);
        let headers: Vec<_> = headers.iter().copied().chain([("authorization", authorization.as_str())]).collect();
        self.bench.call(line, &headers, body).await
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.call(&format!("GET {path}"), &[], "").await
    }

    pub(super) async fn delete(&self, path: &str) -> Answer {
        self.call(&format!("DELETE {path}"), &[], "").await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call(&format!("POST {path}"), &[JSON], body.to_string()).await
    }

    pub(super) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.call(&format!("PUT {path}"), &[JSON], body.to_string()).await
    }

    pub(super) async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.call(&format!("PATCH {path}"), &[JSON], body.to_string()).await
    }

    /// A podcast whose feed was never reached.
    pub(super) async fn podcast(&self, name: &str) -> String {
        let body = json!({"feed_url": format!("http://10.0.0.1/{name}.xml")});
        self.post("/v1/podcasts", &body).await.is(201).json()["id"].as_str().unwrap().to_owned()
    }
}
