//! `/v1/users`: signing up, the profile, API keys, erasure.

pub(crate) mod sign_up;

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use castback_catalogue::keys::{ApiKey, KeyKind, NewKey};
use castback_catalogue::people::User;
use castback_schemas::edge::fingerprint;
use castback_schemas::id::ApiKeyId;
use http::StatusCode;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;
use utoipa::ToSchema;

use crate::App;
use crate::extract::{Checks, Json, List, ListParameters, Listed, Path, id};
use crate::identity::Caller;
use crate::peer::Client;
use crate::problem::{Problem, Result};

/// Shortest and longest password, in characters; the longest bounds the work of hashing.
pub(crate) const PASSWORD: (usize, usize) = (8, 256);
/// Origins of one publishable key.
const MAX_ORIGINS: usize = 20;

/// A person as they see themselves.
#[derive(Serialize, ToSchema)]
pub(crate) struct Profile {
    id: String,
    account_id: String,
    email: String,
    name: String,
    subscription_tier: String,
    operator: bool,
    email_verified_at: Option<String>,
    created_at: String,
}

/// Signing up and in takes tens of milliseconds of a core each: so many from one address.
pub(crate) fn limit_address(app: &App, client: Client) -> Result<()> {
    let Some(address) = client.0 else { return Ok(()) };
    let name = castback_schemas::edge::household(&app.settings.secret, &address);
    app.quotas.addresses.take(name, 1, app.clock.now()).map(|_| ())
}

/// So many attempts to be one person.
pub(crate) fn limit_person(app: &App, email: &str) -> Result<()> {
    let name = fingerprint(&app.settings.secret, email.trim().to_lowercase().as_bytes());
    app.quotas.people.take(name, 1, app.clock.now()).map(|_| ())
}

async fn profile(app: &App, user: User) -> Result<Answer<Profile>> {
    let tier = app.catalogue.account(user.account).await?.tier;
    Ok(Answer(Profile {
        id: user.id.to_string(),
        account_id: user.account.to_string(),
        email: user.email,
        name: user.name,
        subscription_tier: tier,
        operator: user.operator,
        email_verified_at: user.email_verified_at.map(|at| at.to_string()),
        created_at: user.created_at.to_string(),
    }))
}

/// Who the caller is.
#[utoipa::path(get, path = "/v1/users/me", tag = "users", responses((status = 200, body = Profile)))]
pub(crate) async fn me(State(app): State<Arc<App>>, caller: Caller) -> Result<Answer<Profile>> {
    profile(&app, app.catalogue.user(caller.account, caller.user).await?).await
}

/// What may be changed of a person.
#[derive(Deserialize, ToSchema)]
pub(crate) struct ProfileChange {
    name: Option<String>,
    /// A new password; it ends all sessions.
    #[serde(default, deserialize_with = "crate::extract::maybe_secret")]
    #[schema(value_type = Option<String>)]
    password: Option<SecretString>,
}

/// Changes name or password.
#[utoipa::path(patch, path = "/v1/users/me", tag = "users", request_body = ProfileChange,
    responses((status = 200, body = Profile)))]
pub(crate) async fn change_me(
    State(app): State<Arc<App>>,
    caller: Caller,
    Json(body): Json<ProfileChange>,
) -> Result<Answer<Profile>> {
    use secrecy::ExposeSecret;
    let mut checks = Checks::default();
    checks.length(body.name.as_deref().unwrap_or_default(), (0, 200), "name");
    if let Some(password) = &body.password {
        checks.length(password.expose_secret(), PASSWORD, "password");
    }
    checks.done()?;
    if let Some(name) = body.name {
        app.catalogue.rename_user(caller.account, caller.user, &name).await?;
    }
    if let Some(password) = body.password {
        app.catalogue.set_password(caller.account, caller.user, password).await?;
        app.callers.forget();
    }
    profile(&app, app.catalogue.user(caller.account, caller.user).await?).await
}

