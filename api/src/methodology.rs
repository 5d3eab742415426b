//! `GET /v1/methodology`: how things are counted here, from the running configuration.

use std::fmt::Write;
use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use castback_rules::credit::Model;
use castback_rules::filter::FilterReason;
use castback_rules::interval;
use castback_rules::lists::Lists;
use castback_rules::safe_list::VERIFIED_FOR;
use castback_rules::window::{CONTENT_SECONDS, Window};
use castback_schemas::Micros;
use castback_schemas::time::DAY;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde::Serialize;
use utoipa::ToSchema;

use crate::App;
use crate::accept::preferred;
use crate::identity::Caller;
use crate::problem::Result;

/// The guidelines whose rules are implemented.
pub(crate) const STANDARD: &str = "IAB Tech Lab Podcast Measurement Technical Guidelines v2.3, final 2026-09-29";

/// What we chose where the guidelines leave a choice, or more strictly than they ask.
const CHOICES: &[&str] = &[
    "with the 301st distinct episode and user agent from one address, per podcast and UTC day, all its requests of that day are filtered (rate)",
    "where no ranges are known, bytes are summed and capped at the file",
    "a 200 must reach the threshold too, by the bytes sent",
    "an episode whose length or duration is unknown, or shorter than 60 s, needs all of its bytes",
    "a request of a prefix redirect shows no bytes: it is estimated apart and never added to downloads",
    "an ad is delivered only inside a valid download; a dynamic one only where the request names it, with all of its bytes",
    "a household is an IPv4 address or an IPv6 /64; a listener is a household with its user agent; both are keyed hashes of their month, and addresses are not kept",
    "conversions, revenue and spend of other currencies are listed, never converted",
];

/// What is never counted, whatever else it is.
const EXCLUSIONS: &[&str] = &[
    "HLS segments and other addresses that are no enclosure of a feed",
    "methods other than GET, statuses other than 200 and 206 (304 never counts)",
    "player events: a download is not a listen",
];

/// A window.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WindowRule {
    name: &'static str,
    rule: &'static str,
}

/// A version of the lists.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ListsVersion {
    version: String,
    /// Ranges of the safe list that are verified, and those refused because they are not.
    safe_list: [usize; 2],
}

/// How things are counted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Methodology {
    standard: &'static str,
    statement: &'static str,
    windows: Vec<WindowRule>,
    default_window: &'static str,
    threshold: String,
    /// Reasons to filter, in the order of judgement: the first that applies.
    filters: Vec<&'static str>,
    exclusions: &'static [&'static str],
    choices: &'static [&'static str],
    lists: ListsVersion,
    /// Credit models, and how a look-back is set.
    attribution: Vec<String>,
    intervals: Vec<String>,
    lateness: Vec<&'static str>,
    /// When the counts were last audited by ourselves; null where no audit was kept.
    last_self_audit: Option<String>,
}

/// The description of methodology, as JSON or with `Accept: text/markdown` as text; two of them can be compared.
#[utoipa::path(get, path = "/v1/methodology", tag = "why", responses((status = 200, body = Methodology)))]
pub(crate) async fn get(State(app): State<Arc<App>>, _caller: Caller, headers: HeaderMap) -> Result<Response> {
    let now = app.clock.now();
    let methodology = Methodology::of(app.lists.at(now), now);
    if preferred(&headers, "application/json", &["text/markdown", "text/plain"]) != "application/json" {
        return Ok(([(CONTENT_TYPE, "text/markdown; charset=utf-8")], methodology.text()).into_response());
    }
    Ok(Answer(methodology).into_response())
}

