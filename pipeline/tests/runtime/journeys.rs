//! Counting end to end, freezing and recounting.

use castback_catalogue::unit_requests::RequestKind;
use castback_pipeline::group::RecountRequest;
use castback_schemas::event::{AppEvent, Conversion};
use castback_schemas::table::Table;
use castback_schemas::time::{DAY, HOUR, MINUTE};
use castback_schemas::{Group, Slot, Topic, Unit};

use crate::house::{House, NOON};

on_every_database! {
    what_is_sent_is_counted_and_a_new_process_says_nothing_else
    late_records_are_counted_by_a_recount_that_comes_by_itself
    a_recount_that_was_asked_for_happens_once_and_nonsense_is_answered
    a_request_to_a_unit_outlives_the_process_that_did_not_answer
}

fn what_is_sent_is_counted_and_a_new_process_says_nothing_else(house: &House) {
    let senders = ["ada", "bob", "cleo"].map(|name| house.sender(name));
    let encoder = house.encoder(Topic::ListenerRequests);
    let mut records = Vec::new();
    for sender in &senders {
        for listener in 0..40 {
            let request = sender.request(&format!("request-{listener}"), listener, NOON.plus(-HOUR));
            records.push(sender.record(&encoder, &request));
            records.push(sender.record(&encoder, &request));
            let mut again = sender.request(&format!("again-{listener}"), listener, NOON.plus(-MINUTE));
            records.push(sender.record(&encoder, &again));
            again.event_id = format!("head-{listener}");
            again.method = "HEAD".into();
            records.push(sender.record(&encoder, &again));
        }
    }
    house.append(records);
    let conversions = house.encoder(Topic::Conversions);
    let ada = senders[0];
    let mut conversion = Conversion {
        event_id: "set/1".into(),
        account_id: ada.account,
        occurred_at: NOON,
        recorded_at: NOON,
        revision: 0,
        data_set_id: "set".into(),
        id: "1".into(),
        event_type: "purchase".into(),
        value_minor: Some(4_999),
        currency: Some("USD".into()),
        transaction_id: None,
        coupon: None,
        referrer: None,
        customer: None,
        network: "other".into(),
        network_version: "test".into(),
        households: Vec::new(),
        campaign_id: None,
        vanity_slug: None,
        survey_answer: None,
        utm: None,
        source: "api".into(),
        verified: true,
    };
    house.append(vec![ada.record(&conversions, &conversion), ada.record(&conversions, &conversion)]);
    conversion.id = "2".into();
    let events = house.encoder(Topic::AppEvents);
    let event = AppEvent {
        event_id: "event-1".into(),
        account_id: ada.account,
        occurred_at: NOON,
        recorded_at: NOON,
        revision: 0,
        event_type: "click".into(),
        user: "user".into(),
        session_id: None,
        page: None,
        feature: None,
        element: None,
        properties: Some(vec![1, 2, 3]),
    };
    house.append(vec![ada.record(&events, &event), ada.record(&events, &event)]);

    let process = house.process(2);
    house.until("all is committed", || house.is_caught_up());
    let requests = house.balanced(Topic::ListenerRequests, Table::Requests);
    let expected = [
        ("counted", 120),
        ("duplicate same_download", 120),
        ("duplicate same_event_id", 120),
        ("filtered method", 120),
    ];
    assert_eq!(requests, expected.map(|(verdict, count)| (verdict.to_owned(), count)).into());
    for (topic, table) in [(Topic::Conversions, Table::Conversions), (Topic::AppEvents, Table::AppEvents)] {
        let verdicts = house.balanced(topic, table);
        assert_eq!(verdicts, [("counted".to_owned(), 1), ("duplicate same_event_id".to_owned(), 1)].into());
    }
    process.stop();
    assert!(house.wait(house.catalogue.units()).unwrap().iter().all(|unit| unit.owner.is_none()), "leases are back");

    // Another process folds the same rows: it has nothing to say, and goes on where the first was.
    let commit = house.wait(house.catalogue.newest_commit()).unwrap();
    let process = house.process(3);
    house.append(vec![ada.record(&conversions, &conversion)]);
    house.until("all is committed", || house.is_caught_up());
    process.stop();
    assert!(house.rows(Table::Verdicts).is_empty(), "no verdict was revised");
    assert_eq!(house.balanced(Topic::ListenerRequests, Table::Requests), requests);
    // The conversion, and the tally behind it.
    assert_eq!(house.wait(house.catalogue.newest_commit()).unwrap().0, commit.0 + 2);
}

