//! Outbox, idempotency, registry, leases, agents.

use castback_catalogue::idempotency::{ANSWER_LIFE, KeyedRequest, RESERVATION_LIFE, Reservation};
use castback_schemas::id::AccountId;
use castback_schemas::time::SECOND;

use crate::harness::terms;

fn keyed(account: AccountId, hash: &str) -> KeyedRequest {
    KeyedRequest { account, key: "k".to_owned(), route: "POST /v1/campaigns".to_owned(), request_hash: hash.to_owned() }
}

on_every_database! {
    async fn the_outbox_is_sent_in_order_by_one_relay(house) {
        let catalogue = &house.catalogue;
        let account = house.account("ada").await;
        catalogue.create_campaign(account, terms("a")).await.unwrap();
        let batch = catalogue.outbox_batch("a", 1).await.unwrap();
        assert_eq!(batch.len(), 1);
        assert!(catalogue.outbox_batch("b", 1).await.unwrap().is_empty(), "a has it");
        assert_eq!(catalogue.outbox_batch("a", 9).await.unwrap().len(), 2, "not done: comes again");
        catalogue.outbox_done(batch[0].seq).await.unwrap();
        let rest = catalogue.outbox_batch("a", 9).await.unwrap();
        assert_eq!((rest.len(), rest[0].seq), (1, batch[0].seq + 1));
        house.sql("UPDATE leases SET lease_until = 0").await;
        assert_eq!(catalogue.outbox_batch("b", 9).await.unwrap(), rest);
    }

    async fn a_request_is_done_once_a_key(house) {
        let catalogue = &house.catalogue;
        let (ada, bob) = (house.account("ada").await, house.account("bob").await);
        assert_eq!(catalogue.reserve_request(keyed(ada, "h")).await.unwrap(), Reservation::New);
        assert_eq!(catalogue.reserve_request(keyed(ada, "h")).await.unwrap(), Reservation::InProgress);
        assert_eq!(catalogue.reserve_request(keyed(ada, "other")).await.unwrap(), Reservation::Mismatch);
        assert_eq!(catalogue.reserve_request(keyed(bob, "other")).await.unwrap(), Reservation::New);
        catalogue.complete_request(ada, "k", 201, "{}").await.unwrap();
        let replay = Reservation::Replay { status: 201, body: "{}".to_owned() };
        assert_eq!(catalogue.reserve_request(keyed(ada, "h")).await.unwrap(), replay);
        catalogue.abandon_request(ada, "k").await.unwrap();
        assert_eq!(catalogue.reserve_request(keyed(ada, "h")).await.unwrap(), replay, "what is done is not abandoned");
        catalogue.abandon_request(bob, "k").await.unwrap();
        assert_eq!(catalogue.reserve_request(keyed(bob, "h")).await.unwrap(), Reservation::New);
    }

    async fn keys_of_dead_requests_and_old_answers_come_free(house) {
        let catalogue = &house.catalogue;
        let account = house.account("ada").await;
        catalogue.reserve_request(keyed(account, "h")).await.unwrap();
        house.clock.advance(RESERVATION_LIFE + SECOND);
        assert_eq!(catalogue.reserve_request(keyed(account, "h")).await.unwrap(), Reservation::New);
        catalogue.complete_request(account, "k", 201, "{}").await.unwrap();
        house.clock.advance(RESERVATION_LIFE + SECOND);
        assert!(matches!(catalogue.reserve_request(keyed(account, "h")).await.unwrap(), Reservation::Replay { .. }));
        house.clock.advance(ANSWER_LIFE);
        assert_eq!(catalogue.reserve_request(keyed(account, "other")).await.unwrap(), Reservation::New);
        house.clock.advance(ANSWER_LIFE + SECOND);
        catalogue.prune_requests().await.unwrap();
        assert_eq!(house.number("SELECT COUNT(*) FROM idempotency").await, 0);
    }

    async fn schema_ids_never_change(house) {
        let catalogue = &house.catalogue;
        let first = catalogue.register_schema("a-value", "{1}", "f1").await.unwrap();
        assert_eq!((first.id, first.version), (1, 1));
        assert_eq!(catalogue.register_schema("a-value", "{1}", "f1").await.unwrap(), first);
        let elsewhere = catalogue.register_schema("b-value", "{1}", "f1").await.unwrap();
        assert_eq!((elsewhere.id, elsewhere.version), (1, 1));
        let second = catalogue.register_schema("a-value", "{2}", "f2").await.unwrap();
        assert_eq!((second.id, second.version), (2, 2));
        assert_eq!(catalogue.schema(2).await.unwrap().as_deref(), Some("{2}"));
        assert_eq!(catalogue.schema(3).await.unwrap(), None);
        assert_eq!(catalogue.schema_ids().await.unwrap(), [1, 2]);
        assert_eq!(catalogue.subjects().await.unwrap(), ["a-value", "b-value"]);
        assert_eq!(catalogue.subject_versions("a-value").await.unwrap(), [first, second]);
        assert!(catalogue.subject_versions("c-value").await.unwrap().is_empty());
    }

    async fn one_schema_registered_by_many_has_one_id(house) {
        let other = house.neighbour(2).await;
        let mut callers = tokio::task::JoinSet::new();
        for i in 0..8 {
            let catalogue = if i % 2 == 0 { house.catalogue.clone() } else { other.clone() };
            callers.spawn(async move { catalogue.register_schema("s", "{}", "f").await.unwrap() });
        }
        assert!(callers.join_all().await.iter().all(|schema| (schema.id, schema.version) == (1, 1)));
    }

    async fn a_lease_has_one_holder(house) {
        let catalogue = &house.catalogue;
        assert!(catalogue.take_lease("compaction", "a", 60 * SECOND).await.unwrap());
        assert!(catalogue.take_lease("compaction", "a", 60 * SECOND).await.unwrap());
        assert!(!catalogue.take_lease("compaction", "b", 60 * SECOND).await.unwrap());
        catalogue.release_lease("compaction", "b").await.unwrap();
        assert!(!catalogue.take_lease("compaction", "b", 60 * SECOND).await.unwrap());
        catalogue.release_lease("compaction", "a").await.unwrap();
        assert!(catalogue.take_lease("compaction", "b", 60 * SECOND).await.unwrap());
    }

    async fn runs_of_agents_are_shown(house) {
        let catalogue = &house.catalogue;
        let first = catalogue.start_agent_run("poller").await.unwrap();
        catalogue.finish_agent_run(first, "succeeded", "3 feeds").await.unwrap();
        house.clock.advance(SECOND);
        let second = catalogue.start_agent_run("poller").await.unwrap();
        let runs = catalogue.agent_runs(9).await.unwrap();
        assert_eq!(runs.iter().map(|run| run.id).collect::<Vec<_>>(), [second, first]);
        assert_eq!((runs[0].finished_at, runs[1].outcome.as_deref()), (None, Some("succeeded")));
        assert_eq!(catalogue.newest_agent_runs().await.unwrap(), runs[..1]);
    }
}
