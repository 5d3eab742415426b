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
