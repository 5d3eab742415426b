//! Campaigns: their terms, their states, and every version of both.
//!
//! A draft delivers nothing, so its versions need no past: the newest one stands from the
//! beginning of time, and so does the launch (launching late brings earlier days of the flight
//! in). Each later change is a version from its moment on.

use castback_schemas::campaign::{Attribution, CampaignState, CampaignTerms};
use castback_schemas::id::{AccountId, CampaignId, PodcastId};
use castback_schemas::{Day, Micros, Topic};
use serde_json::json;
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use crate::Catalogue;
use crate::claims;
use crate::db::{Tx, take_numbers};
use crate::error::{CatalogueError, Result};
use crate::outbox::{self, NewEvent};
use crate::page::{Page, Paging};
use crate::podcasts::{lock_account, within};
use crate::reads::bounded;
use crate::stored::{column, document, json as to_json, parsed};
use crate::transitions::{Transition, by_date, missing_for_launch};

/// A campaign.
#[derive(Debug, Clone, PartialEq)]
pub struct Campaign {
    /// Its id.
    pub id: CampaignId,
    /// Whose it is.
    pub account: AccountId,
    /// Where it stands.
    pub state: CampaignState,
    /// What was agreed.
    pub terms: CampaignTerms,
    /// Goes up with every change: its entity tag.
    pub version: i64,
    /// When it was made.
    pub created_at: Micros,
    /// When it was changed last.
    pub updated_at: Micros,
}

/// Which campaigns a list holds; what is none does not narrow it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CampaignFilter {
    /// In this state.
    pub state: Option<CampaignState>,
    /// On this podcast.
    pub podcast: Option<PodcastId>,
    /// With this in the name, whatever the case.
    pub q: Option<String>,
}

const COLUMNS: &str = "campaign_id, account_id, state, terms, version, created_at, updated_at";

