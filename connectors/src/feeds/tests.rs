//! Reading of whole documents: our own fixtures, and attacks built in code.

use std::fmt::Write;

use proptest::prelude::*;
use url::Url;

use super::*;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/feeds/", $name))
    };
}

fn base() -> Url {
    Url::parse("https://feeds.example/show/feed.xml").unwrap()
}

fn read(bytes: &[u8]) -> Result<Feed, FeedError> {
    parse(bytes, None, &base())
}

#[expect(clippy::unnecessary_wraps, reason = "what most fields hold")]
fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn rss_with_podcast_tags() {
    let feed = read(fixture!("podcast.xml")).unwrap();
    assert_eq!(feed.format, Format::Rss);
    assert_eq!(feed.title, some("Tides & Timers"));
    assert_eq!(feed.author, some("Harbor Radio"));
    assert_eq!(feed.language, some("en-GB"));
    assert_eq!(feed.link, some("https://tides.example/"));
    assert_eq!(feed.podcast_guid, some("917393e3-1b1e-5cef-ace4-edaa54e1f810"));
    assert_eq!(feed.new_feed_url, some("https://feeds.example/tides-new.xml"));
    assert_eq!((feed.locked, feed.complete, feed.ttl_seconds), (Some(true), false, Some(3600)));
    let [newer, older] = &feed.episodes[..] else { panic!("two episodes") };
    assert_eq!(newer.guid, "tides-2");
    assert_eq!(newer.title, some("Low <water>"));
    assert_eq!(newer.link, some("https://feeds.example/episodes/2"));
    assert_eq!(newer.enclosure_url, some("https://cdn.example/tides/2.mp3?a=1&b=2"));
    assert_eq!((newer.enclosure_length, newer.duration_seconds), (Some(48_000_123), Some(3000)));
    assert_eq!(newer.published_at.unwrap().to_string(), "2026-01-06T04:00:00Z");
    assert_eq!(
        (newer.season, newer.number, newer.image.as_deref()),
        (Some(1), Some(2), Some("https://tides.example/2.jpg"))
    );
    assert_eq!(older.guid, "tides-1");
    assert_eq!(older.enclosure_url, some("https://cdn.example/tides/1.mp3"));
    assert_eq!((older.enclosure_length, older.duration_seconds, older.published_at), (None, None, None));
    let warnings: Vec<_> = feed.warnings.iter().collect();
    assert_eq!(warnings, [(Warning::BadDate, 1), (Warning::BadDuration, 1)]);
}

#[test]
fn the_older_formats() {
    let feed = read(fixture!("rss091.xml")).unwrap();
    assert_eq!((feed.title, feed.author), (some("Old Bulletin"), some("desk at bulletin")));
    assert_eq!((feed.items_seen, feed.episodes.len()), (3, 2));
    assert_eq!(feed.warnings.count(Warning::NoIdentity), 1);
    assert_eq!(feed.episodes[0].identity, Identity::Link);

    let feed = read(fixture!("rss10.rdf")).unwrap();
    assert_eq!(
        (feed.format, feed.author, feed.image),
        (Format::Rdf, some("Cleo"), some("http://rdf.example/logo.png"))
    );
    assert_eq!(feed.episodes[0].guid, "urn:triples:1");
    assert_eq!(feed.episodes[0].published_at.unwrap().to_string(), "2005-03-01T09:00:00Z");
    assert_eq!(feed.warnings.iter().collect::<Vec<_>>(), [(Warning::NoEnclosure, 1)]);
}

#[test]
fn atom_with_and_without_prefix() {
    let feed = read(fixture!("atom.xml")).unwrap();
    assert_eq!((feed.format, feed.title, feed.author), (Format::Atom, some("Signal"), some("Dora")));
    assert_eq!((feed.link, feed.image), (some("https://signal.example/"), some("https://feeds.example/logo.png")));
    let [first, second] = &feed.episodes[..] else { panic!("two episodes") };
    assert_eq!((first.guid.as_str(), &first.title), ("tag:signal.example,2026:1", &some("A bold start")));
    assert_eq!(first.link, some("https://signal.example/1"));
    assert_eq!((&first.enclosure_url, first.enclosure_length), (&some("https://signal.example/1.mp3"), Some(123_456)));
    assert_eq!(first.published_at.unwrap().to_string(), "2026-02-01T00:00:00Z");
    assert_eq!(
        (second.published_at.unwrap().to_string().as_str(), &second.enclosure_url),
        ("2026-02-03T00:00:00Z", &None)
    );
    assert_eq!(feed.warnings.iter().collect::<Vec<_>>(), [(Warning::NoEnclosure, 1)]);
}

