//! A small local web server for feeds, which also says who asked for what.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::oracle::Episode;

/// Longest request head that is read; more is not a request of ours.
const HEAD_BYTES: usize = 16 * 1024;

#[derive(Debug, Default)]
struct State {
    pages: BTreeMap<String, Vec<u8>>,
    asked: Vec<String>,
}

/// Answers until it is dropped.
#[derive(Debug)]
pub(crate) struct FeedHost {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: tokio::task::JoinHandle<()>,
}

impl FeedHost {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a local port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State::default()));
        let task = tokio::spawn(serve(listener, Arc::clone(&state)));
        Self { address, state, task }
    }

    /// Publishes a page; returns its URL.
    pub(crate) fn publish(&self, path: &str, body: &str) -> String {
        self.publish_bytes(path, "content-type: application/rss+xml\r\n", body.as_bytes())
    }

    /// Publishes any bytes with these header lines; returns their URL.
    pub(crate) fn publish_bytes(&self, path: &str, headers: &str, body: &[u8]) -> String {
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n");
        self.answer(path, [head.as_bytes(), body].concat())
    }

    /// Publishes a redirect; returns its URL.
    pub(crate) fn redirect(&self, path: &str, to: &str) -> String {
        let head = format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        self.answer(path, head.into_bytes())
    }

    fn answer(&self, path: &str, response: Vec<u8>) -> String {
        self.state.lock().expect("no poison").pages.insert(path.to_owned(), response);
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Paths asked for so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.state.lock().expect("no poison").asked.clone()
    }
}

impl Drop for FeedHost {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            if let Err(error) = respond(stream, &state).await {
                eprintln!("the feed host lost a connection: {error}");
            }
        });
    }
}

async fn respond(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < HEAD_BYTES {
        let mut chunk = [0; 1024];
        let read = stream.read(&mut chunk).await?;
        if read == 0 {
            return Ok(());
        }
        head.extend_from_slice(&chunk[..read]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or("/").to_owned();
    let response = {
        let mut state = state.lock().expect("no poison");
        state.asked.push(path.clone());
        state.pages.get(&path).cloned()
    };
    let missing = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    stream.write_all(&response.unwrap_or_else(|| missing.into())).await?;
    stream.shutdown().await
}

/// An RSS feed of these episodes.
pub(crate) fn rss(title: &str, episodes: &[Episode]) -> String {
    let mut items = String::new();
    for (number, episode) in episodes.iter().enumerate() {
        let Episode { guid, url, length, duration } = episode;
        let day = number % 28 + 1;
        write!(
            items,
            "<item><title>Episode {guid}</title><guid isPermaLink=\"false\">{guid}</guid>\
             <pubDate>{day:02} Jan 2013 06:00:00 GMT</pubDate><itunes:duration>{duration}</itunes:duration>\
             <enclosure url=\"{url}\" length=\"{length}\" type=\"audio/mpeg\"/></item>"
        )
        .expect("a string grows");
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <rss version=\"2.0\" xmlns:itunes=\"http://www.itunes.com/dtds/podcast-1.0.dtd\"><channel>\
         <title>{title}</title><link>https://media.example/</link><description>A feed of a test</description>\
         {items}</channel></rss>"
    )
}
