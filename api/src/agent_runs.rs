//! `GET /v1/agents`: the newest run of every background task, for operators.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::App;
use crate::extract::{Listed, Whole};
use crate::identity::Caller;
use crate::problem::Result;

/// A run.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Run {
    agent: String,
    started_at: String,
    /// Null while it runs.
    finished_at: Option<String>,
    outcome: Option<String>,
    detail: Option<String>,
}

/// The newest run of every agent.
#[utoipa::path(get, path = "/v1/agents", tag = "operation", responses((status = 200, body = Listed<Run>)))]
pub(crate) async fn list(State(app): State<Arc<App>>, caller: Caller, _: Whole) -> Result<Answer<Listed<Run>>> {
    caller.operator()?;
    let run = |run: castback_catalogue::agents::AgentRun| Run {
        agent: run.agent,
        started_at: run.started_at.to_string(),
        finished_at: run.finished_at.map(|at| at.to_string()),
        outcome: run.outcome,
        detail: run.detail,
    };
    Ok(Answer(Listed::whole(app.catalogue.newest_agent_runs().await?.into_iter().map(run).collect())))
}
