//! The directory: all versions, by change number.

use castback_catalogue::podcasts::DownloadWindow;
use castback_schemas::Micros;

use crate::harness::{NOON, terms};
use crate::podcasts::{episode, poll};

on_every_database! {
    async fn a_reader_sees_what_changed_since_it_last_asked(house) {
        let catalogue = &house.catalogue;
        let account = house.account("ada").await;
        let nothing = catalogue.directory_since(0).await.unwrap();
        assert_eq!((nothing.change, nothing.podcasts.len()), (0, 0));

        let podcast = house.podcast(account, "show").await.id;
        catalogue.apply_poll(account, podcast, poll(vec![episode("1", "One")])).await.unwrap();
        catalogue.create_campaign(account, terms("a")).await.unwrap();
        let all = catalogue.directory_since(0).await.unwrap();
        assert_eq!((all.podcasts.len(), all.episodes.len(), all.campaigns.len()), (1, 1, 1));
        assert_eq!(all.podcasts[0].valid_from, Micros(i64::MIN));
        assert_eq!(all.episodes[0].valid_from, Micros(i64::MIN));
        assert_eq!(all.campaigns[0].0, account);

        let same = catalogue.directory_since(all.change).await.unwrap();
        assert_eq!((same.change, same.episodes.len()), (all.change, 0));

        house.clock.advance(5);
        catalogue.apply_poll(account, podcast, poll(vec![episode("1", "One, again")])).await.unwrap();
        catalogue.set_window(account, podcast, DownloadWindow::LastTouch24h).await.unwrap();
        let newer = catalogue.directory_since(all.change).await.unwrap();
        assert_eq!(newer.episodes.len(), 1);
        assert_eq!(newer.episodes[0].valid_from, NOON.plus(5));
        assert_eq!(newer.episodes[0].episode, all.episodes[0].episode);
        assert_eq!((newer.podcasts[0].window, newer.podcasts[0].valid_from), (DownloadWindow::LastTouch24h, NOON.plus(5)));
        assert!(newer.change > all.change);

        catalogue.delete_podcast(account, podcast).await.unwrap();
        let last = catalogue.directory_since(newer.change).await.unwrap();
        assert!(last.podcasts[0].deleted && last.podcasts[0].valid_from == NOON.plus(6));
    }

    async fn no_change_is_missed_while_others_write(house) {
        let account = house.account("ada").await;
        let other = house.neighbour(2).await;
        let mut writers = tokio::task::JoinSet::new();
        for i in 0..20 {
            let catalogue = if i % 2 == 0 { house.catalogue.clone() } else { other.clone() };
            writers.spawn(async move { catalogue.create_campaign(account, terms(&format!("c{i}"))).await.unwrap() });
        }
        let mut seen = std::collections::HashSet::new();
        let mut change = 0;
        while seen.len() < 20 {
            let rows = house.catalogue.directory_since(change).await.unwrap();
            for (_, version) in rows.campaigns {
                assert!(seen.insert(version.campaign), "seen twice");
            }
            change = rows.change;
        }
        writers.join_all().await;
        assert_eq!(change, 20);
    }
}
