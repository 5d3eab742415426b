use castback_schemas::Topic;
use serde_json::{Value, json};

use super::{Bench, JSON};

fn conversion(id: &str) -> Value {
    json!({"data_set_id": "shop", "id": id, "event_type": "purchase", "timestamp": 1_795_510_800,
           "currency_code": "USD", "user_data": {"event_ip_address": "192.0.2.7", "customer_identifier": "customer-7"},
           "properties": {"transaction_id": "t-1", "coupon": "AUTUMN", "referrer": "https://search.example/"},
           "ext": {"survey_answer": "the podcast", "utm": {"source": "newsletter"}}})
}

/// The event with its value as it stands in a document, digit by digit.
fn with_value(id: &str, value: &str, currency: &str) -> String {
    let mut event = conversion(id);
    event["currency_code"] = json!(currency);
    event["value"] = json!("VALUE");
    event.to_string().replace("\"VALUE\"", value)
}

#[tokio::test]
async fn a_value_is_kept_exactly_or_not_at_all() {
    let bench = Bench::new().await;
    let account = bench.sign_up("ada").await;
    let events = [
        with_value("exact", "19.99", "USD"),
        with_value("fraction", "19.999", "USD"),
        with_value("large", "90071992547409.93", "USD"),
        with_value("yen", "1980", "JPY"),
        with_value("half a yen", "19.5", "JPY"),
        with_value("nothing", "1", "dollars"),
        with_value("text", "\"5\"", "USD"),
        with_value("less than nothing", "-19.99", "USD"),
        with_value("zeros", "19.990", "USD"),
    ];
    let answer = account.call("POST /v1/conversions", &[JSON], format!("[{}]", events.join(","))).await.is(202).json();
    let indexes: Vec<i64> =
        answer["rejected"].as_array().unwrap().iter().filter_map(|one| one["index"].as_i64()).collect();
    assert_eq!(indexes, [1, 4, 5, 6, 7], "{answer}");
    let values = bench.values(Topic::Conversions).await;
    let kept: Vec<(&str, i64)> =
        values.iter().map(|value| (value["id"].as_str().unwrap(), value["value_minor"].as_i64().unwrap())).collect();
    assert_eq!(kept, [("exact", 1_999), ("large", 9_007_199_254_740_993), ("yen", 1_980), ("zeros", 1_999)]);
}

#[tokio::test]
async fn a_conversion_is_on_the_log_with_every_month_its_look_back_reaches() {
    let bench = Bench::new().await;
    let account = bench.sign_up("ada").await;
    let answer = account.post("/v1/conversions", &json!([conversion("1")])).await.is(202).json();
    assert_eq!(answer, json!({"accepted": 1, "rejected": []}));
    let records = bench.records(Topic::Conversions).await;
    assert_eq!(records[0].key, "shop/1");
    let bytes = String::from_utf8_lossy(&records[0].value).into_owned();
    assert!(!bytes.contains("192.0.2.7") && !bytes.contains("customer-7"));
    let value = &bench.values(Topic::Conversions).await[0];
    for (name, wanted) in [
        ("event_id", "shop/1"),
        ("coupon", "AUTUMN"),
        ("transaction_id", "t-1"),
        ("referrer", "https://search.example/"),
        ("survey_answer", "the podcast"),
        ("source", "api"),
        ("network", "other"),
    ] {
        assert_eq!(value[name], wanted, "{value}");
    }
    assert_eq!((&value["verified"], value["customer"].as_str().map(str::len)), (&json!(true), Some(32)));
    assert_eq!(serde_json::from_str::<Value>(value["utm"].as_str().unwrap()).unwrap(), json!({"source": "newsletter"}));
    let months: Vec<i64> =
        value["households"].as_array().unwrap().iter().filter_map(|one| one["month"].as_i64()).collect();
    let november = 2026 * 12 + 10;
    assert_eq!(months, [november - 2, november - 1, november], "from 25 September on");
}

#[tokio::test]
async fn the_household_of_a_conversion_is_that_of_the_request() {
    let bench = Bench::new().await;
    let account = bench.sign_up("ada").await;
    let podcast = account.podcast("one").await;
    account.post("/v1/listener-requests", &json!([super::intake::record(&podcast, "r")])).await.is(202);
    account.post("/v1/conversions", &json!([conversion("1")])).await.is(202);
    let request = &bench.values(Topic::ListenerRequests).await[0];
    let conversion = &bench.values(Topic::Conversions).await[0];
    let households = conversion["households"].as_array().unwrap();
    assert_eq!(households.last().unwrap()["hash"], request["household"]);
    assert!(households.iter().filter(|one| one["hash"] == request["household"]).count() == 1);
}

#[tokio::test]
async fn every_shape_of_a_body_is_read() {
    let bench = Bench::new().await;
    let account = bench.sign_up("ada").await;
    let mut no_address = conversion("5");
    no_address["user_data"] = json!({});
    for body in [
        json!([conversion("1")]),
        conversion("2"),
        json!({"data": [conversion("3")]}),
        json!({"events": [conversion("4")]}),
        no_address,
    ] {
        assert_eq!(account.post("/v1/conversions", &body).await.is(202).json()["accepted"], 1, "{body}");
    }
    let mut slash = conversion("6");
    slash["data_set_id"] = json!("a/b");
    let mut time = conversion("7");
    time["timestamp"] = json!(1.5);
    let mut campaign = conversion("8");
    campaign["ext"] = json!({"campaign_id": "no id"});
    let answer = account.post("/v1/conversions", &json!([slash, time, campaign])).await.is(202).json();
    assert_eq!((&answer["accepted"], answer["rejected"].as_array().unwrap().len()), (&json!(0), 3), "{answer}");
    let values = bench.values(Topic::Conversions).await;
    assert_eq!(values.len(), 5);
    assert!(values.iter().any(|value| value["households"] == json!([]) && value["network"] == "unknown"));
}