fn late_records_are_counted_by_a_recount_that_comes_by_itself(house: &House) {
    let sender = house.sender("ada");
    let encoder = house.encoder(Topic::ListenerRequests);
    let send = |id: &str, listener, at| {
        house.append(vec![sender.record(&encoder, &sender.request(id, listener, at))]);
    };
    let process = house.process(2);
    send("first", 1, NOON);
    house.until("the first is committed", || house.is_caught_up());
    house.clock.advance(9 * DAY);
    send("second", 2, NOON.plus(9 * DAY));
    let frozen = || {
        let days = house.rows(Table::Days);
        days.iter().any(|batch| crate::house::text(batch, "state").contains(&"frozen".to_owned()))
    };
    house.until("the first day freezes", frozen);
    send("late", 3, NOON.plus(HOUR));
    let verdicts = || house.balanced(Topic::ListenerRequests, Table::Requests);
    house.until("the late record is committed", || house.is_caught_up());
    assert_eq!(verdicts(), [("counted".to_owned(), 2), ("late day_frozen".to_owned(), 1)].into());
    house.clock.advance(2 * MINUTE);
    house.until("the recount has come", || verdicts() == [("counted".to_owned(), 3)].into());
    process.stop();
}

fn a_recount_that_was_asked_for_happens_once_and_nonsense_is_answered(house: &House) {
    let sender = house.sender("ada");
    let encoder = house.encoder(Topic::ListenerRequests);
    house.append(vec![sender.record(&encoder, &sender.request("first", 1, NOON))]);
    let process = house.process(2);
    house.until("the first is committed", || house.is_caught_up());
    let unit = Unit { group: Group::Counting, slot: Slot::of(sender.account) };
    let asked = RecountRequest { account: Some(sender.account), podcast: None, from: NOON.day(), to: NOON.day() };
    for body in ["{}".to_owned(), serde_json::to_string(&asked).unwrap()] {
        house.wait(house.catalogue.enqueue_unit_request(unit, RequestKind::Recount, body)).unwrap();
    }
    house.until("both are answered", || house.wait(house.catalogue.unit_requests(&[unit])).unwrap().is_empty());
    assert!(house.rows(Table::Verdicts).is_empty(), "the recount found nothing else");
    // The unit was not lost over it.
    house.append(vec![sender.record(&encoder, &sender.request("second", 2, NOON))]);
    house.until("it goes on", || house.is_caught_up());
    process.stop();
    assert_eq!(house.balanced(Topic::ListenerRequests, Table::Requests), [("counted".to_owned(), 2)].into());
}

fn a_request_to_a_unit_outlives_the_process_that_did_not_answer(house: &House) {
    let sender = house.sender("ada");
    let unit = Unit { group: Group::Counting, slot: Slot::of(sender.account) };
    house.process(2).kill();
    let asked = RecountRequest { account: None, podcast: None, from: NOON.day(), to: NOON.day() };
    let body = serde_json::to_string(&asked).unwrap();
    house.wait(house.catalogue.enqueue_unit_request(unit, RequestKind::Recount, body)).unwrap();
    let process = house.process(3);
    house.until("it is answered", || house.wait(house.catalogue.unit_requests(&[unit])).unwrap().is_empty());
    process.stop();
}
