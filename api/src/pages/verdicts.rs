//! What became of the records, and the latest that were filtered.

use castback_schemas::Micros;
use castback_schemas::time::DAY;
use maud::{Markup, html};

use crate::ledger::balance::Balance;
use crate::problem::Result;
use crate::query::Ask;
use crate::query::literal::within;
use crate::render::Value;

/// Filtered requests shown.
const LATEST: usize = 12;

/// How far back they are looked for.
const BACK: i64 = 7 * DAY;

/// Longest user agent shown, in characters.
const AGENT: usize = 60;

/// The width of the verdict bar in its own units.
const WIDTH: i64 = 1_000;

/// The identity as a bar: every accepted record ends in one bucket.
pub(super) fn bar(balance: &Balance) -> Markup {
    let parts = [
        ("counted", balance.counted),
        ("duplicate", balance.duplicate),
        ("filtered", balance.filtered),
        ("late", balance.late),
        ("dead-lettered", balance.dead_lettered),
    ];
    let all: i64 = parts.iter().map(|(_, records)| records).sum();
    let mut from = 0;
    let places = parts.map(|(name, records)| {
        let width = i64::try_from(i128::from(records) * i128::from(WIDTH) / i128::from(all.max(1))).unwrap_or(0);
        let place = (name, records, from, width);
        from += width;
        place
    });
    html! {
        section.card {
            h2 { "Every accepted record, and what became of it" }
            svg.bar viewBox={ "0 0 " (WIDTH) " 24" } preserveAspectRatio="none" role="img" aria-label="verdicts" {
                rect.empty x="0" y="0" width=(WIDTH) height="24" {}
                @for (name, records, from, width) in places {
                    rect class=(name) x=(from) y="0" width=(width) height="24" { title { (name) ": " (Value::Count(records)) } }
                }
            }
            p.identity {
                (Value::Count(balance.accepted)) " accepted"
                @for (index, (name, records)) in parts.iter().enumerate() {
                    @if index == 0 { " = " } @else { " + " }
                    span class={ "verdict " (name) } { (Value::Count(*records)) " " (name) }
                }
                @if let Some(from) = balance.kept_from { " since " (from.day()) }
                @if balance.pending > 0 { " · " (Value::Count(balance.pending)) " pending" }
                " · "
                @if balance.balanced { strong.good { "balanced" } } @else { strong { "settling" } }
            }
        }
    }
}

/// The latest filtered requests with their reasons.
pub(super) async fn filtered(ask: &Ask, now: Micros) -> Result<Markup> {
    let rows = ask
        .one(&format!(
            "SELECT CAST(occurred_at AS BIGINT) AS at, event_id, reason, user_agent FROM requests \
             WHERE verdict = 'filtered' AND {} ORDER BY occurred_at DESC, \"offset\" DESC LIMIT {LATEST}",
            within("occurred_at", now.plus(-BACK), now.plus(DAY))
        ))
        .await?;
    Ok(html! {
        section.card {
            h2 { "Latest filtered requests" }
            @if rows.len() == 0 { p.quiet { "None in the last 7 days." } } @else {
                table {
                    thead { tr { th { "When" } th { "Why" } th { "User agent" } th { "Event" } } }
                    tbody {
                        @for row in 0..rows.len() {
                            tr {
                                td { (Value::Time(rows.micros(row, "at").floor(castback_schemas::time::SECOND))) }
                                td { span.reason { (rows.text(row, "reason")) } }
                                td { (cut(rows.text(row, "user_agent"))) }
                                td { code { (rows.text(row, "event_id")) } }
                            }
                        }
                    }
                }
            }
        }
    })
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(AGENT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_shows_the_identity() {
        let balance = Balance {
            accepted: 1_000,
            counted: 600,
            duplicate: 250,
            filtered: 150,
            late: 0,
            dead_lettered: 0,
            pending: 2,
            balanced: true,
            kept_from: None,
            from: None,
            to: None,
            revision: 7,
        };
        insta::assert_snapshot!(bar(&balance).into_string());
    }

    #[test]
    fn long_agents_are_cut_between_letters() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"é".repeat(100)).chars().count(), AGENT + 1);
    }
}
