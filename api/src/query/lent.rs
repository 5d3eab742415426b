//! What people own, lent to SQL: the catalogue's rows as Arrow, for the tables that a text names.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use castback_catalogue::campaigns::CampaignFilter;
use castback_catalogue::page::MAX_LIMIT;
use castback_catalogue::podcasts::PodcastFilter;
use castback_catalogue::reports::ReportFilter;
use castback_catalogue::{Catalogue, Paging};
use castback_schemas::AccountId;
use castback_schemas::campaign::PriceModel;
use castback_schemas::table::ColumnType;
use castback_store::session::{CATALOGUE_TABLES, CatalogueTable, CatalogueTables};

use crate::identity::Scope;
use crate::problem::{Problem, Result};

/// Accounts whose things are lent to an operator's query over all; those beyond are left out.
const MAX_ACCOUNTS: usize = 1_000;

/// Runs of agents lent to an operator.
const AGENT_RUNS: u16 = 1_000;

/// Polls of feeds lent, the newest: of the account, or of all to an operator.
const FEED_POLLS: u16 = 10_000;

/// A value of a lent row.
#[derive(Debug, Clone)]
enum Cell {
    Text(Option<String>),
    Int(Option<i64>),
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::Text(Some(text.to_string()))
    }
}

fn maybe(text: Option<impl ToString>) -> Cell {
    Cell::Text(text.map(|text| text.to_string()))
}

type Row = Vec<Cell>;

/// The rows that a scope may see of the catalogue's tables named in `sql`; what isn't named is
/// left empty.
pub(crate) async fn lend(catalogue: &Catalogue, scope: Scope, sql: &str) -> Result<CatalogueTables> {
    let sql = sql.to_lowercase();
    let accounts = match scope {
        Scope::Account(account) => vec![account],
        Scope::All => catalogue.accounts().await?.iter().map(|account| account.id).take(MAX_ACCOUNTS).collect(),
    };
    let mut lent = CatalogueTables::default();
    for table in CATALOGUE_TABLES.iter().filter(|table| sql.contains(table.name)) {
        let mut rows = Vec::new();
        for account in &accounts {
            rows.extend(of_account(catalogue, table.name, *account).await?);
        }
        match table.name {
            "agent_runs" if scope == Scope::All => rows = agent_runs(catalogue).await?,
            "feed_polls" => rows = feed_polls(catalogue, scope).await?,
            _ => {}
        }
        lent.add(table.name, &batch(table, &rows)?).map_err(Problem::internal)?;
    }
    Ok(lent)
}

async fn of_account(catalogue: &Catalogue, table: &str, account: AccountId) -> Result<Vec<Row>> {
    match table {
        "campaigns" => campaigns(catalogue, account).await,
        "episodes" => episodes(catalogue, account).await,
        "podcasts" => podcasts(catalogue, account).await,
        "reports" => reports(catalogue, account).await,
        "users" => users(catalogue, account).await,
        _ => Ok(Vec::new()),
    }
}

/// Every item of a list, page after page.
macro_rules! every {
    ($paging:ident => $page:expr) => {{
        let mut items = Vec::new();
        let mut $paging = Paging { limit: MAX_LIMIT, cursor: None };
        loop {
            let page = $page;
            items.extend(page.items);
            match page.next_cursor {
                Some(next) => $paging.cursor = Some(next),
                None => break items,
            }
        }
    }};
}

async fn campaigns(catalogue: &Catalogue, account: AccountId) -> Result<Vec<Row>> {
    let all = every!(paging => catalogue.campaigns(account, &CampaignFilter::default(), &paging).await?);
    let row = |campaign: castback_catalogue::campaigns::Campaign| {
        let terms = campaign.terms;
        let (model, price) = match terms.price_model {
            Some(PriceModel::Cpm(price)) => ("cpm", Some(price)),
            Some(PriceModel::Flat(price)) => ("flat", Some(price)),
            None => ("", None),
        };
        // What a draft does not say yet stands as nothing: the columns are never null.
        let day = |day: Option<castback_schemas::Day>| Cell::Int(Some(day.map_or(0, |day| day.start().0)));
        vec![
            account.into(),
            campaign.id.into(),
            terms.name.into(),
            terms.advertiser.into(),
            campaign.state.as_str().into(),
            terms.currency.into(),
            Cell::Int(Some(terms.budget.unwrap_or(0))),
            model.into(),
            Cell::Int(price),
            day(terms.starts_on),
            day(terms.ends_on),
            Cell::Int(Some(i64::from(terms.lookback_days))),
            Cell::Int(Some(campaign.created_at.0)),
        ]
    };
    Ok(all.into_iter().map(row).collect())
}

