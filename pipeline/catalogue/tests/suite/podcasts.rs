//! Podcasts, polls and episodes.

use castback_catalogue::CatalogueError;
use castback_catalogue::episodes::{EpisodeFacts, PolledEpisode};
use castback_catalogue::feed_polls::{FeedChange, PollUpdate};
use castback_catalogue::page::Paging;
use castback_catalogue::podcasts::{NewPodcast, PodcastFilter, PodcastStatus};
use castback_catalogue::poll_log::PollNote;
use castback_schemas::time::{DAY, HOUR};
use castback_schemas::{Micros, Topic};
use serde_json::{Value, json};

use crate::harness::NOON;

pub(crate) fn episode(guid: &str, title: &str) -> PolledEpisode {
    PolledEpisode {
        facts: EpisodeFacts {
            guid: guid.to_owned(),
            title: Some(title.to_owned()),
            enclosure_url: format!("https://media.example.com/{guid}.mp3"),
            length: Some(1_000_000),
            duration_ms: None,
            published_at: Some(NOON),
        },
        renamed_from: None,
    }
}

pub(crate) fn poll(episodes: Vec<PolledEpisode>) -> PollUpdate {
    PollUpdate {
        poll: PollNote { outcome: "fetched", status: Some(200), episodes: Some(2), warnings: Some(0) },
        status: PodcastStatus::Active,
        feed_url: None,
        title: Some("A show".to_owned()),
        facts: Some(json!({ "language": "en" })),
        state: json!({ "etag": "x" }),
        error: None,
        next_poll_at: Some(NOON.plus(HOUR)),
        episodes,
        changes: Vec::new(),
    }
}

