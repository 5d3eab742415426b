//! Report jobs: asked for, claimed by a worker under a lease, ready or failed.

use std::collections::BTreeMap;

use castback_schemas::Micros;
use castback_schemas::id::{AccountId, CampaignId, ReportId, UserId};
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use crate::Catalogue;
use crate::error::{CatalogueError, Result};
use crate::page::{Page, Paging};
use crate::people::found;
use crate::podcasts::{lock_account, within};
use crate::stored::{column, document, json, parsed, parsed_maybe, words};

/// How long a worker holds a report without telling of progress.
pub const REPORT_LEASE: i64 = castback_schemas::time::MINUTE;

/// How often a report is begun before it is given up: a worker that dies each time would else
/// take its process down for ever.
pub const MAX_ATTEMPTS: i64 = 3;

words! {
    /// What a report is about.
    ReportKind {
        /// Return on ad spend of a campaign.
        Roi = "roi",
        /// Counted downloads.
        Downloads = "downloads",
        /// Attribution of a campaign's conversions.
        Attribution = "attribution",
    }
}

words! {
    /// How far a report is.
    ReportState {
        /// Waiting for a worker.
        Queued = "queued",
        /// Being made.
        Running = "running",
        /// There to be fetched.
        Ready = "ready",
        /// Given up.
        Failed = "failed",
    }
}

/// A report to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewReport {
    /// What it is about.
    pub kind: ReportKind,
    /// The campaign, where the kind needs one.
    pub campaign: Option<CampaignId>,
    /// Start of its time, included.
    pub from: Micros,
    /// End of its time, excluded.
    pub to: Micros,
    /// Who asked.
    pub user: Option<UserId>,
    /// How many reports the account may ask for since `counted_from`, counted in the same transaction.
    pub allowed: Option<i64>,
    /// Since when reports are counted: the month's start.
    pub counted_from: Micros,
}

/// A report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its id.
    pub id: ReportId,
    /// Whose it is.
    pub account: AccountId,
    /// Who asked.
    pub user: Option<UserId>,
    /// What it is about.
    pub kind: ReportKind,
    /// The campaign.
    pub campaign: Option<CampaignId>,
    /// Start of its time, included.
    pub from: Micros,
    /// End of its time, excluded.
    pub to: Micros,
    /// How far it is.
    pub state: ReportState,
    /// Per cent done.
    pub progress: i64,
    /// Object keys by format, once it is ready.
    pub files: BTreeMap<String, String>,
    /// Why it failed, in words for its owner.
    pub failure: Option<String>,
    /// When it was asked for.
    pub created_at: Micros,
    /// When it was ready or given up.
    pub finished_at: Option<Micros>,
}

/// Which reports a list holds; what is none does not narrow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReportFilter {
    /// As far as this.
    pub state: Option<ReportState>,
    /// About this.
    pub kind: Option<ReportKind>,
    /// About this campaign.
    pub campaign: Option<CampaignId>,
}

const COLUMNS: &str = "report_id, account_id, user_id, kind, campaign_id, range_from, range_to, state, progress, files, \
     failure, created_at, finished_at";

const COUNT: &str = "SELECT COUNT(*) FROM reports WHERE account_id = $1 AND created_at >= $2 AND state <> 'failed'";

