//! A client of the contract: one connection pool, one identity.

use serde_json::{Value, json};

use super::until;

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) kind: String,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Panics with the body unless the status is 2xx.
    pub(crate) fn ok(self) -> Self {
        assert!((200..300).contains(&self.status), "{}: {}", self.status, self.text());
        self
    }

    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }

    /// Asserts that it is a problem of this code (RFC 9457) that shows no cause.
    pub(crate) fn problem(self, status: u16, code: &str) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        assert!(self.kind.starts_with("application/problem+json"), "{}: {}", self.kind, self.text());
        let problem = self.json();
        assert_eq!(problem["type"], format!("urn:castback:problem:{code}"), "{problem}");
        assert!(problem["title"].is_string() && problem["status"] == status, "{problem}");
        self
    }
}

/// A caller.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
    scheme: &'static str,
}

/// Who signed up.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) id: String,
    pub(crate) client: Client,
}

impl Client {
    pub(crate) fn new(base: &str) -> Self {
        // Several tests of this process may come first; whoever is second finds the provider there.
        if rustls::crypto::CryptoProvider::get_default().is_none()
            && rustls::crypto::ring::default_provider().install_default().is_err()
        {
            eprintln!("another test has installed the TLS provider");
        }
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(std::time::Duration::from_mins(1))
            // Sooner than the server, which closes idle connections: else one may be closed as it is used.
            .pool_idle_timeout(std::time::Duration::from_secs(5))
            .build()
            .expect("a client");
        Self { http, base: base.to_owned(), key: None, scheme: "Bearer" }
    }

    pub(crate) fn with_key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// As InfluxDB wants it.
    pub(crate) fn with_token(self, token: &str) -> Self {
        Self { scheme: "Token", ..self.with_key(token) }
    }

    pub(crate) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// The same caller after the server has come back on another port.
    pub(crate) fn moved_to(&self, other: &Client) -> Self {
        Self { base: other.base.clone(), ..self.clone() }
    }

    /// None when there was no answer (nobody listens, or the connection broke).
    pub(crate) async fn try_send(&self, request: reqwest::RequestBuilder) -> Option<Answer> {
        answer(self.signed(request).send().await.ok()?).await
    }

    fn signed(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.key {
            Some(key) => request.header("authorization", format!("{} {key}", self.scheme)),
            None => request,
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let request = self.signed(request);
        let response = request.send().await.unwrap_or_else(|error| panic!("no answer from the server: {error:?}"));
        answer(response).await.expect("the whole answer")
    }

    pub(crate) async fn try_get(&self, path: &str) -> Option<Answer> {
        self.try_send(self.http.get(format!("{}{path}", self.base))).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.http.get(format!("{}{path}", self.base))).await
    }

    pub(crate) async fn get_as(&self, path: &str, accept: &str) -> Answer {
        self.send(self.http.get(format!("{}{path}", self.base)).header("accept", accept)).await
    }

    pub(crate) async fn get_by(&self, path: &str, agent: &str) -> Answer {
        self.send(self.http.get(format!("{}{path}", self.base)).header("user-agent", agent)).await
    }