async fn all_podcasts(catalogue: &Catalogue, account: AccountId) -> Result<Vec<castback_catalogue::podcasts::Podcast>> {
    Ok(every!(paging => catalogue.podcasts(account, &PodcastFilter::default(), &paging).await?))
}

async fn podcasts(catalogue: &Catalogue, account: AccountId) -> Result<Vec<Row>> {
    let row = |podcast: castback_catalogue::podcasts::Podcast| {
        vec![
            account.into(),
            podcast.id.into(),
            maybe(podcast.title),
            podcast.feed_url.into(),
            podcast.window.as_str().into(),
            podcast.status.as_str().into(),
            Cell::Int(Some(podcast.created_at.0)),
        ]
    };
    Ok(all_podcasts(catalogue, account).await?.into_iter().map(row).collect())
}

async fn episodes(catalogue: &Catalogue, account: AccountId) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for podcast in all_podcasts(catalogue, account).await? {
        for episode in catalogue.all_episodes(account, podcast.id).await? {
            let size = |size: Option<u64>| Cell::Int(size.and_then(|size| i64::try_from(size).ok()));
            rows.push(vec![
                account.into(),
                episode.id.into(),
                podcast.id.into(),
                episode.facts.guid.into(),
                maybe(episode.facts.title),
                episode.facts.enclosure_url.into(),
                size(episode.facts.length),
                size(episode.facts.duration_ms),
                Cell::Int(episode.facts.published_at.map(|at| at.0)),
            ]);
        }
    }
    Ok(rows)
}

async fn reports(catalogue: &Catalogue, account: AccountId) -> Result<Vec<Row>> {
    let all = every!(paging => catalogue.reports(account, &ReportFilter::default(), &paging).await?);
    let row = |report: castback_catalogue::reports::Report| {
        vec![
            account.into(),
            report.id.into(),
            report.kind.as_str().into(),
            maybe(report.campaign),
            report.state.as_str().into(),
            Cell::Int(Some(report.from.0)),
            Cell::Int(Some(report.to.0)),
            Cell::Int(Some(report.created_at.0)),
            Cell::Int(report.finished_at.map(|at| at.0)),
        ]
    };
    Ok(all.into_iter().map(row).collect())
}

async fn users(catalogue: &Catalogue, account: AccountId) -> Result<Vec<Row>> {
    let row = |user: castback_catalogue::people::User| {
        let name = Some(user.name).filter(|name| !name.is_empty());
        vec![account.into(), user.id.into(), user.email.into(), maybe(name), Cell::Int(Some(user.created_at.0))]
    };
    Ok(catalogue.members(account).await?.into_iter().map(row).collect())
}

async fn agent_runs(catalogue: &Catalogue) -> Result<Vec<Row>> {
    let row = |run: castback_catalogue::agents::AgentRun| {
        vec![
            run.agent.into(),
            Cell::Int(Some(run.started_at.0)),
            Cell::Int(run.finished_at.map(|at| at.0)),
            maybe(run.outcome),
        ]
    };
    Ok(catalogue.agent_runs(AGENT_RUNS).await?.into_iter().map(row).collect())
}

async fn feed_polls(catalogue: &Catalogue, scope: Scope) -> Result<Vec<Row>> {
    let row = |poll: castback_catalogue::poll_log::FeedPoll| {
        vec![
            poll.account.into(),
            poll.podcast.into(),
            Cell::Int(Some(poll.polled_at.0)),
            poll.outcome.into(),
            Cell::Int(poll.status),
            Cell::Int(poll.episodes),
            Cell::Int(poll.warnings),
        ]
    };
    Ok(catalogue.feed_polls(scope.account(), FEED_POLLS).await?.into_iter().map(row).collect())
}

fn batch(table: &CatalogueTable, rows: &[Row]) -> Result<RecordBatch> {
    let column = |(index, column): (usize, &castback_schemas::table::Column)| -> ArrayRef {
        let cells = rows.iter().map(|row| row.get(index));
        let text = |cell: Option<&Cell>| match cell {
            Some(Cell::Text(text)) => text.clone(),
            _ => None,
        };
        let int = |cell: Option<&Cell>| match cell {
            Some(Cell::Int(int)) => *int,
            _ => None,
        };
        match column.column_type {
            ColumnType::Time => Arc::new(cells.map(int).collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
            ColumnType::Int => Arc::new(cells.map(int).collect::<Int64Array>()),
            _ => Arc::new(cells.map(text).collect::<StringArray>()),
        }
    };
    let columns = table.columns.iter().enumerate().map(column).collect();
    RecordBatch::try_new(table.schema(), columns).map_err(Problem::internal)
}