impl Catalogue {
    /// Makes a draft. [`CatalogueError::NotFound`] for a podcast that isn't the account's,
    /// [`CatalogueError::InUse`] for a promo code or vanity slug that leads elsewhere.
    pub async fn create_campaign(&self, account: AccountId, terms: CampaignTerms) -> Result<Campaign> {
        let now = self.now();
        let campaign = Campaign {
            id: CampaignId::from_uuid(self.new_uuid()),
            account,
            state: CampaignState::Draft,
            terms,
            version: 1,
            created_at: now,
            updated_at: now,
        };
        let event = self.campaign_event(&campaign, "campaign_created");
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    check_podcasts(tx, account, &campaign.terms).await?;
                    insert(tx, &campaign).await?;
                    claims::replace(tx, (account, campaign.id), &campaign.terms.attribution).await?;
                    insert_version(tx, &campaign, i64::MIN).await?;
                    outbox::post(tx, event).await?;
                    Ok(campaign)
                })
            })
            .await
    }

    /// A campaign of an account.
    pub async fn campaign(&self, account: AccountId, campaign: CampaignId) -> Result<Campaign> {
        let row = sqlx::query(AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM campaigns WHERE account_id = $1 AND campaign_id = $2"
        )))
        .bind(account.to_string())
        .bind(campaign.to_string())
        .fetch_optional(self.db.reads())
        .await?
        .ok_or(CatalogueError::NotFound("campaign"))?;
        campaign_of(&row)
    }

    /// The campaigns of an account, or of all.
    pub async fn campaigns(
        &self,
        account: impl Into<Option<AccountId>>,
        filter: &CampaignFilter,
        paging: &Paging,
    ) -> Result<Page<Campaign>> {
        let (account, start) = (account.into(), paging.start()?);
        let of_account = if account.is_some() { "account_id = $1" } else { "CAST($1 AS TEXT) IS NULL" };
        // A podcast's id is found in the text of the terms: nothing else there looks like it.
        let sql = format!(
            "SELECT {COLUMNS} FROM campaigns WHERE {of_account} AND (created_at, campaign_id) < ($2, $3) \
             AND ($5 IS NULL OR state = $5) AND ($6 IS NULL OR terms LIKE $6) \
             AND ($7 IS NULL OR name_folded LIKE $7 ESCAPE '!') ORDER BY created_at DESC, campaign_id DESC LIMIT $4"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(account.map(|account| account.to_string()))
            .bind(start.created_at)
            .bind(start.id)
            .bind(start.rows)
            .bind(filter.state.map(CampaignState::as_str))
            .bind(filter.podcast.map(|podcast| format!("%{podcast}%")))
            .bind(filter.q.as_deref().map(|q| format!("%{}%", escaped(&q.to_lowercase()))))
            .fetch_all(self.db.reads())
            .await?;
        let items = rows.iter().map(campaign_of).collect::<Result<Vec<_>>>()?;
        Ok(paging.page(items, |campaign| (campaign.created_at, campaign.id.to_string())))
    }

    /// How many campaigns of an account run: scheduled, active or paused.
    pub async fn count_running_campaigns(&self, account: AccountId) -> Result<i64> {
        bounded(async {
            let mut tx = self.db.snapshot().await?;
            let running = running(&mut tx, account).await?;
            tx.commit().await?;
            Ok(running)
        })
        .await
    }

    /// Changes the terms of version `expected`. [`CatalogueError::PreconditionFailed`] if there is
    /// a newer one, [`CatalogueError::WrongState`] once it is completed or cancelled, or if a campaign that was
    /// launched would lose what a launch demands.
    pub async fn set_terms(
        &self,
        account: AccountId,
        campaign: CampaignId,
        terms: CampaignTerms,
        expected: i64,
    ) -> Result<Campaign> {
        self.change_campaign((account, campaign), "campaign_changed", move |before| {
            expect_version(before, Some(expected))?;
            before.terms = terms;
            Ok(())
        })
        .await
    }

    /// Sets how conversions are connected to a campaign, of version `expected` if one is given. Refused like
    /// [`Self::set_terms`].
    pub async fn put_attribution(
        &self,
        account: AccountId,
        campaign: CampaignId,
        attribution: Attribution,
        expected: Option<i64>,
    ) -> Result<Campaign> {
        self.change_campaign((account, campaign), "attribution_set", move |before| {
            expect_version(before, expected)?;
            before.terms.attribution = attribution;
            Ok(())
        })
        .await
    }

    /// Leads a campaign to another state. [`CatalogueError::WrongState`] says what is missing.
    /// A launch beyond `allowed` running campaigns: [`CatalogueError::LimitReached`].
    pub async fn transition(
        &self,
        account: AccountId,
        campaign: CampaignId,
        transition: Transition,
        allowed: Option<i64>,
    ) -> Result<Campaign> {
        let today = self.now().day();
        let change = self.campaign_change(transition.event());
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    if transition == Transition::Launch {
                        lock_account(tx, account).await?;
                    }
                    let mut now = load(tx, account, campaign).await?;
                    now.state = transition.apply(by_date(now.state, &now.terms, today), &now.terms, today)?;
                    let mut from = change.at;
                    if transition == Transition::Launch {
                        within("active_campaigns", running(tx, account).await?, allowed)?;
                        from = Micros(i64::MIN);
                    }
                    store(tx, now, from, &change).await
                })
            })
            .await
    }

    /// Deletes a draft.
    pub async fn delete_campaign(&self, account: AccountId, campaign: CampaignId) -> Result<()> {
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    let state = load(tx, account, campaign).await?.state;
                    if state != CampaignState::Draft {
                        return Err(CatalogueError::WrongState { state, missing: vec!["state draft"] });
                    }
                    for statement in [
                        "DELETE FROM claims WHERE campaign_id = $1",
                        "DELETE FROM campaign_versions WHERE campaign_id = $1",
                        "DELETE FROM campaigns WHERE campaign_id = $1",
                    ] {
                        sqlx::query(statement).bind(campaign.to_string()).execute(&mut *tx).await?;
                    }
                    Ok(())
                })
            })
            .await
    }

    /// Brings the states of all campaigns to where their dates lead at `now`; answers those that
    /// moved. Cheap when none does.
    pub async fn advance_campaigns(&self, now: Micros) -> Result<Vec<Campaign>> {
        let sql = format!("SELECT {COLUMNS} FROM campaigns WHERE state IN ('scheduled', 'active', 'paused')");
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(self.db.reads()).await?;
        let mut moved = Vec::new();
        for row in &rows {
            let campaign = campaign_of(row)?;
            let next = by_date(campaign.state, &campaign.terms, now.day());
            if next == campaign.state {
                continue;
            }
            let event = if next == CampaignState::Active { "campaign_started" } else { "campaign_completed" };
            let changed = self
                .change_campaign((campaign.account, campaign.id), event, move |before| {
                    before.state = by_date(before.state, &before.terms, now.day());
                    Ok(())
                })
                .await?;
            moved.push(changed);
        }
        Ok(moved)
    }

    /// The account of a campaign, for calls that name only the campaign (a pixel).
    pub async fn campaign_owner(&self, campaign: CampaignId) -> Result<Option<AccountId>> {
        let row = sqlx::query("SELECT account_id FROM campaigns WHERE campaign_id = $1")
            .bind(campaign.to_string())
            .fetch_optional(self.db.reads())
            .await?;
        row.map(|row| parsed(&row, "account_id")).transpose()
    }

    async fn change_campaign<F>(
        &self,
        (account, id): (AccountId, CampaignId),
        kind: &'static str,
        edit: F,
    ) -> Result<Campaign>
    where
        F: FnOnce(&mut Campaign) -> Result<()> + Send + 'static,
    {
        let change = self.campaign_change(kind);
        self.db
            .change(move |tx| {
                Box::pin(async move {
                    let mut campaign = load(tx, account, id).await?;
                    let (state, podcasts) = (campaign.state, campaign.terms.podcast_ids.clone());
                    let lacked = missing_for_launch(&campaign.terms);
                    if matches!(state, CampaignState::Completed | CampaignState::Cancelled) {
                        return Err(CatalogueError::WrongState { state, missing: vec!["a state before the end"] });
                    }
                    edit(&mut campaign)?;
                    if state != CampaignState::Draft {
                        nothing_lost(state, &lacked, &campaign.terms)?;
                    }
                    if campaign.terms.podcast_ids != podcasts {
                        check_podcasts(tx, account, &campaign.terms).await?;
                    }
                    let from = if state == CampaignState::Draft { Micros(i64::MIN) } else { change.at };
                    store(tx, campaign, from, &change).await
                })
            })
            .await
    }

    fn campaign_change(&self, kind: &'static str) -> Change {
        Change { kind, event_id: self.new_uuid(), at: self.now() }
    }

    fn campaign_event(&self, campaign: &Campaign, kind: &'static str) -> NewEvent {
        self.campaign_change(kind).event(campaign)
    }
}

