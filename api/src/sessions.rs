//! `/v1/sessions` and `/login/{token}`: a browser's session, by password or by a one-time link.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use castback_catalogue::sessions::SESSION_LIFE;
use castback_schemas::time::SECOND;
use http::header::{CACHE_CONTROL, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::accept::preferred;
use crate::extract::{Json, Path};
use crate::identity::{SESSION_COOKIE, session_token};
use crate::peer::Client;
use crate::problem::{Code, Problem, Result};
use crate::users::{PASSWORD, limit_address, limit_person};
use crate::{App, pages};

/// Who signs in.
#[derive(Deserialize, ToSchema)]
pub(crate) struct SignIn {
    email: String,
    #[serde(deserialize_with = "crate::extract::secret")]
    #[schema(value_type = String)]
    password: SecretString,
}

/// Who has signed in; the session itself is the cookie.
#[derive(Serialize, ToSchema)]
pub(crate) struct SignedIn {
    user_id: String,
    account_id: String,
}

/// Signs in: the answer sets the session's cookie.
#[utoipa::path(post, path = "/v1/sessions", tag = "users", request_body = SignIn,
    responses((status = 201, body = SignedIn)))]
pub(crate) async fn create(State(app): State<Arc<App>>, client: Client, Json(body): Json<SignIn>) -> Result<Response> {
    limit_address(&app, client)?;
    limit_person(&app, &body.email)?;
    let wrong = || Problem::new(Code::Unauthenticated, "no such address with that password");
    // Longer ones can't be anybody's and would only cost work.
    if body.password.expose_secret().chars().count() > PASSWORD.1 {
        return Err(wrong());
    }
    let (user, token) = app.catalogue.sign_in(&body.email, body.password).await?.ok_or_else(wrong)?;
    let signed = SignedIn { user_id: user.id.to_string(), account_id: user.account.to_string() };
    Ok((StatusCode::CREATED, [(SET_COOKIE, cookie(&app, &token, SESSION_LIFE / SECOND)?)], Answer(signed))
        .into_response())
}

/// Signs out.
#[utoipa::path(delete, path = "/v1/sessions/current", tag = "users", responses((status = 204)))]
pub(crate) async fn end(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response> {
    if let Some(token) = session_token(&headers) {
        app.catalogue.end_session(token).await?;
        app.callers.forget();
    }
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, cookie(&app, "", 0)?)]).into_response())
}

/// Signs in by a link that is good once, and goes on to the first page.
#[utoipa::path(get, path = "/login/{token}", tag = "users", params(("token" = String, Path)),
    responses((status = 303, description = "to the first page"),
        (status = 401, description = "used or too old; a page for who prefers `text/html`")))]
pub(crate) async fn by_link(
    State(app): State<Arc<App>>,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Result<Response> {
    let Some(session) = app.catalogue.redeem_login_link(&token).await? else {
        return match preferred(&headers, "application/problem+json", &["text/html"]) {
            "text/html" => Ok((StatusCode::UNAUTHORIZED, pages::used_link()).into_response()),
            _ => Err(Problem::new(Code::Unauthenticated, "the link was used already, or is too old")),
        };
    };
    let headers = [
        (SET_COOKIE, cookie(&app, &session, SESSION_LIFE / SECOND)?),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, Redirect::to("/")).into_response())
}

/// Not readable by scripts, not sent along from other sites, and over HTTPS only where we are reached by it.
fn cookie(app: &App, token: &str, seconds: i64) -> Result<HeaderValue> {
    let secure = if app.settings.public_url.scheme() == "https" { "; Secure" } else { "" };
    let text = format!("{SESSION_COOKIE}={token}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}");
    HeaderValue::try_from(text).map_err(Problem::internal)
}
