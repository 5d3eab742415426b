//! `POST /v1/users`: signing up.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use castback_catalogue::idempotency::KeyedRequest;
use castback_catalogue::people::{NewUser, User};
use castback_schemas::edge::fingerprint;
use garde::Validate;
use http::{HeaderMap, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::{PASSWORD, limit_address};
use crate::App;
use crate::extract::{Checks, Json};
use crate::idempotency::{self, Kept};
use crate::identity::Caller;
use crate::peer::Client;
use crate::problem::{Code, Problem, Result};

/// Who signs up.
#[derive(Deserialize, ToSchema)]
pub(crate) struct SignUp {
    email: String,
    #[serde(deserialize_with = "crate::extract::secret")]
    #[schema(value_type = String)]
    password: SecretString,
    #[serde(default)]
    name: String,
}

/// Who has signed up.
#[derive(Serialize, ToSchema)]
pub(crate) struct SignedUp {
    id: String,
    account_id: String,
    email: String,
    name: String,
    subscription_tier: String,
    /// The first key, shown this once.
    api_key: String,
}

/// An e-mail address by its form.
#[derive(Validate)]
struct Address<'a> {
    #[garde(email, length(max = 254))]
    email: &'a str,
}

fn check(body: &SignUp) -> Result<()> {
    let mut checks = Checks::default();
    let known = (Address { email: body.email.trim() }).validate().is_ok();
    checks.check(known, "email", "expected an e-mail address");
    checks.length(body.password.expose_secret(), PASSWORD, "password");
    checks.length(&body.name, (0, 200), "name");
    checks.done()
}

/// Refuses an address of `OPERATORS`: addresses are not verified, and whoever has one sees across accounts from the next
/// start on. An operator may sign it up, so the person at the machine by the key kept there.
fn vouched(app: &App, email: &str, caller: Result<Caller>) -> Result<()> {
    let email = email.trim().to_lowercase();
    let named = app.settings.operators.iter().any(|operator| operator.trim().to_lowercase() == email);
    if !named || caller.is_ok_and(|caller| caller.operator().is_ok()) {
        return Ok(());
    }
    let said = "the address is one of OPERATORS: sign it up with an operator's key as `Authorization: Bearer`; the one at \
                the machine is in the data directory's file operator-key";
    Err(Problem::new(Code::Forbidden, said))
}

/// Signs up: an account of the free tier, its first user and their first key. Sent again with its
/// `Idempotency-Key`, it answers the same key for a day. An address of `OPERATORS` needs an operator's key.
#[utoipa::path(post, path = "/v1/users", tag = "users", request_body = SignUp,
    responses((status = 201, body = SignedUp)))]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    client: Client,
    caller: Result<Caller>,
    headers: HeaderMap,
    Json(body): Json<SignUp>,
) -> Result<Response> {
    check(&body)?;
    let key = idempotency::key(&headers)?;
    limit_address(&app, client)?;
    vouched(&app, &body.email, caller)?;
    let Some(key) = key else { return Ok(sign_up(&app, body).await.into_response()) };
    let request = keyed(&app, &key, &body);
    let here = Arc::clone(&app);
    let work = async move { sign_up(&here, body).await.into_response() };
    idempotency::once(app, request, Kept::Sealed, work).await
}

/// Who signs up has no account yet: a key is theirs by their address. What tells one body from another
/// holds a password, so it is a hash under the installation's secret, which nobody can try words on.
fn keyed(app: &App, key: &str, body: &SignUp) -> KeyedRequest {
    let hash = |texts: [&str; 3]| fingerprint(&app.settings.secret, json!(texts).to_string().as_bytes()).to_string();
    let email = body.email.trim();
    KeyedRequest {
        account: app.catalogue.installation().account,
        key: format!("sign-up {}", hash(["sign-up", key, email.to_lowercase().as_str()])),
        route: "POST /v1/users".to_owned(),
        request_hash: hash([email, body.password.expose_secret(), body.name.as_str()]),
    }
}

async fn sign_up(app: &App, body: SignUp) -> Result<(StatusCode, Answer<SignedUp>)> {
    let started = Instant::now();
    let new = NewUser { email: body.email.trim().to_owned(), password: body.password, name: body.name };
    let signed = app.catalogue.sign_up(new).await?;
    app.metrics.user_created.inc();
    app.metrics.user_creation.observe(started.elapsed().as_secs_f64());
    let User { id, account, email, name, .. } = signed.user;
    let shown = SignedUp {
        id: id.to_string(),
        account_id: account.to_string(),
        email,
        name,
        subscription_tier: signed.tier,
        api_key: signed.api_key,
    };
    Ok((StatusCode::CREATED, Answer(shown)))
}