#[test]
fn json_feeds() {
    let feed = read(fixture!("feed.json")).unwrap();
    assert_eq!((feed.format, feed.title, feed.author), (Format::Json, some("Plain Objects"), some("Emil")));
    let [first, second] = &feed.episodes[..] else { panic!("two episodes") };
    assert_eq!((first.guid.as_str(), first.identity), ("17", Identity::Guid));
    assert_eq!(first.enclosure_url, some("https://objects.example/17.m4a"));
    assert_eq!((first.enclosure_length, first.duration_seconds), (Some(8_000_000), Some(480)));
    assert_eq!(second.published_at.unwrap().to_string(), "2026-03-02T12:00:00Z");
    assert!(matches!(read(b"{\"version\":\"https://jsonfeed.org/version/1\"}"), Err(FeedError::NotAFeed { .. })));
    assert!(matches!(read(b"{\"error\": \"sign in\"}"), Err(FeedError::NotAFeed { .. })));
    assert!(matches!(read(b"{\"items\": ["), Err(FeedError::Json(_))));
}

#[test]
fn a_broken_feed_gives_what_can_be_read() {
    let feed = read(fixture!("broken.xml")).unwrap();
    assert_eq!(feed.title, some("Fish & Chips &nbsp; &copy 2026"));
    assert_eq!(feed.author, some("Undeclared Prefix"));
    let guids: Vec<_> = feed.episodes.iter().map(|episode| episode.guid.as_str()).collect();
    assert_eq!(guids, ["fish-1", "http://cdn.example/2.mp3", "fish-2", "fish-4"]);
    let first = &feed.episodes[0];
    assert_eq!(first.link, some("http://fish.example/?a=1&b=2"));
    assert_eq!(first.enclosure_url, some("http://cdn.example/1.mp3?x=1&y=2"));
    assert_eq!((first.enclosure_length, first.published_at), (None, None));
    for warning in
        [Warning::NotWellFormed, Warning::UnknownEntity, Warning::BadDate, Warning::BadLength, Warning::DuplicateGuid]
    {
        assert!(feed.warnings.count(warning) > 0, "{warning}");
    }
}

#[test]
fn a_truncated_feed_gives_its_whole_items() {
    let feed = read(fixture!("truncated.xml")).unwrap();
    assert_eq!(feed.episodes.len(), 2);
    assert_eq!(feed.episodes[0].title, some("Whole"));
    assert!(feed.warnings.count(Warning::NotWellFormed) > 0);
}

#[test]
fn what_is_no_feed_is_refused() {
    let cases: [(&[u8], &str); 11] = [
        (fixture!("not_a_feed.html"), "a web page (HTML)"),
        (b"<html><body><feed></feed><rss><channel><title>x</title></channel></rss>", "a web page (HTML)"),
        (b"", "an empty document"),
        (b"  \n ", "an empty document"),
        (b"just text", "plain text"),
        (b"file\tnotes\na.xml\ttext between <rss> and <channel>, no <link>\n", "plain text"),
        (b"{\"error\": \"sign in\"}", "JSON of another kind"),
        (b"<bomb/>", "XML of another kind"),
        (b"<rss version=\"2.0\"></rss>", "RSS without a channel"),
        (b"<rdf:RDF/>", "RSS without a channel"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "no text"),
    ];
    for (document, found) in cases {
        let told = read(document).map(|feed| feed.format).unwrap_err().to_string();
        assert_eq!(told, format!("this is {found}, not a feed"));
    }
}

#[test]
fn a_feed_without_items_is_a_feed() {
    let documents: [&[u8]; 4] = [
        b"<?xml version=\"1.0\"?>\n<!-- soon -->\n<rss version=\"2.0\"><channel></channel></rss>",
        b"\xEF\xBB\xBF<rss><channel><title>Soon</title></channel></rss>",
        b"<feed xmlns=\"http://www.w3.org/2005/Atom\"/>",
        b"{\"version\":\"https://jsonfeed.org/version/1\",\"items\":[]}",
    ];
    for document in documents {
        let warnings: Vec<_> = read(document).unwrap().warnings.iter().collect();
        assert_eq!(warnings, [(Warning::NoItems, 1)]);
    }
}

#[test]
fn entities_are_never_expanded() {
    let feed = read(fixture!("laughs.xml")).unwrap();
    assert_eq!(feed.title, some("&lol3;"));
    assert_eq!(feed.episodes[0].guid, "&file;");
    assert_eq!(feed.episodes[0].title, some("&web;"));
    assert_eq!(feed.episodes[0].enclosure_url, some("http://cdn.example/&lol3;.mp3"));
    let mut quadratic = format!("<!DOCTYPE rss [<!ENTITY a \"{}\">]><rss><channel><title>", "a".repeat(50_000));
    quadratic.push_str(&"&a;".repeat(1_000_000));
    quadratic.push_str("</title></channel></rss>");
    let feed = read(quadratic.as_bytes()).unwrap();
    assert!(feed.title.unwrap().len() <= 4096);
    assert_eq!(feed.warnings.count(Warning::UnknownEntity), 1_000_000);
}

