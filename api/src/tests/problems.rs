use std::io::Write;

use serde_json::{Value, json};

use super::{Bench, JSON};
use crate::app::Part;

#[tokio::test]
async fn what_is_not_there_and_what_can_not_be_read() {
    let bench = Bench::new().await;
    let account = bench.sign_up("ada").await;
    account.get("/v1/no-such-route").await.refused(404, "not_found");
    account.get("/v1/campaigns/no-such-id").await.refused(404, "not_found");
    account.call("PUT /v1/podcasts", &[], "").await.refused(405, "method_not_allowed");
    account.call("POST /v1/podcasts", &[JSON], "{\"feed_url\": ").await.refused(400, "malformed_body");
    account
        .call("POST /v1/podcasts", &[("content-type", "text/plain")], "x")
        .await
        .refused(415, "unsupported_media_type");
    for body in [json!({"feed_url": 7}), json!({})] {
        let refused = account.post("/v1/podcasts", &body).await.refused(422, "invalid_fields").json();
        assert_eq!(refused["errors"][0]["field"], "feed_url", "{refused}");
    }
    let many = account.get("/v1/podcasts?limit=many").await.refused(422, "invalid_fields").json();
    assert_eq!(many["errors"][0]["field"], "limit", "{many}");
    account.get("/v1/podcasts?limit=0").await.refused(422, "invalid_fields");
    account.get("/v1/podcasts?cursor=nonsense").await.refused(422, "invalid_fields");
    account.get("/v1/campaigns?state=lost").await.refused(422, "invalid_fields");
    account.get("/v1/campaigns?sort=name").await.refused(422, "invalid_fields");
    let lists = [
        "/v1/podcasts",
        "/v1/campaigns",
        "/v1/reports",
        "/v1/conversions",
        "/v1/dead-letters",
        "/v1/users/me/api-keys",
    ];
    for list in lists {
        account.get(&format!("{list}?limit=1&sort=-created_at")).await.is(200);
        for (field, value) in [("limit", "0"), ("sort", "name"), ("colour", "red")] {
            let path = format!("{list}?{field}={value}");
            let refused = account.get(&path).await.refused(422, "invalid_fields").json();
            assert_eq!(refused["errors"][0]["field"], field, "{path}: {refused}");
        }
    }
    let unknown = account.get("/v1/reports?status=failed").await.refused(422, "invalid_fields").json();
    let detail = "expected one of account, limit, cursor, sort, state, kind, campaign_id";
    assert_eq!(unknown["errors"][0], json!({"field": "status", "detail": detail}));
    let large = json!({"feed_url": "x".repeat(300 * 1024)});
    account.post("/v1/podcasts", &large).await.refused(413, "too_large");
}

#[tokio::test]
async fn documents_that_attack_the_reader_are_refused() {
    let bench = Bench::new().await;
    let account = bench.sign_up("ada").await;
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    for path in ["/v1/podcasts", "/v1/campaigns"] {
        account.call(&format!("POST {path}"), &[JSON], deep.clone()).await.refused(422, "invalid_fields");
    }
    for path in ["/v1/listener-requests", "/v1/events", "/v1/conversions"] {
        account.call(&format!("POST {path}"), &[JSON], deep.clone()).await.refused(400, "malformed_body");
        account.call(&format!("POST {path}"), &[JSON], vec![0xff, 0xfe, 0]).await.refused(400, "malformed_body");
    }
    let names: Vec<String> = (0..100_000).map(|number| format!("\"n{number}\":0")).collect();
    let names = format!("{{{}}}", names.join(","));
    account.call("POST /v1/conversions", &[JSON], names).await.refused(400, "malformed_body");
}

#[tokio::test]
async fn bodies_are_capped_as_sent_and_as_decoded() {
    let bench = Bench::new().await;
    let account = bench.sign_up("ada").await;
    let post = async |encoding: &str, body: Vec<u8>| {
        let headers = [("content-type", "application/x-ndjson"), ("content-encoding", encoding)];
        account.call("POST /v1/listener-requests", &headers, body).await
    };
    post("identity", vec![b' '; (16 << 20) + 1]).await.refused(413, "too_large");
    assert_eq!(post("identity", vec![b' '; 16 << 20]).await.is(202).json()["accepted"], 0);
    let gzip = |bytes: usize| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&vec![b'\n'; bytes]).unwrap();
        encoder.finish().unwrap()
    };
    post("gzip", gzip(1 << 20)).await.is(202);
    post("gzip", gzip((16 << 20) + 1)).await.refused(413, "too_large");
    post("gzip", b"no gzip at all".to_vec()).await.refused(400, "malformed_body");
    post("zstd", zstd::encode_all(&vec![b'\n'; 64 << 20][..], 1).unwrap()).await.refused(413, "too_large");
    post("zstd", zstd::encode_all(&b"\n"[..], 1).unwrap()).await.is(202);
    post("br", Vec::new()).await.refused(415, "unsupported_media_type");
    account
        .call("POST /v1/listener-requests", &[("content-type", "image/png")], "x")
        .await
        .refused(415, "unsupported_media_type");
    account.call("POST /v1/listener-requests", &[], "x").await.refused(415, "unsupported_media_type");
}

#[tokio::test]
async fn more_records_than_a_body_may_hold() {
    let bench = Bench::new().await;
    let account = bench.sign_up("ada").await;
    let ndjson = [("content-type", "application/x-ndjson")];
    account.call("POST /v1/listener-requests", &ndjson, "{}\n".repeat(100_001)).await.refused(413, "too_large");
    let events = json!({"events": vec![Value::Null; 1_001]});
    account.post("/v1/events", &events).await.refused(413, "too_large");
}

