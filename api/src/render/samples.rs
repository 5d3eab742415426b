//! Documents for tests.

use castback_schemas::{Currency, Day, Money};

use super::{Block, Chart, ChartKind, Column, Document, Fact, Figure, Point, Statement, Table, Value};

const FIRST: Day = Day(20_500);

fn usd(amount: i64) -> Value {
    Value::Money(Money { amount, currency: Currency::USD })
}

/// `n` days of downloads.
pub(crate) fn downloads(n: i32) -> Chart {
    let points = (0..n).map(|day| Point {
        at: Day(FIRST.0 + day).start(),
        value: Some(f64::from((day * 37 + 11) % 90 * 12 + 40)),
        band: None,
    });
    Chart { title: "Downloads a day".into(), unit: "downloads".into(), kind: ChartKind::Bars, points: points.collect() }
}

/// `n` days of ROAS with its interval; every 17th day has none.
pub(crate) fn roas(n: i32) -> Chart {
    let points = (0..n).map(|day| {
        let value = 1.2 + f64::from(day % 23) * 0.11 - f64::from(day % 7) * 0.05;
        let spread = 0.9 / (1.0 + f64::from(day) * 0.2);
        let known = day % 17 != 16;
        Point {
            at: Day(FIRST.0 + day).start(),
            value: known.then_some(value),
            band: known.then_some((value - spread, value + spread)),
        }
    });
    Chart {
        title: "ROAS to date".into(),
        unit: "revenue / spend".into(),
        kind: ChartKind::Line,
        points: points.collect(),
    }
}

/// A table of `n` episodes.
pub(crate) fn episodes(n: i64) -> Table {
    let titles =
        ["Zażółć gęślą jaźń", "Crème brûlée & Straßenbahn", "Ελληνικά μεταξύ μας", "Привет, мир", "שלום עולם (pilot)"];
    let rows = (0..n).map(|i| {
        let title = titles[usize::try_from(i).unwrap() % titles.len()];
        vec![
            Value::text(format!("{}. {title}", i + 1)),
            Value::Day(Day(FIRST.0 + i32::try_from(i % 300).unwrap())),
            Value::Count(12_345 - i * 7),
            usd(1_234_567 - i * 1_111),
            if i % 5 == 4 { Value::Null } else { Value::Rate(3.25) },
        ]
    });
    Table {
        title: "Per episode".into(),
        columns: vec![
            Column::text("Episode"),
            Column::text("Published"),
            Column::number("Downloads"),
            Column::money("Revenue"),
            Column::number("ROAS"),
        ],
        rows: rows.collect(),
        total: Some(vec![
            Value::text("Total"),
            Value::Null,
            Value::Count(12_345 * n),
            usd(1_234_567 * n),
            Value::Rate(3.25),
        ]),
    }
}

fn figure(label: &str, value: Value, band: (Value, Value), note: &str) -> Figure {
    let sql = format!("SELECT figure FROM campaign_performance WHERE label = '{}'", label.to_lowercase());
    Figure { label: label.into(), value, low: band.0, high: band.1, note: note.into(), sql }
}

fn figures() -> Vec<Figure> {
    let none = || (Value::Null, Value::Null);
    vec![
        figure("Revenue", usd(4_812_050), none(), ""),
        figure("Spend", usd(1_500_000), none(), "at CPM 25.00 USD, capped at the budget"),
        figure("ROAS", Value::Rate(3.208), (Value::Rate(2.71), Value::Rate(3.706)), ""),
        figure("Conversion rate", Value::Percent(0.0231), (Value::Percent(0.0198), Value::Percent(0.0269)), ""),
        figure("Household reach", Value::Count(48_201), none(), "Mar 1 – Mar 31, one key month"),
        figure("Cost per acquisition", Value::Null, none(), "thin: 4 conversions"),
    ]
}

/// A document with one of everything.
pub(crate) fn small() -> Document {
    document(2, 3)
}

/// A document whose charts cover `days` and whose table has `rows`.
pub(crate) fn document(days: i32, rows: i64) -> Document {
    Document {
        title: "Campaign report: Größe & Łódź".into(),
        subtitle: "Nordic Café Podcasts, 2026-02-16 to 2026-04-01 UTC".into(),
        created_at: "2026-04-02T08:15:00Z".parse().unwrap(),
        footer: "Castback, revision 48,211".into(),
        facts: vec![
            Fact::new("Account", Value::text("Nordic Café Podcasts")),
            Fact::new("Period", Value::text("2026-02-16 to 2026-04-01 (both included)")),
            Fact::new("Time zone", Value::text("UTC")),
            Fact::new("Campaign", Value::text("Größe & Łódź")),
            Fact::new("Budget", usd(1_500_000)),
            Fact::new("Attribution", Value::text("last touch, 30 days look-back")),
        ],
        blocks: vec![
            Block::Heading("Key figures".into()),
            Block::Figures(figures()),
            Block::Heading("Over time".into()),
            Block::Chart(downloads(days)),
            Block::Chart(roas(days)),
            Block::Heading("Episodes".into()),
            Block::Table(episodes(rows)),
            Block::PageBreak,
            Block::Heading("Methodology".into()),
            Block::Paragraph("Downloads follow the IAB rules, version 2.3. A download is not a listen.\nIntervals are 95 %; figures with fewer than 10 conversions are marked thin.".into()),
            Block::Sql(vec![Statement {
                label: "ROAS".into(),
                sql: "SELECT sum(revenue_minor) / sum(spend_minor)\nFROM campaign_performance\nWHERE campaign_id = '0190'\n  AND day >= DATE '2026-02-16'".into(),
            }]),
        ],
    }
}
