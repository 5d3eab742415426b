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
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::App;
use crate::accept::preferred;
use crate::extract::Json;
use crate::identity::{Caller, Scope};
use crate::problem::{Code, Problem, Result};
use crate::query::lent::lend;
use crate::query::{columns_of, rows_of};

/// Values for `$1 …`: more make no readable query.
const MAX_PARAMS: usize = 1_000;

const ARROW: &str = "application/vnd.apache.arrow.stream";
const CSV: &str = "text/csv";
const JSON: &str = "application/json";

/// `true` where there are more rows than were answered: CSV and Arrow have no other place to say it.
pub(crate) const TRUNCATED: HeaderName = HeaderName::from_static("castback-truncated");

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

/// Runs a query over the caller's rows, for at most 30 s and 100,000 rows. Where there are more rows, the
/// header `Castback-Truncated: true` says so, and in JSON `truncated` too.
#[utoipa::path(post, path = "/v1/sql", tag = "sql", request_body = Query,
    responses((status = 200, description = "`{columns, rows, row_count, truncated, elapsed_ms}`, CSV or an Arrow stream",
        headers(("Castback-Truncated" = String, description = "`true` where there are more rows than were answered")))))]
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
        Some(commit) => as_of(&app, commit).await?,
    };
    let mut request = Request::new(&view, &app.reads.workers.address, scope.into(), &query.sql);
    request.params = query.params;
    request.catalogue = lend(&app.catalogue, scope, &query.sql).await?;
    let answer = app.reads.workers.pool.run(&request).await.map_err(refused)?;
    let kind = preferred(&headers, JSON, &[CSV, ARROW]);
    // Up to 100,000 rows are decoded and written anew.
    let written = tokio::task::spawn_blocking(move || write(&answer, kind, view.revision())).await;
    written.map_err(Problem::internal)?
}

/// The view as of a commit that was made.
async fn as_of(app: &App, commit: i64) -> Result<Arc<PinnedView>> {
    let view = PinnedView::load(&app.catalogue, Some(Revision(commit))).await?;
    if commit < 0 || view.revision() < Revision(commit) {
        let newest = app.catalogue.newest_commit().await?.0;
        return Err(Problem::field("as_of", format!("expected 0 to {newest}, the newest commit")));
    }
    Ok(Arc::new(view))
}

/// Every table with its columns and what they mean.
#[utoipa::path(get, path = "/v1/sql/tables", tag = "sql",
    responses((status = 200, description = "`{items: [{name, doc, columns}]}`")))]
pub(crate) async fn get_tables(State(app): State<Arc<App>>, _caller: Caller) -> Result<Answer<Value>> {
    let items = tables(&app.store).await.map_err(Problem::internal)?;
    Ok(Answer(json!({ "items": items, "next_cursor": null })))
}

fn write(answer: &WorkerAnswer, kind: &str, revision: Revision) -> Result<Response> {
    let mut response = match kind {
        ARROW => ([(CONTENT_TYPE, ARROW)], answer.stream.clone()).into_response(),
        CSV => ([(CONTENT_TYPE, "text/csv; charset=utf-8")], csv(answer)?).into_response(),
        _ => json(answer, revision)?.into_response(),
    };
    if answer.truncated {
        response.headers_mut().insert(TRUNCATED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

fn json(answer: &WorkerAnswer, revision: Revision) -> Result<Answer<Value>> {
    let (schema, batches) = answer.decode()?;
    Ok(Answer(json!({
        "columns": columns_of(&schema),
        "rows": rows_of(&batches),
        "row_count": answer.row_count,
        "truncated": answer.truncated,
        "elapsed_ms": answer.elapsed_ms,
        "revision": revision,
    })))
}

fn csv(answer: &WorkerAnswer) -> Result<Vec<u8>> {
    let (schema, batches) = answer.decode()?;
    let batches = if batches.is_empty() { vec![RecordBatch::new_empty(schema)] } else { batches };
    let mut writer = WriterBuilder::new().with_header(true).build(Vec::new());
    for batch in &batches {
        writer.write(batch).map_err(Problem::internal)?;
    }
    Ok(writer.into_inner())
}

/// Why a query has no answer, in words for its author.
fn refused(error: WorkerError) -> Problem {
    match error {
        WorkerError::Overloaded => Problem::new(
            Code::Overloaded,
            "too many queries are waiting, of all or of this account: let some end first",
        ),
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use arrow::ipc::writer::StreamWriter;
    use axum::body::to_bytes;

    use super::*;

    fn answered() -> WorkerAnswer {
        let fields = vec![Field::new("n", DataType::Int64, false), Field::new("s", DataType::Utf8, true)];
        let schema = Arc::new(Schema::new(fields));
        let columns: Vec<arrow::array::ArrayRef> =
            vec![Arc::new(Int64Array::from(vec![1, 2])), Arc::new(StringArray::from(vec![Some("a,b"), None]))];
        let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
        writer.write(&RecordBatch::try_new(schema.clone(), columns).unwrap()).unwrap();
        WorkerAnswer { stream: writer.into_inner().unwrap().into(), row_count: 2, truncated: true, elapsed_ms: 7 }
    }

    async fn written(kind: &str) -> (String, Vec<u8>) {
        let response = write(&answered(), kind, Revision(9)).unwrap();
        assert_eq!(response.headers()[TRUNCATED], "true");
        let whole = write(&WorkerAnswer { truncated: false, ..answered() }, kind, Revision(9)).unwrap();
        assert!(!whole.headers().contains_key(TRUNCATED));
        let kind = response.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
        (kind, to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec())
    }

    #[tokio::test]
    async fn an_answer_is_written_as_asked() {
        let (kind, body) = written(JSON).await;
        let json: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((kind.as_str(), &json["rows"]), ("application/json", &json!([[1, "a,b"], [2, null]])));
        assert_eq!(json["columns"], json!([{"name": "n", "type": "bigint"}, {"name": "s", "type": "text"}]));
        assert_eq!((&json["row_count"], &json["truncated"], &json["elapsed_ms"]), (&json!(2), &json!(true), &json!(7)));
        let (kind, body) = written(CSV).await;
        assert_eq!((kind.as_str(), body.as_slice()), ("text/csv; charset=utf-8", &b"n,s\n1,\"a,b\"\n2,\n"[..]));
        let (kind, body) = written(ARROW).await;
        assert_eq!((kind.as_str(), body.as_slice()), (ARROW, &answered().stream[..]));
    }

    #[test]
    fn refusals_are_the_authors_or_ours() {
        let sql = |code: &str| WorkerError::Sql { code: code.to_owned(), message: "words".to_owned() };
        for (error, code) in [
            (WorkerError::Overloaded, Code::Overloaded),
            (WorkerError::Deadline, Code::TooLarge),
            (WorkerError::Died, Code::TooLarge),
            (sql("too_large"), Code::TooLarge),
            (sql("query_memory"), Code::TooLarge),
            (sql("query_unavailable"), Code::Overloaded),
            (sql("invalid_fields"), Code::InvalidFields),
            (sql("query_failed"), Code::InvalidFields),
        ] {
            assert_eq!(refused(error).code(), code);
        }
    }
}
