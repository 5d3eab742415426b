use castback_catalogue::people::NewUser;
use castback_catalogue::podcasts::NewPodcast;
use castback_schemas::ManualClock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::http::Guard;

const NOW: Micros = Micros(1_800_000_000_000_000);

struct Bench {
    _folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
    catalogue: Catalogue,
    poller: FeedPoller,
    account: AccountId,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(NOW));
        let url = format!("sqlite://{}", folder.path().join("castback.db").display());
        let catalogue = Catalogue::open(&url, clock.clone(), [7; 32]).await.unwrap();
        let fetcher = Arc::new(Fetcher::new(Guard::new(vec!["127.0.0.1/32".parse().unwrap()])).unwrap());
        let poller = FeedPoller::new(catalogue.clone(), fetcher, clock.clone(), PollPolicy::default());
        let new =
            NewUser { email: "a@example.org".into(), password: "long enough".to_owned().into(), name: String::new() };
        let account = catalogue.sign_up(new).await.unwrap().user.account;
        Self { _folder: folder, clock, catalogue, poller, account }
    }

    async fn connect(&self, url: &str) -> PodcastId {
        let new = NewPodcast { feed_url: url.to_owned(), allowed: None };
        self.catalogue.create_podcast(self.account, new).await.unwrap().id
    }

    /// Outcome, status, episodes and warnings of every poll.
    async fn polls(&self) -> Vec<(String, Option<i64>, Option<i64>, Option<i64>)> {
        let polls = self.catalogue.feed_polls(self.account, 100).await.unwrap();
        polls.into_iter().map(|poll| (poll.outcome, poll.status, poll.episodes, poll.warnings)).collect()
    }

    async fn requests(&self) -> Vec<String> {
        let units: Vec<Unit> = Slot::all().map(|slot| Unit { group: Group::Counting, slot }).collect();
        self.catalogue.unit_requests(&units).await.unwrap().into_iter().map(|request| request.body).collect()
    }
}

