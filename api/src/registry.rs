//! `/registry`: the built-in schema registry, in the words of Confluent's clients.
//!
//! Reading needs any key (as `bearer.auth.token`, or as the password of `basic.auth.user.info`), registering an operator's, since topics carry all
//! accounts. A schema is taken if it is compatible both ways with every version of its subject
//! (`FULL_TRANSITIVE`). A refusal is a problem that also carries `error_code` and `message`, by which
//! such clients tell what happened.
//!
//! With a registry of others (`SCHEMA_REGISTRY_URL`) every route leads there.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use castback_catalogue::registry::RegisteredSchema;
use castback_schemas::codec::{check_compatible, check_schema, schema_fingerprint};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::App;
use crate::extract::{Json, Path};
use crate::identity::Caller;
use crate::problem::{Code, Problem, Result};

/// Longest schema, in bytes.
const MAX_SCHEMA: usize = 64 * 1024;
/// Longest subject, in bytes.
const MAX_SUBJECT: usize = 256;

/// A schema to be registered or looked up.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Wanted {
    /// The schema's text.
    schema: String,
    /// `AVRO`, the only kind.
    #[serde(rename = "schemaType")]
    kind: Option<String>,
}

/// A version of a subject.
#[derive(Serialize, ToSchema)]
pub(crate) struct Registered {
    subject: String,
    version: i32,
    id: i32,
    schema: String,
}

impl From<RegisteredSchema> for Registered {
    fn from(schema: RegisteredSchema) -> Self {
        let RegisteredSchema { subject, version, id, text } = schema;
        Self { subject, version, id, schema: text }
    }
}

/// A problem that Confluent's clients understand.
fn refused(code: Code, error_code: u32, message: &str) -> Problem {
    Problem::new(code, message).with("error_code", json!(error_code)).with("message", json!(message))
}

fn no_subject() -> Problem {
    refused(Code::NotFound, 40_401, "no such subject")
}

/// The middleware around these routes. Where a registry of others is set, callers are sent there: to the ids by which
/// records name their schemas, the one built in would know no answer, or a wrong one.
pub(crate) async fn elsewhere(
    State(app): State<Arc<App>>,
    _: Caller,
    request: Request,
    next: Next,
) -> Result<Response> {
    let Some(base) = &app.settings.registry else { return Ok(next.run(request).await) };
    let asked = request.uri().path_and_query().map_or("", |asked| asked.as_str());
    let asked = asked.strip_prefix("/registry").unwrap_or_default();
    Ok(Redirect::temporary(&format!("{}{asked}", base.as_str().trim_end_matches('/'))).into_response())
}

/// The level of compatibility, the same for every subject.
#[utoipa::path(get, path = "/registry/config", tag = "registry", responses((status = 200)))]
pub(crate) async fn config(_: Caller) -> Answer<Value> {
    Answer(json!({ "compatibilityLevel": "FULL_TRANSITIVE" }))
}

/// The level of compatibility of a subject, which is everybody's.
#[utoipa::path(get, path = "/registry/config/{subject}", tag = "registry", params(("subject" = String, Path)),
    responses((status = 200)))]
pub(crate) async fn config_of(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(subject): Path<String>,
) -> Result<Answer<Value>> {
    let known = app.catalogue.subject_versions(&subject).await?;
    if known.is_empty() { Err(no_subject()) } else { Ok(config(caller).await) }
}

/// The kinds of schemas.
#[utoipa::path(get, path = "/registry/schemas/types", tag = "registry", responses((status = 200, body = Vec<String>)))]
pub(crate) async fn types(_: Caller) -> Answer<Value> {
    Answer(json!(["AVRO"]))
}

/// Whether a schema could be registered: compatible both ways with the version named, and for `latest` with all.
#[utoipa::path(post, path = "/registry/compatibility/subjects/{subject}/versions/{version}", tag = "registry",
    params(("subject" = String, Path), ("version" = String, Path)), request_body = Wanted,
    responses((status = 200)))]
pub(crate) async fn compatible(
    State(app): State<Arc<App>>,
    _: Caller,
    Path((subject, number)): Path<(String, String)>,
    Json(wanted): Json<Wanted>,
) -> Result<Answer<Value>> {
    let versions = app.catalogue.subject_versions(&subject).await?;
    if versions.is_empty() {
        return Err(no_subject());
    }
    check_schema(&wanted.schema).map_err(|refusal| refused(Code::InvalidFields, 42_201, &refusal.to_string()))?;
    let all = matches!(number.as_str(), "latest" | "-1");
    let mut asked = versions.iter().filter(|one| all || one.version.to_string() == number).peekable();
    if asked.peek().is_none() {
        return Err(refused(Code::NotFound, 40_402, "no such version"));
    }
    let refusals = asked.filter_map(|one| check_compatible(&wanted.schema, &one.text).err());
    let messages: Vec<String> = refusals.map(|refusal| refusal.to_string()).collect();
    Ok(Answer(json!({ "is_compatible": messages.is_empty(), "messages": messages })))
}