on_every_database! {
    async fn a_feed_is_connected_once_an_account(house) {
        let catalogue = &house.catalogue;
        let (ada, bob) = (house.account("ada").await, house.account("bob").await);
        let podcast = house.podcast(ada, "show").await;
        assert_eq!((podcast.status, podcast.next_poll_at), (PodcastStatus::Pending, Some(NOON)));
        let again = NewPodcast { feed_url: podcast.feed_url.clone(), allowed: None };
        assert!(matches!(catalogue.create_podcast(ada, again.clone()).await, Err(CatalogueError::InUse("feed_url"))));
        catalogue.create_podcast(bob, again.clone()).await.unwrap();
        catalogue.delete_podcast(ada, podcast.id).await.unwrap();
        assert!(matches!(catalogue.podcast(ada, podcast.id).await, Err(CatalogueError::NotFound("podcast"))));
        assert_eq!(catalogue.podcast_owner(podcast.id).await.unwrap(), None);
        catalogue.create_podcast(ada, again).await.unwrap();
    }

    async fn a_due_feed_is_leased_to_one_poller(house) {
        let catalogue = &house.catalogue;
        let account = house.account("ada").await;
        let podcast = house.podcast(account, "show").await;
        let due = catalogue.due_feeds("a", 10).await.unwrap();
        assert_eq!((due.len(), &due[0].state), (1, &Value::Null));
        assert!(catalogue.due_feeds("b", 10).await.unwrap().is_empty());
        assert_eq!(catalogue.lease_feed(account, podcast.id, "b").await.unwrap(), None);
        catalogue.apply_poll(account, podcast.id, poll(Vec::new())).await.unwrap();
        assert!(catalogue.due_feeds("b", 10).await.unwrap().is_empty(), "not due for an hour");
        let now = catalogue.podcast(account, podcast.id).await.unwrap();
        assert_eq!((now.status, now.title.as_deref(), now.last_poll_at), (PodcastStatus::Active, Some("A show"), Some(NOON)));
        house.clock.advance(HOUR);
        assert_eq!(catalogue.due_feeds("b", 10).await.unwrap()[0].state, json!({ "etag": "x" }));
        house.sql("UPDATE podcasts SET poll_lease_until = 0").await;
        assert!(catalogue.lease_feed(account, podcast.id, "c").await.unwrap().is_some());
    }

    async fn a_poll_keeps_what_changed_and_tells_of_it(house) {
        let catalogue = &house.catalogue;
        let account = house.account("ada").await;
        let podcast = house.podcast(account, "show").await;
        let two = vec![episode("1", "One"), episode("2", "Two"), episode("2", "Two again")];
        assert_eq!(catalogue.apply_poll(account, podcast.id, poll(two.clone())).await.unwrap().len(), 2);
        assert!(catalogue.apply_poll(account, podcast.id, poll(two)).await.unwrap().is_empty());

        let mut renamed = episode("2b", "Two");
        renamed.renamed_from = Some("2".to_owned());
        let change = FeedChange {
            kind: "guid_changed",
            guid: Some("2b".to_owned()),
            before: Some("2".to_owned()),
            after: Some("2b".to_owned()),
        };
        let update = PollUpdate { changes: vec![change], ..poll(vec![renamed]) };
        assert_eq!(catalogue.apply_poll(account, podcast.id, update).await.unwrap().len(), 1);
        let guids: Vec<_> = catalogue.all_episodes(account, podcast.id).await.unwrap().into_iter().map(|e| e.facts.guid).collect();
        assert_eq!(guids.len(), 2);
        assert!(guids.contains(&"2b".to_owned()) && guids.contains(&"1".to_owned()));
        let event = catalogue.outbox_batch("relay", 10).await.unwrap().pop().unwrap();
        assert_eq!((event.topic, event.body["after"].as_str()), (Topic::FeedUpdates, Some("2b")));
    }

    async fn a_feed_may_move_fail_and_end(house) {
        let catalogue = &house.catalogue;
        let account = house.account("ada").await;
        let podcast = house.podcast(account, "old").await;
        house.podcast(account, "taken").await;
        let to = |url: &str| PollUpdate { feed_url: Some(url.to_owned()), ..poll(Vec::new()) };
        let moved = catalogue.apply_poll(account, podcast.id, to("https://feeds.example.com/taken")).await;
        assert!(matches!(moved, Err(CatalogueError::InUse("feed_url"))));
        catalogue.apply_poll(account, podcast.id, to("https://feeds.example.com/new")).await.unwrap();
        let gone = PollUpdate {
            status: PodcastStatus::Gone,
            error: Some("410".to_owned()),
            next_poll_at: None,
            title: None,
            facts: None,
            ..poll(Vec::new())
        };
        catalogue.apply_poll(account, podcast.id, gone).await.unwrap();
        let now = catalogue.podcast(account, podcast.id).await.unwrap();
        assert_eq!(now.feed_url, "https://feeds.example.com/new");
        assert_eq!((now.status, now.last_error.as_deref(), now.next_poll_at), (PodcastStatus::Gone, Some("410"), None));
        assert_eq!((now.title.as_deref(), &now.facts), (Some("A show"), &json!({ "language": "en" })));
    }

    async fn polls_are_noted_with_what_they_brought_and_forgotten_after_thirty_days(house) {
        let catalogue = &house.catalogue;
        let (ada, bob) = (house.account("ada").await, house.account("bob").await);
        let (show, other) = (house.podcast(ada, "show").await.id, house.podcast(bob, "show").await.id);
        catalogue.apply_poll(ada, show, poll(Vec::new())).await.unwrap();
        catalogue.apply_poll(bob, other, poll(Vec::new())).await.unwrap();
        house.clock.advance(HOUR);
        let failed = PollNote { outcome: "failed", status: None, episodes: None, warnings: None };
        catalogue.apply_poll(ada, show, PollUpdate { poll: failed, ..poll(Vec::new()) }).await.unwrap();
        let polls = catalogue.feed_polls(ada, 10).await.unwrap();
        let seen: Vec<_> = polls.iter().map(|poll| (poll.account, poll.podcast, poll.outcome.as_str(), poll.status)).collect();
        assert_eq!(seen, [(ada, show, "failed", None), (ada, show, "fetched", Some(200))], "the newest first");
        assert_eq!((polls[1].polled_at, polls[1].episodes, polls[1].warnings), (NOON, Some(2), Some(0)));
        assert_eq!(catalogue.feed_polls(ada, 1).await.unwrap(), polls[..1]);
        assert_eq!(catalogue.feed_polls(None::<castback_schemas::AccountId>, 10).await.unwrap().len(), 3);

        // A poll that is not kept is not noted.
        catalogue.delete_podcast(ada, show).await.unwrap();
        assert!(catalogue.apply_poll(ada, show, poll(Vec::new())).await.is_err());
        assert_eq!(catalogue.feed_polls(ada, 10).await.unwrap().len(), 2);
        house.clock.advance(30 * DAY);
        catalogue.prune_feed_polls().await.unwrap();
        assert_eq!(catalogue.feed_polls(ada, 10).await.unwrap(), polls[..1]);
        assert_eq!(catalogue.feed_polls(bob, 10).await.unwrap(), []);
    }

    async fn lists_come_page_by_page_newest_first(house) {
        let catalogue = &house.catalogue;
        let account = house.account("ada").await;
        let mut made = Vec::new();
        for i in 0..5 {
            // Two of the same instant: the id decides.
            house.clock.set(Micros(NOON.0 + i64::from(i / 2)));
            made.push(house.podcast(account, &format!("show{i}")).await.id);
        }
        let mut seen = Vec::new();
        let mut paging = Paging { limit: 2, cursor: None };
        loop {
            let page = catalogue.podcasts(account, &PodcastFilter::default(), &paging).await.unwrap();
            seen.extend(page.items.iter().map(|podcast| (podcast.created_at, podcast.id)));
            let Some(next) = page.next_cursor else { break };
            paging.cursor = Some(next);
        }
        assert_eq!(seen.len(), 5);
        assert!(seen.windows(2).all(|pair| pair[0] > pair[1]), "{seen:?}");
        let bad = Paging { limit: 2, cursor: Some("?".to_owned()) };
        let refused = catalogue.podcasts(account, &PodcastFilter::default(), &bad).await;
        assert!(matches!(refused, Err(CatalogueError::InvalidCursor)));
    }

    async fn a_list_of_podcasts_is_narrowed(house) {
        let catalogue = &house.catalogue;
        let account = house.account("ada").await;
        let (read, waiting) = (house.podcast(account, "show").await, house.podcast(account, "other_100%").await);
        let titled = PollUpdate { title: Some("Übung & Co".to_owned()), ..poll(Vec::new()) };
        catalogue.apply_poll(account, read.id, titled).await.unwrap();
        let found = async |status: Option<PodcastStatus>, q: Option<&str>| {
            let filter = PodcastFilter { status, q: q.map(str::to_owned) };
            let page = catalogue.podcasts(account, &filter, &Paging::default()).await.unwrap();
            page.items.iter().map(|podcast| podcast.id).collect::<Vec<_>>()
        };
        assert_eq!(found(Some(PodcastStatus::Active), None).await, [read.id]);
        assert_eq!(found(Some(PodcastStatus::Pending), None).await, [waiting.id]);
        assert_eq!(found(None, Some("Übung & CO")).await, [read.id]);
        assert_eq!(found(None, Some("R_100%")).await, [waiting.id], "letters, no patterns");
        assert!(found(Some(PodcastStatus::Gone), Some("show")).await.is_empty());
    }

    async fn many_episodes_arrive_at_once(house) {
        let account = house.account("ada").await;
        let podcast = house.podcast(account, "show").await.id;
        let many = (0..1200).map(|i| episode(&format!("g{i}"), "x")).collect();
        assert_eq!(house.catalogue.apply_poll(account, podcast, poll(many)).await.unwrap().len(), 1200);
        assert_eq!(house.catalogue.directory_since(0).await.unwrap().episodes.len(), 1200);
    }
}
