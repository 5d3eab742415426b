//! The client and the samples against a small server that answers with bodies of InfluxDB 2.7.

use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use castback_schemas::time::HOUR;
use castback_schemas::{Day, Micros, Revision, Series, Slot};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::harness::{Harness, TODAY};
use crate::mirror::points::Place;
use crate::samples::{Cell, Row, account, batch, request};

macro_rules! recorded {
    ($name:literal) => {
        include_str!(concat!("recorded/", $name))
    };
}

/// What a call brought.
#[derive(Debug, Clone)]
struct Seen {
    line: String,
    head: String,
    body: String,
}

type Answer = (u16, &'static str, &'static str);

/// Answers each call by `answer`, and remembers it.
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start(answer: impl Fn(&Seen, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (kept, answer) = (Arc::clone(&seen), Arc::new(answer));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                respond(stream, &kept, answer.as_ref()).await.unwrap();
            }
        });
        Self { address, seen, task }
    }

    fn mirror(&self, organization: Option<&str>) -> Mirror {
        let server = Url::parse(&format!("http://{}/", self.address)).unwrap();
        let organization = organization.map(str::to_owned);
        let token = Some(SecretString::from("a-token"));
        Mirror::new(MirrorOptions { server, bucket: "analytics".to_owned(), organization, token }).unwrap()
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn respond(
    mut stream: TcpStream,
    seen: &Mutex<Vec<Seen>>,
    answer: &(impl Fn(&Seen, usize) -> Answer + ?Sized),
) -> std::io::Result<()> {
    let mut read = Vec::new();
    let end = loop {
        if let Some(end) = read.windows(4).position(|end| end == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut read).await? == 0 {
            return Ok(());
        }
    };
    let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
    let length: usize =
        head.split_once("content-length: ").map_or(0, |(_, rest)| rest.split("\r\n").next().unwrap().parse().unwrap());
    while read.len() < end + length {
        stream.read_buf(&mut read).await?;
    }
    let mut body = String::new();
    if head.contains("content-encoding: gzip") {
        flate2::read::GzDecoder::new(&read[end..]).read_to_string(&mut body)?;
    } else {
        body = String::from_utf8_lossy(&read[end..]).into_owned();
    }
    let line = String::from_utf8_lossy(&read).lines().next().unwrap().to_owned();
    let call = Seen { line, head, body };
    let (status, headers, text) = answer(&call, seen.lock().unwrap().len());
    seen.lock().unwrap().push(call);
    let length = text.len();
    let answer = format!("HTTP/1.1 {status} x\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{text}");
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

fn tally(hour: i64, accepted: i64) -> Point {
    let tags = vec!["a".to_owned(), "conversions".to_owned()];
    Point { series: Series::Tallies, tags, time: Micros(hour * HOUR), fields: vec![accepted] }
}

fn of(organization: &str) -> Bucket {
    Bucket { organization: organization.to_owned(), ..Bucket::default() }
}

#[tokio::test]
async fn the_only_organization_and_the_bucket_are_found() {
    let server = Server::start(|call, _| match call.line.as_str() {
        line if line.starts_with("GET /api/v2/orgs") => {
            (200, "content-type: application/json\r\n", recorded!("orgs.json"))
        }
        line if line.starts_with("GET /api/v2/buckets") => (200, "", recorded!("bucket.json")),
        _ => (500, "", ""),
    })
    .await;
    let bucket = server.mirror(None).prepare().await.unwrap();
    assert_eq!(bucket, Bucket { organization: "castback".to_owned(), kept: Some(30 * 24 * HOUR), made: false });
    let asked = server.seen();
    assert!(asked[1].line.contains("name=analytics") && asked[1].line.contains("org=castback"), "{}", asked[1].line);
    assert!(asked.iter().all(|call| call.head.contains("authorization: token a-token")));
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_made_with_its_retention() {
    let server = Server::start(|call, _| match call.line.as_str() {
        line if line.starts_with("GET /api/v2/orgs") => (200, "", recorded!("orgs.json")),
        line if line.starts_with("GET /api/v2/buckets") => (404, "", recorded!("bucket-missing.json")),
        line if line.starts_with("POST /api/v2/buckets") => (201, "", recorded!("bucket-made.json")),
        _ => (500, "", ""),
    })
    .await;
    let bucket = server.mirror(Some("castback")).prepare().await.unwrap();
    assert!(bucket.made && bucket.kept == Some(1_826 * 24 * HOUR), "{bucket:?}");
    let made = server.seen().pop().unwrap().body;
    assert!(made.contains(r#""orgID":"f5b10cd031b12e01""#) && made.contains(r#""everySeconds":157766400"#), "{made}");
}

#[tokio::test]
async fn a_server_that_knows_no_buckets_is_written_to_all_the_same() {
    let server = Server::start(|_, _| (400, "", "unsupported path requested")).await;
    assert_eq!(server.mirror(Some("castback")).prepare().await.unwrap(), of("castback"));
    let absent = Server::start(|_, _| (503, "", "")).await;
    assert!(absent.mirror(None).prepare().await.unwrap_err().passes());
}

#[tokio::test]
async fn points_are_written_packed_by_second_to_bucket_and_organization() {
    let server = Server::start(|_, _| (204, "", "")).await;
    let batch = &batches(vec![tally(1, 5), tally(2, 6)])[0];
    let written = server.mirror(None).write(&of("a b"), batch).await.unwrap();
    assert_eq!(written, Written { taken: 2, rejected: 0 });
    let call = server.seen().pop().unwrap();
    assert!(call.line.starts_with("POST /api/v2/write?bucket=analytics&org=a+b&precision=s "), "{}", call.line);
    assert!(call.head.contains("authorization: token a-token"));
    let lines = "tallies,account_id=a,topic=conversions accepted=5i 3600\ntallies,account_id=a,topic=conversions accepted=6i 7200\n";
    assert_eq!(call.body, lines);
}

#[tokio::test]
async fn a_busy_server_says_how_long_to_wait() {
    let server = Server::start(|_, _| (429, "retry-after: 17\r\n", recorded!("busy.json"))).await;
    let batch = &batches(vec![tally(1, 5)])[0];
    let error = server.mirror(None).write(&of("castback"), batch).await.unwrap_err();
    assert!(error.passes() && error.retry_after() == Some(Duration::from_secs(17)), "{error}");
    assert!(error.to_string().contains("limited_write"), "{error}");
}

#[tokio::test]
async fn a_wrong_token_is_no_matter_of_time() {
    let server = Server::start(|_, _| (401, "", recorded!("unauthorized.json"))).await;
    let batch = &batches(vec![tally(1, 5)])[0];
    let error = server.mirror(None).write(&of("castback"), batch).await.unwrap_err();
    assert!(!error.passes() && error.to_string().contains("INFLUX_TOKEN"), "{error}");
    assert!(!format!("{:?}", server.mirror(None)).contains("a-token"), "the token is shown");
}

#[tokio::test]
async fn what_is_refused_for_good_is_found_and_left_out() {
    let server =
        Server::start(
            |call, _| {
                if call.body.contains("accepted=13i") { (400, "", "unable to parse") } else { (204, "", "") }
            },
        )
        .await;
    let batch = &batches((0..20).map(|number| tally(number, number)).collect())[0];
    let written = server.mirror(None).write(&of("castback"), batch).await.unwrap();
    assert_eq!(written, Written { taken: 19, rejected: 1 });
    let partly = Server::start(|_, _| (422, "", recorded!("partial.json"))).await;
    let written = partly.mirror(None).write(&of("castback"), batch).await.unwrap();
    assert_eq!(written, Written { taken: 19, rejected: 1 });
}

#[tokio::test]
async fn a_request_that_is_too_large_is_cut_in_half() {
    let server =
        Server::start(|call, _| if call.body.lines().count() > 3 { (413, "", "") } else { (204, "", "") }).await;
    let batch = &batches((0..10).map(|number| tally(number, number)).collect())[0];
    let written = server.mirror(None).write(&of("castback"), batch).await.unwrap();
    assert_eq!(written, Written { taken: 10, rejected: 0 });
    let taken: usize = server.seen().iter().map(|call| call.body.lines().count()).filter(|lines| *lines <= 3).sum();
    assert_eq!(taken, 10);
}

/// The hour of `recorded/hour.csv`.
fn sampled(accepted: i64) -> Sample {
    let hour = Micros(1_772_359_200_000_000);
    let tags = vec!["a\"b".to_owned(), "conversions".to_owned()];
    let point = Point { series: Series::Tallies, tags: tags.clone(), time: hour, fields: vec![accepted] };
    let place = Place { slot: Slot(0), days: hour.day()..=hour.day() };
    Sample { series: Series::Tallies, place, tags, hour, points: vec![point] }
}

#[tokio::test]
async fn an_hour_is_read_back_and_compared() {
    let server = Server::start(|_, _| (200, "content-type: text/csv\r\n", recorded!("hour.csv"))).await;
    let mirror = server.mirror(None);
    assert_eq!(mirror.compare(&of("castback"), &sampled(42)).await.unwrap(), []);
    let query = server.seen().pop().unwrap();
    assert!(query.line.contains("org=castback"), "{}", query.line);
    for part in [r#"r[\"account_id\"] == \"a\\\"b\""#, "start: 2026-03-01T10:00:00Z, stop: 2026-03-01T11:00:00Z"] {
        assert!(query.body.contains(part), "{part} in {}", query.body);
    }
    let differences = mirror.compare(&of("castback"), &sampled(41)).await.unwrap();
    assert_eq!((differences[0].expected, differences[0].found), (41, Some(42)));
    let nothing = Sample { points: Vec::new(), ..sampled(0) };
    let differences = mirror.compare(&of("castback"), &nothing).await.unwrap();
    assert_eq!((differences[0].expected, differences[0].found), (0, Some(42)), "what should not be there is zero");
}

#[tokio::test]
async fn what_is_missing_differs_even_from_nothing() {
    let server = Server::start(|_, _| (200, "", "\r\n")).await;
    let differences = server.mirror(None).compare(&of("castback"), &sampled(0)).await.unwrap();
    assert_eq!((differences[0].expected, differences[0].found), (0, None));
}

#[tokio::test]
async fn answers_that_can_not_be_read_are_errors() {
    for body in [recorded!("empty-cell.csv"), recorded!("error.csv"), ",,0,1,accepted,2\r\n"] {
        let server = Server::start(move |_, _| (200, "", body)).await;
        let error = server.mirror(None).compare(&of("castback"), &sampled(42)).await.unwrap_err();
        assert!(matches!(error, MirrorError::Answer(_)), "{error}");
    }
}

#[tokio::test]
async fn a_server_says_its_version_and_an_absent_one_nothing() {
    let server = Server::start(|_, _| (200, "", recorded!("health.json"))).await;
    assert_eq!(server.mirror(None).version().await.unwrap(), "influxdb v2.7.12");
    let mirror = server.mirror(None);
    drop(server);
    tokio::task::yield_now().await;
    assert!(mirror.version().await.unwrap_err().passes());
}

fn minute(minute: i64, impressions: i64, withdrawn: bool) -> Row {
    Row::from([
        ("account_id", Cell::Text(account(1).to_string())),
        ("campaign_id", Cell::Text("c".to_owned())),
        ("bucket_start", Cell::Int(TODAY.0 + minute * 60_000_000)),
        ("currency", Cell::Text("EUR".to_owned())),
        ("impressions_utc_day", Cell::Int(impressions)),
        ("withdrawn", Cell::Bool(withdrawn)),
    ])
}

#[tokio::test]
async fn changed_points_are_the_newest_whole_and_zero_when_withdrawn() {
    let harness = Harness::new().await;
    let slot = Slot::of(account(1));
    let table = castback_schemas::table::Table::CampaignPerformance;
    let commit = async |rows: &[Row]| harness.commit(vec![(slot, table, batch(table, rows))]).await;
    let first = commit(&[minute(0, 1, false), minute(1, 2, false)]).await;
    commit(&[minute(1, 3, false)]).await;
    commit(&[minute(1, 4, false), minute(0, 0, true)]).await;
    harness.compactor.run().await.unwrap();

    let view = harness.view(None).await;
    let since = async |after: Revision| {
        let mut points = Vec::new();
        for place in changed_places(&view, Series::CampaignPerformance, after) {
            let of = (Series::CampaignPerformance, &place);
            points.extend(changed_points(&harness.store, &view, of, after).await.unwrap());
        }
        points.iter().map(|point| (point.time.0 - TODAY.0, point.fields[0])).collect::<Vec<_>>()
    };
    assert_eq!(since(Revision(0)).await, [(0, 0), (60_000_000, 4)]);
    assert_eq!(since(first).await, [(0, 0), (60_000_000, 4)]);
    assert_eq!(since(view.revision()).await, []);

    let drawn = sample(&harness.store, &view, Series::CampaignPerformance, (7, Micros(0))).await.unwrap();
    assert_eq!(drawn.len(), 1);
    assert_eq!(drawn[0].points.len(), 1, "what was withdrawn is nothing: {drawn:?}");
    assert_eq!((drawn[0].points[0].fields[0], drawn[0].points[0].fields.len()), (4, 16));
    let later = TODAY.day().next().start();
    assert_eq!(sample(&harness.store, &view, Series::CampaignPerformance, (7, later)).await.unwrap(), []);
    assert_eq!(drawn[0].place.days, Day(TODAY.day().0)..=TODAY.day());
}

#[tokio::test]
async fn hours_of_podcasts_are_summed_anew_when_a_verdict_changes() {
    let harness = Harness::new().await;
    let (slot, podcast) = (Slot::of(account(1)), account(77).to_string());
    let asked = |offset: i64, podcast: &str| {
        let mut row = request(account(1), offset);
        row.insert("podcast_id", Cell::Text(podcast.to_owned()));
        row
    };
    let mut unknown = asked(2, &account(78).to_string());
    unknown.extend([
        ("verdict", Cell::Text("filtered".to_owned())),
        ("reason", Cell::Text("unknown_podcast".to_owned())),
        ("counted_utc_day", Cell::Bool(false)),
    ]);
    let rows = [asked(0, &podcast), asked(1, &podcast), unknown, asked(3, "no podcast at all")];
    let requests = castback_schemas::table::Table::Requests;
    let first = harness.commit(vec![(slot, requests, batch(requests, &rows))]).await;
    let sums = async |after: Revision| {
        let view = harness.view(None).await;
        let place = &changed_places(&view, Series::ListenerMetrics, after)[0];
        changed_points(&harness.store, &view, (Series::ListenerMetrics, place), after).await.unwrap()
    };
    let points = sums(Revision(0)).await;
    assert_eq!(points.len(), 1, "what is no podcast makes no series: {points:?}");
    assert_eq!(points[0].tags, [account(1).to_string(), podcast.clone()]);
    assert_eq!(points[0].fields, [2, 2, 0, 0, 0, 2, 0, 0, 0]);

    let mut revised = asked(1, &podcast);
    revised.extend([
        ("topic", Cell::Text("listener-requests".to_owned())),
        ("verdict", Cell::Text("duplicate".to_owned())),
        ("counted_utc_day", Cell::Bool(false)),
    ]);
    let verdicts = castback_schemas::table::Table::Verdicts;
    harness.commit(vec![(slot, verdicts, batch(verdicts, &[revised]))]).await;
    assert_eq!(sums(first).await[0].fields, [2, 1, 0, 0, 0, 1, 1, 0, 0]);
}