/// Every subject.
#[utoipa::path(get, path = "/registry/subjects", tag = "registry", responses((status = 200, body = Vec<String>)))]
pub(crate) async fn subjects(State(app): State<Arc<App>>, _: Caller) -> Result<Answer<Vec<String>>> {
    Ok(Answer(app.catalogue.subjects().await?))
}

/// The versions of a subject.
#[utoipa::path(get, path = "/registry/subjects/{subject}/versions", tag = "registry",
    params(("subject" = String, Path)), responses((status = 200, body = Vec<i32>)))]
pub(crate) async fn versions(
    State(app): State<Arc<App>>,
    _: Caller,
    Path(subject): Path<String>,
) -> Result<Answer<Vec<i32>>> {
    let versions = app.catalogue.subject_versions(&subject).await?;
    if versions.is_empty() { Err(no_subject()) } else { Ok(Answer(versions.iter().map(|one| one.version).collect())) }
}

/// One version of a subject, by number or `latest`.
#[utoipa::path(get, path = "/registry/subjects/{subject}/versions/{version}", tag = "registry",
    params(("subject" = String, Path), ("version" = String, Path)), responses((status = 200, body = Registered)))]
pub(crate) async fn version(
    State(app): State<Arc<App>>,
    _: Caller,
    Path(wanted): Path<(String, String)>,
) -> Result<Answer<Registered>> {
    let (subject, number) = wanted;
    let mut versions = app.catalogue.subject_versions(&subject).await?;
    if versions.is_empty() {
        return Err(no_subject());
    }
    let found = match number.as_str() {
        "latest" | "-1" => versions.pop(),
        number => versions.into_iter().find(|one| one.version.to_string() == number),
    };
    found.map(|one| Answer(one.into())).ok_or_else(|| refused(Code::NotFound, 40_402, "no such version"))
}

/// The text of a schema.
#[utoipa::path(get, path = "/registry/schemas/ids/{id}", tag = "registry", params(("id" = String, Path)),
    responses((status = 200)))]
pub(crate) async fn schema(State(app): State<Arc<App>>, _: Caller, Path(id): Path<String>) -> Result<Answer<Value>> {
    let missing = || refused(Code::NotFound, 40_403, "no such schema");
    let id: i32 = id.parse().map_err(|_| missing())?;
    let schema = app.catalogue.schema(id).await?.ok_or_else(missing)?;
    Ok(Answer(json!({ "schema": schema })))
}

/// The version that a schema is of a subject.
#[utoipa::path(post, path = "/registry/subjects/{subject}", tag = "registry", params(("subject" = String, Path)),
    request_body = Wanted, responses((status = 200, body = Registered)))]
pub(crate) async fn look_up(
    State(app): State<Arc<App>>,
    _: Caller,
    Path(subject): Path<String>,
    Json(wanted): Json<Wanted>,
) -> Result<Answer<Registered>> {
    let versions = app.catalogue.subject_versions(&subject).await?;
    if versions.is_empty() {
        return Err(no_subject());
    }
    let fingerprint = schema_fingerprint(&wanted.schema);
    let found = versions.into_iter().find(|one| schema_fingerprint(&one.text) == fingerprint);
    found.map(|one| Answer(one.into())).ok_or_else(|| refused(Code::NotFound, 40_403, "no such schema"))
}

/// Registers a version; the same schema again is the same version.
#[utoipa::path(post, path = "/registry/subjects/{subject}/versions", tag = "registry",
    params(("subject" = String, Path)), request_body = Wanted, responses((status = 200)))]
pub(crate) async fn register(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(subject): Path<String>,
    Json(wanted): Json<Wanted>,
) -> Result<Answer<Value>> {
    caller.operator()?;
    let invalid = |message: &str| refused(Code::InvalidFields, 42_201, message);
    if wanted.kind.is_some_and(|kind| kind != "AVRO") {
        return Err(invalid("expected schemaType AVRO"));
    }
    if subject.len() > MAX_SUBJECT || wanted.schema.len() > MAX_SCHEMA {
        return Err(invalid("the subject or the schema is too long"));
    }
    check_schema(&wanted.schema).map_err(|refusal| invalid(&refusal.to_string()))?;
    for known in app.catalogue.subject_versions(&subject).await? {
        check_compatible(&wanted.schema, &known.text)
            .map_err(|refusal| refused(Code::WrongState, 409, &refusal.to_string()))?;
    }
    let fingerprint = schema_fingerprint(&wanted.schema);
    let registered = app.catalogue.register_schema(&subject, &wanted.schema, &fingerprint).await?;
    Ok(Answer(json!({ "id": registered.id })))
}
