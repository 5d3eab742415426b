use castback_schemas::{Month, Topic};
use serde_json::{Value, json};

use super::{Bench, JSON};

/// A good listener request.
pub(super) fn record(podcast: &str, id: &str) -> Value {
    json!({
        "id": id, "podcast_id": podcast, "enclosure_url": "https://media.example/1.mp3",
        "occurred_at": "2026-11-24T09:00:00Z", "method": "GET", "status": 206, "range": "bytes=0-99",
        "bytes_sent": 100, "file_bytes": 4_800_000, "user_agent": "Pod/1.0", "ip": "192.0.2.7", "country": "DE",
        "ads": [{"placement_id": "a", "from_byte": 0, "to_byte": 50}],
    })
}

#[tokio::test]
async fn a_record_is_on_the_log_without_its_address() {
    let bench = Bench::new().await;
    let account = bench.sign_up("ada").await;
    let podcast = account.podcast("one").await;
    let answer = account.post("/v1/listener-requests", &json!([record(&podcast, "r-1")])).await.is(202);
    assert_eq!(answer.json(), json!({"accepted": 1, "rejected": []}));
    let records = bench.records(Topic::ListenerRequests).await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].account.unwrap().to_string(), account.id);
    assert_eq!(records[0].key, podcast);
    let value = &bench.values(Topic::ListenerRequests).await[0];
    let expected = json!({
        "event_id": "r-1", "account_id": account.id, "revision": 0, "podcast_id": podcast, "status": 206,
        "range": "bytes=0-99", "bytes_sent": 100, "file_bytes": 4_800_000, "user_agent": "Pod/1.0", "network": "other",
        "country": "DE", "safe_listed": false, "source": "api", "method": "GET",
    });
    for (name, wanted) in expected.as_object().unwrap() {
        assert_eq!(&value[name], wanted, "{name} in {value}");
    }
    assert_eq!(value["ads"][0], json!({"placement_id": "a", "from_byte": 0, "to_byte": 50}));
    assert!(value.get("listener_previous").is_none_or(Value::is_null), "{value}");
    let bytes = String::from_utf8_lossy(&records[0].value).into_owned();
    assert!(!bytes.contains("192.0.2.7"), "the address is on the log");
}

#[tokio::test]
async fn listeners_and_households_are_hashed_under_the_month() {
    let bench = Bench::new().await;
    let account = bench.sign_up("ada").await;
    let podcast = account.podcast("one").await;
    let with = |id: &str, changes: Value| {
        let mut record = record(&podcast, id);
        changes.as_object().unwrap().iter().for_each(|(name, value)| record[name] = value.clone());
        record
    };
    let batch = json!([
        with("a", json!({})),
        with("b", json!({"user_agent": "Other/1.0"})),
        with("c", json!({"ip": "::ffff:192.0.2.7"})),
        with("d", json!({"occurred_at": "2026-10-24T09:00:00Z"})),
        with("e", json!({"occurred_at": "2026-11-01T09:00:00Z"})),
        with("f", json!({"ip": null})),
        with("g", json!({"ip": "203.0.113.9"})),
        with("h", json!({"ip": "198.51.100.4"})),
        with("i", json!({"occurred_at": "2027-03-01T09:00:00Z"})),
    ]);
    assert_eq!(account.post("/v1/listener-requests", &batch).await.is(202).json()["accepted"], 9);
    let values = bench.values(Topic::ListenerRequests).await;
    let of = |id: &str, name: &str| {
        values.iter().find(|value| value["event_id"] == id).unwrap().get(name).cloned().unwrap_or_default()
    };
    assert_eq!(of("a", "household"), of("b", "household"));
    assert_ne!(of("a", "listener"), of("b", "listener"));
    assert_eq!(of("a", "listener"), of("c", "listener"));
    assert_ne!(of("a", "household"), of("d", "household"), "months have keys of their own");
    assert_eq!(of("a", "household"), of("e", "household"));
    assert_eq!(of("e", "listener_previous").as_str().map(str::len), Some(32), "the first day of a month");
    assert_eq!(
        (of("d", "listener_previous"), of("e", "listener_previous") == of("d", "listener")),
        (Value::Null, true)
    );
    assert_eq!(
        (of("f", "network"), of("g", "network"), of("h", "network")),
        (json!("unknown"), json!("datacentre"), json!("other"))
    );
    assert_ne!(of("f", "household"), of("a", "household"));
    assert_eq!((of("h", "safe_listed"), of("a", "safe_listed")), (json!(true), json!(false)));
    assert_eq!(of("a", "household"), of("i", "household"), "the future counts as now");
}

