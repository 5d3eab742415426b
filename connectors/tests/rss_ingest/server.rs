//! A web server of a few lines, whose answers are written byte by byte by the test.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use castback_connectors::http::{Fetcher, Guard};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

/// What the server does with a connection.
#[derive(Clone)]
pub(crate) enum Answer {
    /// These bytes, then the connection is closed.
    Bytes(Vec<u8>),
    /// These bytes, then one byte again and again, with a pause if one is given.
    Forever(Vec<u8>, Option<Duration>),
}

impl Answer {
    /// A complete answer with the right length.
    pub(crate) fn new(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let mut bytes = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
        for (name, value) in headers {
            bytes.extend([name, ": ", value, "\r\n"]);
        }
        bytes.push_str("\r\n");
        let mut bytes = bytes.into_bytes();
        bytes.extend_from_slice(body);
        Self::Bytes(bytes)
    }

    pub(crate) fn redirect(status: u16, location: &str) -> Self {
        Self::new(status, &[("Location", location)], b"")
    }
}

/// A server on 127.0.0.1 that remembers what it was asked.
pub(crate) struct Server {
    address: std::net::SocketAddr,
    answers: Arc<Mutex<HashMap<String, Answer>>>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (answers, heads) = (Arc::<Mutex<HashMap<String, Answer>>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (shared, asked) = (Arc::clone(&answers), Arc::clone(&heads));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared), Arc::clone(&asked)));
            }
        });
        Self { address, answers, heads }
    }

    /// Answers requests for `path` with `answer` from now on.
    pub(crate) fn on(&self, path: &str, answer: Answer) -> Url {
        self.answers.lock().unwrap().insert(path.to_owned(), answer);
        self.url(path)
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        Url::parse(&format!("http://{}{path}", self.address)).unwrap()
    }

    /// The request heads received so far, in lower case.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, answers: Arc<Mutex<HashMap<String, Answer>>>, heads: Arc<Mutex<Vec<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte).await {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    heads.lock().unwrap().push(head.to_ascii_lowercase());
    let answer = answers.lock().unwrap().get(&path).cloned();
    let answer = answer.unwrap_or_else(|| Answer::new(404, &[], b""));
    // The client may hang up at any time; that is its right.
    drop(write(&mut stream, answer).await);
}

async fn write(stream: &mut TcpStream, answer: Answer) -> std::io::Result<()> {
    match answer {
        Answer::Bytes(bytes) => {
            stream.write_all(&bytes).await?;
            stream.shutdown().await
        }
        Answer::Forever(bytes, pause) => {
            stream.write_all(&bytes).await?;
            loop {
                match pause {
                    Some(pause) => {
                        tokio::time::sleep(pause).await;
                        stream.write_all(b"x").await?;
                    }
                    None => stream.write_all(&[b'x'; 16 * 1024]).await?,
                }
            }
        }
    }
}

/// A client that may reach this test's server and nothing else that is private.
pub(crate) fn fetcher() -> Fetcher {
    Fetcher::new(Guard::new(vec!["127.0.0.1/32".parse().unwrap()])).unwrap()
}

/// A small feed with `count` episodes.
pub(crate) fn feed(count: usize) -> Vec<u8> {
    let items: Vec<_> = (0..count).map(|number| format!("<item><guid>episode-{number}</guid></item>")).collect();
    format!("<rss version=\"2.0\"><channel><title>Local</title>{}</channel></rss>", items.concat()).into_bytes()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
