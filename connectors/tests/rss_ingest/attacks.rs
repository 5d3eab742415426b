//! What a hostile publisher can try.

use std::error::Error as _;
use std::time::Duration;

use castback_connectors::feeds::{PollFailure, PollKind, PollPolicy, PollState, poll_feed};
use castback_connectors::http::{FetchError, FetchRequest, Fetched, Fetcher, Guard, MAX_BODY_BYTES, PostRequest};
use castback_schemas::Micros;
use tokio::net::TcpListener;
use url::Url;

use super::server::{Answer, Server, feed, fetcher, gzip};

async fn get(url: Url) -> Result<Fetched, FetchError> {
    fetcher().get(FetchRequest::new(url)).await
}

#[tokio::test]
async fn test_rss_ingest_never_dials_a_private_address() {
    let trap = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let port = trap.local_addr().unwrap().port();
    let server = Server::start().await;
    let targets = [
        format!("http://127.0.0.2:{port}/"),
        format!("http://2130706434:{port}/"),
        format!("http://0x7f.2:{port}/"),
        format!("http://[::ffff:127.0.0.2]:{port}/"),
        "http://10.0.0.1/".to_owned(),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://[::1]/".to_owned(),
        "file:///etc/passwd".to_owned(),
        "ftp://127.0.0.1/".to_owned(),
        "//127.0.0.2/".to_owned(),
        "http://user@127.0.0.1/".to_owned(),
        "http://".to_owned(),
    ];
    let mut texts = Vec::new();
    for target in targets {
        if let Ok(url) = Url::parse(&target) {
            texts.push(get(url).await.expect_err(&target).to_string());
        }
        for status in [301, 302, 307, 308] {
            let error = get(server.on("/out", Answer::redirect(status, &target))).await.expect_err(&target);
            assert!(matches!(error, FetchError::Refused(_)), "{target}");
            texts.push(error.to_string());
        }
    }
    let nobody = get(Url::parse("http://127.0.0.1:1/").unwrap()).await.unwrap_err();
    texts.push(nobody.to_string());
    texts.dedup();
    assert_eq!(texts, ["the address could not be reached"], "one text, whatever was behind the address");
    let accepted = tokio::time::timeout(Duration::ZERO, trap.accept()).await;
    assert!(accepted.is_err(), "nobody may have connected");
}

#[tokio::test]
async fn test_rss_ingest_refuses_names_of_this_machine() {
    let server = Server::start().await;
    let mut url = server.on("/feed", Answer::new(200, &[], &feed(1)));
    url.set_host(Some("localhost")).unwrap();
    let strict = Fetcher::new(Guard::default()).unwrap();
    assert!(matches!(strict.get(FetchRequest::new(url)).await, Err(FetchError::Refused(_))));
    assert!(server.heads().is_empty());
}

#[tokio::test]
async fn test_rss_ingest_cuts_a_dripping_body_at_the_deadline() {
    let server = Server::start().await;
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n\r\n<rss>".to_vec();
    let url = server.on("/drip", Answer::Forever(head, Some(Duration::from_millis(20))));
    let request = FetchRequest { deadline: Duration::from_millis(300), ..FetchRequest::new(url) };
    assert!(matches!(fetcher().get(request).await, Err(FetchError::TimedOut)));
    let url = server.on("/silent", Answer::Forever(Vec::new(), Some(Duration::from_hours(1))));
    let request = FetchRequest { deadline: Duration::from_millis(300), ..FetchRequest::new(url) };
    assert!(matches!(fetcher().get(request).await, Err(FetchError::TimedOut)));
}

#[tokio::test]
async fn test_rss_ingest_cuts_an_endless_body_at_the_limit() {
    let server = Server::start().await;
    let url = server.on("/endless", Answer::Forever(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), None));
    assert!(matches!(get(url).await, Err(FetchError::TooLarge { limit: MAX_BODY_BYTES })));
}

