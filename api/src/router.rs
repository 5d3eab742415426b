//! The table of contents: every route and what surrounds it.
//!
//! A route is documented where its handler is (`#[utoipa::path]`) and listed here once; what is not
//! listed does not exist, and what is listed stands in `/openapi.json`. Layers, from the outside in:
//! request id, trace, metrics, panics, time, CORS, compression.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::X_CONTENT_TYPE_OPTIONS;
use http::{HeaderValue, Method, StatusCode};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::{RequestBodyTimeoutLayer, TimeoutLayer};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::SwaggerUi;

use crate::problem::{Code, Problem};
use crate::{
    App, agent_runs, campaigns, conversions, dead_letters, described, downloads, health, idempotency, intake, ledger,
    methodology, operations, pages, performance, podcasts, redirects, registry, report_jobs, sessions, sql, topics,
    trace, unread, users,
};

/// Largest JSON document of a call that is no batch of records.
pub(crate) const MAX_DOCUMENT: usize = 256 * 1024;

/// Longest time to an answer's head: above the 30 s of a query and the 19 s of a first poll. Then the
/// caller is told to come again; changes that were begun are ended.
const PATIENCE: Duration = Duration::from_secs(40);

/// Longest silence in the middle of a body.
const SILENCE: Duration = Duration::from_secs(10);

#[derive(OpenApi)]
#[openapi(info(
    title = "Castback",
    description = "What every podcast ad campaign brings back, while it runs. Errors are RFC 9457 problems.",
    license(name = "Apache-2.0", identifier = "Apache-2.0")
))]
struct Contract;

/// Routes that make something in the catalogue: a POST may carry `Idempotency-Key`.
fn resources() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(podcasts::connect, podcasts::list))
        .routes(routes!(podcasts::get, podcasts::change, podcasts::delete))
        .routes(routes!(podcasts::poll))
        .routes(routes!(podcasts::episodes))
        .routes(routes!(campaigns::create, campaigns::list))
        .routes(routes!(campaigns::get, campaigns::change, campaigns::delete))
        .routes(routes!(campaigns::put_attribution))
        .routes(routes!(campaigns::launch))
        .routes(routes!(campaigns::pause))
        .routes(routes!(campaigns::resume))
        .routes(routes!(campaigns::complete))
        .routes(routes!(campaigns::cancel))
        .routes(routes!(report_jobs::create, report_jobs::list))
}

/// Routes that answer a secret this once: a POST may carry `Idempotency-Key` too.
fn secrets() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(users::create_key, users::keys))
}

/// People, records, redirects, operation.
fn everything_else() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(users::sign_up::post))
        .routes(routes!(users::me, users::change_me, users::erase_me))
        .routes(routes!(users::revoke_key))
        .routes(routes!(sessions::create))
        .routes(routes!(sessions::end))
        .routes(routes!(sessions::by_link))
        .routes(routes!(intake::requests::post))
        .routes(routes!(intake::events::post))
        .routes(routes!(intake::conversions::post))
        .routes(routes!(redirects::pixel::get))
        .routes(routes!(redirects::vanity::get))
        .routes(routes!(redirects::prefix::get))
        .routes(routes!(downloads::get))
        .routes(routes!(performance::get))
        .routes(routes!(performance::series::get))
        .routes(routes!(performance::grid::get))
        .routes(routes!(conversions::list))
        .routes(routes!(report_jobs::get))
        .routes(routes!(report_jobs::download))
        .routes(routes!(sql::post))
        .routes(routes!(sql::get_tables))
        .routes(routes!(ledger::get))
        .routes(routes!(ledger::balance::get))
        .routes(routes!(dead_letters::list))
        .routes(routes!(dead_letters::replay))
        .routes(routes!(methodology::get))
        .routes(routes!(operations::recount))
        .routes(routes!(operations::accept_gap))
        .routes(routes!(operations::add_operator))
        .routes(routes!(topics::records))
        .routes(routes!(agent_runs::list))
        .routes(routes!(pages::home))
        .routes(routes!(pages::style))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
}