impl Methodology {
    /// As these lists and the rules of this program have it.
    pub(crate) fn of(lists: &Lists, now: Micros) -> Self {
        let refused = lists.safe.refused(now).count();
        let window = |window: Window| WindowRule { name: window.name(), rule: rule(window) };
        let models: Vec<&str> = Model::ALL.iter().map(|model| model.name()).collect();
        Self {
            standard: STANDARD,
            statement: "The rules of these guidelines are implemented; nobody has audited this installation unless it is said below.",
            windows: Window::ALL.map(window).into(),
            default_window: Window::default().name(),
            threshold: format!(
                "header bytes (0 unless known) + {CONTENT_SECONDS} s of content: enclosure length ÷ duration × {CONTENT_SECONDS}"
            ),
            filters: FilterReason::ALL.iter().map(|reason| reason.as_str()).collect(),
            exclusions: EXCLUSIONS,
            choices: CHOICES,
            lists: ListsVersion {
                version: lists.version.clone(),
                safe_list: [lists.safe.entries().len() - refused, refused],
            },
            attribution: vec![
                "a touch that names its campaign (promo code, survey, vanity address, pixel, in this order) has all credit".to_owned(),
                format!(
                    "else credit is divided over exposures of the household inside each campaign's look-back (1 to 60 days, 30 unless set), by model: {}",
                    models.join(", ")
                ),
                "credit adds up to 1 for every attributed conversion; those that nothing reaches are shown as unattributed".to_owned(),
            ],
            intervals: vec![
                format!("95 %, z = {}", interval::Z),
                "proportions: Wilson's interval, where the numerator is part of the denominator".to_owned(),
                "ROAS: (revenue ± z·√Σ(credit·value)²) / spend, not below 0; none where refunds exceed the revenue, so that \
                 the return itself is below 0"
                    .to_owned(),
                format!("thin: fewer than {} conversions", interval::THIN_CONVERSIONS),
            ],
            lateness: vec![
                "a day of listener requests freezes 7 days after its podcast's newest request, of app events 24 hours, of conversions 30 days",
                "what comes for a frozen day is late, and a recount follows",
            ],
            last_self_audit: None,
        }
    }

    /// As lines of text.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("# Methodology\n\n{}. {}\n", self.standard, self.statement);
        let mut part = |title: &str, lines: Vec<String>| {
            // Writing to a string cannot fail.
            write!(text, "\n## {title}\n\n").unwrap_or_default();
            for line in lines {
                writeln!(text, "- {line}").unwrap_or_default();
            }
        };
        let owned = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        let windows = self.windows.iter().map(|window| format!("`{}`: {}", window.name, window.rule));
        part(
            "Windows",
            windows.chain([format!("`{}` unless a podcast chooses another", self.default_window)]).collect(),
        );
        part("Threshold", vec![self.threshold.clone()]);
        part("Filters, the first that applies", vec![self.filters.join(", ")]);
        part("Exclusions", owned(self.exclusions));
        part("Our choices", owned(self.choices));
        let [verified, refused] = self.lists.safe_list;
        let days = VERIFIED_FOR / DAY;
        part(
            "Lists",
            vec![
                format!("version `{}`", self.lists.version),
                format!("safe list: {verified} verified, {refused} refused (not verified for {days} days)"),
            ],
        );
        part("Attribution", self.attribution.clone());
        part("Intervals", self.intervals.clone());
        part("Late records", owned(&self.lateness));
        part("Self-audit", vec![self.last_self_audit.clone().unwrap_or_else(|| "none is kept".to_owned())]);
        text
    }
}

fn rule(window: Window) -> &'static str {
    match window {
        Window::UtcDay => "one download per listener, episode and UTC day",
        Window::FirstTouch => "a download at t opens [t, t + 24 h); exactly 24 h later is new",
        Window::LastTouch => "the same, extended by every request inside it",
    }
}

#[cfg(test)]
mod tests {
    use castback_rules::lists::ListTexts;

    use super::*;

    #[test]
    fn it_is_made_of_what_runs() {
        let lists = Lists::new(&ListTexts::seed(), Micros(0)).unwrap();
        let text = Methodology::of(&lists, Micros(0)).text();
        for part in
            ["utc_day", "first_touch_24h", "last_touch_24h", "below_threshold", "time_decay", lists.version.as_str()]
        {
            assert!(text.contains(part), "no {part} in {text}");
        }
        assert!(!text.to_lowercase().contains("certified"));
        let json = serde_json::to_value(Methodology::of(&lists, Micros(0))).unwrap();
        assert_eq!(json["filters"].as_array().unwrap().len(), FilterReason::ALL.len());
        assert!(json["last_self_audit"].is_null());
    }
}
