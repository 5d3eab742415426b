//! Parsers as functions of bytes, and what must hold of them whatever the bytes are.

use castback_connectors::feeds;
use castback_schemas::Topic;
use castback_schemas::codec::{BatchDecoder, Encoder};
use castback_schemas::edge::signature::{WebhookHeaders, sign_webhook, verify_webhook};
use castback_schemas::edge::{ByteRange, LogLine};

/// A parser's name, which is its folder in the corpus, and its run.
pub(super) type Target = (&'static str, fn(&[u8]));

/// Every parser that can be called without a server.
pub(super) const TARGETS: &[Target] =
    &[("feed", feed), ("access-log", access_log), ("range", range), ("record", record), ("signature", signature)];

/// Read twice, a document is the same feed or the same refusal, and its episodes can be told apart.
fn feed(bytes: &[u8]) {
    let base = url::Url::parse("https://feeds.example.com/show.xml").expect("an address");
    let read = || feeds::parse(bytes, None, &base);
    let (once, again) = (read(), read());
    assert_eq!(once.as_ref().ok(), again.as_ref().ok());
    let Ok(feed) = once else { return };
    let guids: std::collections::BTreeSet<&str> = feed.episodes.iter().map(|episode| episode.guid.as_str()).collect();
    assert_eq!(guids.len(), feed.episodes.len(), "two episodes of one guid");
}

/// A line that is read says what it says within the line, and at a time that can be written.
fn access_log(bytes: &[u8]) {
    for line in String::from_utf8_lossy(bytes).lines() {
        if let Ok(read) = LogLine::parse(line) {
            assert!(line.contains(read.host) && !read.host.is_empty());
            assert!(read.occurred_at.day().start() <= read.occurred_at, "{}", read.occurred_at.0);
            // A server that sent nothing writes "-", which is 0.
            assert!(read.status == 0 || (100..=999).contains(&read.status), "{}", read.status);
        }
    }
}

/// A range, resolved, lies within the file.
fn range(bytes: &[u8]) {
    let Ok(range) = String::from_utf8_lossy(bytes).parse::<ByteRange>() else { return };
    for file in [1, 1_000, u64::MAX] {
        if let Some(resolved) = range.resolve(Some(file)) {
            assert!(resolved.start < resolved.end && resolved.end <= file, "{resolved:?} of {file}");
        }
    }
}

/// Between two good records, a corrupted one is a row or a dead letter, and the good ones stay what they are.
fn record(bytes: &[u8]) {
    let topic = Topic::AppEvents;
    let example = include_str!("../../../schemas/examples/app-events.json");
    let encoder = Encoder::new(topic, 1).expect("an encoder");
    let good = encoder.encode_json(serde_json::from_str(example).expect("an example")).expect("a record");
    let mut decoder = BatchDecoder::new(topic).expect("a decoder");
    decoder.learn(1, Some(topic.spec().schema));
    let mut bad = vec![0, 0, 0, 0, 1];
    bad.extend_from_slice(bytes);
    let decoded = decoder.decode(&[&good, &bad, &good]).expect("known schemas");
    assert_eq!(decoded.batch.num_rows() + decoded.bad.len(), 3);
    assert!(decoded.bad.iter().all(|bad| bad.index == 1));
    let alone = decoder.decode(&[&good]).expect("known schemas");
    let last = decoded.batch.num_rows() - 1;
    assert_eq!(decoded.batch.slice(0, 1), alone.batch);
    assert_eq!(decoded.batch.slice(last, 1), alone.batch);
}

/// Only the sender's own signature is believed: bytes are the header of a message that they did not sign.
fn signature(bytes: &[u8]) {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let headers = WebhookHeaders { id: "msg_1", timestamp: "1614265330" };
    let genuine = sign_webhook(secret, headers, b"{}").expect("a signature");
    let given = String::from_utf8_lossy(bytes);
    let believed = verify_webhook(secret, headers, b"{}", &given).is_ok();
    assert_eq!(believed, given.split(' ').any(|part| part == genuine), "{given}");
}