impl Catalogue {
    /// Asks for a report. [`CatalogueError::NotFound`] for a campaign that isn't the account's.
    pub async fn create_report(&self, account: AccountId, new: NewReport) -> Result<Report> {
        if let Some(campaign) = new.campaign {
            self.campaign(account, campaign).await?;
        }
        let id = ReportId::from_uuid(self.new_uuid());
        let now = self.now().0;
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    lock_account(tx, account).await?;
                    let used: i64 = sqlx::query_scalar(COUNT)
                        .bind(account.to_string())
                        .bind(new.counted_from.0)
                        .fetch_one(&mut *tx)
                        .await?;
                    within("reports", used, new.allowed)?;
                    sqlx::query(
                        "INSERT INTO reports (report_id, account_id, user_id, kind, campaign_id, range_from, range_to, state, \
                         progress, files, attempts, lease_until, created_at) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7, 'queued', 0, '{}', 0, 0, $8)",
                    )
                    .bind(id.to_string())
                    .bind(account.to_string())
                    .bind(new.user.map(|user| user.to_string()))
                    .bind(new.kind.as_str())
                    .bind(new.campaign.map(|campaign| campaign.to_string()))
                    .bind(new.from.0)
                    .bind(new.to.0)
                    .bind(now)
                    .execute(tx)
                    .await?;
                    Ok(())
                })
            })
            .await?;
        self.report(account, id).await
    }

    /// A report of an account.
    pub async fn report(&self, account: AccountId, report: ReportId) -> Result<Report> {
        let row = sqlx::query(AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM reports WHERE account_id = $1 AND report_id = $2"
        )))
        .bind(account.to_string())
        .bind(report.to_string())
        .fetch_optional(self.db.reads())
        .await?
        .ok_or(CatalogueError::NotFound("report"))?;
        report_of(&row)
    }

    /// The account of a report, for calls that name only the report.
    pub async fn report_owner(&self, report: ReportId) -> Result<Option<AccountId>> {
        let row = sqlx::query("SELECT account_id FROM reports WHERE report_id = $1")
            .bind(report.to_string())
            .fetch_optional(self.db.reads())
            .await?;
        row.map(|row| parsed(&row, "account_id")).transpose()
    }

    /// The reports of an account, or of all.
    pub async fn reports(
        &self,
        account: impl Into<Option<AccountId>>,
        filter: &ReportFilter,
        paging: &Paging,
    ) -> Result<Page<Report>> {
        let (account, start) = (account.into(), paging.start()?);
        let of_account = if account.is_some() { "account_id = $1" } else { "CAST($1 AS TEXT) IS NULL" };
        let sql = format!(
            "SELECT {COLUMNS} FROM reports WHERE {of_account} AND (created_at, report_id) < ($2, $3) \
             AND ($5 IS NULL OR state = $5) AND ($6 IS NULL OR kind = $6) AND ($7 IS NULL OR campaign_id = $7) \
             ORDER BY created_at DESC, report_id DESC LIMIT $4"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(account.map(|account| account.to_string()))
            .bind(start.created_at)
            .bind(start.id)
            .bind(start.rows)
            .bind(filter.state.map(ReportState::as_str))
            .bind(filter.kind.map(ReportKind::as_str))
            .bind(filter.campaign.map(|campaign| campaign.to_string()))
            .fetch_all(self.db.reads())
            .await?;
        let items = rows.iter().map(report_of).collect::<Result<Vec<_>>>()?;
        Ok(paging.page(items, |report| (report.created_at, report.id.to_string())))
    }

    /// How many reports an account has asked for since `from`, without those that failed.
    pub async fn count_reports(&self, account: AccountId, from: Micros) -> Result<i64> {
        Ok(sqlx::query_scalar(COUNT).bind(account.to_string()).bind(from.0).fetch_one(self.db.reads()).await?)
    }

    /// Claims the report that waits longest, or one whose worker has gone.
    pub async fn claim_report(&self, owner: &str) -> Result<Option<Report>> {
        let owner = owner.to_owned();
        let now = self.now().0;
        let sql = format!(
            "UPDATE reports SET state = 'running', owner = $1, lease_until = (SELECT now_us FROM db_time) + $2, \
             attempts = attempts + 1, progress = 0 WHERE state IN ('queued', 'running') \
             AND lease_until <= (SELECT now_us FROM db_time) AND report_id IN (SELECT report_id FROM reports \
             WHERE state IN ('queued', 'running') AND lease_until <= (SELECT now_us FROM db_time) \
             ORDER BY created_at, report_id LIMIT 1) RETURNING {COLUMNS}"
        );
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    sqlx::query(
                        "UPDATE reports SET state = 'failed', failure = 'it could not be made', finished_at = $2 \
                         WHERE state = 'running' AND attempts >= $1 AND lease_until <= (SELECT now_us FROM db_time)",
                    )
                    .bind(MAX_ATTEMPTS)
                    .bind(now)
                    .execute(&mut *tx)
                    .await?;
                    let row = sqlx::query(AssertSqlSafe(sql)).bind(owner).bind(REPORT_LEASE).fetch_optional(tx).await?;
                    row.as_ref().map(report_of).transpose()
                })
            })
            .await
    }

    /// Tells how far a claimed report is, and renews the claim. Whether `owner` still has it.
    pub async fn report_progress(&self, report: ReportId, owner: &str, percent: u8) -> Result<bool> {
        let owner = owner.to_owned();
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    let told = sqlx::query(
                        "UPDATE reports SET progress = $3, lease_until = (SELECT now_us FROM db_time) + $4 \
                         WHERE report_id = $1 AND owner = $2 AND state = 'running'",
                    )
                    .bind(report.to_string())
                    .bind(owner)
                    .bind(i64::from(percent.min(99)))
                    .bind(REPORT_LEASE)
                    .execute(tx)
                    .await?;
                    Ok(told.rows_affected() == 1)
                })
            })
            .await
    }

    /// A claimed report is ready: its object keys by format.
    pub async fn finish_report(&self, report: ReportId, owner: &str, files: &BTreeMap<String, String>) -> Result<()> {
        self.end_report((report, owner), (ReportState::Ready, json(files)?, None)).await
    }

    /// A claimed report is given up: why, in words for its owner.
    pub async fn fail_report(&self, report: ReportId, owner: &str, failure: &str) -> Result<()> {
        self.end_report((report, owner), (ReportState::Failed, "{}".to_owned(), Some(failure.to_owned()))).await
    }

    async fn end_report(
        &self,
        (report, owner): (ReportId, &str),
        (state, files, failure): (ReportState, String, Option<String>),
    ) -> Result<()> {
        let owner = owner.to_owned();
        let now = self.now().0;
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    let ended = sqlx::query(
                        "UPDATE reports SET state = $3, files = $4, failure = $5, finished_at = $6, \
                         progress = CASE WHEN $3 = 'ready' THEN 100 ELSE progress END \
                         WHERE report_id = $1 AND owner = $2 AND state = 'running'",
                    )
                    .bind(report.to_string())
                    .bind(owner)
                    .bind(state.as_str())
                    .bind(files)
                    .bind(failure)
                    .bind(now)
                    .execute(tx)
                    .await?;
                    found(ended.rows_affected(), "claimed report")
                })
            })
            .await
    }
}

fn report_of(row: &AnyRow) -> Result<Report> {
    Ok(Report {
        id: parsed(row, "report_id")?,
        account: parsed(row, "account_id")?,
        user: parsed_maybe(row, "user_id")?,
        kind: parsed(row, "kind")?,
        campaign: parsed_maybe(row, "campaign_id")?,
        from: Micros(column(row, "range_from")?),
        to: Micros(column(row, "range_to")?),
        state: parsed(row, "state")?,
        progress: column(row, "progress")?,
        files: document(row, "files")?,
        failure: column(row, "failure")?,
        created_at: Micros(column(row, "created_at")?),
        finished_at: column::<Option<i64>>(row, "finished_at")?.map(Micros),
    })
}
