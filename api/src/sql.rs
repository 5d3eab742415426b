//! `/v1/sql`: the data team's SQL, in a worker process of its own.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::csv::WriterBuilder;
use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use castback_schemas::Revision;
use castback_store::PinnedView;
use castback_store::session::{MAX_TEXT, tables};
use castback_store::worker::{Request, WorkerAnswer, WorkerError};
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::App;
use crate::extract::Json;
use crate::identity::{Caller, Scope};
use crate::problem::{Code, Problem, Result};
use crate::query::lent::lend;
use crate::query::{columns_of, rows_of};

/// Values for `$1 …`: more make no readable query.
const MAX_PARAMS: usize = 1_000;

const ARROW: &str = "application/vnd.apache.arrow.stream";
const CSV: &str = "text/csv";

/// A query.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct Query {
    /// One statement that only reads.
    sql: String,
    /// Values of `$1 …`: null, truth values, numbers, texts.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    params: Vec<Value>,
    /// Read as of this commit; the newest if not given.
    as_of: Option<i64>,
}

/// Runs a query over the caller's rows, for at most 30 s and 100,000 rows.
#[utoipa::path(post, path = "/v1/sql", tag = "sql", request_body = Query,
    responses((status = 200, description = "`{columns, rows, row_count, truncated, elapsed_ms}`, CSV or an Arrow stream")))]
pub(crate) async fn post(
    State(app): State<Arc<App>>,
    scope: Scope,
    headers: HeaderMap,
    Json(query): Json<Query>,
) -> Result<Response> {
    if query.sql.len() > MAX_TEXT {
        return Err(Problem::new(Code::TooLarge, format!("a statement may have {MAX_TEXT} bytes")));
    }
    if query.params.len() > MAX_PARAMS {
        return Err(Problem::field("params", format!("at most {MAX_PARAMS}")));
    }
    let view = match query.as_of {
        None => app.reads.pinned(&app.catalogue).await?,
        Some(commit) => Arc::new(PinnedView::load(&app.catalogue, Some(Revision(commit))).await?),
    };
    let mut request = Request::new(&view, &app.reads.workers.address, scope.into(), &query.sql);
    request.params = query.params;
    request.catalogue = lend(&app.catalogue, scope, &query.sql).await?;
    let answer = app.reads.workers.pool.run(&request).await.map_err(refused)?;
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    // Up to 100,000 rows are decoded and written anew.
    let written = tokio::task::spawn_blocking(move || write(&answer, &accept, view.revision())).await;
    written.map_err(Problem::internal)?
}

/// Every table with its columns and what they mean.
#[utoipa::path(get, path = "/v1/sql/tables", tag = "sql",
    responses((status = 200, description = "`{items: [{name, doc, columns}]}`")))]
pub(crate) async fn get_tables(State(app): State<Arc<App>>, _caller: Caller) -> Result<Answer<Value>> {
    let items = tables(&app.store).await.map_err(Problem::internal)?;
    Ok(Answer(json!({ "items": items, "next_cursor": null })))
}

fn write(answer: &WorkerAnswer, accept: &str, revision: Revision) -> Result<Response> {
    if accept.contains(ARROW) {
        return Ok(([(CONTENT_TYPE, ARROW)], answer.stream.clone()).into_response());
    }
    let (schema, batches) = answer.decode()?;
    if accept.contains(CSV) {
        let batches = if batches.is_empty() { vec![RecordBatch::new_empty(schema)] } else { batches };
        return Ok(([(CONTENT_TYPE, "text/csv; charset=utf-8")], csv(&batches)?).into_response());
    }
    let body = json!({
        "columns": columns_of(&schema),
        "rows": rows_of(&batches),
        "row_count": answer.row_count,
        "truncated": answer.truncated,
        "elapsed_ms": answer.elapsed_ms,
        "revision": revision,
    });
    Ok(Answer(body).into_response())
}

fn csv(batches: &[RecordBatch]) -> Result<Vec<u8>> {
    let mut writer = WriterBuilder::new().with_header(true).build(Vec::new());
    for batch in batches {
        writer.write(batch).map_err(Problem::internal)?;
    }
    Ok(writer.into_inner())
}

/// Why a query has no answer, in words for its author.
fn refused(error: WorkerError) -> Problem {
    match error {
        WorkerError::Overloaded => Problem::new(Code::Overloaded, "too many queries are waiting"),
        WorkerError::Deadline => Problem::new(Code::TooLarge, "the query took longer than 30 s"),
        WorkerError::Died => Problem::new(Code::TooLarge, "the query needs more than it may use"),
        WorkerError::Sql { code, message } => match code.as_str() {
            "too_large" | "query_memory" => Problem::new(Code::TooLarge, message),
            "query_unavailable" => Problem::new(Code::Overloaded, message),
            _ => Problem::field("sql", message),
        },
        other => Problem::internal(other),
    }
}
