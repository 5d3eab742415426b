//! Feeds over HTTP: what can be read is read, what is hostile is refused, and the server lives on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::Account;
use crate::support::corpus;
use crate::support::feed_host::{FeedHost, rss};
use crate::support::server::Server;
use crate::support::traffic::episodes;

/// Connecting answers after the first poll, or after this long with `pending` (20 s in the contract).
const FIRST_POLL: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_recorded_feed_is_answered() {
    let Some(corpus) = corpus() else {
        println!("every_recorded_feed_is_answered: CASTBACK_CORPUS is not set; no recorded feed was polled");
        return;
    };
    let host = FeedHost::start().await;
    let server = Server::start().await;
    let account = server.client().sign_up("feeds").await;
    let mut files = Vec::new();
    files_under(&corpus.join("feeds"), &mut files);
    let mut connected = 0;
    for (number, file) in files.iter().enumerate() {
        let bytes = std::fs::read(file).expect("a recorded feed");
        let packed = file.extension().is_some_and(|extension| extension == "gz");
        let headers = if packed { "content-encoding: gzip\r\n" } else { "" };
        let url = host.publish_bytes(&format!("/{number}"), headers, &bytes);
        let status = connect(&account, &url, file).await;
        connected += usize::from(status == 201);
    }
    println!("{connected} of {} recorded feeds were connected", files.len());
    assert!(connected * 2 > files.len(), "most recorded feeds can be read");
    server.client().get("/readyz").await.is(200);
    server.finish().await;
}

fn files_under(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files_under(&path, found);
        } else if path.extension().is_none_or(|extension| extension != "tsv") {
            found.push(path);
        }
    }
    found.sort();
}

/// 201, or a problem that says why; never a broken connection, never a 5xx.
async fn connect(account: &Account, url: &str, file: &Path) -> u16 {
    let body = json!({"feed_url": url});
    let asking = account.client.post("/v1/podcasts", &body);
    let late = |_| panic!("{}: no answer in {FIRST_POLL:?}", file.display());
    let answer = tokio::time::timeout(FIRST_POLL, asking).await.unwrap_or_else(late);
    let shown = format!("{}: {} {}", file.display(), answer.status, answer.text());
    assert!(answer.status == 201 || (400..500).contains(&answer.status), "{shown}");
    assert!(answer.status == 201 || answer.kind.starts_with("application/problem+json"), "{shown}");
    answer.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_changes_keeps_its_episodes() {
    let host = FeedHost::start().await;
    let server = Server::start().await;
    let account = server.client().sign_up("changes").await;
    let mut known = episodes();
    let podcast = account.connect(&host.publish("/feed.xml", &rss("Before", &known))).await;
    let ids = async || {
        let items = account.list(&format!("/v1/podcasts/{podcast}/episodes")).await;
        let mut pairs: Vec<(String, String)> =
            items.iter().map(|item| (text(item, "guid"), text(item, "id"))).collect();
        pairs.sort();
        pairs
    };
    let before = ids().await;
    assert_eq!(before.len(), known.len());

    known[0].url = "https://moved.example/episodes/01.mp3".to_owned();
    known.push(crate::oracle::Episode { guid: "guid-05".to_owned(), ..known[1].clone() });
    known[4].url = "https://media.example/episodes/05.mp3".to_owned();
    host.publish("/feed.xml", &rss("After", &known));
    account.client.post(&format!("/v1/podcasts/{podcast}/poll"), &json!({})).await.is(202);
    crate::support::until("the new episode is there", async || (ids().await.len() == known.len()).then_some(())).await;
    let after = ids().await;
    assert!(before.iter().all(|pair| after.contains(pair)), "an episode has another id: {before:?} {after:?}");
    let shown = account.client.get(&format!("/v1/podcasts/{podcast}")).await.is(200).json();
    assert_eq!(shown["title"], "After");
    let polls =
        format!("SELECT outcome, status, episodes FROM feed_polls WHERE podcast_id = '{podcast}' ORDER BY polled_at");
    let read = |episodes: usize| vec![json!("fetched"), json!(200), json!(episodes)];
    let polls = account.sql(&polls).await;
    assert_eq!((polls.first(), polls.last()), (Some(&read(before.len())), Some(&read(known.len()))), "{polls:?}");
    let stranger = server.client().sign_up("stranger").await;
    assert_eq!(stranger.sql_number("SELECT COUNT(*) FROM feed_polls").await, 0);
    server.finish().await;
}

fn text(item: &Value, field: &str) -> String {
    item[field].as_str().unwrap_or_else(|| panic!("no {field} in {item}")).to_owned()
}
