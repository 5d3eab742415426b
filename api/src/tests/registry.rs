use base64::Engine;
use castback_schemas::Topic;
use castback_schemas::topic::TOPICS;
use serde_json::{Value, json};

use super::Bench;

#[tokio::test]
async fn topics_are_registered_and_read_by_id_version_and_text() {
    let bench = Bench::new().await;
    let account = bench.sign_up("ada").await;
    let subjects = account.get("/registry/subjects").await.is(200).json();
    assert_eq!(subjects.as_array().unwrap().len(), TOPICS.len());
    let latest = account.get("/registry/subjects/conversions-value/versions/latest").await.is(200).json();
    assert_eq!((&latest["version"], &latest["subject"]), (&json!(1), &json!("conversions-value")));
    let by_id = account.get(&format!("/registry/schemas/ids/{}", latest["id"])).await.is(200).json();
    assert_eq!(by_id["schema"], Topic::Conversions.spec().schema);
    let found =
        account.post("/registry/subjects/conversions-value", &json!({"schema": latest["schema"]})).await.is(200);
    assert_eq!(found.json()["id"], latest["id"]);
    for (path, error_code) in [
        ("/registry/subjects/nothing-value/versions", 40_401),
        ("/registry/subjects/conversions-value/versions/9", 40_402),
        ("/registry/schemas/ids/9999", 40_403),
    ] {
        assert_eq!(account.get(path).await.refused(404, "not_found").json()["error_code"], error_code, "{path}");
    }
    bench.call("GET /registry/subjects", &[], "").await.refused(401, "unauthenticated");
    let pair = base64::prelude::BASE64_STANDARD.encode(format!("anybody:{}", account.key));
    bench.call("GET /registry/schemas/types", &[("authorization", &format!("Basic {pair}"))], "").await.is(200);
    let wrong = [("authorization", "Basic bm9ib2R5OmNiX25vdGhpbmc=")];
    bench.call("GET /registry/schemas/types", &wrong, "").await.refused(401, "unauthenticated");
    assert_eq!(
        account.get("/registry/config/conversions-value").await.is(200).json()["compatibilityLevel"],
        "FULL_TRANSITIVE"
    );
    account.get("/registry/config/nothing-value").await.refused(404, "not_found");
    assert_eq!(account.get("/registry/config").await.is(200).json()["compatibilityLevel"], "FULL_TRANSITIVE");
}

#[tokio::test]
async fn a_version_must_be_compatible_with_all_and_an_operators() {
    let bench = Bench::new().await;
    let (account, operator) = (bench.sign_up("ada").await, bench.operator().await);
    let path = "/registry/subjects/conversions-value/versions";
    let mut schema: Value = serde_json::from_str(Topic::Conversions.spec().schema).unwrap();
    let body = |schema: &Value| json!({"schema": schema.to_string(), "schemaType": "AVRO"});
    account.post(path, &body(&schema)).await.refused(403, "forbidden");
    let known = operator.post(path, &body(&schema)).await.is(200).json();
    schema["fields"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "extra", "type": ["null", "string"], "default": null}));
    let asked = "/registry/compatibility/subjects/conversions-value/versions/latest";
    assert_eq!(account.post(asked, &body(&schema)).await.is(200).json()["is_compatible"], true);
    let grown = operator.post(path, &body(&schema)).await.is(200).json();
    assert_ne!(grown["id"], known["id"]);
    assert_eq!(account.get(path).await.json(), json!([1, 2]));
    schema["fields"][0]["type"] = json!("long");
    for version in ["latest", "1", "2"] {
        let asked = format!("/registry/compatibility/subjects/conversions-value/versions/{version}");
        let answer = account.post(&asked, &body(&schema)).await.is(200).json();
        assert_eq!(answer["is_compatible"], false, "{version}: {answer}");
        assert!(!answer["messages"].as_array().unwrap().is_empty());
    }
    let missing = "/registry/compatibility/subjects/conversions-value/versions/7";
    assert_eq!(account.post(missing, &body(&schema)).await.refused(404, "not_found").json()["error_code"], 40_402);
    assert_eq!(operator.post(path, &body(&schema)).await.refused(409, "wrong_state").json()["error_code"], 409);
    operator.post(path, &json!({"schema": "{}"})).await.refused(422, "invalid_fields");
    operator.post(path, &json!({"schema": "{}", "schemaType": "JSON"})).await.refused(422, "invalid_fields");
}

#[tokio::test]
async fn with_a_registry_of_others_callers_are_sent_there() {
    let bench = Bench::with(|settings| settings.registry = "http://registry:8081/under/".parse().ok()).await;
    let account = bench.sign_up("ada").await;
    let answer = account.get("/registry/schemas/ids/7?subject=x").await.is(307);
    assert_eq!(answer.header("location"), "http://registry:8081/under/schemas/ids/7?subject=x");
    account.post("/registry/subjects/conversions-value", &json!({"schema": "{}"})).await.is(307);
    bench.call("GET /registry/subjects", &[], "").await.refused(401, "unauthenticated");
    account.get("/v1/podcasts").await.is(200);
}