#[tokio::test]
async fn test_rss_ingest_cuts_a_gzip_bomb_where_it_unfolds() {
    let server = Server::start().await;
    // Two members, each within the limit, together over it.
    let member = gzip(&vec![b' '; MAX_BODY_BYTES / 2 + 1024]);
    assert!(member.len() < 100_000);
    let bomb = [member.clone(), member].concat();
    let url = server.on("/bomb", Answer::new(200, &[("Content-Encoding", "gzip")], &bomb));
    let error = get(url.clone()).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { .. }));
    let outcome = poll_feed(&fetcher(), PollState::new(url, Micros(0)), Micros(0), PollPolicy::default()).await;
    assert!(matches!(outcome.kind, PollKind::Failed(PollFailure::Fetch(FetchError::TooLarge { .. }))));
}

#[tokio::test]
async fn test_rss_ingest_reads_gzip_of_several_members() {
    let server = Server::start().await;
    let document = feed(100);
    let (left, right) = document.split_at(1000);
    let body = [gzip(left), gzip(right)].concat();
    let url = server.on("/parts", Answer::new(200, &[("Content-Encoding", "gzip")], &body));
    assert_eq!(get(url).await.unwrap().body, document);
    assert!(server.heads()[0].contains("accept-encoding: gzip"));
    let url = server.on("/cut", Answer::new(200, &[("Content-Encoding", "gzip")], &body[..body.len() / 2]));
    assert!(matches!(get(url).await, Err(FetchError::Unreadable(_))));
    let url = server.on("/lie", Answer::new(200, &[("Content-Encoding", "gzip")], &document));
    assert!(matches!(get(url).await, Err(FetchError::Unreadable(_))));
}

#[tokio::test]
async fn test_rss_ingest_is_not_fooled_by_a_lying_length() {
    let server = Server::start().await;
    let body = feed(2);
    let with_length = |length: usize| {
        let mut bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
        bytes.extend_from_slice(&body);
        Answer::Bytes(bytes)
    };
    let long = get(server.on("/long", with_length(body.len() + 1000))).await.unwrap_err();
    assert!(matches!(long, FetchError::Unreadable(_)));
    assert!(long.source().is_some());
    let short = get(server.on("/short", with_length(10))).await.unwrap();
    assert_eq!(short.body.len(), 10);
    let huge = get(server.on("/huge", with_length(MAX_BODY_BYTES + 1))).await.unwrap_err();
    assert!(matches!(huge, FetchError::TooLarge { .. }));
    let garbage = get(server.on("/garbage", Answer::Bytes(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec()))).await.unwrap_err();
    assert_eq!(garbage.to_string(), "the address could not be reached");
    let mut no_tls = server.on("/plain", Answer::new(200, &[], &body));
    no_tls.set_scheme("https").unwrap();
    assert!(matches!(get(no_tls).await, Err(FetchError::Unreachable(_))));
}

#[tokio::test]
async fn test_rss_ingest_posts_are_guarded_and_follow_nothing() {
    let server = Server::start().await;
    let post = |url: Url| PostRequest {
        url,
        headers: std::iter::once((http_name("x-test"), "1".parse().unwrap())).collect(),
        body: "payload".into(),
        max_bytes: 1000,
        deadline: Duration::from_secs(20),
    };
    let target = server.on("/hook", Answer::new(400, &[], b"reason"));
    let answer = fetcher().post(post(target)).await.unwrap();
    assert_eq!((answer.status, &answer.body[..]), (400, &b"reason"[..]));
    assert!(server.heads()[0].starts_with("post /hook") && server.heads()[0].contains("x-test: 1"));
    let moved = fetcher().post(post(server.on("/moved", Answer::redirect(307, "/hook")))).await.unwrap();
    assert_eq!((moved.status, server.heads().len()), (307, 2));
    let private = fetcher().post(post(Url::parse("http://10.0.0.1/hook").unwrap())).await;
    assert!(matches!(private, Err(FetchError::Refused(_))));
}

fn http_name(name: &'static str) -> reqwest::header::HeaderName {
    reqwest::header::HeaderName::from_static(name)
}