/// Erases the caller: name, address, keys and sessions. With the last person of an account its
/// key goes too, so that what was encrypted or hashed under it leads nowhere.
#[utoipa::path(delete, path = "/v1/users/me", tag = "users", responses((status = 204)))]
pub(crate) async fn erase_me(State(app): State<Arc<App>>, caller: Caller) -> Result<StatusCode> {
    app.catalogue.erase_user(caller.account, caller.user).await?;
    app.callers.forget();
    if app.catalogue.members(caller.account).await?.is_empty() {
        app.catalogue.destroy_account_key(caller.account).await?;
        app.keys.forget(caller.account);
    }
    Ok(StatusCode::NO_CONTENT)
}

/// A key to be made.
#[derive(Deserialize, ToSchema)]
pub(crate) struct KeyWanted {
    /// What its owner calls it.
    #[serde(default)]
    label: String,
    /// Given: a publishable key (`cb_pub_…`) that sends events from these origins only.
    origins: Option<Vec<String>>,
}

/// A key as its owner sees it.
#[derive(Serialize, ToSchema)]
pub(crate) struct ShownKey {
    id: String,
    label: String,
    /// `secret` or `publishable`.
    kind: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    origins: Vec<String>,
    created_at: String,
    revoked_at: Option<String>,
    /// The key itself, shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<String>,
}

fn shown(key: ApiKey, secret: Option<String>) -> ShownKey {
    let (kind, origins) = match key.kind {
        KeyKind::Secret => ("secret", Vec::new()),
        KeyKind::Publishable { origins } => ("publishable", origins),
    };
    ShownKey {
        id: key.id.to_string(),
        label: key.label,
        kind,
        origins,
        created_at: key.created_at.to_string(),
        revoked_at: key.revoked_at.map(|at| at.to_string()),
        api_key: secret,
    }
}

/// Makes a key.
#[utoipa::path(post, path = "/v1/users/me/api-keys", tag = "users", request_body = KeyWanted,
    responses((status = 201, body = ShownKey)))]
pub(crate) async fn create_key(
    State(app): State<Arc<App>>,
    caller: Caller,
    Json(body): Json<KeyWanted>,
) -> Result<(StatusCode, Answer<ShownKey>)> {
    let mut checks = Checks::default();
    checks.length(&body.label, (0, 100), "label");
    let kind = match body.origins {
        None => KeyKind::Secret,
        Some(origins) => KeyKind::Publishable { origins: check_origins(&origins, &mut checks) },
    };
    checks.done()?;
    let new = NewKey { kind, label: body.label };
    let (key, secret) = app.catalogue.create_api_key(caller.account, caller.user, new).await?;
    Ok((StatusCode::CREATED, Answer(shown(key, Some(secret)))))
}

/// Origins in the form that browsers write them.
fn check_origins(origins: &[String], checks: &mut Checks) -> Vec<String> {
    checks.check((1..=MAX_ORIGINS).contains(&origins.len()), "origins", "expected 1 to 20");
    let origin = |text: &String| {
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
        let origin = url.origin().ascii_serialization();
        (origin == text.trim_end_matches('/').to_ascii_lowercase()).then_some(origin)
    };
    let read: Vec<Option<String>> = origins.iter().map(origin).collect();
    for (index, _) in read.iter().enumerate().filter(|(_, origin)| origin.is_none()) {
        checks.refuse(format!("origins[{index}]"), "expected an origin such as https://example.org");
    }
    read.into_iter().flatten().collect()
}

/// The account's keys, newest first.
#[utoipa::path(get, path = "/v1/users/me/api-keys", tag = "users", params(ListParameters),
    responses((status = 200, body = Listed<ShownKey>)))]
pub(crate) async fn keys(
    State(app): State<Arc<App>>,
    caller: Caller,
    List(page, _): List,
) -> Result<Answer<Listed<ShownKey>>> {
    let keys = app.catalogue.api_keys(caller.account, &page).await?;
    Ok(Answer(Listed::of(keys, |key| shown(key, None))))
}

/// Revokes a key, at once here and within five seconds everywhere.
#[utoipa::path(delete, path = "/v1/users/me/api-keys/{id}", tag = "users", params(("id" = String, Path)),
    responses((status = 204)))]
pub(crate) async fn revoke_key(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(key): Path<String>,
) -> Result<StatusCode, Problem> {
    app.catalogue.revoke_api_key(caller.account, id::<ApiKeyId>(&key, "API key")?).await?;
    app.callers.forget();
    Ok(StatusCode::NO_CONTENT)
}
