//! `/v1/recounts`, `/v1/gaps`, `/v1/operators`: what operators do from the command line.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use castback_catalogue::unit_requests::RequestKind;
use castback_schemas::{Day, Group, PodcastId, Slot, Unit};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::App;
use crate::extract::Json;
use crate::identity::{Caller, Scope};
use crate::problem::{Problem, Result};

/// Days of one recount: a key has no more open days, and what is frozen is judged day by day.
const MAX_DAYS: i32 = 400;

/// Which days are to be judged again.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct WantedRecount {
    /// First day (UTC).
    #[schema(value_type = String)]
    from: Day,
    /// The first day that is no longer asked for (UTC).
    #[schema(value_type = String)]
    to: Day,
    /// Only of this podcast.
    #[schema(value_type = Option<String>)]
    podcast_id: Option<PodcastId>,
}

/// Which unit goes on.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct WantedGap {
    /// Such as `counting/3`.
    unit: String,
}

/// Who is to see across accounts.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct WantedOperator {
    email: String,
}

/// What units were asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Asked {
    units: Vec<String>,
}

/// Has the records of some days judged again, of one account or of all; for operators. Of all, days
/// of which rows are past their retention stay as they are.
#[utoipa::path(post, path = "/v1/recounts", tag = "operation", request_body = WantedRecount,
    responses((status = 202, body = Asked)))]
pub(crate) async fn recount(
    State(app): State<Arc<App>>,
    caller: Caller,
    scope: Scope,
    Json(wanted): Json<WantedRecount>,
) -> Result<(StatusCode, Answer<Asked>)> {
    caller.operator()?;
    let WantedRecount { from, to, podcast_id } = wanted;
    if from >= to || to.0.saturating_sub(from.0) > MAX_DAYS {
        return Err(Problem::field("to", format!("expected a day after {from}, at most {MAX_DAYS} days in all")));
    }
    if let Scope::Account(account) = scope {
        let kept_from = app.catalogue.kept_from(account).await?;
        if from.start() < kept_from {
            let said = format!(
                "what was recorded before {kept_from} is past its retention: earlier days can't be judged again"
            );
            return Err(Problem::field("from", said));
        }
    }
    let account = if let Scope::Account(account) = scope { Some(account) } else { None };
    let slots = Slot::all().filter(|slot| account.is_none_or(|account| Slot::of(account) == *slot));
    // What units are asked names the last day.
    let last = Day(to.0 - 1);
    let body = json!({ "account": account, "podcast": podcast_id, "from": from, "to": last }).to_string();
    let mut units = Vec::new();
    for slot in slots {
        let unit = Unit { group: Group::Counting, slot };
        app.catalogue.enqueue_unit_request(unit, RequestKind::Recount, body.clone()).await?;
        units.push(unit.to_string());
    }
    Ok((StatusCode::ACCEPTED, Answer(Asked { units })))
}

/// Lets a unit go on behind records that the log no longer has; for operators.
#[utoipa::path(post, path = "/v1/gaps", tag = "operation", request_body = WantedGap,
    responses((status = 202, body = Asked)))]
pub(crate) async fn accept_gap(
    State(app): State<Arc<App>>,
    caller: Caller,
    Json(wanted): Json<WantedGap>,
) -> Result<(StatusCode, Answer<Asked>)> {
    caller.operator()?;
    let unit: Unit = wanted.unit.parse().map_err(|_| Problem::field("unit", "expected a unit such as counting/3"))?;
    if !app.catalogue.units().await?.iter().any(|known| known.unit == unit) {
        return Err(Problem::not_found("unit"));
    }
    app.catalogue.enqueue_unit_request(unit, RequestKind::AcceptGap, "{}".to_owned()).await?;
    Ok((StatusCode::ACCEPTED, Answer(Asked { units: vec![unit.to_string()] })))
}

/// Lets a person who has signed up see across accounts; for operators.
#[utoipa::path(post, path = "/v1/operators", tag = "operation", request_body = WantedOperator,
    responses((status = 204)))]
pub(crate) async fn add_operator(
    State(app): State<Arc<App>>,
    caller: Caller,
    Json(wanted): Json<WantedOperator>,
) -> Result<StatusCode> {
    caller.operator()?;
    if !app.catalogue.add_operator(&wanted.email).await? {
        return Err(Problem::not_found("user of that address: let them sign up first"));
    }
    app.callers.forget();
    Ok(StatusCode::NO_CONTENT)
}
