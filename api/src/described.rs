//! What the document of the API says of every operation: who may call it, how it refuses, and the bodies that
//! hold records.

use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ArrayBuilder, Components, Content, ObjectBuilder, OpenApi, Ref, RefOr, Required, Response, ResponseBuilder, Schema,
    Type,
};

use crate::identity::SESSION_COOKIE;

/// What anybody may call below `/v1/`: signing up, in and out.
const PUBLIC: [&str; 3] = ["/v1/users", "/v1/sessions", "/v1/sessions/current"];

/// The name of the one schema and answer of refusals.
const PROBLEM: &str = "Problem";

/// The document with all of it.
pub(crate) fn complete(mut document: OpenApi) -> OpenApi {
    let components = document.components.get_or_insert_with(Components::new);
    components.schemas.insert(PROBLEM.to_owned(), problem().into());
    components.responses.insert(PROBLEM.to_owned(), RefOr::T(refusal()));
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("cb_…")
        .description(Some("An API key; `cb_pub_…` sends events only, from its origins."));
    components.add_security_scheme("key", SecurityScheme::Http(bearer.build()));
    let cookie = ApiKeyValue::with_description(SESSION_COOKIE, "A session, by POST /v1/sessions.");
    components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
    for (path, item) in &mut document.paths.paths {
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
        for operation in operations.into_iter().flatten() {
            describe(path, operation);
        }
    }
    document
}

fn describe(path: &str, operation: &mut Operation) {
    let ours = path.starts_with("/v1/");
    let secured = (ours && !PUBLIC.contains(&path)) || path.starts_with("/registry/") || path == "/metrics";
    if secured {
        let one = |name: &str| SecurityRequirement::new(name, [""; 0]);
        operation.security = Some(vec![one("key"), one("session")]);
    }
    if !ours {
        return;
    }
    if let Some(body) = records(path) {
        operation.request_body = Some(RefOr::T(body));
    }
    for status in refusals(path, secured, operation) {
        let refusal = Ref::from_response_name(PROBLEM);
        operation.responses.responses.entry(status.to_owned()).or_insert_with(|| refusal.into());
    }
}

/// The statuses of an operation's usual refusals; `default` is any other.
fn refusals(path: &str, secured: bool, operation: &Operation) -> Vec<&'static str> {
    let mut statuses = vec!["default"];
    if secured {
        statuses.extend(["401", "403"]);
    }
    if path.contains('{') {
        statuses.push("404");
    }
    let is_query = |parameter: &RefOr<Parameter>| match parameter {
        RefOr::T(parameter) => parameter.parameter_in == ParameterIn::Query,
        RefOr::Ref(_) => false,
    };
    if operation.request_body.is_some() {
        statuses.extend(["400", "413", "415", "422"]);
    } else if operation.parameters.iter().flatten().any(is_query) {
        statuses.push("422");
    }
    statuses
}

/// The body of a call that posts records.
fn records(path: &str) -> Option<RequestBody> {
    let (record, words) = match path {
        "/v1/events" => ("RawEvent", "An object with at most 1,000 events (or an array of them), or NDJSON."),
        "/v1/listener-requests" => ("RawRequest", "A JSON array, NDJSON, or a combined-format access log."),
        "/v1/conversions" => ("RawConversion", "ECAPI 1.0 events: an array (or one of them), or NDJSON."),
        _ => return None,
    };
    let one = Ref::from_schema_name(record);
    let all = ArrayBuilder::new().items(one.clone());
    let document: RefOr<Schema> = if path == "/v1/events" {
        ObjectBuilder::new().property("events", all.max_items(Some(1_000))).required("events").into()
    } else {
        all.into()
    };
    let body = RequestBodyBuilder::new()
        .description(Some(words))
        .required(Some(Required::True))
        .content("application/json", Content::new(Some(document)))
        .content("application/x-ndjson", Content::new(Some(one)));
    let log = || Content::new(Some(text("Lines of an access log.")));
    let body = if path == "/v1/listener-requests" { body.content("text/plain", log()) } else { body };
    Some(body.build())
}

fn text(words: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).description(Some(words))
}

/// A problem; some codes have members of their own beside these.
fn problem() -> ObjectBuilder {
    let error = ObjectBuilder::new()
        .property("field", text("The field's path, such as `placements[0].id`."))
        .property("detail", text("What is expected."));
    ObjectBuilder::new()
        .description(Some("A problem (RFC 9457)."))
        .property("type", text("`urn:castback:problem:` and the code, such as `invalid_fields`."))
        .property("title", text("The same for every problem of the code."))
        .property("status", ObjectBuilder::new().schema_type(Type::Integer).description(Some("The HTTP status.")))
        .property("detail", text("What the caller can do."))
        .property("errors", ArrayBuilder::new().items(error))
        .required("type")
        .required("title")
        .required("status")
        .required("detail")
}

fn refusal() -> Response {
    let content = Content::new(Some(Ref::from_schema_name(PROBLEM)));
    ResponseBuilder::new()
        .description("Refused; the problem says what to do.")
        .content("application/problem+json", content)
        .build()
}
