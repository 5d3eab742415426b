//! `castback sql`: a query, and its rows as a table, CSV or JSON.

use serde_json::{Value, json};

use super::connection::{Connection, JSON, good, json as body_of};
use crate::command::RowFormat;
use crate::show;

/// Runs `sql` and shows its rows.
pub(super) async fn run(connection: &Connection, sql: &str, format: RowFormat) -> anyhow::Result<()> {
    let accept = if format == RowFormat::Csv { "text/csv" } else { JSON };
    let answer = connection.post("/v1/sql", &json!({ "sql": sql }), accept).await?;
    good(&answer)?;
    if format != RowFormat::Table {
        show::bytes(&answer.body);
        if answer.truncated {
            show::error_line("there are more rows than were answered: narrow the query, or read it in parts");
        }
        return Ok(());
    }
    let body = body_of(&answer)?;
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let head: Vec<String> = list(&body["columns"]).iter().map(|column| text(&column["name"])).collect();
    let rows: Vec<Vec<String>> = list(&body["rows"]).iter().map(|row| list(row).iter().map(text).collect()).collect();
    show::line(&show::table(&head, &rows));
    let more = if body["truncated"] == true { ", and more that are not shown" } else { "" };
    show::line(&format!("({} rows in {} ms{more})", body["row_count"], body["elapsed_ms"]));
    Ok(())
}
