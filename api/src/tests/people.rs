use serde_json::json;

use super::{Bench, JSON};

#[tokio::test]
async fn sign_up_key_and_profile() {
    let bench = Bench::new().await;
    let account = bench.sign_up("ada").await;
    assert!(account.key.starts_with("cb_"));
    let me = account.get("/v1/users/me").await.is(200);
    assert_eq!(me.json()["email"], "ada@listeners.example");
    assert_eq!((&me.json()["subscription_tier"], &me.json()["operator"]), (&json!("free"), &json!(false)));
    assert!(!me.text().contains(&account.key), "a key is shown once");
    let renamed =
        account.patch("/v1/users/me", &json!({"name": "Ada", "operator": true, "account_id": "x"})).await.is(200);
    assert_eq!((&renamed.json()["name"], &renamed.json()["operator"]), (&json!("Ada"), &json!(false)));
    assert_eq!(renamed.json()["account_id"], json!(account.id));
}

#[tokio::test]
async fn an_address_signs_up_once_and_fields_are_named() {
    let bench = Bench::new().await;
    bench.sign_up("ada").await;
    let sign_up = async |email: &str, password: &str| {
        bench.call("POST /v1/users", &[JSON], json!({"email": email, "password": password}).to_string()).await
    };
    let taken = sign_up("ADA@listeners.example", "another pass phrase").await.refused(409, "in_use").json();
    assert_eq!(taken["errors"][0]["field"], "email");
    let bad = sign_up("no address", "short").await.refused(422, "invalid_fields").json();
    let fields: Vec<&str> = bad["errors"].as_array().unwrap().iter().filter_map(|e| e["field"].as_str()).collect();
    assert_eq!(fields, ["email", "password"]);
    sign_up("b@listeners.example", &"x".repeat(1_000)).await.refused(422, "invalid_fields");
}