#[tokio::test]
async fn quotas_say_what_is_left_and_when_to_come_again() {
    let bench = Bench::new().await;
    let account = bench.sign_up("ada").await;
    let ndjson = [("content-type", "application/x-ndjson")];
    let body = "{}\n".repeat(2_000);
    let id = account.id.parse().unwrap();
    bench.app.quotas.records.take(id, 997_000, super::NOW).unwrap();
    let answer = account.call("POST /v1/listener-requests", &ndjson, body.clone()).await.is(202);
    assert_eq!(answer.header("ratelimit"), "\"records\";r=1000;t=10");
    assert_eq!(answer.header("ratelimit-policy"), "\"records\";q=1000000;w=10");
    let refused = account.call("POST /v1/listener-requests", &ndjson, body.clone()).await;
    let refused = refused.refused(429, "rate_limited");
    assert_eq!((refused.header("retry-after"), refused.header("ratelimit")), ("1", "\"records\";r=0;t=1"));
    let other = bench.sign_up("bob").await;
    other.call("POST /v1/listener-requests", &ndjson, body.clone()).await.is(202);
    bench.clock.advance(1_000_000);
    account.call("POST /v1/listener-requests", &ndjson, body).await.is(202);
}

#[tokio::test]
async fn the_log_away_is_said_with_when_to_come_again() {
    let bench = Bench::new().await;
    let account = bench.sign_up("ada").await;
    let podcast = account.podcast("one").await;
    bench.log.close().await;
    let record = super::intake::record(&podcast, "1");
    let answer = account.post("/v1/listener-requests", &json!([record])).await.refused(503, "log_unavailable");
    assert_eq!(answer.header("retry-after"), "2");
    assert!(!answer.text().contains("closed"), "the cause is logged, not shown: {}", answer.text());
    let ready = bench.call("GET /readyz", &[], "").await;
    assert!(ready.status == 200 || ready.json()["parts"]["log"] == false);
    bench.call("GET /healthz", &[], "").await.is(200);
}

#[tokio::test]
async fn what_is_switched_off_says_so() {
    let bench = Bench::with(|settings| settings.off = vec![Part::Events, Part::Metrics, Part::Pricing]).await;
    let account = bench.sign_up("ada").await;
    account.post("/v1/events", &json!([])).await.refused(409, "disabled");
    bench.operator().await.get("/metrics").await.refused(409, "disabled");
}

#[tokio::test]
async fn every_answer_has_an_id_and_a_caller_may_bring_one() {
    let bench = Bench::new().await;
    let own = bench.call("GET /healthz", &[("x-request-id", "mine-1")], "").await;
    assert_eq!(own.header("x-request-id"), "mine-1");
    let forged = bench.call("GET /healthz", &[("x-request-id", "a b\tc")], "").await;
    assert_eq!(forged.header("x-request-id").len(), 36);
    assert_eq!(forged.header("x-content-type-options"), "nosniff");
}

#[tokio::test]
async fn the_contract_says_who_may_call_and_how_it_refuses() {
    let bench = Bench::new().await;
    let document = bench.call("GET /openapi.json", &[], "").await.is(200).json();
    let mut asked = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(name, _)| name.len() <= 6) {
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let name = parameter["name"].as_str().unwrap();
                let place = if path.contains(&format!("{{{name}}}")) { "path" } else { "query" };
                assert_eq!(parameter["in"], place, "{method} {path}: {name}");
            }
            if path.starts_with("/v1/") {
                let line = format!("{} {}", method.to_uppercase(), path.replace(['{', '}'], ""));
                let status = bench.call(&line, &[], "").await.status;
                assert_eq!(status == 401, operation.get("security").is_some(), "{line}: {status}");
                assert_eq!(operation["responses"]["default"]["$ref"], "#/components/responses/Problem", "{line}");
                asked += 1;
            }
        }
    }
    assert!(asked > 40, "only {asked} operations");
    let body = &document["paths"]["/v1/events"]["post"]["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(body["properties"]["events"]["items"]["$ref"], "#/components/schemas/RawEvent", "{body}");
    for name in ["Problem", "RawEvent", "RawRequest", "RawConversion"] {
        assert!(document["components"]["schemas"][name].is_object(), "no schema {name}");
    }
    for name in ["key", "session"] {
        assert!(document["components"]["securitySchemes"][name].is_object(), "no scheme {name}");
    }
}

#[tokio::test]
async fn the_contract_describes_every_route() {
    let bench = Bench::new().await;
    let document = bench.call("GET /openapi.json", &[], "").await.is(200).json();
    assert_eq!(document["openapi"].as_str().unwrap().split('.').take(2).collect::<Vec<_>>(), ["3", "1"]);
    for (path, method) in [
        ("/v1/users", "post"),
        ("/v1/podcasts/{id}/episodes", "get"),
        ("/v1/campaigns/{id}/launch", "post"),
        ("/v1/listener-requests", "post"),
        ("/e/{podcast_id}/{rest}", "get"),
    ] {
        assert!(document["paths"][path][method].is_object(), "{method} {path}");
    }
    bench.call("GET /docs/", &[], "").await.is(200);
}

#[tokio::test]
async fn metrics_are_the_operators_and_hold_no_ids() {
    let bench = Bench::new().await;
    let account = bench.sign_up("ada").await;
    account.get("/v1/users/me").await.is(200);
    account.get("/metrics").await.refused(403, "forbidden");
    bench.call("GET /metrics", &[], "").await.refused(401, "unauthenticated");
    let text = bench.operator().await.get("/metrics").await.is(200).text();
    assert!(
        text.contains("castback_http_requests_total{class=\"2xx\",method=\"GET\",route=\"/v1/users/me\"} 1"),
        "{text}"
    );
    assert!(text.contains("castback_user_created_total 1") && !text.contains(&account.id));
}