/// A change of a campaign: what it is called and when it is made.
struct Change {
    kind: &'static str,
    event_id: uuid::Uuid,
    at: Micros,
}

impl Change {
    fn event(&self, campaign: &Campaign) -> NewEvent {
        NewEvent {
            event_id: self.event_id,
            topic: Topic::CampaignChanges,
            account: campaign.account,
            key: campaign.id.to_string(),
            occurred_at: self.at,
            body: json!({
                "campaign_id": campaign.id, "kind": self.kind, "state": campaign.state, "version": campaign.version,
            }),
        }
    }
}

fn expect_version(campaign: &Campaign, expected: Option<i64>) -> Result<()> {
    match expected {
        Some(version) if version != campaign.version => {
            Err(CatalogueError::PreconditionFailed { current: campaign.version })
        }
        _ => Ok(()),
    }
}

/// Refuses terms that lack more of what a launch demands than those before.
fn nothing_lost(state: CampaignState, lacked: &[&str], terms: &CampaignTerms) -> Result<()> {
    let mut missing = missing_for_launch(terms);
    missing.retain(|field| !lacked.contains(field));
    if missing.is_empty() { Ok(()) } else { Err(CatalogueError::WrongState { state, missing }) }
}

/// Refuses where a campaign that runs on `today` is on the podcast.
pub(crate) async fn not_needed(tx: &mut Tx, account: AccountId, podcast: PodcastId, today: Day) -> Result<()> {
    let sql = format!(
        "SELECT {COLUMNS} FROM campaigns WHERE account_id = $1 AND state IN ('scheduled', 'active', 'paused') \
         AND terms LIKE $2 ORDER BY created_at, campaign_id"
    );
    let rows =
        sqlx::query(AssertSqlSafe(sql)).bind(account.to_string()).bind(format!("%{podcast}%")).fetch_all(tx).await?;
    for row in &rows {
        let Campaign { id, state, terms, .. } = campaign_of(row)?;
        if terms.podcast_ids.contains(&podcast) && by_date(state, &terms, today) != CampaignState::Completed {
            return Err(CatalogueError::Needed { campaign: id, name: terms.name });
        }
    }
    Ok(())
}

/// The text with the letters escaped that LIKE takes for patterns.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('!', "!!").replace('%', "!%").replace('_', "!_")
}

async fn running(tx: &mut Tx, account: AccountId) -> Result<i64> {
    Ok(sqlx::query_scalar(
        "SELECT COUNT(*) FROM campaigns WHERE account_id = $1 AND state IN ('scheduled', 'active', 'paused')",
    )
    .bind(account.to_string())
    .fetch_one(tx)
    .await?)
}

