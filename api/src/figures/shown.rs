//! Figures as a document shows them: value, interval, what to mind, and the SQL behind it.

use castback_rules::credit::ONE;
use castback_rules::rates::Rate;
use castback_schemas::Money;
use serde_json::Value as Json;

use super::statements::Part;
use super::{Figures, Question};
use crate::render::{Figure, Value};

/// Key figures, in the order of reading.
pub(crate) fn shown(figures: &Figures, question: &Question) -> Vec<Figure> {
    let thin = if figures.thin() { "thin: fewer than 10 conversions" } else { "" };
    let money = |amount| Value::Money(Money { amount, currency: question.currency });
    let currency = question.currency.code();
    let major = |rate: Rate| {
        let of = |amount: Option<f64>| amount.map(|amount| amount / question.major());
        Rate { value: of(rate.value), low: of(rate.low), high: of(rate.high) }
    };
    let sums = &figures.sums;
    let usable = figures.usable_since().map_or_else(|| question.clone(), |since| question.since(since));
    let reach = match figures.reach_months {
        0 | 1 => String::new(),
        months => format!("summed over the keys of {months} months"),
    };
    let unknown = match figures.position_unknown {
        0 => String::new(),
        count => format!("{count} with unknown place in the file"),
    };
    let unverified = match figures.unverified {
        0 => thin.to_owned(),
        amount => format!("of it unverified: {}", Money { amount, currency: question.currency }),
    };
    let mut all = vec![
        rate("ROAS", sums.roas(), thin, question.roas()),
        rate("ROI", sums.roi(), thin, question.roi()),
        plain("Revenue", money(sums.revenue), &unverified, question.revenue()),
        plain("Spend", money(sums.spend), "", question.spend()),
        plain("Impressions", count(sums.impressions), &unknown, question.impressions()),
        plain("Downloads with an ad", count(figures.downloads), "", question.downloads()),
        plain("Reach, devices", count(figures.reach_device), &reach, question.reach("listener")),
        plain("Reach, households", count(sums.households), &reach, question.reach("household")),
        rate("Frequency", figures.frequency(), "impressions per device", question.frequency()),
        plain("Conversions", credits(sums.conversions_micro), thin, question.part(Part::Conversions)),
        percent("Conversion rate", sums.conversion_rate(), "of the households reached", question.conversion_rate()),
        plain("Visits", credits(sums.visits_micro), "", question.part(Part::Visits)),
        plain("Leads", credits(sums.leads_micro), "", question.part(Part::Leads)),
        plain("Unattributed conversions", count(figures.unattributed), "", question.unattributed()),
        rate("CPM", major(sums.cpm()), currency, question.cpm_rate()),
        rate("CPA", major(sums.cpa()), currency, question.cost_per(Part::Conversions)),
        rate("CPV", major(sums.cpv()), currency, question.cost_per(Part::Visits)),
        rate("CPL", major(sums.cpl()), currency, question.cost_per(Part::Leads)),
        rate("Average order value", major(sums.aov()), currency, question.order_value()),
        percent("Usable addresses", figures.usable_share(), "of the impressions", usable.usable_share()),
    ];
    if question.pixel_shown {
        let said = "sent by a pixel; no part of the revenue";
        all.push(plain("Revenue shown only", money(figures.shown_only), said, question.shown_only()));
    }
    all
}

/// The impressions of which prefix redirects let one think, beside the key figures.
pub(crate) fn prefix_estimated(impressions: u64, sql: String) -> Figure {
    let said = "estimated from what a redirect saw; no part of the impressions";
    plain("Impressions behind prefix redirects", count(impressions), said, sql)
}

/// Credit as a number: whole where it is.
pub(crate) fn credited(micro: i64) -> Json {
    if micro % ONE == 0 { Json::from(micro / ONE) } else { Json::from(fraction(micro)) }
}

/// Credit as a value: whole where it is.
pub(crate) fn credits(micro: i64) -> Value {
    if micro % ONE == 0 { Value::Count(micro / ONE) } else { Value::Rate(fraction(micro)) }
}

#[expect(clippy::cast_precision_loss, reason = "credit is shown to six digits; below 2^53 nothing is lost")]
fn fraction(micro: i64) -> f64 {
    micro as f64 / 1_000_000.0
}

fn count(count: u64) -> Value {
    Value::Count(i64::try_from(count).unwrap_or(i64::MAX))
}

fn plain(label: &str, value: Value, note: &str, sql: String) -> Figure {
    Figure { label: label.to_owned(), value, low: Value::Null, high: Value::Null, note: note.to_owned(), sql }
}

fn rate(label: &str, rate: Rate, note: &str, sql: String) -> Figure {
    let [value, low, high] = [rate.value, rate.low, rate.high].map(Value::rate);
    Figure { low, high, ..plain(label, value, note, sql) }
}

fn percent(label: &str, rate: Rate, note: &str, sql: String) -> Figure {
    let [value, low, high] = [rate.value, rate.low, rate.high].map(Value::percent);
    Figure { low, high, ..plain(label, value, note, sql) }
}
