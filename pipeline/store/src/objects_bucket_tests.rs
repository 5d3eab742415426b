//! Objects in a bucket of a real S3 server, over a wire that is slow, breaks, or is answered by somebody in between.
//!
//! `CASTBACK_TEST_S3` is the server's URL; it has a bucket `castback` and takes any credentials.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use castback_schemas::Micros;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

fn server() -> String {
    let server = std::env::var("CASTBACK_TEST_S3");
    server.expect("CASTBACK_TEST_S3 is not set: tests/run starts a server, or by hand: tests/servers/s3 start DIR")
}

/// Objects under a prefix of their own.
pub(crate) fn objects(prefix: &str) -> Objects {
    at(&server(), prefix)
}

fn at(endpoint: &str, prefix: &str) -> Objects {
    let settings = AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_region("us-east-1")
        .with_access_key_id("test")
        .with_secret_access_key("test");
    let address = format!("s3://castback/{}", prefix.trim_matches('/'));
    Objects::in_bucket(settings, &Url::parse(&address).unwrap(), &address).unwrap()
}

/// A prefix that no other run has.
fn prefix() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().display().to_string();
    (folder, name)
}

/// What befalls a connection.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// It is handed on.
    Whole,
    /// It is answered 503 on the way.
    Refused,
    /// The server does what it is asked, and its answer is lost.
    AnswerLost,
}

/// An address between client and server: what it is asked goes on after `delay`, by the fate of its turn; how often it was asked.
async fn between(delay: Duration, fate: impl Fn(usize) -> Fate + Send + 'static) -> (String, Arc<AtomicUsize>) {
    let target = server().trim_start_matches("http://").trim_end_matches('/').to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&turns);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let fate = fate(counted.fetch_add(1, Ordering::SeqCst));
            let target = target.clone();
            tokio::spawn(async move {
                // Whoever breaks a connection off tells nobody.
                drop(hand_on(stream, &target, (delay, fate)).await);
            });
        }
    });
    (address, turns)
}

