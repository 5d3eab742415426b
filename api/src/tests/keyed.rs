use castback_catalogue::idempotency::{KeyedRequest, Reservation};
use castback_schemas::time::DAY;
use serde_json::json;

use super::{Account, Bench, JSON};

async fn create(account: &Account<'_>, key: &str, name: &str) -> super::Answer {
    let body = json!({"name": name, "currency": "USD"}).to_string();
    account.call("POST /v1/campaigns", &[JSON, ("idempotency-key", key)], body).await
}

#[tokio::test]
async fn the_same_call_again_answers_the_same_and_does_nothing() {
    let bench = Bench::new().await;
    let (account, other) = (bench.sign_up("ada").await, bench.sign_up("bob").await);
    let first = create(&account, "key-1", "One").await.is(201);
    let again = create(&account, "key-1", "One").await.is(201);
    assert_eq!((first.json(), again.header("idempotency-replayed")), (again.json(), "true"));
    create(&account, "key-1", "Two").await.refused(422, "idempotency_mismatch");
    let elsewhere = account.call("POST /v1/podcasts", &[JSON, ("idempotency-key", "key-1")], "{}").await;
    elsewhere.refused(422, "idempotency_mismatch");
    assert_ne!(
        create(&other, "key-1", "One").await.is(201).json()["id"],
        first.json()["id"],
        "keys are an account's own"
    );
    assert_eq!(account.get("/v1/campaigns").await.json()["items"].as_array().unwrap().len(), 1);
    bench.clock.advance(DAY + 1);
    assert_ne!(create(&account, "key-1", "One").await.is(201).json()["id"], first.json()["id"]);
}

#[tokio::test]
async fn refusals_are_kept_too_and_bad_keys_refused() {
    let bench = Bench::new().await;
    let account = bench.sign_up("ada").await;
    let first = create(&account, "key-1", "").await.refused(422, "invalid_fields");
    let again = create(&account, "key-1", "").await.refused(422, "invalid_fields");
    assert_eq!((first.json(), again.header("idempotency-replayed")), (again.json(), "true"));
    create(&account, "", "One").await.refused(422, "invalid_fields");
    create(&account, &"k".repeat(256), "One").await.refused(422, "invalid_fields");
}

#[tokio::test]
async fn of_many_at_once_one_is_done() {
    let bench = Bench::new().await;
    let account = bench.sign_up("ada").await;
    let answers = futures::future::join_all((0..8).map(|_| create(&account, "key-1", "One"))).await;
    for answer in answers {
        if answer.status == 409 {
            answer.refused(409, "in_use");
        } else {
            answer.is(201);
        }
    }
    assert_eq!(account.get("/v1/campaigns").await.json()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_api_key_asked_for_again_is_the_same_and_lies_sealed() {
    let bench = Bench::new().await;
    let account = bench.sign_up("ada").await;
    let body = |label: &str| json!({"label": label}).to_string();
    let make = async |label: &str| {
        account.call("POST /v1/users/me/api-keys", &[JSON, ("idempotency-key", "key-1")], body(label)).await
    };
    let first = make("one").await.is(201);
    let again = make("one").await.is(201);
    assert_eq!((first.json(), again.header("idempotency-replayed")), (again.json(), "true"));
    assert!(first.json()["api_key"].as_str().unwrap().starts_with("cb_"));
    make("two").await.refused(422, "idempotency_mismatch");
    assert_eq!(account.get("/v1/users/me/api-keys").await.json()["items"].as_array().unwrap().len(), 2);
    let request = KeyedRequest {
        account: account.account(),
        key: "key-1".to_owned(),
        route: "POST /v1/users/me/api-keys".to_owned(),
        request_hash: crate::idempotency::hash(body("one").as_bytes()),
    };
    match bench.app.catalogue.reserve_request(request).await.unwrap() {
        Reservation::Replay { status, body } => assert!(status == 201 && !body.contains("cb_"), "{body}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn who_signs_up_again_with_the_same_key_is_answered_the_same() {
    let bench = Bench::new().await;
    let sign_up = async |key: &str, email: &str, password: &str| {
        let body = json!({"email": email, "password": password}).to_string();
        bench.call("POST /v1/users", &[JSON, ("idempotency-key", key)], body).await
    };
    let (ada, phrase) = ("ada@listeners.example", "a long pass phrase");
    sign_up("key-1", ada, "short").await.refused(422, "invalid_fields");
    let first = sign_up("key-1", ada, phrase).await.is(201);
    let again = sign_up("key-1", ada, phrase).await.is(201);
    assert_eq!((first.json(), again.header("idempotency-replayed")), (again.json(), "true"));
    sign_up("key-1", ada, "another pass phrase").await.refused(422, "idempotency_mismatch");
    sign_up("key-2", ada, phrase).await.refused(409, "in_use");
    let other = sign_up("key-1", "bob@listeners.example", phrase).await.is(201);
    assert_ne!(other.json()["id"], first.json()["id"], "a key is its address's own");
    sign_up("", ada, phrase).await.refused(422, "invalid_fields");
}
