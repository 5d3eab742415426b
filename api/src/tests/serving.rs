//! The accept loop over a real socket.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::Bench;
use crate::serve;

/// Far above anything that is waited for here; only a hang comes near.
const PATIENCE: Duration = Duration::from_mins(1);

async fn ask(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read(&mut chunk).await.unwrap();
        assert!(read > 0, "closed after {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&chunk[..read]);
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn open_connections_do_not_keep_a_server_from_stopping() {
    let bench = Bench::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let server = tokio::spawn(serve(listener, bench.app.clone(), shutdown.clone()));
    let mut silent = TcpStream::connect(address).await.unwrap();
    let mut idle = TcpStream::connect(address).await.unwrap();
    let answer = ask(&mut idle, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"POST /v1/users HTTP/1.1\r\nHost: a\r\nContent-Le").await.unwrap();
    assert!(!bench.app.stopping.is_cancelled());
    shutdown.cancel();
    tokio::time::timeout(PATIENCE, server).await.expect("it stops").unwrap();
    assert!(bench.app.stopping.is_cancelled(), "streams are told to end");
    let mut rest = Vec::new();
    for stream in [&mut silent, &mut idle] {
        assert_eq!(stream.read_to_end(&mut rest).await.unwrap_or(0), 0);
    }
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn what_is_no_http_harms_nobody() {
    let bench = Bench::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let server = tokio::spawn(serve(listener, bench.app.clone(), shutdown.clone()));
    for noise in [
        &b"\x16\x03\x01\x02\x00"[..],
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(noise).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "closed: {noise:?}");
    }
    let headers = (0..200).map(|number| format!("X-{number}: 1\r\n")).collect::<Vec<_>>().concat();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let answer = ask(&mut stream, &format!("GET /healthz HTTP/1.1\r\nHost: a\r\n{headers}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let answer = ask(&mut stream, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    shutdown.cancel();
    tokio::time::timeout(PATIENCE, server).await.expect("it stops").unwrap();
}

#[tokio::test]
async fn a_call_whose_body_is_not_read_is_told_that_the_connection_closes() {
    let bench = Bench::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let server = tokio::spawn(serve(listener, bench.app.clone(), shutdown.clone()));
    let head = "POST /v1/users HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";
    let mut stream = TcpStream::connect(address).await.unwrap();
    let small = ask(&mut stream, &format!("{head}Content-Length: 1\r\n\r\n{{")).await;
    assert!(small.starts_with("HTTP/1.1 4") && !small.contains("connection: close"), "{small}");
    let body = "x".repeat(3 * 1024 * 1024);
    let mut stream = TcpStream::connect(address).await.unwrap();
    let huge = ask(&mut stream, &format!("{head}Content-Length: {}\r\n\r\n{}", body.len(), &body[..400 * 1024])).await;
    assert!(huge.starts_with("HTTP/1.1 413") && huge.contains("connection: close"), "{huge}");
    shutdown.cancel();
    tokio::time::timeout(PATIENCE, server).await.expect("it stops").unwrap();
}
