//! The demo's feeds and the local server that publishes them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::SocketAddr;

use anyhow::Context;
use castback_schemas::Micros;
use castback_schemas::time::DAY;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::cast::{PODCASTS, Podcast};
use super::dates;

/// Longest request that is read; the poller's are far shorter.
const HEAD_BYTES: usize = 16 * 1024;

/// Publishes the feeds until the process ends.
#[derive(Debug)]
pub(crate) struct FeedHost {
    address: SocketAddr,
}

impl FeedHost {
    /// Publishes the feeds, as of `begun`, on `port` of this machine; 0 takes a free one.
    pub(crate) async fn start(port: u16, begun: Micros) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await;
        let listener = listener.with_context(|| format!("the sample feeds can't be published on port {port}"))?;
        let address = listener.local_addr()?;
        let pages = PODCASTS.iter().map(|podcast| (path(podcast), rss(podcast, begun))).collect();
        tokio::spawn(answer_all(listener, pages));
        Ok(Self { address })
    }

    /// The port, which has to stay the same for as long as the data is kept.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// The address of a podcast's feed.
    pub(crate) fn url(&self, podcast: &Podcast) -> String {
        format!("http://{}{}", self.address, path(podcast))
    }
}

fn path(podcast: &Podcast) -> String {
    format!("/{}.xml", podcast.slug)
}

async fn answer_all(listener: TcpListener, pages: BTreeMap<String, String>) {
    while let Ok((stream, _)) = listener.accept().await {
        if let Err(error) = answer(stream, &pages).await {
            tracing::debug!(error = %error, "a connection to the sample feeds broke");
        }
    }
}

async fn answer(mut stream: TcpStream, pages: &BTreeMap<String, String>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < HEAD_BYTES {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let (status, body) = match head.split(' ').nth(1).and_then(|path| pages.get(path)) {
        Some(body) => ("200 OK", body.as_str()),
        None => ("404 Not Found", ""),
    };
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/rss+xml; charset=utf-8\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// The feed: an episode every three days, the newest on the day before `begun`'s week.
fn rss(podcast: &Podcast, begun: Micros) -> String {
    let mut items = String::new();
    for (index, (title, seconds)) in podcast.episodes.iter().enumerate().rev() {
        let age = i64::try_from(podcast.episodes.len() - index).unwrap_or(0);
        let published = dates::in_a_feed(begun.floor(DAY).plus(-age * 3 * DAY - 5 * DAY));
        let (guid, file, bytes) = (podcast.guid(index), podcast.file(index), podcast.bytes(index));
        let title = escaped(title);
        // Writing to a string does not fail.
        writeln!(
            items,
            "<item><title>{title}</title><guid isPermaLink=\"false\">{guid}</guid><pubDate>{published}</pubDate>\
             <itunes:duration>{seconds}</itunes:duration><enclosure url=\"{file}\" length=\"{bytes}\" type=\"audio/mpeg\"/></item>"
        )
        .ok();
    }
    let (title, author, about) = (escaped(podcast.title), escaped(podcast.author), escaped(podcast.description));
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <rss version=\"2.0\" xmlns:itunes=\"http://www.itunes.com/dtds/podcast-1.0.dtd\"><channel>\n\
         <title>{title}</title><link>https://{slug}.castback.example/</link><language>{language}</language>\
         <itunes:author>{author}</itunes:author><description>{about}</description>\n{items}</channel></rss>\n",
        slug = podcast.slug,
        language = podcast.language,
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_feed_can_be_read_back() {
        let host = FeedHost::start(0, "2026-11-24T10:00:00Z".parse().unwrap()).await.unwrap();
        let mut stream = TcpStream::connect(host.address).await.unwrap();
        stream.write_all(b"GET /sobremesa.xml HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 200") && text.contains("Sobremesa con Núria y Íñigo"), "{text}");
        assert!(text.contains("&lt;Sin prisa&gt;") && text.matches("<item>").count() == 4, "{text}");
        assert!(text.contains("16 Nov 2026 00:00:00 GMT"), "{text}");
    }
}
