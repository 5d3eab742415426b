//! What operators do: recounts, dead letters, gaps, other operators.

use castback_schemas::Day;
use serde_json::{Value, json};

use super::connection::{Connection, JSON, good, json as body_of};
use crate::show;

/// Asks for the days from `from` until before `to` to be judged again.
pub(super) async fn recount(connection: &Connection, from: Day, to: Day) -> anyhow::Result<()> {
    let body = json!({ "from": from, "to": to });
    body_of(&connection.post("/v1/recounts", &body, JSON).await?)?;
    show::line(&format!("the records from {from} until before {to} are judged again; figures follow commit by commit"));
    Ok(())
}

/// Puts dead letters on the log again, or says how many there are.
pub(super) async fn replay(connection: &Connection, dry_run: bool) -> anyhow::Result<()> {
    let body = json!({ "filter": {}, "dry_run": dry_run });
    let answer = body_of(&connection.post_one("/v1/dead-letters/replay", &body).await?)?;
    show::line(&in_lines(&answer));
    Ok(())
}

/// Lets a unit go on behind records that are gone.
pub(super) async fn accept_gap(connection: &Connection, unit: &str) -> anyhow::Result<()> {
    body_of(&connection.http().post("/v1/gaps", (JSON, json!({ "unit": unit }).to_string().into()), JSON).await?)?;
    show::line(&format!("{unit} goes on behind the gap, which stands in the balance"));
    Ok(())
}

/// Lets a person see across accounts.
pub(super) async fn add_operator(connection: &Connection, email: &str) -> anyhow::Result<()> {
    let body = json!({ "email": email }).to_string();
    good(&connection.http().post("/v1/operators", (JSON, body.into()), JSON).await?)?;
    show::line(&format!("{email} sees across accounts from now on"));
    Ok(())
}

/// An object's fields, one a line.
fn in_lines(value: &Value) -> String {
    let fields = value.as_object().into_iter().flatten();
    fields.map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>().join("\n")
}
