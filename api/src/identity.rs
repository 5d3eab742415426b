//! Who calls, and whose data a call is about.
//!
//! An extractor names what a handler needs: [`Caller`] (a secret key or a session), [`Scope`] (whose
//! data is read; operators may name another account or all), [`EventSender`] (also a publishable
//! key from one of its origins). A handler without one of them is public.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRequestParts, OptionalFromRequestParts, Query};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use castback_catalogue::keys::{Caller as Known, Credential, KeyKind};
use castback_schemas::AccountId;
use castback_schemas::edge::{Hash128, HashKey, fingerprint};
use castback_schemas::id::{ApiKeyId, UserId};
use http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method};
use serde::Deserialize;

use crate::App;
use crate::problem::{Code, Problem, Result};

/// The session's cookie.
pub(crate) const SESSION_COOKIE: &str = "castback_session";

/// How long a caller is known without asking again: a key revoked in another process works that
/// much longer.
const KNOWN: Duration = Duration::from_secs(5);

/// Callers that are known; of more, the least active are asked for again.
const MAX_KNOWN: u64 = 10_000;

/// Longest key or cookie that is looked at.
const MAX_TOKEN: usize = 200;

/// Callers that were seen in the last seconds, by a keyed hash of what they showed.
#[derive(Debug)]
pub(crate) struct KnownCallers {
    secret: HashKey,
    callers: moka::sync::Cache<Hash128, Known>,
}

impl KnownCallers {
    pub(crate) fn new(secret: HashKey) -> Self {
        let callers = moka::sync::Cache::builder().max_capacity(MAX_KNOWN).time_to_live(KNOWN).build();
        Self { secret, callers }
    }

    /// Forgets everybody: a key was revoked, a session ended, somebody was erased.
    pub(crate) fn forget(&self) {
        self.callers.invalidate_all();
    }

    fn name(&self, token: &str) -> Hash128 {
        fingerprint(&self.secret, token.as_bytes())
    }
}

/// Who calls, proven by a secret key or a session.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Their account.
    pub account: AccountId,
    /// Who they are.
    pub user: UserId,
    /// The key they showed; none for a session.
    pub key: Option<ApiKeyId>,
    /// Whether they see across accounts.
    pub operator: bool,
}

impl Caller {
    /// Refuses who is no operator.
    pub fn operator(&self) -> Result<()> {
        if self.operator { Ok(()) } else { Err(Problem::new(Code::Forbidden, "for operators only")) }
    }
}

/// Whose data a call reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// One account's.
    Account(AccountId),
    /// Everybody's; only for operators.
    All,
}

impl Scope {
    /// The account; none: every one.
    #[must_use]
    pub fn account(self) -> Option<AccountId> {
        match self {
            Self::Account(account) => Some(account),
            Self::All => None,
        }
    }

    /// The account, where a call can be about one only.
    pub fn one(self) -> Result<AccountId> {
        match self {
            Self::Account(account) => Ok(account),
            Self::All => Err(Problem::field("account", "name one account here")),
        }
    }
}

/// Who sends app events: a caller, or a page with a publishable key.
#[derive(Debug, Clone, Copy)]
pub struct EventSender {
    /// Whose events they are.
    pub account: AccountId,
    /// Whether the key may be seen by anyone.
    pub publishable: bool,
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self> {
        secret(&known(parts, app).await?.ok_or_else(nobody)?, parts)
    }
}

impl OptionalFromRequestParts<Arc<App>> for Caller {
    type Rejection = Problem;

    /// None without key and cookie; a wrong key is refused all the same.
    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Option<Self>> {
        match known(parts, app).await? {
            Some(known) => secret(&known, parts).map(Some),
            None if bearer(&parts.headers).is_some() => Err(nobody()),
            None => Ok(None),
        }
    }
}