#[tokio::test]
async fn the_bad_are_named_and_the_good_go_on() {
    let bench = Bench::new().await;
    let account = bench.sign_up("ada").await;
    let podcast = account.podcast("one").await;
    let spoilers: Vec<(&str, &str, Value)> = vec![
        ("status", "invalid_fields", json!("two hundred")),
        ("status", "invalid_fields", json!(99)),
        ("occurred_at", "invalid_fields", json!("yesterday")),
        ("occurred_at", "invalid_fields", json!("1999-12-31T23:59:59Z")),
        ("bytes_sent", "invalid_fields", json!(-1)),
        ("bytes_sent", "invalid_fields", json!(u64::MAX)),
        ("ip", "invalid_fields", json!("300.1.2.3")),
        ("id", "invalid_fields", json!("")),
        ("id", "invalid_fields", json!(null)),
        ("podcast_id", "invalid_fields", json!("no id")),
        ("podcast_id", "invalid_fields", json!(null)),
        ("user_agent", "invalid_fields", json!("x".repeat(9_000))),
        ("ads", "invalid_fields", json!([{"placement_id": "a", "from_byte": 9, "to_byte": 9}])),
    ];
    for (field, code, value) in spoilers {
        let mut bad = record(&podcast, "bad");
        bad[field] = value;
        let batch = json!([record(&podcast, "x"), bad, record(&podcast, "y")]);
        let answer = account.post("/v1/listener-requests", &batch).await.is(202).json();
        assert_eq!(
            (&answer["accepted"], &answer["rejected"].as_array().unwrap().len()),
            (&json!(2), &1),
            "{field}: {answer}"
        );
        let rejected = &answer["rejected"][0];
        assert_eq!((&rejected["index"], &rejected["code"]), (&json!(1), &json!(code)), "{field}: {answer}");
        assert!(rejected["detail"].as_str().unwrap().len() <= 200);
    }
    let all_bad = account.post("/v1/listener-requests", &json!(["no record at all", 7])).await.is(202).json();
    assert_eq!((&all_bad["accepted"], all_bad["rejected"].as_array().unwrap().len()), (&json!(0), 2));
    let doubled = format!("[{}]", record(&podcast, "z").to_string().replacen('{', "{\"id\":\"q\",", 1));
    let doubled = account.call("POST /v1/listener-requests", &[JSON], doubled).await.is(202).json();
    assert_eq!(doubled["rejected"][0]["code"], "invalid_fields", "a name twice: {doubled}");
    let ndjson = [("content-type", "application/x-ndjson")];
    let cut = account.call("POST /v1/listener-requests", &ndjson, "{\"id\": \n[]\n").await.is(202).json();
    let codes: Vec<_> = cut["rejected"].as_array().unwrap().iter().map(|one| &one["code"]).collect();
    assert_eq!(codes, ["malformed_body", "invalid_fields"], "{cut}");
}

#[tokio::test]
async fn a_batch_of_lines_and_a_podcast_for_all() {
    let bench = Bench::new().await;
    let account = bench.sign_up("ada").await;
    let podcast = account.podcast("one").await;
    let mut without = record(&podcast, "2");
    without.as_object_mut().unwrap().remove("podcast_id");
    let lines = format!("{}\r\n\n{{not json\n{without}\n", record(&podcast, "1"));
    let path = format!("POST /v1/listener-requests?podcast_id={podcast}");
    let answer =
        account.call(&path, &[("content-type", "application/x-ndjson; charset=utf-8")], lines).await.is(202).json();
    assert_eq!((&answer["accepted"], &answer["rejected"][0]["index"]), (&json!(2), &json!(1)), "{answer}");
}

const LOG: &str = "192.0.2.7 - - [24/Nov/2026:08:00:00 +0000] \"GET /1.mp3 HTTP/1.1\" 200 4800000 \"-\" \"Pod/1.0\"\n\
    192.0.2.7 - - [24/Nov/2026:08:00:00 +0000] \"GET /1.mp3 HTTP/1.1\" 200 4800000 \"-\" \"Pod/1.0\"\n\
    no line of a log\n\
    192.0.2.9 - - [24/Nov/2026:08:00:01 +0000] \"\\x16\\x03\\x01\" 400 0 \"-\" \"-\"\n";

#[tokio::test]
async fn a_log_may_be_posted_again() {
    let bench = Bench::new().await;
    let account = bench.sign_up("ada").await;
    let podcast = account.podcast("one").await;
    let path = format!("POST /v1/listener-requests?podcast_id={podcast}");
    let text = [("content-type", "text/plain")];
    let answer = account.call(&path, &text, LOG).await.is(202).json();
    assert_eq!((&answer["accepted"], &answer["rejected"][0]["index"]), (&json!(3), &json!(2)), "{answer}");
    let grown = format!("{LOG}{}", LOG.lines().next().unwrap().replace("08:00:00", "08:00:02"));
    assert_eq!(account.call(&path, &text, grown.replace('\n', "\r\n")).await.is(202).json()["accepted"], 4);
    let values = bench.values(Topic::ListenerRequests).await;
    let ids: Vec<&str> = values.iter().map(|value| value["event_id"].as_str().unwrap()).collect();
    assert_eq!(ids[..3], ids[3..6], "the same lines are the same records");
    assert_ne!(ids[0], ids[1], "two equal lines of a second are two records");
    assert!(!ids[..3].contains(&ids[6]));
    assert_eq!((&values[0]["enclosure_url"], &values[0]["source"]), (&json!("/1.mp3"), &json!("log")));
    assert_eq!((&values[2]["method"], &values[2]["status"]), (&json!("-"), &json!(400)));
    account.call("POST /v1/listener-requests", &text, LOG).await.refused(422, "invalid_fields");
    let other = bench.sign_up("bob").await;
    other.call(&path, &text, LOG).await.refused(404, "not_found");
}

