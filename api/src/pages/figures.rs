//! A campaign's figures on a page.

use castback_catalogue::campaigns::Campaign;
use castback_rules::rates::Rate;
use castback_rules::window::Window;
use castback_schemas::Money;
use maud::{Markup, PreEscaped, html};

use crate::figures::{Figures, Question, credits};
use crate::performance::series::Sums;
use crate::query::Rows;
use crate::render::{Chart, ChartKind, Point, Value, svg};

/// Facts, figures and charts of a campaign.
pub(super) fn section(
    (campaign, question, figures): (&Campaign, &Question, &Figures),
    windows: &Rows,
    days: &[Sums],
) -> Markup {
    let sums = &figures.sums;
    let money = |amount| Value::Money(Money { amount, currency: question.currency });
    let count = |count: u64| Value::Count(i64::try_from(count).unwrap_or(i64::MAX));
    let flown_to = question.to.max(question.from.plus(1));
    html! {
        section.card {
            h1 { (campaign.terms.name) }
            p.quiet {
                @if !campaign.terms.advertiser.is_empty() { (campaign.terms.advertiser) " · " }
                (campaign.state.as_str())
                @if let Some((first, last)) = campaign.terms.starts_on.zip(campaign.terms.ends_on) {
                    " · " (first) " to " (last)
                }
            }
            div.figures {
                (figure("ROAS", &Value::rate(sums.roas().value), &band(&sums.roas())))
                (figure("Revenue", &money(sums.revenue), "credited, model last"))
                (figure("Spend", &money(sums.spend), &pacing(figures)))
                (figure("Conversions", &credits(sums.conversions_micro), if figures.thin() { "thin: fewer than 10" } else { "" }))
                (figure("Impressions", &count(sums.impressions), "ads delivered"))
                (figure("Reach", &count(sums.households), "households"))
            }
            @for warning in figures.warnings() { p.warning { (warning) } }
        }
        section.card {
            h2 { "Downloads with the ad, in three windows" }
            div.figures {
                @for (window, column) in
                    [(Window::UtcDay, "utc_day"), (Window::FirstTouch, "first_touch"), (Window::LastTouch, "last_touch")]
                {
                    (figure(window.name(), &count(windows.count(0, column)), rule(window)))
                }
            }
            (PreEscaped(svg(&downloads(days.iter().filter(|sums| sums.at < flown_to)))))
        }
        section.card {
            h2 { "Return on ad spend, with its 95 % band" }
            (PreEscaped(svg(&roas(days, question.currency.code()))))
        }
    }
}

fn figure(label: &str, value: &Value, note: &str) -> Markup {
    html! {
        div.figure {
            span.label { (label) }
            strong { (value) }
            span.quiet { (note) }
        }
    }
}

fn band(rate: &Rate) -> String {
    match (rate.low, rate.high) {
        (Some(low), Some(high)) => format!("{} to {}", Value::Rate(low), Value::Rate(high)),
        _ => String::new(),
    }
}

fn pacing(figures: &Figures) -> String {
    figures.pacing.map_or_else(String::new, |pacing| format!("pacing {pacing:.2}"))
}

fn rule(window: Window) -> &'static str {
    match window {
        Window::UtcDay => "one a UTC day",
        Window::FirstTouch => "24 h from the first",
        Window::LastTouch => "24 h from the last request",
    }
}

fn downloads<'a>(days: impl Iterator<Item = &'a Sums>) -> Chart {
    let points = days.map(|sums| Point { at: sums.at, value: Some(sums.downloads_real()), band: None });
    Chart {
        title: "Downloads with an ad per day".to_owned(),
        unit: "downloads".to_owned(),
        kind: ChartKind::Bars,
        points: points.collect(),
    }
}

/// Cumulated over the days shown.
fn roas(days: &[Sums], currency: &str) -> Chart {
    let mut total = Sums::default();
    let points = days.iter().map(|sums| {
        total.add(sums);
        let (value, band) = total.roas();
        Point { at: sums.at, value, band }
    });
    Chart {
        title: "ROAS, cumulated".to_owned(),
        unit: format!("{currency} per {currency}"),
        kind: ChartKind::Line,
        points: points.collect(),
    }
}
