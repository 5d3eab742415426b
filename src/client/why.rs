//! `castback why`: what became of one record, by which rule, in words.

use serde_json::Value;

use super::connection::{Connection, encoded, json};
use super::reasons;
use crate::show;

/// The windows of a download: the column, and what it is called.
const WINDOWS: [(&str, &str); 3] = [
    ("counted_utc_day", "UTC day"),
    ("counted_first_touch", "24 hours from the first touch"),
    ("counted_last_touch", "24 hours from the last touch"),
];

/// Shows every record of `event_id`.
pub(super) async fn run(connection: &Connection, event_id: &str) -> anyhow::Result<()> {
    let answer = connection.get(&format!("/v1/ledger?event_id={}", encoded(event_id))).await?;
    let body = json(&answer)?;
    let rows = body["items"].as_array().cloned().unwrap_or_default();
    if rows.is_empty() {
        anyhow::bail!("no record of {event_id} has a verdict");
    }
    for row in &rows {
        show::line(&told(row));
    }
    Ok(())
}

/// One record's story.
fn told(row: &Value) -> String {
    let text = |name: &str| row[name].as_str().unwrap_or("?").to_owned();
    let verdict = text("verdict");
    let mut lines = vec![format!(
        "{} ({} slot {} offset {}), of {}, received {}",
        text("event_id"),
        text("topic"),
        row["slot"],
        row["offset"],
        text("occurred_at"),
        text("recorded_at")
    )];
    lines.push(match row["reason"].as_str() {
        Some(reason) => format!("  {verdict}: {reason}: {}", reasons::words(reason)),
        None => format!("  {verdict}"),
    });
    let windows: Vec<&str> = WINDOWS.iter().filter(|(name, _)| is_set(&row[name])).map(|(_, words)| *words).collect();
    if !windows.is_empty() {
        lines.push(format!("  a download in these windows: {}", windows.join(", ")));
    }
    if !row["duplicate_of"].is_null() {
        lines.push(format!("  it belongs to the record at offset {} of the same slot", row["duplicate_of"]));
    }
    lines.push(format!(
        "  judged by rules of version {}, in force since commit {}",
        row["rule_version"], row["revision"]
    ));
    lines.join("\n")
}

fn is_set(value: &Value) -> bool {
    value.as_bool().unwrap_or_else(|| value.as_i64().is_some_and(|number| number != 0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_s_story_is_told() {
        let row = json!({
            "event_id": "r-1", "topic": "listener-requests", "slot": 3, "offset": 17, "verdict": "duplicate",
            "reason": "part_of", "duplicate_of": 15, "counted_utc_day": false, "counted_first_touch": false,
            "counted_last_touch": true, "rule_version": 1, "occurred_at": "2026-11-24T10:00:00Z",
            "recorded_at": "2026-11-24T10:00:01Z", "revision": 9
        });
        let story = told(&row);
        for part in [
            "r-1",
            "slot 3 offset 17",
            "duplicate: part_of: a piece",
            "24 hours from the last touch",
            "offset 15",
            "version 1",
            "commit 9",
        ] {
            assert!(story.contains(part), "no {part} in {story}");
        }
    }
}
