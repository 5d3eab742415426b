//! The ROI report: what a campaign brought back for what it cost.

use castback_catalogue::campaigns::Campaign;
use castback_rules::credit::Model;
use castback_schemas::time::{DAY, HOUR};
use castback_schemas::{AccountId, Money};
use futures::future::{BoxFuture, try_join_all};

use super::{Making, campaign_facts};
use crate::App;
use crate::figures::{Figures, Heard, Question, prefix_estimated, shown};
use crate::performance::estimate::Sighted;
use crate::performance::series::{self, Sums};
use crate::problem::Result;
use crate::render::{Block, Chart, ChartKind, Column, Document, Fact, Figure, Point, Statement, Table, Value};

/// Points of a chart: as many as an eye tells apart on a page.
const MAX_POINTS: i64 = 180;

/// Episodes of the table; the least heard are left out and said to be.
const MAX_EPISODES: usize = 200;

/// Writes the report.
pub(super) fn build<'a>(making: &'a Making<'a>) -> BoxFuture<'a, Result<Document>> {
    Box::pin(write(making))
}

async fn write(making: &Making<'_>) -> Result<Document> {
    let campaign = making.campaign().await?;
    let report = making.report;
    let question = Question::range((campaign.id, &campaign.terms), (report.from, report.to), making.now);
    let step = step(report.to.0.min(making.now.0) - report.from.0);
    let (figures, estimated, buckets, (episodes, episodes_sql)) = tokio::try_join!(
        Figures::read(&making.ask, &question),
        estimated(making, (&campaign, &question)),
        series::read(&making.ask, &question, step),
        super::episodes::table(making, &campaign, (&question, MAX_EPISODES)),
    )?;
    let mut key_figures = shown(&figures, &question);
    key_figures.extend(estimated);
    let podcasts = podcasts(making.app, report.account, &campaign).await?;
    let mut document =
        making.document(format!("ROI report: {}", campaign.terms.name), &campaign.terms.advertiser).await?;
    document
        .facts
        .extend(campaign_facts(&campaign, &podcasts.iter().map(|(title, _)| title.clone()).collect::<Vec<_>>()));
    document.facts.push(Fact::new("Download window", Value::text(windows(&podcasts))));
    document.facts.push(Fact::new("Credit model", Value::text("last, unless said")));

    let (models, models_sql) = models(making, (&figures, &question)).await?;
    document.blocks = vec![Block::Heading("Key figures".to_owned()), Block::Figures(key_figures.clone())];
    let warnings = figures.warnings();
    if !warnings.is_empty() {
        document.blocks.push(Block::Paragraph(warnings.join("\n")));
    }
    document.blocks.push(Block::Heading("Over time".to_owned()));
    document.blocks.extend(charts(&buckets, (step, making.now.0), question.currency.code()));
    document.blocks.extend([
        Block::Heading("Episodes".to_owned()),
        Block::Table(episodes),
        Block::Heading("Credit models".to_owned()),
        Block::Table(models),
    ]);
    if !figures.other.is_empty() {
        document.blocks.push(Block::Table(other_currencies(&figures.other)));
    }
    let mut others = vec![
        Statement { label: "Charts: ads delivered".to_owned(), sql: question.delivered_by(step) },
        Statement { label: "Charts: credit".to_owned(), sql: question.credited_by(step) },
        Statement { label: "Episodes".to_owned(), sql: episodes_sql },
    ];
    others.extend(models_sql);
    document.blocks.extend(making.last_page(&key_figures, others));
    Ok(document)
}