/// Answers every connection with the next of these bodies, the last one again and again.
async fn host(bodies: Vec<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut bodies = bodies.into_iter().peekable();
        let mut body = String::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            body = bodies.next().unwrap_or(body);
            let mut head = [0; 4096];
            assert!(stream.read(&mut head).await.unwrap() > 0);
            let answer = format!("HTTP/1.1 200 X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    format!("http://{address}/feed.xml")
}

fn feed(episodes: &[&str]) -> String {
    let items: Vec<String> = episodes
        .iter()
        .map(|name| {
            format!(
                "<item><guid>{name}</guid><pubDate>Tue, 05 Jan 2027 06:00:00 GMT</pubDate>\
                 <enclosure url=\"https://media.example/{name}.mp3\" length=\"48000000\" type=\"audio/mpeg\"/></item>"
            )
        })
        .collect();
    format!("<rss version=\"2.0\"><channel><title>Show</title>{}</channel></rss>", items.concat())
}

#[tokio::test]
async fn a_due_feed_is_polled_and_kept_and_waits_for_its_next_turn() {
    let bench = Bench::new().await;
    let id = bench.connect(&host(vec![feed(&["one", "two"])]).await).await;
    let polled = bench.poller.round("test").await.unwrap();
    assert_eq!(polled, [Polled { outcome: "fetched", changed: 2, onboarded: Some(0) }]);
    let podcast = bench.catalogue.podcast(bench.account, id).await.unwrap();
    assert_eq!((podcast.status, podcast.title.as_deref()), (PodcastStatus::Active, Some("Show")));
    assert!(podcast.next_poll_at.unwrap() > NOW);
    assert_eq!(bench.catalogue.all_episodes(bench.account, id).await.unwrap().len(), 2);
    assert_eq!(bench.poller.round("test").await.unwrap(), []);
    assert_eq!(bench.requests().await, [""; 0], "nothing was asked for before");
    assert_eq!(bench.polls().await, [("fetched".to_owned(), Some(200), Some(2), Some(0))]);
}

#[tokio::test]
async fn an_item_without_a_file_is_an_item_and_no_episode() {
    let bench = Bench::new().await;
    let text = feed(&["one"]).replace("</channel>", "<item><guid>news</guid></item></channel>");
    let id = bench.connect(&host(vec![text]).await).await;
    bench.poller.round("test").await.unwrap();
    assert_eq!(bench.catalogue.all_episodes(bench.account, id).await.unwrap().len(), 1);
    let podcast = bench.catalogue.podcast(bench.account, id).await.unwrap();
    assert_eq!((&podcast.facts["items"], &podcast.facts["warnings"]), (&json!(2), &json!({ "no_enclosure": 1 })));
    assert_eq!(bench.polls().await, [("fetched".to_owned(), Some(200), Some(1), Some(1))]);
}

#[tokio::test]
async fn a_new_episode_is_told_and_its_days_are_counted_again() {
    let bench = Bench::new().await;
    let id = bench.connect(&host(vec![feed(&["one"]), feed(&["two", "one"])]).await).await;
    bench.poller.round("test").await.unwrap();
    bench.clock.advance(castback_schemas::time::DAY);
    let polled = bench.poller.round("test").await.unwrap();
    assert_eq!(polled, [Polled { outcome: "fetched", changed: 1, onboarded: None }]);
    let events = bench.catalogue.outbox_batch("test", 100).await.unwrap();
    let kinds: Vec<&str> = events.iter().filter_map(|event| event.body["kind"].as_str()).collect();
    assert_eq!(kinds, ["user_created", "episode_added", "episode_added"]);
    let requests = bench.requests().await;
    let body: Value = serde_json::from_str(&requests[0]).unwrap();
    let expected = json!({"account": bench.account, "podcast": id, "from": "2026-12-29", "to": "2027-01-16"});
    assert_eq!((requests.len(), body), (1, expected));
}

#[tokio::test]
async fn a_refused_address_fails_in_words_that_tell_nothing() {
    let bench = Bench::new().await;
    let id = bench.connect("http://10.0.0.1/feed.xml").await;
    assert_eq!(bench.poller.round("test").await.unwrap(), [Polled { outcome: "failed", changed: 0, onboarded: None }]);
    let podcast = bench.catalogue.podcast(bench.account, id).await.unwrap();
    assert_eq!(podcast.status, PodcastStatus::Failing);
    assert_eq!(podcast.last_error.as_deref(), Some("the address could not be reached"));
    assert_eq!(bench.polls().await, [("failed".to_owned(), None, None, None)]);
}

#[tokio::test]
async fn what_is_no_feed_fails_in_words_and_an_empty_feed_is_active() {
    let bench = Bench::new().await;
    let page = "<!DOCTYPE html><html><body>Sign in</body></html>";
    for (body, error) in [
        (page, Some("this is a web page (HTML), not a feed")),
        ("file\titems\na\t<rss> or <channel>\n", Some("this is plain text, not a feed")),
        ("<rss version=\"2.0\"></rss>", Some("this is RSS without a channel, not a feed")),
        ("<rss version=\"2.0\"><channel></channel></rss>", None),
    ] {
        let id = bench.connect(&host(vec![body.to_owned()]).await).await;
        bench.poller.round("test").await.unwrap();
        let podcast = bench.catalogue.podcast(bench.account, id).await.unwrap();
        let status = if error.is_some() { PodcastStatus::Failing } else { PodcastStatus::Active };
        assert_eq!((podcast.status, podcast.last_error.as_deref()), (status, error), "{body}");
        assert_eq!(podcast.facts["warnings"]["no_items"] == 1, error.is_none(), "{body}");
    }
}

#[tokio::test]
async fn an_account_is_onboarded_once_by_the_first_feed_that_can_be_read() {
    let bench = Bench::new().await;
    let mut onboarded = Vec::new();
    for body in ["no feed".to_owned(), feed(&["one"]), feed(&["two"])] {
        bench.connect(&host(vec![body]).await).await;
        bench.clock.advance(castback_schemas::time::SECOND);
        onboarded.extend(bench.poller.round("test").await.unwrap().iter().map(|polled| polled.onboarded));
    }
    assert_eq!(onboarded, [None, Some(2 * castback_schemas::time::SECOND), None]);
}

#[tokio::test]
async fn a_feed_that_moved_to_another_feed_of_the_account_stays() {
    let bench = Bench::new().await;
    let target = host(vec![feed(&["one"])]).await;
    bench.connect(&target).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let moved = format!("http://{}/old.xml", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4096];
            assert!(stream.read(&mut head).await.unwrap() > 0);
            let answer =
                format!("HTTP/1.1 301 X\r\nLocation: {target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let id = bench.connect(&moved).await;
    let mut polled = bench.poller.round("test").await.unwrap();
    polled.extend(bench.poller.round("test").await.unwrap());
    assert!(polled.len() == 2 && polled.iter().all(|polled| polled.outcome == "fetched"), "{polled:?}");
    assert_eq!(bench.catalogue.podcast(bench.account, id).await.unwrap().feed_url, moved);
}

#[test]
fn addresses_of_feeds_are_web_addresses() {
    for bad in ["", "not a url", "file:///etc/passwd", "ftp://a.example/", "http://user@a.example/", "data:text/xml,x"]
    {
        assert_eq!(feed_url(bad), Err(InvalidFeedUrl), "{bad}");
    }
    assert_eq!(feed_url(" HTTP://A.example ").unwrap().as_str(), "http://a.example/");
}
