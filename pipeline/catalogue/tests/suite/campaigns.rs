//! Campaigns: states, versions, claims.

use castback_catalogue::CatalogueError;
use castback_catalogue::campaigns::CampaignFilter;
use castback_catalogue::page::Paging;
use castback_catalogue::transitions::Transition;
use castback_schemas::Micros;
use castback_schemas::campaign::{Attribution, CampaignState, CampaignTerms};
use castback_schemas::time::DAY;

use crate::harness::{NOON, terms};

on_every_database! {
    async fn a_campaign_goes_through_its_states(house) {
        let catalogue = &house.catalogue;
        let account = house.account("ada").await;
        let campaign = catalogue.create_campaign(account, terms("spring")).await.unwrap();
        assert_eq!((campaign.state, campaign.version), (CampaignState::Draft, 1));
        let mut version = 1;
        for (transition, state) in [
            (Transition::Launch, CampaignState::Scheduled),
            (Transition::Cancel, CampaignState::Cancelled),
        ] {
            let moved = catalogue.transition(account, campaign.id, transition, None).await.unwrap();
            version += 1;
            assert_eq!((moved.state, moved.version), (state, version));
        }
        let refused = catalogue.transition(account, campaign.id, Transition::Resume, None).await;
        assert!(matches!(refused, Err(CatalogueError::WrongState { state: CampaignState::Cancelled, .. })));
        let kinds: Vec<String> = catalogue
            .outbox_batch("relay", 10)
            .await
            .unwrap()
            .into_iter()
            .filter_map(|event| event.body["kind"].as_str().map(str::to_owned))
            .collect();
        assert_eq!(kinds, ["user_created", "campaign_created", "campaign_launched", "campaign_cancelled"]);
    }

    async fn a_draft_that_lacks_something_is_not_launched(house) {
        let catalogue = &house.catalogue;
        let account = house.account("ada").await;
        let bare = CampaignTerms { budget: None, attribution: Attribution::default(), ..terms("x") };
        let campaign = catalogue.create_campaign(account, bare).await.unwrap();
        let refused = catalogue.transition(account, campaign.id, Transition::Launch, None).await;
        let Err(CatalogueError::WrongState { missing, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(missing, ["budget", "attribution.complete"]);
        let attribution = Attribution { promo_codes: vec!["X".to_owned()], ..Attribution::default() };
        catalogue.put_attribution(account, campaign.id, attribution, None).await.unwrap();
        let refused = catalogue.transition(account, campaign.id, Transition::Launch, None).await;
        let Err(CatalogueError::WrongState { missing, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(missing, ["budget"]);
    }

    async fn dates_move_states_on(house) {
        let catalogue = &house.catalogue;
        let account = house.account("ada").await;
        let campaign = catalogue.create_campaign(account, terms("spring")).await.unwrap().id;
        catalogue.transition(account, campaign, Transition::Launch, None).await.unwrap();
        assert!(catalogue.advance_campaigns(NOON).await.unwrap().is_empty());
        house.clock.advance(DAY);
        // Nobody has moved it yet: pausing sees that the flight has begun.
        let paused = catalogue.transition(account, campaign, Transition::Pause, None).await.unwrap();
        assert_eq!(paused.state, CampaignState::Paused);
        let resumed = catalogue.transition(account, campaign, Transition::Resume, None).await.unwrap();
        assert_eq!(resumed.state, CampaignState::Active);
        house.clock.advance(30 * DAY);
        let moved = catalogue.advance_campaigns(NOON.plus(31 * DAY)).await.unwrap();
        assert_eq!(moved.iter().map(|campaign| campaign.state).collect::<Vec<_>>(), [CampaignState::Completed]);
        assert!(catalogue.advance_campaigns(NOON.plus(31 * DAY)).await.unwrap().is_empty());
    }

    async fn a_change_needs_the_version_it_was_made_from(house) {
        let catalogue = &house.catalogue;
        let account = house.account("ada").await;
        let campaign = catalogue.create_campaign(account, terms("spring")).await.unwrap();
        let cheaper = CampaignTerms { budget: Some(5), ..campaign.terms.clone() };
        let changed = catalogue.set_terms(account, campaign.id, cheaper.clone(), 1).await.unwrap();
        assert_eq!((changed.version, changed.terms.budget), (2, Some(5)));
        let late = catalogue.set_terms(account, campaign.id, cheaper, 1).await;
        assert!(matches!(late, Err(CatalogueError::PreconditionFailed { current: 2 })));
        assert_eq!(catalogue.campaign(account, campaign.id).await.unwrap(), changed);
    }

    async fn a_code_leads_to_one_campaign_of_an_account_and_a_slug_to_one_at_all(house) {
        let catalogue = &house.catalogue;
        let (ada, bob) = (house.account("ada").await, house.account("bob").await);
        let first = catalogue.create_campaign(ada, terms("SAVE")).await.unwrap();
        let mut same = terms("save");
        assert!(matches!(catalogue.create_campaign(ada, same.clone()).await, Err(CatalogueError::InUse("promo_code"))));
        assert!(matches!(catalogue.create_campaign(bob, same.clone()).await, Err(CatalogueError::InUse("vanity_slug"))));
        same.attribution.vanity_slug = None;
        catalogue.create_campaign(bob, same).await.unwrap();
        assert_eq!(catalogue.campaign_by_slug("Save").await.unwrap().unwrap().id, first.id);
        catalogue.delete_campaign(ada, first.id).await.unwrap();
        assert_eq!(catalogue.campaign_by_slug("save").await.unwrap(), None);
        catalogue.create_campaign(ada, terms("SAVE")).await.unwrap();
    }

    async fn only_a_draft_is_deleted_and_an_ended_campaign_is_not_changed(house) {
        let catalogue = &house.catalogue;
        let account = house.account("ada").await;
        let campaign = catalogue.create_campaign(account, terms("x")).await.unwrap();
        catalogue.transition(account, campaign.id, Transition::Launch, None).await.unwrap();
        assert!(matches!(catalogue.delete_campaign(account, campaign.id).await, Err(CatalogueError::WrongState { .. })));
        catalogue.transition(account, campaign.id, Transition::Cancel, None).await.unwrap();
        let changed = catalogue.set_terms(account, campaign.id, terms("y"), 3).await;
        assert!(matches!(changed, Err(CatalogueError::WrongState { .. })), "{changed:?}");
    }

    async fn launches_stop_at_the_limit(house) {
        let catalogue = &house.catalogue;
        let account = house.account("ada").await;
        for (code, fits) in [("a", true), ("b", false)] {
            let campaign = catalogue.create_campaign(account, terms(code)).await.unwrap().id;
            let launched = catalogue.transition(account, campaign, Transition::Launch, Some(1)).await;
            match launched {
                Ok(_) => assert!(fits),
                Err(CatalogueError::LimitReached { limit: "active_campaigns", used: 1, allowed: 1 }) => {
                    assert!(!fits);
                    assert_eq!(catalogue.campaign(account, campaign).await.unwrap().state, CampaignState::Draft);
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(catalogue.count_running_campaigns(account).await.unwrap(), 1);
    }

    async fn lists_are_narrowed(house) {
        let catalogue = &house.catalogue;
        let account = house.account("ada").await;
        let podcast = house.podcast(account, "show").await.id;
        let on_show = CampaignTerms { podcast_ids: vec![podcast], name: "100% Summer_".to_owned(), ..terms("a") };
        let first = catalogue.create_campaign(account, on_show).await.unwrap().id;
        house.clock.advance(1);
        let second = catalogue.create_campaign(account, terms("b")).await.unwrap().id;
        catalogue.transition(account, second, Transition::Launch, None).await.unwrap();
        let list = |filter: CampaignFilter| async move {
            let page = catalogue.campaigns(account, &filter, &Paging::default()).await.unwrap();
            page.items.into_iter().map(|campaign| campaign.id).collect::<Vec<_>>()
        };
        assert_eq!(list(CampaignFilter::default()).await, [second, first]);
        assert_eq!(list(CampaignFilter { state: Some(CampaignState::Draft), ..CampaignFilter::default() }).await, [first]);
        assert_eq!(list(CampaignFilter { podcast: Some(podcast), ..CampaignFilter::default() }).await, [first]);
        for (q, ids) in [("summer_", vec![first]), ("100%", vec![first]), ("%", vec![first]), ("campaign", vec![second])] {
            assert_eq!(list(CampaignFilter { q: Some(q.to_owned()), ..CampaignFilter::default() }).await, ids, "{q}");
        }
    }

    async fn versions_stand_from_the_beginning_until_the_launch(house) {
        let catalogue = &house.catalogue;
        let account = house.account("ada").await;
        let campaign = catalogue.create_campaign(account, terms("a")).await.unwrap();
        let dearer = CampaignTerms { budget: Some(7), ..campaign.terms };
        catalogue.set_terms(account, campaign.id, dearer, 1).await.unwrap();
        house.clock.set(NOON.plus(2 * DAY));
        catalogue.transition(account, campaign.id, Transition::Launch, None).await.unwrap();
        // Two changes of the same instant keep their order.
        catalogue.transition(account, campaign.id, Transition::Pause, None).await.unwrap();
        catalogue.transition(account, campaign.id, Transition::Resume, None).await.unwrap();
        let versions: Vec<_> = catalogue
            .directory_since(0)
            .await
            .unwrap()
            .campaigns
            .into_iter()
            .map(|(_, version)| (version.valid_from, version.state, version.terms.budget))
            .collect();
        let launch = NOON.plus(2 * DAY);
        assert_eq!(
            versions,
            [
                (Micros(i64::MIN), CampaignState::Active, Some(7)),
                (launch, CampaignState::Paused, Some(7)),
                (launch.plus(1), CampaignState::Active, Some(7)),
            ]
        );
    }
}
