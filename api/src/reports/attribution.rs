//! The attribution report: who is credited, by which touch, under which model and look-back.

use castback_schemas::{Currency, Money};
use futures::future::BoxFuture;

use super::{Making, campaign_facts, roi};
use crate::figures::{Figures, Question, shown};
use crate::performance::grid;
use crate::problem::Result;
use crate::query::literal::within;
use crate::render::{Block, Column, Document, Statement, Table, Value};

/// Writes the report.
pub(super) fn build<'a>(making: &'a Making<'a>) -> BoxFuture<'a, Result<Document>> {
    Box::pin(write(making))
}

async fn write(making: &Making<'_>) -> Result<Document> {
    let campaign = making.campaign().await?;
    let report = making.report;
    let question = Question::range((campaign.id, &campaign.terms), (report.from, report.to), making.now);
    let figures = Figures::read(&making.ask, &question).await?;
    let wanted = ["Conversions", "Unattributed conversions", "Revenue", "Visits", "Leads"];
    let key: Vec<_> =
        shown(&figures, &question).into_iter().filter(|figure| wanted.contains(&figure.label.as_str())).collect();
    let title = format!("Attribution: {}", campaign.terms.name);
    let mut document = making.document(title, &campaign.terms.advertiser).await?;
    let podcasts = roi::podcasts(making.app, report.account, &campaign).await?;
    document.facts.extend(campaign_facts(&campaign, &podcasts.into_iter().map(|(title, _)| title).collect::<Vec<_>>()));

    let (types_sql, touches_sql) = (question.by_type(), touches_sql(&question));
    let [types, touches] = making.ask.all([types_sql.as_str(), &touches_sql]).await?;
    let grid = grid::read(making.app, &making.ask, (report.account, &campaign), making.now).await?;
    let types = Table {
        title: "By type of conversion".to_owned(),
        columns: vec![Column::text("Type"), Column::number("Credited"), Column::money("Revenue")],
        rows: (0..types.len()).map(|row| type_row(&types, row, question.currency)).collect(),
        total: None,
    };
    let touch = |row| vec![Value::text(touches.text(row, "kind")), Value::Count(touches.int(row, "conversions"))];
    let touches = Table {
        title: "By touch".to_owned(),
        columns: vec![Column::text("Touch"), Column::number("Conversions that it reaches")],
        rows: (0..touches.len()).map(touch).collect(),
        total: None,
    };
    let note = "The whole flight, divided again for each look-back; the other campaigns keep their own.";
    document.blocks = vec![
        Block::Heading("Key figures".to_owned()),
        Block::Figures(key.clone()),
        Block::Table(types),
        Block::Table(touches),
        Block::Heading("Model by look-back".to_owned()),
        Block::Paragraph(note.to_owned()),
        Block::Table(grid_table(&grid)),
    ];
    let statement = |label: &str, sql: String| Statement { label: label.to_owned(), sql };
    let others = vec![statement("By type of conversion", types_sql), statement("By touch", touches_sql)];
    document.blocks.extend(making.last_page(&key, others));
    Ok(document)
}

fn type_row(rows: &crate::query::Rows, row: usize, currency: Currency) -> Vec<Value> {
    let money = Money { amount: rows.int(row, "revenue_minor"), currency };
    vec![Value::text(rows.text(row, "event_type")), Value::rate(Some(rows.real(row, "credited"))), Value::Money(money)]
}

fn touches_sql(question: &Question) -> String {
    format!(
        "SELECT kind, count(DISTINCT conversion_offset) AS conversions FROM touches WHERE campaign_id = '{}' AND {} \
         GROUP BY kind ORDER BY conversions DESC, kind",
        question.campaign,
        within("occurred_at", question.from, question.conversions_to)
    )
}

fn grid_table(cells: &[grid::Cell]) -> Table {
    let row = |cell: &grid::Cell| {
        let conversions = match cell.conversions.as_i64() {
            Some(whole) => Value::Count(whole),
            None => Value::rate(cell.conversions.as_f64()),
        };
        vec![
            Value::Count(i64::from(cell.lookback_days)),
            Value::text(cell.model),
            conversions,
            Value::Money(cell.revenue),
        ]
    };
    Table {
        title: "Model by look-back".to_owned(),
        columns: vec![
            Column::number("Look-back, days"),
            Column::text("Model"),
            Column::number("Conversions"),
            Column::money("Revenue"),
        ],
        rows: cells.iter().map(row).collect(),
        total: None,
    }
}
