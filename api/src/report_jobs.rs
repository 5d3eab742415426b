//! `/v1/reports`: asking for reports, following them, fetching their files; and who makes them.
//!
//! ```text
//! POST ─catalogue─▶ job ─run: claim ▸ build ▸ render ▸ put─▶ files ─▶ GET …/download
//! ```
//! A job is leased: if its maker dies another one begins anew under other names, so a file that is
//! named is whole.

mod maker;

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use castback_catalogue::CatalogueError;
use castback_catalogue::reports::{NewReport, Report, ReportFilter, ReportKind, ReportState};
use castback_schemas::id::ReportId;
use castback_schemas::{CampaignId, Micros};
use http::StatusCode;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use crate::App;
use crate::extract::{Json, List, ListParameters, Listed, Path, Query, id};
use crate::identity::{Caller, Scope};
use crate::problem::{Code, Problem, Result};
use crate::query::range::range;
use crate::render::Format;
use crate::reports::spec;

pub use maker::run;

/// A report to be made.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct Wanted {
    /// `roi`, `downloads` or `attribution`.
    #[schema(value_type = String)]
    kind: ReportKind,
    /// For `roi` and `attribution`.
    #[schema(value_type = Option<String>)]
    campaign_id: Option<CampaignId>,
    /// The first instant, RFC 3339 or a date.
    from: String,
    /// The first instant no longer reported on.
    to: String,
}

/// A report and how far it is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ShownReport {
    id: String,
    account_id: String,
    kind: &'static str,
    campaign_id: Option<String>,
    from: String,
    to: String,
    /// `queued`, `running`, `ready` or `failed`.
    state: &'static str,
    /// Per cent done.
    progress: i64,
    /// What can be fetched.
    formats: Vec<String>,
    /// Why it failed.
    failure: Option<String>,
    created_at: String,
    finished_at: Option<String>,
}

fn shown(report: Report) -> ShownReport {
    ShownReport {
        id: report.id.to_string(),
        account_id: report.account.to_string(),
        kind: report.kind.as_str(),
        campaign_id: report.campaign.map(|campaign| campaign.to_string()),
        from: report.from.to_string(),
        to: report.to.to_string(),
        state: report.state.as_str(),
        progress: report.progress,
        formats: report.files.into_keys().collect(),
        failure: report.failure,
        created_at: report.created_at.to_string(),
        finished_at: report.finished_at.map(|at| at.to_string()),
    }
}

/// Asks for a report; it is made soon after.
#[utoipa::path(post, path = "/v1/reports", tag = "reports", request_body = Wanted,
    responses((status = 202, body = ShownReport)))]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    caller: Caller,
    Json(wanted): Json<Wanted>,
) -> Result<(StatusCode, Answer<ShownReport>)> {
    let (from, to) = range((Some(&wanted.from), Some(&wanted.to)), (Micros(0), Micros(0)))?;
    let of_campaign = spec(wanted.kind).is_some_and(|spec| spec.of_campaign);
    if of_campaign && wanted.campaign_id.is_none() {
        return Err(Problem::field(
            "campaign_id",
            format!("a report of kind {} is about a campaign", wanted.kind.as_str()),
        ));
    }
    let new = NewReport {
        kind: wanted.kind,
        campaign: wanted.campaign_id.filter(|_| of_campaign),
        from,
        to,
        user: Some(caller.user),
        allowed: allowed(&app, &caller).await?,
        counted_from: app.clock.now().day().month().first_day().start(),
    };
    let report = app.catalogue.create_report(caller.account, new).await.map_err(|error| refused(&app, error))?;
    app.report_wanted.notify_one();
    Ok((StatusCode::ACCEPTED, Answer(shown(report))))
}

/// What narrows a list of reports.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// `queued`, `running`, `ready` or `failed`.
    state: Option<String>,
    /// `roi`, `downloads` or `attribution`.
    kind: Option<String>,
    /// On this campaign.
    campaign_id: Option<String>,
}