#[tokio::test]
async fn only_a_whole_valid_key_opens() {
    let bench = Bench::new().await;
    let account = bench.sign_up("ada").await;
    let with = async |value: String| bench.call("GET /v1/podcasts", &[("authorization", &value)], "").await;
    with(format!("Bearer {}", account.key)).await.is(200);
    with(format!("bearer {}", account.key)).await.is(200);
    let last = if account.key.ends_with('A') { "B" } else { "A" };
    let changed = format!("{}{last}", &account.key[..account.key.len() - 1]);
    for wrong in [
        "Bearer ".to_owned(),
        "Bearer cb_".to_owned(),
        "Bearer nonsense".to_owned(),
        format!("Bearer {changed}"),
        format!("Bearer {}x", account.key),
        format!("Bearer cb_pub_{}", &account.key[3..]),
        format!("Basic {}", account.key),
        account.key.clone(),
        format!("Bearer {}", "x".repeat(10_000)),
    ] {
        let refused = with(wrong).await.refused(401, "unauthenticated");
        assert_eq!(refused.header("www-authenticate"), "Bearer");
    }
    let path = format!("GET /v1/podcasts?api_key={}&key={}", account.key, account.key);
    bench.call(&path, &[], "").await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_revoked_key_is_refused_at_once() {
    let bench = Bench::new().await;
    let account = bench.sign_up("ada").await;
    let made = account.post("/v1/users/me/api-keys", &json!({"label": "second"})).await.is(201).json();
    let second = format!("Bearer {}", made["api_key"].as_str().unwrap());
    let read = async || bench.call("GET /v1/podcasts", &[("authorization", &second)], "").await;
    read().await.is(200);
    let listed = account.get("/v1/users/me/api-keys").await.is(200);
    assert_eq!(listed.json()["items"].as_array().unwrap().len(), 2);
    assert!(!listed.text().contains("cb_"), "{}", listed.text());
    let first = account.get("/v1/users/me/api-keys?limit=1").await.is(200).json();
    let path = format!("/v1/users/me/api-keys?limit=1&cursor={}", first["next_cursor"].as_str().unwrap());
    let last = account.get(&path).await.is(200).json();
    assert_eq!((&first["items"][0], &last["items"][0]), (&listed.json()["items"][0], &listed.json()["items"][1]));
    assert_eq!((first["items"].as_array().unwrap().len(), &last["next_cursor"]), (1, &serde_json::Value::Null));
    account.delete(&format!("/v1/users/me/api-keys/{}", made["id"].as_str().unwrap())).await.is(204);
    read().await.refused(401, "unauthenticated");
    account.get("/v1/podcasts").await.is(200);
}

#[tokio::test]
async fn a_publishable_key_sends_events_from_its_origins_only() {
    let bench = Bench::new().await;
    let account = bench.sign_up("ada").await;
    for bad in [json!([]), json!(["ftp://a.example"]), json!(["https://a.example/path"]), json!(["*"])] {
        account.post("/v1/users/me/api-keys", &json!({"origins": bad})).await.refused(422, "invalid_fields");
    }
    let wanted = json!({"origins": ["https://app.example"]});
    let key =
        account.post("/v1/users/me/api-keys", &wanted).await.is(201).json()["api_key"].as_str().unwrap().to_owned();
    assert!(key.starts_with("cb_pub_"), "{key}");
    let bearer = format!("Bearer {key}");
    let event =
        json!([{"id": "1", "type": "click", "occurred_at": "2026-11-24T09:00:00Z", "session_id": "s"}]).to_string();
    let from = async |origin: &str| {
        let headers = [JSON, ("authorization", bearer.as_str()), ("origin", origin)];
        bench.call("POST /v1/events", &headers, event.clone()).await
    };
    let taken = from("https://app.example").await.is(202);
    assert_eq!(taken.header("access-control-allow-origin"), "https://app.example");
    from("https://evil.example").await.refused(403, "forbidden");
    let auth = [JSON, ("authorization", bearer.as_str())];
    bench.call("POST /v1/events", &auth, event.clone()).await.refused(403, "forbidden");
    for line in ["GET /v1/podcasts", "GET /v1/users/me", "POST /v1/listener-requests", "POST /v1/campaigns"] {
        bench.call(line, &auth, "[]").await.refused(403, "forbidden");
    }
}

#[tokio::test]
async fn a_session_is_a_cookie_of_our_own_pages() {
    let bench = Bench::new().await;
    bench.sign_up("ada").await;
    let sign_in = async |password: &str| {
        let body = json!({"email": "Ada@listeners.example", "password": password}).to_string();
        bench.call("POST /v1/sessions", &[JSON], body).await
    };
    sign_in("a wrong pass phrase").await.refused(401, "unauthenticated");
    let signed = sign_in("a long pass phrase").await.is(201);
    let cookie = signed.header("set-cookie").to_owned();
    for part in ["HttpOnly", "SameSite=Lax", "Secure", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let host = ("host", "cast.example");
    bench.call("GET /v1/users/me", &[("cookie", &cookie)], "").await.is(200);
    let write = async |origin: &str| {
        let headers = [JSON, ("cookie", cookie.as_str()), host, ("origin", origin)];
        bench.call("PATCH /v1/users/me", &headers, r#"{"name": "A"}"#).await
    };
    write("https://cast.example").await.is(200);
    write("https://evil.example").await.refused(403, "forbidden");
    let gone = bench.call("DELETE /v1/sessions/current", &[("cookie", &cookie)], "").await.is(204);
    assert!(gone.header("set-cookie").contains("Max-Age=0"));
    bench.call("GET /v1/users/me", &[("cookie", &cookie)], "").await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn an_operators_address_signs_up_by_an_operator_only() {
    let bench = Bench::new().await;
    let body = json!({"email": "root@Listeners.example", "password": "a long pass phrase"}).to_string();
    let refused = bench.call("POST /v1/users", &[JSON], body.clone()).await.refused(403, "forbidden").json();
    assert!(refused["detail"].as_str().unwrap().contains("operator-key"), "{refused}");
    bench.call("POST /v1/users", &[JSON, ("idempotency-key", "key-9")], body.clone()).await.refused(403, "forbidden");
    let stranger = bench.sign_up("stranger").await;
    stranger.call("POST /v1/users", &[JSON], body.clone()).await.refused(403, "forbidden");
    let operator = bench.operator().await;
    operator.call("POST /v1/users", &[JSON], body).await.is(201);
}

#[tokio::test]
async fn a_login_link_is_good_once() {
    let bench = Bench::new().await;
    bench.sign_up("ada").await;
    let user = bench.app.catalogue.user_by_email("ada@listeners.example").await.unwrap().unwrap();
    let purpose = castback_catalogue::sessions::LinkPurpose::Login;
    let token = bench.app.catalogue.create_link(user.id, purpose).await.unwrap();
    let line = format!("GET /login/{token}");
    let opened = bench.call(&line, &[], "").await.is(303);
    assert_eq!(opened.header("location"), "/");
    let cookie = opened.header("set-cookie").split(';').next().unwrap().to_owned();
    bench.call("GET /v1/users/me", &[("cookie", &cookie)], "").await.is(200);
    bench.call(&line, &[], "").await.refused(401, "unauthenticated");
    bench.call(&line, &[("accept", "*/*")], "").await.refused(401, "unauthenticated");
    let browser = ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");
    let page = bench.call(&line, &[browser], "").await.is(401);
    assert!(page.header("content-type").starts_with("text/html") && page.header("content-security-policy").len() > 1);
    assert!(page.text().contains("signs in no more") && page.text().contains("another one"), "{}", page.text());
}

#[tokio::test]
async fn guessing_passwords_is_slowed_down() {
    let bench = Bench::new().await;
    let body = json!({"email": "ada@listeners.example", "password": "x".repeat(300)}).to_string();
    let mut refused = 0;
    for _ in 0..25 {
        let answer = bench.call("POST /v1/sessions", &[JSON], body.clone()).await;
        if answer.status == 429 {
            assert_eq!(answer.header("ratelimit-policy"), "\"sign-ins\";q=20;w=200");
            answer.refused(429, "rate_limited");
            refused += 1;
        } else {
            answer.refused(401, "unauthenticated");
        }
    }
    assert_eq!(refused, 5);
}

#[tokio::test]
async fn who_is_erased_is_nobody_any_more() {
    let bench = Bench::new().await;
    let account = bench.sign_up("ada").await;
    account.delete("/v1/users/me").await.is(204);
    account.get("/v1/users/me").await.refused(401, "unauthenticated");
    assert!(bench.app.catalogue.user_by_email("ada@listeners.example").await.unwrap().is_none());
    assert!(bench.app.catalogue.account_key(account.id.parse().unwrap()).await.is_err(), "the account's key is gone");
    bench.sign_up("ada").await;
}

#[tokio::test]
async fn pages_of_the_origins_set_may_call() {
    let bench = Bench::new().await;
    let preflight = async |path: &str, origin: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization"),
        ];
        bench.call(&format!("OPTIONS {path}"), &headers, "").await.is(200)
    };
    let allowed = preflight("/v1/campaigns", "https://dash.example").await;
    assert_eq!(allowed.header("access-control-allow-origin"), "https://dash.example");
    assert_eq!(allowed.header("access-control-allow-headers"), "authorization");
    let foreign = preflight("/v1/campaigns", "https://evil.example").await;
    assert!(foreign.headers.get("access-control-allow-origin").is_none());
    let events = preflight("/v1/events", "https://any.example").await;
    assert_eq!(events.header("access-control-allow-origin"), "https://any.example", "its key is bound to origins");
}
