//! Another account's id is not found, by any method.

use castback_catalogue::CatalogueError;
use castback_catalogue::campaigns::CampaignFilter;
use castback_catalogue::keys::{KeyKind, NewKey};
use castback_catalogue::page::Paging;
use castback_catalogue::podcasts::{DownloadWindow, PodcastFilter};
use castback_catalogue::reports::{NewReport, ReportFilter, ReportKind};
use castback_catalogue::transitions::Transition;
use castback_schemas::campaign::{Attribution, CampaignTerms};

use crate::harness::{NOON, terms};
use crate::podcasts::{episode, poll};

/// Asserts that each call, made with another's account, finds nothing.
macro_rules! not_found {
    ($($call:expr),+ $(,)?) => {$(
        match $call.await {
            Err(CatalogueError::NotFound(_)) => {}
            other => panic!("{}: {other:?}", stringify!($call)),
        }
    )+};
}

fn roi(campaign: castback_schemas::CampaignId) -> NewReport {
    NewReport {
        kind: ReportKind::Roi,
        campaign: Some(campaign),
        from: NOON,
        to: NOON,
        user: None,
        allowed: None,
        counted_from: NOON,
    }
}

on_every_database! {
    async fn nothing_of_another_account_is_found(house) {
        let catalogue = &house.catalogue;
        let ada = house.person("ada").await.user;
        let bob = house.account("bob").await;
        let podcast = house.podcast(ada.account, "show").await.id;
        catalogue.apply_poll(ada.account, podcast, poll(vec![episode("1", "One")])).await.unwrap();
        let campaign = catalogue.create_campaign(ada.account, terms("a")).await.unwrap().id;
        let report = catalogue.create_report(ada.account, roi(campaign)).await.unwrap().id;
        let key = catalogue.api_keys(ada.account, &Paging::default()).await.unwrap().items[0].id;
        let changes = catalogue.directory_since(0).await.unwrap().change;
        let on_podcast = CampaignTerms { podcast_ids: vec![podcast], ..terms("b") };
        let new_key = NewKey { kind: KeyKind::Secret, label: String::new() };
        not_found! {
            catalogue.podcast(bob, podcast),
            catalogue.episodes(bob, podcast, &Paging::default()),
            catalogue.set_window(bob, podcast, DownloadWindow::UtcDay),
            catalogue.poll_now(bob, podcast),
            catalogue.apply_poll(bob, podcast, poll(vec![episode("1", "stolen")])),
            catalogue.delete_podcast(bob, podcast),
            catalogue.create_campaign(bob, on_podcast.clone()),
            catalogue.campaign(bob, campaign),
            catalogue.set_terms(bob, campaign, terms("c"), 1),
            catalogue.put_attribution(bob, campaign, Attribution::default(), None),
            catalogue.transition(bob, campaign, Transition::Launch, None),
            catalogue.delete_campaign(bob, campaign),
            catalogue.create_report(bob, roi(campaign)),
            catalogue.report(bob, report),
            catalogue.user(bob, ada.id),
            catalogue.rename_user(bob, ada.id, "x"),
            catalogue.set_password(bob, ada.id, "x".into()),
            catalogue.erase_user(bob, ada.id),
            catalogue.set_tier(bob, ada.id, "enterprise"),
            catalogue.create_api_key(bob, ada.id, new_key.clone()),
            catalogue.revoke_api_key(bob, key),
        }
        assert_eq!(catalogue.lease_feed(bob, podcast, "x").await.unwrap(), None);
        assert!(catalogue.all_episodes(bob, podcast).await.unwrap().is_empty());
        let paging = Paging::default();
        assert!(catalogue.podcasts(bob, &PodcastFilter::default(), &paging).await.unwrap().items.is_empty());
        assert!(catalogue.campaigns(bob, &CampaignFilter::default(), &paging).await.unwrap().items.is_empty());
        assert!(catalogue.reports(bob, &ReportFilter::default(), &paging).await.unwrap().items.is_empty());
        assert_eq!(catalogue.members(bob).await.unwrap().len(), 1);
        assert_eq!(catalogue.api_keys(bob, &paging).await.unwrap().items.len(), 1);
        assert_eq!((catalogue.count_podcasts(bob).await.unwrap(), catalogue.count_running_campaigns(bob).await.unwrap()), (0, 0));
        assert_eq!(catalogue.directory_since(0).await.unwrap().change, changes, "and nothing was changed");

        // An own campaign can't be moved onto another's podcast either.
        let own = catalogue.create_campaign(bob, terms("own")).await.unwrap();
        not_found! { catalogue.set_terms(bob, own.id, on_podcast, 1) }
    }
}
