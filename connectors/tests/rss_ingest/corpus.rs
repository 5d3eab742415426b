//! Real feeds, if a corpus is at hand (`CASTBACK_CORPUS`), else our own fixtures, through the whole path.

use std::fs;
use std::path::{Path, PathBuf};

use castback_connectors::feeds::{Feed, FeedChange, PollKind, PollPolicy, PollState, Warning, diff, poll_feed};
use castback_schemas::Micros;

use super::server::{Answer, Server, fetcher};

/// Files of which the corpus's table counts patterns of text that are something else to an XML parser, and what
/// that finds: the items, and those of them without a file.
const RECOUNTED: [(&str, usize, u32); 4] = [
    // Seven of the 79 items, one of them without a file, stand in comments.
    ("rssbuilder_adelaide-dotnet_bom.xml", 72, 0),
    // The patterns find nothing in UTF-16.
    ("utf-16be_feed.xml", 1, 1),
    // Files of Atom are links with a relation, not elements named `enclosure`: of the first, two entries have none.
    ("atom_expertopinionent_audio_en.atom", 43, 2),
    ("atom_4fsodonline.atom", 25, 0),
];

/// What the corpus says of a file.
struct Expected {
    file: String,
    items: usize,
    /// Items without a file; none where the table can't say.
    without_file: Option<u32>,
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
        let file = columns[0].to_owned();
        if let Some((_, items, without)) = RECOUNTED.iter().find(|(name, ..)| file.ends_with(name)) {
            return Expected { file, items: *items, without_file: Some(*without) };
        }
        let without = columns[7].split(' ').find_map(|note| note.strip_prefix("noenc=")?.parse().ok());
        let well_formed = columns[7].contains("xml=ok").then_some(0);
        Expected { file, items: columns[6].parse().unwrap(), without_file: without.or(well_formed) }
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
            wrong.push(format!(
                "{} read {items}, expected {} {:?}",
                expected.file,
                expected.items,
                read.as_ref().err()
            ));
        }
        let without = read.as_ref().ok().map(|feed| feed.warnings.count(Warning::NoEnclosure));
        if let (Some(without), Some(told)) = (without, expected.without_file)
            && without != told
        {
            wrong.push(format!("{} has {without} items without a file, expected {told}", expected.file));
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