async fn check_podcasts(tx: &mut Tx, account: AccountId, terms: &CampaignTerms) -> Result<()> {
    for podcast in &terms.podcast_ids {
        sqlx::query("SELECT podcast_id FROM podcasts WHERE account_id = $1 AND podcast_id = $2 AND deleted_at IS NULL")
            .bind(account.to_string())
            .bind(podcast.to_string())
            .fetch_optional(&mut *tx)
            .await?
            .ok_or(CatalogueError::NotFound("podcast"))?;
    }
    Ok(())
}

/// The campaign, locked: the update that changes nothing keeps others out until the end.
async fn load(tx: &mut Tx, account: AccountId, id: CampaignId) -> Result<Campaign> {
    let sql = format!(
        "UPDATE campaigns SET version = version WHERE account_id = $1 AND campaign_id = $2 RETURNING {COLUMNS}"
    );
    let row = sqlx::query(AssertSqlSafe(sql))
        .bind(account.to_string())
        .bind(id.to_string())
        .fetch_optional(tx)
        .await?
        .ok_or(CatalogueError::NotFound("campaign"))?;
    campaign_of(&row)
}

async fn insert(tx: &mut Tx, campaign: &Campaign) -> Result<()> {
    sqlx::query(
        "INSERT INTO campaigns (campaign_id, account_id, name_folded, state, terms, version, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7)",
    )
    .bind(campaign.id.to_string())
    .bind(campaign.account.to_string())
    .bind(campaign.terms.name.to_lowercase())
    .bind(campaign.state.as_str())
    .bind(to_json(&campaign.terms)?)
    .bind(campaign.version)
    .bind(campaign.created_at.0)
    .execute(tx)
    .await?;
    Ok(())
}

/// Keeps a changed campaign: the row, its claims, its version from `from` on, and the event.
async fn store(tx: &mut Tx, mut campaign: Campaign, from: Micros, change: &Change) -> Result<Campaign> {
    campaign.version += 1;
    campaign.updated_at = change.at;
    sqlx::query(
        "UPDATE campaigns SET name_folded = $2, state = $3, terms = $4, version = $5, updated_at = $6 WHERE campaign_id = $1",
    )
    .bind(campaign.id.to_string())
    .bind(campaign.terms.name.to_lowercase())
    .bind(campaign.state.as_str())
    .bind(to_json(&campaign.terms)?)
    .bind(campaign.version)
    .bind(change.at.0)
    .execute(&mut *tx)
    .await?;
    claims::replace(tx, (campaign.account, campaign.id), &campaign.terms.attribution).await?;
    let newest: i64 = sqlx::query_scalar("SELECT MAX(valid_from) FROM campaign_versions WHERE campaign_id = $1")
        .bind(campaign.id.to_string())
        .fetch_one(&mut *tx)
        .await?;
    let valid_from = if from.0 == i64::MIN { from.0 } else { from.0.max(newest.saturating_add(1)) };
    insert_version(tx, &campaign, valid_from).await?;
    outbox::post(tx, change.event(&campaign)).await?;
    Ok(campaign)
}

async fn insert_version(tx: &mut Tx, campaign: &Campaign, valid_from: i64) -> Result<()> {
    let change = take_numbers(tx, "change", 1).await?;
    sqlx::query(
        "INSERT INTO campaign_versions (campaign_id, valid_from, account_id, state, terms, version, change) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (campaign_id, valid_from) DO UPDATE SET state = excluded.state, \
         terms = excluded.terms, version = excluded.version, change = excluded.change",
    )
    .bind(campaign.id.to_string())
    .bind(valid_from)
    .bind(campaign.account.to_string())
    .bind(campaign.state.as_str())
    .bind(to_json(&campaign.terms)?)
    .bind(campaign.version)
    .bind(change)
    .execute(tx)
    .await?;
    Ok(())
}

fn campaign_of(row: &AnyRow) -> Result<Campaign> {
    Ok(Campaign {
        id: parsed(row, "campaign_id")?,
        account: parsed(row, "account_id")?,
        state: state(column(row, "state")?)?,
        terms: document(row, "terms")?,
        version: column(row, "version")?,
        created_at: Micros(column(row, "created_at")?),
        updated_at: Micros(column(row, "updated_at")?),
    })
}

/// A stored state.
pub(crate) fn state(word: &str) -> Result<CampaignState> {
    use CampaignState::{Active, Cancelled, Completed, Draft, Paused, Scheduled};
    [Draft, Scheduled, Active, Paused, Completed, Cancelled]
        .into_iter()
        .find(|state| state.as_str() == word)
        .ok_or_else(|| CatalogueError::unreadable("state of campaign"))
}
