//! The downloads report: every podcast of the account, in the three windows.

use castback_catalogue::Paging;
use castback_catalogue::page::MAX_LIMIT;
use castback_catalogue::podcasts::{Podcast, PodcastFilter};
use castback_rules::window::Window;
use castback_schemas::Day;
use futures::future::BoxFuture;

use super::Making;
use crate::downloads::{By, Downloads, Item, Question, name_episodes, read};
use crate::problem::Result;
use crate::render::{Block, Chart, ChartKind, Column, Document, Fact, Figure, Point, Statement, Table, Value};

/// Podcasts of a report, newest first; those beyond are left out and said to be.
const MAX_PODCASTS: usize = 50;

/// Lines of a table by app or country.
const MAX_LINES: usize = 30;

/// Lines of a table by episode.
const MAX_EPISODES: usize = 200;

/// Writes the report.
pub(super) fn build<'a>(making: &'a Making<'a>) -> BoxFuture<'a, Result<Document>> {
    Box::pin(write(making))
}

async fn write(making: &Making<'_>) -> Result<Document> {
    let mut document = making.document("Downloads".to_owned(), "").await?;
    let kept_from = making.ask.kept_from();
    if making.report.from < kept_from {
        document.facts.push(Fact::new("Ledger kept from", Value::Time(kept_from)));
        let said = "What was recorded before the ledger is kept is past its retention: the figures begin there.";
        document.blocks.push(Block::Paragraph(said.to_owned()));
    }
    let paging = Paging { limit: MAX_LIMIT, cursor: None };
    let all = PodcastFilter::default();
    let podcasts = making.app.catalogue.podcasts(making.report.account, &all, &paging).await?.items;
    if podcasts.len() > MAX_PODCASTS {
        document.blocks.push(Block::Paragraph(format!("The newest {MAX_PODCASTS} podcasts; the others are left out.")));
    }
    let (mut figures, mut others) = (Vec::new(), Vec::new());
    for podcast in podcasts.iter().take(MAX_PODCASTS) {
        let (blocks, of_podcast, statements) = of_podcast(making, podcast).await?;
        document.blocks.extend(blocks);
        figures.extend(of_podcast);
        others.extend(statements);
    }
    if podcasts.is_empty() {
        document.blocks.push(Block::Paragraph("No podcast is connected.".to_owned()));
    }
    document.blocks.extend(making.last_page(&figures, others));
    Ok(document)
}

async fn of_podcast(making: &Making<'_>, podcast: &Podcast) -> Result<(Vec<Block>, Vec<Figure>, Vec<Statement>)> {
    let title = podcast.title.clone().unwrap_or_else(|| podcast.feed_url.clone());
    let chosen = Window::named(podcast.window.as_str()).unwrap_or_default();
    let question = |window| {
        let (from, to) = (making.report.from, making.report.to);
        Question { podcast: podcast.id, window, from, to }.kept(&making.ask)
    };
    let mut figures = Vec::new();
    for window in Window::ALL {
        let downloads = read(&making.ask, question(window), By::Total, making.now).await?;
        let note = if window == chosen { "the podcast's window" } else { "" };
        let name = window.name();
        figures.push(figure(&title, &format!("Downloads, {name}"), (downloads.total, note), question(window).total()));
        if window == chosen {
            let listeners = question(window).listeners();
            figures.push(figure(&title, "Listeners", (downloads.listeners, "distinct in the period"), listeners));
            let seen = (downloads.prefix_estimated, "seen by a prefix redirect only; not in the others");
            figures.push(figure(&title, "Prefix estimate", seen, question(window).prefix_estimated()));
        }
    }
    let mut blocks = vec![Block::Heading(title.clone()), Block::Figures(figures.clone())];
    let mut statements = Vec::new();
    for (by, label, most) in [
        (By::Day, "Day", 0),
        (By::Episode, "Episode", MAX_EPISODES),
        (By::App, "App", MAX_LINES),
        (By::Country, "Country", MAX_LINES),
    ] {
        let mut downloads = read(&making.ask, question(chosen), by, making.now).await?;
        if by == By::Episode {
            name_episodes(making.app, (making.report.account, podcast.id), &mut downloads.items).await?;
        }
        statements.push(Statement {
            label: format!("{title}: by {}", label.to_lowercase()),
            sql: question(chosen).grouped(by),
        });
        blocks.push(match by {
            By::Day => Block::Chart(days(&downloads, making)),
            _ => Block::Table(table(label, &downloads.items, most)),
        });
    }
    Ok((blocks, figures, statements))
}

fn figure(title: &str, label: &str, (value, note): (u64, &str), sql: String) -> Figure {
    Figure {
        label: format!("{label}: {title}"),
        value: Value::Count(i64::try_from(value).unwrap_or(i64::MAX)),
        low: Value::Null,
        high: Value::Null,
        note: note.to_owned(),
        sql,
    }
}

/// Days without a download stand as 0, as far as a chart takes them.
fn days(downloads: &Downloads, making: &Making<'_>) -> Chart {
    const MOST: i32 = 400;
    let last = making.report.to.min(making.now).plus(-1).day();
    let first = making.report.from.max(making.ask.kept_from()).day().max(Day(last.0.saturating_sub(MOST)));
    let value =
        |day: Day| downloads.items.iter().find(|item| item.key == day.to_string()).map_or(0, |item| item.downloads);
    let point = |day: i32| {
        let count = u32::try_from(value(Day(day))).unwrap_or(u32::MAX);
        Point { at: Day(day).start(), value: Some(f64::from(count)), band: None }
    };
    Chart {
        title: format!("Downloads per day, {}", downloads.window),
        unit: "downloads".to_owned(),
        kind: ChartKind::Bars,
        points: (first.0..=last.0).map(point).collect(),
    }
}

fn table(label: &str, items: &[Item], most: usize) -> Table {
    let count = |count: u64| Value::Count(i64::try_from(count).unwrap_or(i64::MAX));
    let row = |item: &Item| vec![Value::text(&item.label), count(item.downloads), count(item.listeners)];
    let total = items.iter().map(|item| item.downloads).sum();
    Table {
        title: format!("Downloads by {}", label.to_lowercase()),
        columns: vec![Column::text(label), Column::number("Downloads"), Column::number("Listeners")],
        rows: items.iter().take(most).map(row).collect(),
        total: Some(vec![Value::text("Total, with what is left out"), count(total), Value::Null]),
    }
}