#[tokio::test]
async fn records_of_a_month_whose_key_has_died_are_refused() {
    let bench = Bench::new().await;
    let account = bench.sign_up("ada").await;
    let podcast = account.podcast("one").await;
    let mut old = record(&podcast, "old");
    old["occurred_at"] = json!("2026-01-15T00:00:00Z");
    assert_eq!(account.post("/v1/listener-requests", &json!([old])).await.is(202).json()["accepted"], 1);
    bench.clock.advance(98 * castback_schemas::time::DAY);
    let later = bench.app.catalogue.expire_keys(castback_schemas::Clock::now(&*bench.clock)).await.unwrap();
    assert_eq!(later, [Month(2026 * 12)]);
    bench.app.keys.forget_months();
    let answer = account.post("/v1/listener-requests", &json!([old])).await.is(202).json();
    assert_eq!((&answer["accepted"], &answer["rejected"][0]["code"]), (&json!(0), &json!("month_closed")), "{answer}");
}

#[tokio::test]
async fn a_large_batch_is_one_answer_and_many_appends() {
    let bench = Bench::new().await;
    let account = bench.sign_up("ada").await;
    let podcast = account.podcast("one").await;
    let lines: Vec<String> = (0..20_000).map(|number| record(&podcast, &format!("r-{number}")).to_string()).collect();
    let body = lines.join("\n");
    assert!(body.len() > 4 << 20);
    let answer =
        account.call("POST /v1/listener-requests", &[("content-type", "application/x-ndjson")], body).await.is(202);
    assert_eq!(answer.json(), json!({"accepted": 20_000, "rejected": []}));
    let values = bench.values(Topic::ListenerRequests).await;
    let in_order = values.iter().enumerate().all(|(number, value)| value["event_id"] == format!("r-{number}"));
    assert!(values.len() == 20_000 && in_order);
}

#[tokio::test]
async fn events_carry_no_end_users_id_and_no_readable_properties() {
    let bench = Bench::new().await;
    let account = bench.sign_up("ada").await;
    let event = |id: &str| {
        json!({"id": id, "type": "click", "occurred_at": "2026-11-24T09:00:00Z", "user_id": "ben@users.example",
               "session_id": "session-1", "page": "/cart", "feature": "checkout", "element": "#buy",
               "properties": {"note": "kanarienvogel"}})
    };
    let mut anonymous = event("3");
    anonymous.as_object_mut().unwrap().remove("user_id");
    let mut nobody = anonymous.clone();
    nobody.as_object_mut().unwrap().remove("session_id");
    let mut list = event("4");
    list["properties"] = json!(["no object"]);
    let body = json!({"events": [event("1"), event("2"), anonymous, nobody, list]});
    let answer = account.post("/v1/events", &body).await.is(202).json();
    let indexes: Vec<&Value> = answer["rejected"].as_array().unwrap().iter().map(|one| &one["index"]).collect();
    assert_eq!((&answer["accepted"], indexes), (&json!(3), vec![&json!(3), &json!(4)]), "{answer}");
    let records = bench.records(Topic::AppEvents).await;
    for record in &records {
        let bytes = String::from_utf8_lossy(&record.value).into_owned();
        for secret in ["ben@", "session-1", "kanarienvogel"] {
            assert!(!bytes.contains(secret), "{secret} is on the log");
        }
    }
    let values = bench.values(Topic::AppEvents).await;
    assert_eq!(values[0]["user"], values[1]["user"]);
    assert_eq!(values[2]["user"], values[2]["session_id"], "a session stands for an unknown user");
    assert_eq!(
        (records[0].key.as_ref(), &values[0]["page"]),
        (values[0]["user"].as_str().unwrap().as_bytes(), &json!("/cart"))
    );
    let key = bench.app.catalogue.account_key(account.id.parse().unwrap()).await.unwrap();
    let key = castback_schemas::edge::HashKey::from_bytes(key.0);
    let sealed = values[0]["properties"].as_str().unwrap();
    let sealed: Vec<u8> =
        (0..sealed.len()).step_by(2).map(|at| u8::from_str_radix(&sealed[at..at + 2], 16).unwrap()).collect();
    let opened = castback_schemas::edge::seal::open(&key, b"1", &sealed).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&opened).unwrap(), json!({"note": "kanarienvogel"}));
}