/// The schema registry.
fn schemas() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new()
        .routes(routes!(registry::config))
        .routes(routes!(registry::config_of))
        .routes(routes!(registry::types))
        .routes(routes!(registry::compatible))
        .routes(routes!(registry::subjects))
        .routes(routes!(registry::look_up))
        .routes(routes!(registry::versions, registry::register))
        .routes(routes!(registry::version))
        .routes(routes!(registry::schema))
}

/// Every route as documented.
fn contents(app: &Arc<App>) -> OpenApiRouter<Arc<App>> {
    let keyed = resources().layer(from_fn_with_state(Arc::clone(app), idempotency::middleware));
    let sealed = secrets().layer(from_fn_with_state(Arc::clone(app), idempotency::sealing));
    let schemas = schemas().layer(from_fn_with_state(Arc::clone(app), registry::elsewhere));
    OpenApiRouter::with_openapi(Contract::openapi()).merge(keyed).merge(sealed).merge(schemas).merge(everything_else())
}

/// The whole API.
pub fn router(app: Arc<App>) -> Router {
    let (routes, document) = contents(&app).split_for_parts();
    let document = described::complete(with_plain_paths(document));
    let docs: Router<Arc<App>> = SwaggerUi::new("/docs").url("/openapi.json", document).into();
    let routes = routes
        .merge(docs)
        .fallback(async || Problem::new(Code::NotFound, "no such route"))
        .method_not_allowed_fallback(async || Problem::new(Code::MethodNotAllowed, "see /openapi.json"))
        .layer(DefaultBodyLimit::max(MAX_DOCUMENT));
    // From the inside out.
    routes
        .layer(RequestBodyTimeoutLayer::new(SILENCE))
        .layer(CompressionLayer::new())
        .layer(SetResponseHeaderLayer::if_not_present(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")))
        .layer(cors(&app.settings.cors_origins))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, PATIENCE))
        .layer(map_response(as_problem))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn(unread::middleware))
        .layer(from_fn_with_state(Arc::clone(&app), trace::middleware))
        .with_state(app)
}

/// Metrics alone, for `METRICS_LISTEN`.
pub fn metrics_router(app: Arc<App>) -> Router {
    Router::new().route("/metrics", get(health::local_metrics)).with_state(app)
}

/// The document that describes the API (OpenAPI 3.1).
pub fn openapi(app: &Arc<App>) -> utoipa::openapi::OpenApi {
    described::complete(with_plain_paths(contents(app).into_openapi()))
}

/// OpenAPI knows no parameter for the rest of a path: `{*rest}` is `{rest}` there.
fn with_plain_paths(mut document: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    let paths = std::mem::take(&mut document.paths.paths);
    document.paths.paths = paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
    document
}

/// A time limit's bare answer becomes a problem.
async fn as_problem(response: Response) -> Response {
    let bare = response.status() == StatusCode::SERVICE_UNAVAILABLE
        && !response.headers().contains_key(http::header::CONTENT_TYPE);
    if bare { Problem::new(Code::Overloaded, "it took too long").into_response() } else { response }
}

/// A panic is a fault of ours: logged, answered, and nothing else ends.
#[expect(clippy::needless_pass_by_value, reason = "the layer hands the panic over")]
fn panicked(cause: Box<dyn std::any::Any + Send + 'static>) -> Response {
    let words = cause.downcast_ref::<String>().map(String::as_str).or_else(|| cause.downcast_ref::<&str>().copied());
    tracing::error!(panic = words.unwrap_or("without words"), "a handler panicked");
    Problem::new(Code::Internal, "it was logged; try again later").into_response()
}

/// Pages of the origins set may call with a key; any page may send events (its key is bound to origins).
fn cors(origins: &[String]) -> CorsLayer {
    let origins: Vec<String> = origins.iter().map(|origin| origin.trim_end_matches('/').to_owned()).collect();
    let allowed = move |origin: &HeaderValue, parts: &http::request::Parts| {
        let listed = |origin: &str| origins.iter().any(|known| known == "*" || known.eq_ignore_ascii_case(origin));
        parts.uri.path() == "/v1/events" || origin.to_str().is_ok_and(listed)
    };
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(allowed))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        // A wildcard would not hold for Authorization.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([http::header::ETAG, http::header::RETRY_AFTER, trace::REQUEST_ID, sql::TRUNCATED])
        .max_age(Duration::from_hours(1))
}