impl FromRequestParts<Arc<App>> for Scope {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self> {
        let caller = <Caller as FromRequestParts<_>>::from_request_parts(parts, app).await?;
        let Query(wanted) = Query::<Wanted>::try_from_uri(&parts.uri)?;
        let Some(wanted) = wanted.account else { return Ok(Self::Account(caller.account)) };
        let scope = match wanted.as_str() {
            "all" => Self::All,
            id => Self::Account(id.parse().map_err(|_| Problem::field("account", "expected an id or all"))?),
        };
        if scope != Self::Account(caller.account) {
            caller.operator()?;
        }
        Ok(scope)
    }
}

impl FromRequestParts<Arc<App>> for EventSender {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self> {
        let known = known(parts, app).await?.ok_or_else(nobody)?;
        let Credential::Key(_, KeyKind::Publishable { origins }) = &known.credential else {
            let account = secret(&known, parts)?.account;
            return Ok(Self { account, publishable: false });
        };
        let origin = parts.headers.get(ORIGIN).and_then(|origin| origin.to_str().ok()).unwrap_or_default();
        if !origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)) {
            return Err(Problem::new(Code::Forbidden, "the key is bound to other origins"));
        }
        Ok(Self { account: known.account, publishable: true })
    }
}

#[derive(Debug, Deserialize)]
struct Wanted {
    account: Option<String>,
}

fn nobody() -> Problem {
    Problem::new(Code::Unauthenticated, "send Authorization: Bearer cb_…, or sign in")
}

/// A caller by a secret key or session; a session's writes must come from our own pages.
fn secret(known: &Known, parts: &Parts) -> Result<Caller> {
    let key = match known.credential {
        Credential::Key(id, KeyKind::Secret) => Some(id),
        Credential::Key(_, KeyKind::Publishable { .. }) => {
            return Err(Problem::new(Code::Forbidden, "a publishable key sends events only"));
        }
        Credential::Session if is_foreign(parts) => {
            return Err(Problem::new(Code::Forbidden, "a page of another site can't use a session"));
        }
        Credential::Session => None,
    };
    Ok(Caller { account: known.account, user: known.user, key, operator: known.operator })
}

/// Whether a write comes from a page of another host than it goes to.
fn is_foreign(parts: &Parts) -> bool {
    if matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return false;
    }
    let text = |name: HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(HOST).or_else(|| parts.uri.authority().map(http::uri::Authority::as_str));
    text(ORIGIN).is_some_and(|origin| origin.split_once("://").map(|(_, host)| host) != host)
}

async fn known(parts: &Parts, app: &App) -> Result<Option<Known>> {
    // A key goes before a cookie, whether it is valid or not.
    if parts.headers.contains_key(AUTHORIZATION) {
        let Some(key) = bearer(&parts.headers) else { return Ok(None) };
        return recall(app, &key, async { Ok(app.catalogue.authenticate(&key).await?) }).await;
    }
    match session_token(&parts.headers) {
        Some(token) => recall(app, token, async { Ok(app.catalogue.session(token).await?) }).await,
        None => Ok(None),
    }
}

async fn recall(app: &App, token: &str, ask: impl Future<Output = Result<Option<Known>>>) -> Result<Option<Known>> {
    if token.len() > MAX_TOKEN {
        return Ok(None);
    }
    let name = app.callers.name(token);
    if let Some(known) = app.callers.callers.get(&name) {
        return Ok(Some(known));
    }
    let known = ask.await?;
    if let Some(known) = &known {
        app.callers.callers.insert(name, known.clone());
    }
    Ok(known)
}

/// The key: a bearer's token, or the password of a client that knows only Basic (any user).
fn bearer(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Cow::Borrowed(token.trim()));
    }
    let pair = scheme.eq_ignore_ascii_case("basic").then(|| BASE64_STANDARD.decode(token.trim()).ok()).flatten()?;
    let (_, key) = std::str::from_utf8(&pair).ok()?.split_once(':')?;
    Some(Cow::Owned(key.to_owned()))
}

/// The token of the session's cookie.
pub(crate) fn session_token(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|line| line.split(';')).find_map(|cookie| {
        let (name, value) = cookie.trim().split_once('=')?;
        (name == SESSION_COOKIE).then_some(value)
    })
}