impl Filter {
    fn read(&self) -> Result<ReportFilter> {
        let state = self.state.as_deref().map(str::parse::<ReportState>).transpose();
        let kind = self.kind.as_deref().map(str::parse::<ReportKind>).transpose();
        let campaign = self.campaign_id.as_deref().map(|text| id::<CampaignId>(text, "campaign")).transpose()?;
        Ok(ReportFilter {
            state: state.map_err(|_| Problem::field("state", "expected queued, running, ready or failed"))?,
            kind: kind.map_err(|_| Problem::field("kind", "expected roi, downloads or attribution"))?,
            campaign,
        })
    }
}

/// The account's reports, newest first.
#[utoipa::path(get, path = "/v1/reports", tag = "reports", params(ListParameters, Filter),
    responses((status = 200, body = Listed<ShownReport>)))]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    scope: Scope,
    List(page, filter): List<Filter>,
) -> Result<Answer<Listed<ShownReport>>> {
    let reports = app.catalogue.reports(scope.account(), &filter.read()?, &page).await?;
    Ok(Answer(Listed::of(reports, shown)))
}

/// A report and how far it is.
#[utoipa::path(get, path = "/v1/reports/{id}", tag = "reports", params(("id" = String, Path)),
    responses((status = 200, body = ShownReport)))]
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    scope: Scope,
    Path(report): Path<String>,
) -> Result<Answer<ShownReport>> {
    Ok(Answer(shown(find(&app, scope, &report).await?)))
}

/// A report in the caller's scope.
async fn find(app: &App, scope: Scope, text: &str) -> Result<Report> {
    let report: ReportId = id(text, "report")?;
    let account = match scope {
        Scope::Account(account) => account,
        Scope::All => app.catalogue.report_owner(report).await?.ok_or_else(|| Problem::not_found("report"))?,
    };
    Ok(app.catalogue.report(account, report).await?)
}

/// Which file.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct File {
    /// `pdf`, `csv`, `json` or `parquet`; `pdf` if not given.
    format: Option<String>,
}

/// A finished report's file.
#[utoipa::path(get, path = "/v1/reports/{id}/download", tag = "reports", params(("id" = String, Path), File),
    responses((status = 200, description = "the file"), (status = 409, description = "it is not ready")))]
pub(crate) async fn download(
    State(app): State<Arc<App>>,
    scope: Scope,
    Path(report): Path<String>,
    Query(file): Query<File>,
) -> Result<Response> {
    let report = find(&app, scope, &report).await?;
    let format = Format::named(file.format.as_deref().unwrap_or("pdf"));
    let format = format.ok_or_else(|| Problem::field("format", "expected pdf, csv, json or parquet"))?;
    if report.state != ReportState::Ready {
        let words = report.failure.clone().unwrap_or_else(|| format!("it is {}", report.state.as_str()));
        return Err(Problem::new(Code::WrongState, words).with("state", json!(report.state.as_str())));
    }
    let key = report.files.get(format.name()).ok_or_else(|| Problem::not_found("file of that format"))?;
    let bytes = app.store.objects().get(key).await?;
    let name = format!("attachment; filename=\"{}-{}.{}\"", report.kind.as_str(), report.from.day(), format.name());
    Ok(([(CONTENT_TYPE, format.media_type().to_owned()), (CONTENT_DISPOSITION, name)], bytes).into_response())
}

/// Reports that the account's tier allows a month.
async fn allowed(app: &App, caller: &Caller) -> Result<Option<i64>> {
    if !app.settings.has(crate::Part::Pricing) {
        return Ok(None);
    }
    let tier = app.catalogue.account(caller.account).await?.tier;
    Ok(app.settings.tiers.get(&tier).and_then(|tier| tier.reports))
}

/// A refusal by the limit names the tier that allows more.
fn refused(app: &App, error: CatalogueError) -> Problem {
    match error {
        CatalogueError::LimitReached { allowed, .. } => {
            let above = app.settings.tiers.above(|tier| tier.reports, allowed).map(|tier| tier.name.clone());
            Problem::from(error).with("upgrade_to", json!(above))
        }
        other => other.into(),
    }
}