#[test]
fn oversized_structures_are_refused() {
    let mut attributes = String::from("<rss><channel><item");
    let mut namespaces = String::from("<rss");
    for number in 0..800_000 {
        write!(attributes, " a{number}=''").unwrap();
        write!(namespaces, " xmlns:a{number}='http://www.w3.org/2005/Atom'").unwrap();
    }
    for document in [attributes + "/></channel></rss>", namespaces + "/>"] {
        assert!(matches!(read(document.as_bytes()), Err(FeedError::Excessive { limit: 256, .. })));
    }
    let deep = format!("<rss><channel>{}", "<a>".repeat(100_000));
    assert!(matches!(read(deep.as_bytes()), Err(FeedError::Excessive { limit: 100, .. })));
    let wide = format!("<rss><channel>{}", "<a/>".repeat(1_000_001));
    assert!(matches!(read(wide.as_bytes()), Err(FeedError::Excessive { limit: 1_000_000, .. })));
    let stray = format!("<rss><channel>{}", "</a>".repeat(100_001));
    assert!(matches!(read(stray.as_bytes()), Err(FeedError::Excessive { limit: 100_000, .. })));
    let address = format!("<rss><channel><item><enclosure url='{}'/></item>", "&".repeat(1_000_000));
    assert_eq!(read(address.as_bytes()).unwrap().warnings.count(Warning::TextTooLong), 1);
    let deep = format!("{{\"x\":{}", "[".repeat(100_000));
    assert!(matches!(read(deep.as_bytes()), Err(FeedError::Json(_))));
}

#[test]
fn millions_of_items_are_counted_and_left_out() {
    let items = draft::MAX_EPISODES + 5;
    let mut xml = String::from("<rss><channel>");
    let mut json = String::from("{\"version\":\"https://jsonfeed.org/version/1\",\"items\":[");
    for number in 0..items {
        write!(xml, "<item><guid>{number}</guid></item>").unwrap();
        write!(json, "{}{{\"id\":{number}}}", if number == 0 { "" } else { "," }).unwrap();
    }
    xml.push_str("</channel></rss>");
    json.push_str("]}");
    for document in [xml, json] {
        let feed = read(document.as_bytes()).unwrap();
        assert_eq!((feed.episodes.len(), feed.items_seen), (draft::MAX_EPISODES, items));
        assert!(feed.warnings.count(Warning::TooManyItems) > 0);
    }
}

#[test]
fn oversized_texts_do_not_identify() {
    let long = "x".repeat(1_000_000);
    let document = format!(
        "<rss><channel><item><guid>{long}</guid><title>{long}</title><enclosure url='http://cdn.example/1.mp3'/></item>\
         <item><guid>a\0b</guid></item></channel></rss>"
    );
    let feed = read(document.as_bytes()).unwrap();
    assert_eq!(feed.episodes[0].identity, Identity::Enclosure);
    assert!(feed.episodes[0].title.as_ref().unwrap().len() <= 4096);
    assert_eq!(feed.episodes[1].guid, "a b");
    assert_eq!(feed.warnings.count(Warning::TextTooLong), 2);
}

#[test]
fn broken_places_are_skipped_a_bounded_number_of_times() {
    let document = format!("<rss><channel>{}<item><guid>a</guid></item>", "<![CDATX[".repeat(100_000));
    assert!(read(document.as_bytes()).unwrap().episodes.is_empty());
    let document = format!("<rss><channel>{}<item><guid>a</guid></item>", "<![CDATX[".repeat(3));
    assert_eq!(read(document.as_bytes()).unwrap().episodes.len(), 1);
}

#[test]
fn the_charset_of_the_header_is_found() {
    assert_eq!(charset("text/xml; charset=windows-1252"), Some("windows-1252"));
    assert_eq!(charset("text/xml;version=1 ; Charset = \"utf-8\""), Some("utf-8"));
    assert_eq!(charset("text/xml"), None);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(feed) = read(&bytes) {
            prop_assert!(feed.episodes.len() <= feed.items_seen);
        }
    }

    /// Damage anywhere in a feed never makes identities collide, nor the reader fail to return.
    #[test]
    fn damaged_feeds_keep_identities_unique(cut in 0_usize..3000, with in "[<>&;\"'/!\\[\\]a-c\u{0}é]{0,6}", length in 0_usize..40) {
        let mut bytes = fixture!("podcast.xml").to_vec();
        let start = cut.min(bytes.len());
        let end = (start + length).min(bytes.len());
        bytes.splice(start..end, with.bytes());
        if let Ok(feed) = read(&bytes) {
            let mut guids: Vec<_> = feed.episodes.iter().map(|episode| &episode.guid).collect();
            guids.sort();
            guids.dedup();
            prop_assert_eq!(guids.len(), feed.episodes.len());
        }
    }
}