    pub(crate) async fn head(&self, path: &str) -> Answer {
        self.send(self.http.head(format!("{}{path}", self.base))).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.http.post(format!("{}{path}", self.base)).json(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(self.http.put(format!("{}{path}", self.base)).json(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.send(self.http.patch(format!("{}{path}", self.base)).json(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(self.http.delete(format!("{}{path}", self.base))).await
    }

    pub(crate) async fn try_post_raw(&self, path: &str, kind: &str, body: impl Into<Vec<u8>>) -> Option<Answer> {
        let request = self.http.post(format!("{}{path}", self.base)).header("content-type", kind);
        self.try_send(request.body(body.into())).await
    }

    pub(crate) async fn post_raw(&self, path: &str, kind: &str, body: impl Into<Vec<u8>>) -> Answer {
        self.try_post_raw(path, kind, body).await.expect("the server answers")
    }

    /// Signs a new person up.
    pub(crate) async fn sign_up(&self, name: &str) -> Account {
        let body =
            json!({"email": format!("{name}@listeners.example"), "password": "a long pass phrase", "name": name});
        let user = self.post("/v1/users", &body).await.is(201).json();
        let text = |field: &str| user[field].as_str().unwrap_or_else(|| panic!("no {field} in {user}")).to_owned();
        assert_eq!(user["subscription_tier"], "free");
        assert!(text("api_key").starts_with("cb_"));
        Account { id: text("account_id"), client: self.clone().with_key(&text("api_key")) }
    }
}

/// None when the connection broke before the end.
async fn answer(response: reqwest::Response) -> Option<Answer> {
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let kind = headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
    let body = response.bytes().await.ok()?.to_vec();
    Some(Answer { status, kind, headers, body })
}

impl Account {
    pub(crate) fn moved_to(&self, other: &Client) -> Self {
        Self { id: self.id.clone(), client: self.client.moved_to(other) }
    }

    /// Connects a feed; its episodes are in force when this returns.
    pub(crate) async fn connect(&self, feed_url: &str) -> String {
        let podcast = self.client.post("/v1/podcasts", &json!({"feed_url": feed_url})).await.is(201).json();
        let id = podcast["id"].as_str().expect("an id").to_owned();
        until("the feed is polled", async || {
            let podcast = self.client.get(&format!("/v1/podcasts/{id}")).await.is(200).json();
            (podcast["status"] != "pending" && !podcast["last_poll"].is_null()).then_some(())
        })
        .await;
        id
    }

    /// Every item of a list, page after page.
    pub(crate) async fn list(&self, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let joint = if path.contains('?') { '&' } else { '?' };
            let page = self.client.get(&format!("{path}{joint}limit=200{cursor}")).await.is(200).json();
            items.extend(page["items"].as_array().expect("items").iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }

    /// Rows of a query that must succeed and be complete.
    pub(crate) async fn sql(&self, sql: &str) -> Vec<Vec<Value>> {
        let answer = self.client.post("/v1/sql", &json!({"sql": sql})).await.is(200).json();
        assert_eq!(answer["truncated"], false, "{sql}");
        let rows = answer["rows"].as_array().unwrap_or_else(|| panic!("no rows in {answer}"));
        rows.iter().map(|row| row.as_array().expect("a row").clone()).collect()
    }

    /// The number that a query answers.
    pub(crate) async fn sql_number(&self, sql: &str) -> i64 {
        let rows = self.sql(sql).await;
        let value = &rows.first().unwrap_or_else(|| panic!("no row of {sql}"))[0];
        value.as_i64().unwrap_or_else(|| panic!("no whole number: {value} of {sql}"))
    }

    /// Waits until everything accepted has its verdict; returns the balance, which must hold.
    pub(crate) async fn settled(&self, accepted: u64) -> Value {
        until("everything accepted has its verdict, and the balance holds", async || {
            let answer = self.client.try_get("/v1/ledger/balance").await?;
            if answer.status == 503 {
                // A server of others is away, or slow.
                return None;
            }
            let balance = answer.ok().json();
            // Among several processes the tally may wait for a new owner.
            let all = balance["pending"] == 0 && balance["accepted"].as_u64()? >= accepted;
            (all && balance["balanced"] == true).then_some(balance)
        })
        .await
    }

    /// Posts an access log; returns how many lines were accepted.
    pub(crate) async fn post_log(&self, podcast: &str, text: &str) -> u64 {
        let path = format!("/v1/listener-requests?podcast_id={podcast}");
        let answer = self.client.post_raw(&path, "text/plain", text).await.is(202).json();
        assert_eq!(answer["rejected"], json!([]), "lines were rejected");
        answer["accepted"].as_u64().expect("a count")
    }

    /// Posts records of which none may be rejected.
    pub(crate) async fn post_all(&self, path: &str, records: &[Value]) -> u64 {
        let mut accepted = 0;
        for batch in records.chunks(1000) {
            let answer = self.client.post(path, &json!(batch)).await.is(202).json();
            assert_eq!(answer["rejected"], json!([]), "{path}");
            accepted += answer["accepted"].as_u64().expect("a count");
        }
        assert_eq!(accepted, u64::try_from(records.len()).expect("a count"), "{path}");
        accepted
    }
}
