//! What a tier no longer keeps goes; what stays folds to the same state.

use castback_schemas::event::Conversion;
use castback_schemas::table::Table;
use castback_schemas::time::{DAY, HOUR, MINUTE};
use castback_schemas::{Micros, Topic};

use crate::house::{House, NOON, Sender, text};

on_every_database! {
    rows_past_their_retention_go_and_a_new_process_says_nothing_else
    rows_of_a_day_that_is_open_stay_until_it_freezes
}

fn conversion(sender: Sender, at: Micros) -> Conversion {
    Conversion {
        event_id: "set/1".into(),
        account_id: sender.account,
        occurred_at: at,
        recorded_at: at,
        revision: 0,
        data_set_id: "set".into(),
        id: "1".into(),
        event_type: "purchase".into(),
        value_minor: Some(1_999),
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
    }
}

fn ids(house: &House, table: Table) -> Vec<String> {
    let mut ids: Vec<String> = house.rows(table).iter().flat_map(|batch| text(batch, "event_id")).collect();
    ids.sort();
    ids
}

fn rows_past_their_retention_go_and_a_new_process_says_nothing_else(house: &House) {
    let sender = house.sender("ada");
    let (requests, conversions) = (house.encoder(Topic::ListenerRequests), house.encoder(Topic::Conversions));
    let send = |id: &str, listener, at| {
        house.append(vec![sender.record(&requests, &sender.request(id, listener, at))]);
        house.until("it is committed", || house.is_caught_up());
    };
    let process = house.process(2);
    send("first", 1, NOON);
    house.append(vec![sender.record(&conversions, &conversion(sender, NOON))]);
    house.clock.advance(20 * DAY);
    send("second", 1, NOON.plus(20 * DAY));
    house.clock.advance(11 * DAY + HOUR);
    send("third", 1, NOON.plus(31 * DAY));
    house.until("the oldest goes", || ids(house, Table::Requests) == ["second", "third"]);
    let kept_from = || house.wait(house.catalogue.kept_from(sender.account)).unwrap();
    assert_eq!(kept_from(), NOON.day().start().plus(DAY), "30 days, from the start of one");
    assert_eq!(ids(house, Table::Conversions), ["set/1"], "conversions stay for life");

    // A frozen day of which rows have gone is not judged again; a conversion's id is never free again.
    send("late", 1, NOON.plus(HOUR));
    house.append(vec![sender.record(&conversions, &conversion(sender, NOON.plus(31 * DAY)))]);
    house.until("all is committed", || house.is_caught_up());
    house.clock.advance(2 * MINUTE);
    let due = || house.rows(Table::Days).iter().any(|days| text(days, "state").contains(&"recount_due".to_owned()));
    house.until("the recount is over", || !due());
    let verdicts = || {
        let rows = house.rows(Table::Requests);
        let of = |batch| text(batch, "event_id").into_iter().zip(text(batch, "verdict"));
        let mut verdicts: Vec<_> = rows.iter().flat_map(of).map(|(id, verdict)| format!("{id} {verdict}")).collect();
        verdicts.sort();
        verdicts
    };
    assert_eq!(verdicts(), ["late late", "second counted", "third counted"]);
    let judged: Vec<String> = house.rows(Table::Conversions).iter().flat_map(|batch| text(batch, "reason")).collect();
    assert_eq!(judged, ["", "same_event_id"]);
    process.stop();

    let commit = house.wait(house.catalogue.newest_commit()).unwrap();
    let process = house.process(3);
    send("fourth", 2, NOON.plus(31 * DAY));
    process.stop();
    assert!(house.rows(Table::Verdicts).is_empty(), "no verdict was revised");
    assert_eq!(verdicts()[0], "fourth counted");
    // The request, and the tally behind it.
    assert_eq!(house.wait(house.catalogue.newest_commit()).unwrap().0, commit.0 + 2);
}

fn rows_of_a_day_that_is_open_stay_until_it_freezes(house: &House) {
    let sender = house.sender("ada");
    let encoder = house.encoder(Topic::ListenerRequests);
    let send = |id: String, listener| {
        house.append(vec![sender.record(&encoder, &sender.request(&id, listener, NOON))]);
        house.until("it is committed", || house.is_caught_up());
    };
    let process = house.process(2);
    // Somebody's clock stands still: every day brings a record of the first.
    for day in 0..33 {
        send(format!("of day {day}"), day);
        house.clock.advance(DAY);
    }
    let kept_from = || house.wait(house.catalogue.kept_from(sender.account)).unwrap();
    house.until("the cut-off is raised", || kept_from() > NOON);
    let kept = || house.wait(house.catalogue.kept()).unwrap();
    house.until("the round is over", || {
        kept().iter().any(|kept| kept.account == sender.account && kept.cleaned_to == NOON)
    });
    assert_eq!(ids(house, Table::Requests).len(), 33, "all stay");
    house.clock.advance(9 * DAY);
    let cleaned = || kept().iter().all(|kept| kept.account != sender.account || kept.cleaned_to == kept.kept_from);
    house.until("the day freezes and its old rows go", || cleaned() && ids(house, Table::Requests).len() < 33);
    process.stop();
}
