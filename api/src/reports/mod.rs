//! Reports: what each kind says, as a document that knows no format.
//!
//! Where to add: one file with a `build`, and a row in [`REPORTS`].

mod attribution;
mod downloads;
mod episodes;
mod roi;

use castback_catalogue::campaigns::Campaign;
use castback_catalogue::reports::{Report, ReportKind};
use castback_schemas::campaign::PriceModel;
use castback_schemas::{Micros, Money};
use futures::future::BoxFuture;

use crate::App;
use crate::methodology::Methodology;
use crate::problem::{Problem, Result};
use crate::query::Ask;
use crate::render::{Block, Document, Fact, Figure, Statement, Value};

/// A kind of report.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReportSpec {
    /// Its kind.
    pub(crate) kind: ReportKind,
    /// Whether it is about one campaign.
    pub(crate) of_campaign: bool,
    /// Writes it.
    pub(crate) build: for<'a> fn(&'a Making<'a>) -> BoxFuture<'a, Result<Document>>,
}

/// Every kind of report.
pub(crate) const REPORTS: &[ReportSpec] = &[
    ReportSpec { kind: ReportKind::Roi, of_campaign: true, build: roi::build },
    ReportSpec { kind: ReportKind::Downloads, of_campaign: false, build: downloads::build },
    ReportSpec { kind: ReportKind::Attribution, of_campaign: true, build: attribution::build },
];

/// The row of a kind.
pub(crate) fn spec(kind: ReportKind) -> Option<&'static ReportSpec> {
    REPORTS.iter().find(|spec| spec.kind == kind)
}

/// A report being made, as of one commit.
#[derive(Debug)]
pub(crate) struct Making<'a> {
    /// The server.
    pub(crate) app: &'a App,
    /// What is asked.
    pub(crate) ask: Ask,
    /// The job.
    pub(crate) report: &'a Report,
    /// Now.
    pub(crate) now: Micros,
}

impl Making<'_> {
    /// The campaign that the report is about.
    async fn campaign(&self) -> Result<Campaign> {
        let id = self.report.campaign.ok_or_else(|| Problem::field("campaign_id", "name a campaign"))?;
        Ok(self.app.catalogue.campaign(self.report.account, id).await?)
    }

    /// `2026-03-01 to 2026-03-31 (UTC)`, the last day included; instants where the ends are no midnights.
    fn period(&self) -> String {
        let (from, to) = (self.report.from, self.report.to);
        let midnight = |at: Micros| at == at.day().start();
        if midnight(from) && midnight(to) {
            format!("{} to {} (UTC)", from.day(), to.day().previous())
        } else {
            format!("{from} until {to} (UTC)")
        }
    }

    /// A document without blocks: title, account, period and revision.
    async fn document(&self, title: String, subtitle: &str) -> Result<Document> {
        let account = self.report.account;
        let mut facts = vec![Fact::new("Account", Value::text(account.to_string()))];
        if let Some(user) = self.report.user
            && let Some(member) = self.app.catalogue.members(account).await?.iter().find(|member| member.id == user)
        {
            let name = if member.name.is_empty() { &member.email } else { &member.name };
            facts.push(Fact::new("Asked for by", Value::text(name)));
        }
        facts.push(Fact::new("Period", Value::text(self.period())));
        facts.push(Fact::new("Time zone", Value::text("UTC")));
        facts.push(Fact::new("Revision", Value::Count(self.ask.revision().0)));
        facts.push(Fact::new("As of", Value::Time(self.now)));
        let subtitle = if subtitle.is_empty() { self.period() } else { format!("{subtitle} · {}", self.period()) };
        Ok(Document {
            title,
            subtitle,
            created_at: self.now,
            footer: format!("Castback · revision {} · UTC", self.ask.revision()),
            facts,
            blocks: Vec::new(),
        })
    }

    /// The last page: method, revision, and the SQL of every figure.
    fn last_page(&self, figures: &[Figure], others: Vec<Statement>) -> Vec<Block> {
        let method = Methodology::of(self.app.lists.at(self.now), self.now).text().replace('`', "");
        let lines: Vec<&str> = method.lines().skip(2).map(|line| line.trim_start_matches(['#', ' '])).collect();
        let words = format!(
            "Every number above is the answer of a statement below, as of revision {} (give it as \"as_of\" with POST /v1/sql).",
            self.ask.revision()
        );
        let of_figure = |figure: &Figure| Statement { label: figure.label.clone(), sql: figure.sql.clone() };
        vec![
            Block::PageBreak,
            Block::Heading("Methodology".to_owned()),
            Block::Paragraph(lines.join("\n").trim().to_owned()),
            Block::Heading("SQL".to_owned()),
            Block::Paragraph(words),
            Block::Sql(figures.iter().filter(|figure| !figure.sql.is_empty()).map(of_figure).chain(others).collect()),
        ]
    }
}

/// A campaign in facts.
fn campaign_facts(campaign: &Campaign, podcasts: &[String]) -> Vec<Fact> {
    let terms = &campaign.terms;
    let money = |amount| Value::Money(Money { amount, currency: terms.currency });
    let day = |day: Option<castback_schemas::Day>| day.map_or(Value::Null, Value::Day);
    let price = match terms.price_model {
        Some(PriceModel::Cpm(price)) => Fact::new("Price per 1,000 impressions", money(price)),
        Some(PriceModel::Flat(price)) => Fact::new("Flat price", money(price)),
        None => Fact::new("Price", Value::Null),
    };
    let attribution = &terms.attribution;
    let mut methods = Vec::new();
    if !attribution.promo_codes.is_empty() {
        methods.push(format!("promo codes {}", attribution.promo_codes.join(", ")));
    }
    if let Some(slug) = &attribution.vanity_slug {
        methods.push(format!("vanity address /r/{slug}"));
    }
    if attribution.pixel != castback_schemas::campaign::PixelUse::Off {
        methods.push("pixel".to_owned());
    }
    if attribution.survey.is_some() {
        methods.push("survey".to_owned());
    }
    vec![
        Fact::new("Campaign", Value::text(&terms.name)),
        Fact::new("Advertiser", Value::text(&terms.advertiser)),
        Fact::new("State", Value::text(campaign.state.as_str())),
        Fact::new("First day", day(terms.starts_on)),
        Fact::new("Last day", day(terms.ends_on)),
        Fact::new("Budget", terms.budget.map_or(Value::Null, money)),
        price,
        Fact::new("Look-back, days", Value::Count(i64::from(terms.lookback_days))),
        Fact::new("Attribution", Value::text(methods.join("; "))),
        Fact::new("Podcasts", Value::text(podcasts.join(", "))),
    ]
}
