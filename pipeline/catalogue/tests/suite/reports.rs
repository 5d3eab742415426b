//! Report jobs.

use std::collections::{BTreeMap, BTreeSet};

use castback_catalogue::CatalogueError;
use castback_catalogue::page::Paging;
use castback_catalogue::reports::{MAX_ATTEMPTS, NewReport, ReportFilter, ReportKind, ReportState};
use castback_schemas::Micros;
use castback_schemas::id::AccountId;
use castback_schemas::time::DAY;

use crate::harness::NOON;

fn downloads(allowed: Option<i64>) -> NewReport {
    NewReport {
        kind: ReportKind::Downloads,
        campaign: None,
        from: NOON.plus(-7 * DAY),
        to: NOON,
        user: None,
        allowed,
        counted_from: NOON.day().month().first_day().start(),
    }
}

on_every_database! {
    async fn a_report_is_made_by_one_worker(house) {
        let catalogue = &house.catalogue;
        let account = house.account("ada").await;
        let queued = catalogue.create_report(account, downloads(None)).await.unwrap();
        assert_eq!((queued.state, queued.progress), (ReportState::Queued, 0));
        let claimed = catalogue.claim_report("a").await.unwrap().unwrap();
        assert_eq!((claimed.id, claimed.state), (queued.id, ReportState::Running));
        assert_eq!(catalogue.claim_report("b").await.unwrap(), None);
        assert!(catalogue.report_progress(queued.id, "a", 40).await.unwrap());
        assert!(!catalogue.report_progress(queued.id, "b", 50).await.unwrap());
        assert_eq!(catalogue.report(account, queued.id).await.unwrap().progress, 40);
        let files = BTreeMap::from([("pdf".to_owned(), "reports/x.pdf".to_owned())]);
        assert!(matches!(catalogue.finish_report(queued.id, "b", &files).await, Err(CatalogueError::NotFound(_))));
        catalogue.finish_report(queued.id, "a", &files).await.unwrap();
        let ready = catalogue.report(account, queued.id).await.unwrap();
        assert_eq!((ready.state, ready.progress, &ready.files), (ReportState::Ready, 100, &files));
        assert_eq!(catalogue.reports(account, &ReportFilter::default(), &Paging::default()).await.unwrap().items, [ready]);
    }

    async fn reports_are_listed_by_what_they_are(house) {
        let catalogue = &house.catalogue;
        let (ada, bob) = (house.account("ada").await, house.account("bob").await);
        let first = catalogue.create_report(ada, downloads(None)).await.unwrap().id;
        let second = catalogue.create_report(bob, downloads(None)).await.unwrap().id;
        catalogue.claim_report("a").await.unwrap().unwrap();
        let listed = async |account: Option<AccountId>, filter: ReportFilter| {
            let page = catalogue.reports(account, &filter, &Paging::default()).await.unwrap();
            page.items.into_iter().map(|report| report.id).collect::<BTreeSet<_>>()
        };
        let of = |state| ReportFilter { state: Some(state), ..ReportFilter::default() };
        assert_eq!(listed(None, ReportFilter::default()).await, BTreeSet::from([first, second]));
        assert_eq!(listed(Some(bob), ReportFilter::default()).await, BTreeSet::from([second]));
        assert_eq!(listed(None, of(ReportState::Running)).await.len(), 1);
        assert!(listed(None, of(ReportState::Failed)).await.is_empty());
        let roi = ReportFilter { kind: Some(ReportKind::Roi), ..ReportFilter::default() };
        assert!(listed(Some(ada), roi).await.is_empty());
        let kind = ReportFilter { kind: Some(ReportKind::Downloads), ..ReportFilter::default() };
        assert_eq!(listed(Some(ada), kind).await, BTreeSet::from([first]));
    }

    async fn a_report_that_kills_its_workers_is_given_up(house) {
        let catalogue = &house.catalogue;
        let account = house.account("ada").await;
        let report = catalogue.create_report(account, downloads(None)).await.unwrap().id;
        for _ in 0..MAX_ATTEMPTS {
            assert!(catalogue.claim_report("a").await.unwrap().is_some());
            house.sql("UPDATE reports SET lease_until = 0").await;
        }
        assert_eq!(catalogue.claim_report("a").await.unwrap(), None);
        let failed = catalogue.report(account, report).await.unwrap();
        assert_eq!(failed.state, ReportState::Failed);
        assert!(failed.failure.is_some() && failed.finished_at == Some(NOON));
    }

    async fn reports_are_counted_from_the_months_start(house) {
        let catalogue = &house.catalogue;
        let account = house.account("ada").await;
        catalogue.create_report(account, downloads(Some(1))).await.unwrap();
        let refused = catalogue.create_report(account, downloads(Some(1))).await;
        assert!(matches!(refused, Err(CatalogueError::LimitReached { limit: "reports", used: 1, allowed: 1 })));
        let next_month = NewReport { counted_from: NOON.plus(1), ..downloads(Some(1)) };
        house.clock.set(Micros(NOON.0 + 2));
        catalogue.create_report(account, next_month).await.unwrap();
        let claimed = catalogue.claim_report("a").await.unwrap().unwrap();
        catalogue.fail_report(claimed.id, "a", "no data").await.unwrap();
        catalogue.create_report(account, downloads(Some(2))).await.unwrap();
    }
}