/// Titles and windows of the campaign's podcasts; those disconnected since have neither.
pub(super) async fn podcasts(
    app: &App,
    account: AccountId,
    campaign: &Campaign,
) -> Result<Vec<(String, &'static str)>> {
    let mut podcasts = Vec::new();
    for id in &campaign.terms.podcast_ids {
        match app.catalogue.podcast(account, *id).await {
            Ok(podcast) => podcasts.push((podcast.title.unwrap_or(podcast.feed_url), podcast.window.as_str())),
            Err(castback_catalogue::CatalogueError::NotFound(_)) => podcasts.push((id.to_string(), "disconnected")),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(podcasts)
}

/// What prefix redirects let one think of, where they saw anything.
async fn estimated(making: &Making<'_>, (campaign, question): (&Campaign, &Question)) -> Result<Option<Figure>> {
    let Some(sighted) = Sighted::of(making.app, making.report.account, &campaign.terms).await? else { return Ok(None) };
    let impressions = sighted.read(&making.ask, question).await?;
    let sql = sighted.statement(question, making.ask.kept_from()).unwrap_or_default();
    Ok((impressions > 0).then(|| prefix_estimated(impressions, sql)))
}

fn windows(podcasts: &[(String, &'static str)]) -> String {
    let mut windows: Vec<&str> = podcasts.iter().map(|(_, window)| *window).collect();
    windows.sort_unstable();
    windows.dedup();
    windows.join(", ")
}

/// A day, or the shortest number of days with which a chart has few enough points; hours for up to three days.
fn step(range: i64) -> i64 {
    match range {
        range if range <= 3 * DAY => HOUR,
        range => (range / DAY / MAX_POINTS + 1) * DAY,
    }
}

fn charts(buckets: &[Sums], (step, now): (i64, i64), currency: &str) -> Vec<Block> {
    let begun: Vec<&Sums> = buckets.iter().filter(|sums| sums.at.0 <= now).collect();
    let per = if step == HOUR { "per hour".to_owned() } else { format!("per {} d", step / DAY) };
    let bars = |title: String, unit: &str, value: &dyn Fn(&Sums) -> f64| {
        let points = begun.iter().map(|sums| Point { at: sums.at, value: Some(value(sums)), band: None }).collect();
        Block::Chart(Chart { title, unit: unit.to_owned(), kind: ChartKind::Bars, points })
    };
    let mut total = Sums::default();
    let cumulated = begun.iter().map(|sums| {
        total.add(sums);
        let (value, band) = total.roas();
        Point { at: sums.at, value, band }
    });
    let roas = Chart {
        title: "ROAS, cumulated, with its 95 % band".to_owned(),
        unit: format!("{currency} per {currency}"),
        kind: ChartKind::Line,
        points: cumulated.collect(),
    };
    vec![
        bars(format!("Downloads with an ad, {per}"), "downloads", &|sums| sums.downloads_real()),
        bars(format!("Conversions, {per}"), "conversions", &|sums| sums.conversions_real()),
        Block::Chart(roas),
    ]
}

/// The four models over the same exposures.
async fn models(making: &Making<'_>, (figures, question): (&Figures, &Question)) -> Result<(Table, Vec<Statement>)> {
    let mut rows = Vec::new();
    let mut statements = Vec::new();
    let questions = Model::ALL.map(|model| question.clone().by(Heard::Chosen, model));
    let modeled = try_join_all(questions.iter().map(|question| figures.remodeled(&making.ask, question))).await?;
    for ((model, question), figures) in Model::ALL.into_iter().zip(&questions).zip(modeled) {
        let own: Vec<Figure> = shown(&figures, question);
        let value = |label: &str| own.iter().find(|figure| figure.label == label);
        let columns = ["Conversions", "Revenue", "ROAS", "ROI", "CPA"];
        let roas = value("ROAS").map_or((Value::Null, Value::Null), |figure| (figure.low.clone(), figure.high.clone()));
        let mut row = vec![Value::text(model.name())];
        row.extend(columns.iter().map(|label| value(label).map_or(Value::Null, |figure| figure.value.clone())));
        row.extend([roas.0, roas.1]);
        rows.push(row);
        if model != Model::Last {
            let of = |label: &&str| {
                value(label)
                    .map(|figure| Statement { label: format!("{label}, {}", model.name()), sql: figure.sql.clone() })
            };
            statements.extend(columns.iter().filter_map(of));
        }
    }
    let columns = vec![
        Column::text("Model"),
        Column::number("Conversions"),
        Column::money("Revenue"),
        Column::number("ROAS"),
        Column::number("ROI"),
        Column::number(format!("CPA ({})", question.currency)),
        Column::number("ROAS low"),
        Column::number("ROAS high"),
    ];
    Ok((
        Table { title: "The same conversions, credited by each model".to_owned(), columns, rows, total: None },
        statements,
    ))
}

fn other_currencies(other: &[Money]) -> Table {
    let rows = other.iter().map(|money| vec![Value::text(money.currency.code()), Value::Money(*money)]).collect();
    let columns = vec![Column::text("Currency"), Column::money("Revenue")];
    Table { title: "Revenue in other currencies (not added)".to_owned(), columns, rows, total: None }
}
