//! `castback report`: asks for a report, waits for it, keeps its file.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::connection::{Connection, good, json as body_of};
use crate::command::ReportArguments;
use crate::show;

/// Between two looks at a report's progress.
const PAUSE: Duration = Duration::from_millis(250);

/// Looks at a report's progress; a report of a year takes seconds.
const LOOKS: u32 = 2_400;

/// Makes the report that the arguments describe.
pub(super) async fn run(connection: &Connection, arguments: &ReportArguments) -> anyhow::Result<()> {
    let name = |value: Option<clap::builder::PossibleValue>| value.map(|value| value.get_name().to_owned());
    let kind = name(arguments.kind.to_possible_value()).unwrap_or_default();
    let format = name(arguments.format.to_possible_value()).unwrap_or_default();
    let mut body = json!({ "kind": kind, "from": arguments.from, "to": arguments.to });
    if let Some(campaign) = &arguments.campaign {
        body["campaign_id"] = json!(campaign);
    }
    let file = arguments.output.clone().unwrap_or_else(|| format!("{kind}.{format}").into());
    let bar = ProgressBar::new(100).with_style(ProgressStyle::with_template("{bar:40} {pos} %")?);
    fetch(connection, (&body, &format), &file, |progress| bar.set_position(progress)).await?;
    bar.finish_and_clear();
    show::line(&file.display().to_string());
    Ok(())
}

/// Has a report made and writes its file of `format`; `progress` is told per cent.
pub(crate) async fn fetch(
    connection: &Connection,
    (body, format): (&Value, &str),
    file: &Path,
    progress: impl Fn(u64),
) -> anyhow::Result<()> {
    let job =
        body_of(&connection.http().post("/v1/reports", ("application/json", body.to_string().into()), "*/*").await?)?;
    let id = job["id"].as_str().context("the server gave the report no id")?;
    for _ in 0..LOOKS {
        let job = body_of(&connection.http().get(&format!("/v1/reports/{id}"), "*/*").await?)?;
        progress(job["progress"].as_u64().unwrap_or(0));
        match job["state"].as_str() {
            Some("ready") => {
                let answer =
                    connection.http().get(&format!("/v1/reports/{id}/download?format={format}"), "*/*").await?;
                good(&answer)?;
                return std::fs::write(file, &answer.body)
                    .with_context(|| format!("{} can't be written", file.display()));
            }
            Some("failed") => {
                bail!("the report failed: {}", job["failure"].as_str().unwrap_or("the server's log says why"))
            }
            _ => tokio::time::sleep(PAUSE).await,
        }
    }
    bail!("the report is not ready after ten minutes")
}
