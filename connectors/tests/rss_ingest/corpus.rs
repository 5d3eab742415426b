//! Real feeds, if a corpus is at hand (`CASTBACK_CORPUS`), else our own fixtures, through the whole path.

use std::fs;
use std::path::{Path, PathBuf};

use castback_connectors::feeds::{Feed, FeedChange, PollKind, PollPolicy, PollState, diff, poll_feed};
use castback_schemas::Micros;

use super::server::{Answer, Server, fetcher};

/// Files of which the corpus's table counts text patterns: items in comments, and none in UTF-16.
const RECOUNTED: [(&str, usize); 2] = [("rssbuilder_adelaide-dotnet_bom.xml", 72), ("utf-16be_feed.xml", 1)];

/// What the corpus says of a file.
struct Expected {
    file: String,
    items: usize,
}

fn corpus() -> Option<PathBuf> {
    let root = std::env::var_os("CASTBACK_CORPUS").filter(|root| !root.is_empty());
    if root.is_none() {
        println!("CASTBACK_CORPUS is not set: only our own fixtures are polled");
    }
    root.map(|root| Path::new(&root).join("feeds"))
}

fn provenance(feeds: &Path) -> Vec<Expected> {
    let table = fs::read_to_string(feeds.join("PROVENANCE.tsv")).unwrap();
    let row = |line: &str| {
        let columns: Vec<_> = line.split('\t').collect();
        let recounted = RECOUNTED.iter().find(|(name, _)| columns[0].ends_with(name)).map(|(_, items)| *items);
        let items = recounted.unwrap_or_else(|| columns[6].parse().unwrap());
        Expected { file: columns[0].to_owned(), items }
    };
    table.lines().skip(1).map(row).collect()
}

/// Polls one file through a local server, as its publisher would serve it.
async fn poll_file(server: &Server, path: &Path) -> Result<Feed, String> {
    let bytes = fs::read(path).unwrap();
    let name = path.file_name().unwrap().to_string_lossy();
    let mut headers = Vec::new();
    if name.ends_with(".gz") {
        headers.push(("Content-Encoding", "gzip"));
    }
    if name == "http_text_xml_charset_overrides.xml" {
        headers.push(("Content-Type", "text/xml; charset=windows-1252"));
    }
    let url = server.on("/feed", Answer::new(200, &headers, &bytes));
    let outcome = poll_feed(&fetcher(), PollState::new(url, Micros(0)), Micros(0), PollPolicy::default()).await;
    match (outcome.kind, outcome.feed) {
        (PollKind::Fetched, Some(feed)) => Ok(feed),
        (kind, _) => Err(format!("{kind:?}")),
    }
}

#[tokio::test]
async fn test_rss_ingest_reads_our_fixtures() {
    let server = Server::start().await;
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/feeds");
    let expected = [
        ("podcast.xml", 2),
        ("rss091.xml", 3),
        ("rss10.rdf", 1),
        ("atom.xml", 2),
        ("feed.json", 2),
        ("broken.xml", 5),
        ("truncated.xml", 2),
        ("laughs.xml", 1),
    ];
    for (file, items) in expected {
        assert_eq!(poll_file(&server, &fixtures.join(file)).await.unwrap().items_seen, items, "{file}");
    }
    assert!(poll_file(&server, &fixtures.join("not_a_feed.html")).await.is_err());
}

#[tokio::test]
async fn test_rss_ingest_reads_the_corpus() {
    let Some(feeds) = corpus() else { return };
    let server = Server::start().await;
    let mut wrong = Vec::new();
    for expected in provenance(&feeds) {
        let read = poll_file(&server, &feeds.join(&expected.file)).await;
        let items = read.as_ref().map_or(0, |feed| feed.items_seen);
        let warnings: Vec<_> = read.iter().flat_map(|feed| feed.warnings.iter()).collect();
        if items != expected.items {
            wrong.push(format!("{} read {items}, expected {} {:?}", expected.file, expected.items, read.err()));
        }
        println!("{items:5} {} {warnings:?}", expected.file);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn test_rss_ingest_keeps_guids_over_time_and_hosts() {
    let Some(feeds) = corpus() else { return };
    let server = Server::start().await;
    let poll = async |file: &str| poll_file(&server, &feeds.join("timeseries").join(file)).await.unwrap().episodes;
    let days: [&str; 5] = ["13", "16", "17", "18", "19"];
    let mut series =
        vec![("deprogram_2022-01-10_art19.xml".to_owned(), "deprogram_2026-02-13_buzzsprout.xml.gz".to_owned())];
    let day = |day: &str| format!("103fm_2026-08-{day}_he.xml");
    series.extend(days.windows(2).map(|pair| (day(pair[0]), day(pair[1]))));
    for (before, after) in series {
        let (old, new) = (poll(&before).await, poll(&after).await);
        let changes = diff(&old, &new);
        let count = |wanted: fn(&FeedChange) -> bool| changes.iter().filter(|change| wanted(change)).count();
        let added = count(|change| matches!(change, FeedChange::Added { .. }));
        let removed = count(|change| matches!(change, FeedChange::Removed { .. }));
        let moved = count(|change| matches!(change, FeedChange::EnclosureChanged { .. }));
        println!("{before} -> {after}: {added} added, {removed} removed, {moved} moved");
        assert_eq!(count(|change| matches!(change, FeedChange::GuidChanged { .. })), 0, "{after}");
        assert_eq!(old.len() + added, new.len() + removed, "{after}");
        if before.starts_with("deprogram") {
            assert_eq!((removed, moved), (0, old.len()), "the move to another host keeps every GUID");
        }
    }
}
