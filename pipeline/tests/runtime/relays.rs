//! What goes out after a commit: events of campaigns, of changes, and records sent on.

use std::collections::BTreeSet;

use castback_broker::NewRecord;
use castback_catalogue::transitions::Transition;
use castback_schemas::campaign::CampaignTerms;
use castback_schemas::codec::BatchDecoder;
use castback_schemas::event::{AppEvent, Conversion, HouseholdKey};
use castback_schemas::table::Table;
use castback_schemas::time::HOUR;
use castback_schemas::{Slot, Topic};
use serde_json::json;

use crate::house::{House, NOON, Sender, text};

pub(crate) fn launch(house: &House, sender: Sender) {
    let terms: CampaignTerms = serde_json::from_value(json!({
        "name": "Spring", "currency": "USD", "budget": 100_000, "podcast_ids": [sender.podcast],
        "starts_on": "2026-02-27", "ends_on": "2026-03-31", "placements": [{ "id": "a", "position": "pre_roll" }],
        "attribution": { "promo_codes": ["SPRING"] }, "price_model": { "cpm": 2_500 },
    }))
    .unwrap();
    house.wait(async {
        let campaign = house.catalogue.create_campaign(sender.account, terms).await.unwrap().id;
        house.catalogue.transition(sender.account, campaign, Transition::Launch, None).await.unwrap();
    });
}

/// The events on a topic, read as receivers do: ids, in order.
fn ids(house: &House, topic: Topic) -> Vec<String> {
    // The records first: every schema that they name is known by then.
    let values: Vec<_> = Slot::all().flat_map(|slot| house.read(topic, slot)).map(|record| record.value).collect();
    let mut decoder = BatchDecoder::new(topic).unwrap();
    for id in house.wait(house.catalogue.schema_ids()).unwrap() {
        let schema = house.wait(house.catalogue.schema(id)).unwrap();
        decoder.learn(u32::try_from(id).unwrap(), schema.as_deref());
    }
    let decoded = decoder.decode(&values).unwrap();
    assert!(decoded.bad.is_empty(), "{:?}", decoded.bad);
    text(&decoded.batch, "event_id")
}

on_every_database! {
    minutes_of_campaigns_and_changes_are_told_once
    records_in_a_wrong_slot_are_sent_on_and_counted_once
}

fn minutes_of_campaigns_and_changes_are_told_once(house: &House) {
    let sender = house.sender("ada");
    launch(house, sender);
    let encoder = house.encoder(Topic::ListenerRequests);
    let requests = (0..5).map(|n| sender.request(&format!("r-{n}"), n, NOON.plus(-i64::from(n) * HOUR)));
    house.append(requests.map(|request| sender.record(&encoder, &request)).collect());
    let process = house.process(2);
    house.until("five minutes are told", || ids(house, Topic::CampaignPerformance).len() == 5);
    house.until("the changes are told", || ids(house, Topic::CampaignChanges).len() == 2);
    house.until("the sign-up is told", || !ids(house, Topic::UserChanges).is_empty());
    process.stop();
    let told = ids(house, Topic::CampaignPerformance);
    let slot = Slot::of(sender.account);
    assert!(told.iter().all(|id| id.starts_with(&format!("counting/{slot}-"))), "{told:?}");
    assert_eq!(told.iter().collect::<BTreeSet<_>>().len(), 5, "(unit, commit, index) is unique");
    // Another process has nothing to send again.
    let process = house.process(3);
    house.append(vec![sender.record(&encoder, &sender.request("more", 9, NOON))]);
    house.until("one more is told", || ids(house, Topic::CampaignPerformance).len() == 6);
    process.stop();
    assert_eq!(ids(house, Topic::CampaignPerformance).iter().collect::<BTreeSet<_>>().len(), 6);
}

fn records_in_a_wrong_slot_are_sent_on_and_counted_once(house: &House) {
    let sender = house.sender("ada");
    let right = Slot::of(sender.account);
    let wrong = Slot((right.0 + 1) % castback_schemas::SLOTS);
    let misplaced = |record: NewRecord| NewRecord { slot: wrong, ..record };
    let requests = house.encoder(Topic::ListenerRequests);
    let mut request = sender.request("request", 1, NOON);
    request.ads = vec![castback_schemas::event::AdBytes { placement_id: "a".into(), from_byte: 1, to_byte: 2 }];
    request.listener_previous = Some([5; 16]);
    let conversion = Conversion {
        event_id: "set/1".into(),
        account_id: sender.account,
        occurred_at: NOON,
        recorded_at: NOON,
        revision: 0,
        data_set_id: "set".into(),
        id: "1".into(),
        event_type: "lead".into(),
        value_minor: None,
        currency: None,
        transaction_id: Some("t".into()),
        coupon: None,
        referrer: None,
        customer: Some([9; 16]),
        network: "other".into(),
        network_version: "test".into(),
        households: vec![HouseholdKey { month: 24_314, hash: [3; 16] }],
        campaign_id: None,
        vanity_slug: None,
        survey_answer: None,
        utm: None,
        source: "api".into(),
        verified: true,
    };
    let event = AppEvent {
        event_id: "event".into(),
        account_id: sender.account,
        occurred_at: NOON,
        recorded_at: NOON,
        revision: 0,
        event_type: "click".into(),
        user: "user".into(),
        session_id: None,
        page: Some("/".into()),
        feature: None,
        element: None,
        properties: Some(vec![1, 2]),
    };
    let conversions = house.encoder(Topic::Conversions);
    let events = house.encoder(Topic::AppEvents);
    house.append(vec![
        misplaced(sender.record(&requests, &request)),
        misplaced(sender.record(&conversions, &conversion)),
        misplaced(sender.record(&events, &event)),
    ]);
    let process = house.process(2);
    let inputs = [
        (Topic::ListenerRequests, Table::Requests),
        (Topic::Conversions, Table::Conversions),
        (Topic::AppEvents, Table::AppEvents),
    ];
    house.until("all were sent on", || inputs.iter().all(|(topic, _)| house.read(*topic, right).len() == 1));
    house.until("all is committed", || house.is_caught_up());
    // What was lost of a send is sent again: the same events, the same once.
    house.append(vec![sender.record(&requests, &request)]);
    house.until("all is committed", || house.is_caught_up());
    process.stop();
    for (topic, table) in inputs {
        let verdicts = house.balanced(topic, table);
        assert_eq!((verdicts["filtered rerouted"], verdicts["counted"]), (1, 1), "{topic}");
    }
    let sent_on = house.read(Topic::ListenerRequests, right).remove(0);
    assert_eq!(sent_on.value, house.read(Topic::ListenerRequests, wrong).remove(0).value, "as it came");
    assert_eq!(house.read(Topic::Conversions, right)[0].value, house.read(Topic::Conversions, wrong)[0].value);
    assert_eq!(house.read(Topic::AppEvents, right)[0].value, house.read(Topic::AppEvents, wrong)[0].value);
}