/// One request and its answer; then the connection ends, so that the next request has another fate.
async fn hand_on(mut near: TcpStream, target: &str, (delay, fate): (Duration, Fate)) -> std::io::Result<()> {
    let request = message(&mut near).await?;
    tokio::time::sleep(delay).await;
    if matches!(fate, Fate::Refused) {
        return near.write_all(b"HTTP/1.1 503 Slow Down\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
    }
    let mut far = TcpStream::connect(target).await?;
    let head = String::from_utf8_lossy(&request).replacen("\r\n", "\r\nconnection: close\r\n", 1);
    // Only the head is text; what follows it is sent as it is.
    let body = request.windows(4).position(|end| end == b"\r\n\r\n").map_or(request.len(), |end| end + 4);
    let head = head.split_once("\r\n\r\n").map_or(head.as_str(), |(head, _)| head);
    far.write_all(format!("{head}\r\n\r\n").as_bytes()).await?;
    far.write_all(&request[body..]).await?;
    let mut answer = Vec::new();
    far.read_to_end(&mut answer).await?;
    if matches!(fate, Fate::Whole) {
        near.write_all(&answer).await?;
    }
    near.shutdown().await
}

/// A request with its whole body.
async fn message(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut read = Vec::new();
    loop {
        if let Some(end) = read.windows(4).position(|end| end == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if read.len() >= end + 4 + length.unwrap_or(0) {
                return Ok(read);
            }
        }
        if stream.read_buf(&mut read).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

#[tokio::test]
async fn an_object_is_put_once_and_read_back_whole_or_in_part() {
    let (_folder, prefix) = prefix();
    let objects = objects(&prefix);
    super::tests::put_once_and_read_back(&objects).await;
    assert!(matches!(objects.get("commits/none").await, Err(StoreError::Missing { .. })));
    let far = Micros(i64::MAX);
    assert_eq!(objects.written_before("commits", far).await.unwrap(), ["commits/a"]);
    assert!(objects.written_before("commits", Micros(0)).await.unwrap().is_empty());
    objects.remove("commits/a").await.unwrap();
    objects.remove("commits/a").await.unwrap();
    assert!(objects.written_before("commits", far).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_put_one_name_at_once_one_succeeds() {
    let (_folder, prefix) = prefix();
    let objects = objects(&prefix);
    for round in 0..5 {
        let key = format!("commits/{round}");
        let puts = (0..8).map(|number| {
            let (objects, key) = (objects.clone(), key.clone());
            tokio::spawn(async move { (number, objects.put(&key, Bytes::from(vec![number; 10_000])).await) })
        });
        let mut winners = Vec::new();
        for put in puts.collect::<Vec<_>>() {
            match put.await.unwrap() {
                (number, Ok(())) => winners.push(number),
                (_, Err(StoreError::Exists { .. })) => {}
                (_, Err(error)) => panic!("{error}"),
            }
        }
        assert_eq!(winners.len(), 1, "{winners:?}");
        assert_eq!(objects.get(&key).await.unwrap(), vec![winners[0]; 10_000]);
    }
}

#[tokio::test]
async fn a_hundred_milliseconds_change_nothing_but_the_time() {
    let (_folder, prefix) = prefix();
    let delay = Duration::from_millis(100);
    let (address, turns) = between(delay, |_| Fate::Whole).await;
    let objects = at(&address, &prefix);
    let begun = tokio::time::Instant::now();
    objects.put("commits/a", Bytes::from(vec![7; 300_000])).await.unwrap();
    assert!(begun.elapsed() >= delay, "it is delayed");
    assert_eq!(objects.get("commits/a").await.unwrap(), vec![7; 300_000]);
    let again = objects.put("commits/a", Bytes::new()).await;
    assert!(matches!(again, Err(StoreError::Exists { .. })), "{again:?}");
    assert!(turns.load(Ordering::SeqCst) >= 3);
}

#[tokio::test]
async fn what_a_busy_server_refuses_is_tried_again() {
    let (_folder, prefix) = prefix();
    let (address, turns) = between(Duration::ZERO, |turn| if turn % 3 < 2 { Fate::Refused } else { Fate::Whole }).await;
    let objects = at(&address, &prefix);
    objects.put("commits/a", Bytes::from_static(b"0123456789")).await.unwrap();
    assert_eq!(objects.get_range("commits/a", 2..5).await.unwrap(), "234");
    assert_eq!(objects.written_before("commits", Micros(i64::MAX)).await.unwrap(), ["commits/a"]);
    objects.remove("commits/a").await.unwrap();
    assert_eq!(turns.load(Ordering::SeqCst), 12, "three tries each");
}

/// The second try finds what the first has written. It is whole, under a name that nobody else has, and not referred to.
#[tokio::test]
async fn a_put_whose_answer_is_lost_is_written_or_said_to_be_there() {
    let (_folder, prefix) = prefix();
    let (address, turns) = between(Duration::ZERO, |turn| if turn == 0 { Fate::AnswerLost } else { Fate::Whole }).await;
    let lossy = at(&address, &prefix);
    let put = lossy.put("commits/a", Bytes::from_static(b"0123456789")).await;
    assert!(matches!(put, Ok(()) | Err(StoreError::Exists { .. } | StoreError::Put { .. })), "{put:?}");
    assert!(turns.load(Ordering::SeqCst) >= 1);
    assert_eq!(objects(&prefix).get("commits/a").await.unwrap(), "0123456789");
}

#[tokio::test]
async fn nobody_at_the_address_is_an_error_that_says_so() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let settings = AmazonS3Builder::new()
        .with_endpoint(format!("http://{gone}"))
        .with_allow_http(true)
        .with_access_key_id("test")
        .with_secret_access_key("test")
        .with_retry(object_store::RetryConfig { max_retries: 1, ..object_store::RetryConfig::default() });
    let objects = Objects::in_bucket(settings, &Url::parse("s3://castback/x").unwrap(), "s3://castback/x").unwrap();
    let put = objects.put("commits/a", Bytes::new()).await;
    assert!(matches!(put, Err(StoreError::Put { .. })), "{put:?}");
}
