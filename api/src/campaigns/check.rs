//! What the fields of a campaign may be.

use std::collections::HashSet;

use castback_schemas::Money;
use castback_schemas::campaign::Placement;
use url::Url;

use super::shape::{AttributionBody, PriceBody, TermsBody};
use crate::extract::Checks;

/// Entries of a short list (data sets, codes, referrers).
const MAX_ENTRIES: usize = 100;
/// Placements of a campaign.
const MAX_PLACEMENTS: usize = 100;
/// Episodes that one placement names.
const MAX_EPISODES: usize = 1_000;
/// Longest flight, in days: ten years.
const MAX_FLIGHT: i32 = 3_660;
/// Largest amount, in minor units: far below what sums of 64 bits hold.
const MAX_AMOUNT: i64 = 1_000_000_000_000_000;
/// Longest word, in characters.
const WORD: (usize, usize) = (1, 64);

/// Notes every field of the terms that does not fit.
pub(super) fn terms(body: &TermsBody, checks: &mut Checks) {
    checks.length(body.name.trim(), (1, 200), "name");
    checks.length(&body.advertiser, (0, 200), "advertiser");
    checks.check(body.podcast_ids.len() <= MAX_ENTRIES, "podcast_ids", "expected at most 100");
    data_sets(&body.data_set_ids, checks);
    if let Some(url) = &body.landing_url {
        checks.check(is_page(url), "landing_url", "expected an http or https address of at most 2048 bytes");
    }
    if let (Some(first), Some(last)) = (body.starts_on, body.ends_on) {
        checks.check(first <= last, "ends_on", "expected starts_on or later");
        checks.check(last.0.saturating_sub(first.0) <= MAX_FLIGHT, "ends_on", "expected a flight of at most ten years");
    }
    amount(body.budget, "budget", checks);
    amount(body.price_model.map(PriceBody::money), "price_model", checks);
    placements(&body.placements, checks);
    checks.check(body.lookback_days.is_none_or(|days| (1..=60).contains(&days)), "lookback_days", "expected 1 to 60");
    let roas = body.goals.roas.is_none_or(|roas| roas.is_finite() && roas >= 0.0);
    checks.check(roas, "goals.roas", "expected 0 or more");
    attribution(&body.attribution, "attribution.", checks);
    words(&body.exclusions.referrers, (1, 256), "exclusions.referrers", checks);
    words(&body.exclusions.utm_sources, (1, 256), "exclusions.utm_sources", checks);
}

/// Notes every method of attribution that does not fit; `at` is where it stands in the body.
pub(super) fn attribution(body: &AttributionBody, at: &str, checks: &mut Checks) {
    words(&body.promo_codes, WORD, &format!("{at}promo_codes"), checks);
    words(body.survey.as_deref().unwrap_or_default(), (1, 256), &format!("{at}survey"), checks);
    if let Some(slug) = &body.vanity_slug {
        let letters = slug.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        let fits = letters && (WORD.0..=WORD.1).contains(&slug.len());
        checks.check(fits, &format!("{at}vanity_slug"), "expected 1 to 64 letters, digits, - and _");
    }
}

fn words(words: &[String], length: (usize, usize), field: &str, checks: &mut Checks) {
    checks.check(words.len() <= MAX_ENTRIES, field, "expected at most 100");
    for (index, word) in words.iter().enumerate().take(MAX_ENTRIES) {
        checks.length(word.trim(), length, &format!("{field}[{index}]"));
    }
}

fn data_sets(ids: &[String], checks: &mut Checks) {
    words(ids, (1, 256), "data_set_ids", checks);
    checks.check(!ids.iter().any(|id| id.contains('/')), "data_set_ids", "expected no slash");
}

/// An address that a browser may be sent to.
fn is_page(text: &str) -> bool {
    let page = |url: Url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
    };
    text.len() <= 2_048 && text.is_ascii() && !text.contains(char::is_whitespace) && Url::parse(text).is_ok_and(page)
}

fn amount(money: Option<Money>, field: &str, checks: &mut Checks) {
    let fits = money.is_none_or(|money| (0..=MAX_AMOUNT).contains(&money.amount));
    checks.check(fits, field, "expected an amount from 0 to 10^15 minor units");
}

fn placements(all: &[Placement], checks: &mut Checks) {
    checks.check(all.len() <= MAX_PLACEMENTS, "placements", "expected at most 100");
    let mut ids = HashSet::new();
    for (index, placement) in all.iter().enumerate().take(MAX_PLACEMENTS) {
        let field = |name: &str| format!("placements[{index}].{name}");
        checks.length(&placement.id, WORD, &field("id"));
        checks.check(ids.insert(&placement.id), &field("id"), "expected an id of its own");
        let bytes = match (placement.from_byte, placement.to_byte) {
            (Some(from), Some(to)) => from < to && i64::try_from(to).is_ok(),
            (None, None) => true,
            _ => false,
        };
        checks.check(bytes, &field("to_byte"), "expected from_byte and a greater to_byte, or neither");
        checks.check(placement.duration_seconds != Some(0), &field("duration_seconds"), "expected 1 or more");
        let episodes = placement.episode_guids.as_ref().map_or(0, Vec::len);
        checks.check(episodes <= MAX_EPISODES, &field("episode_guids"), "expected at most 1000");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::problem::Problem;

    fn checked(change: impl FnOnce(&mut Value)) -> Result<(), Problem> {
        let mut body = json!({
            "name": "Autumn", "currency": "USD", "budget": {"amount": 100, "currency": "USD"},
            "price_model": {"cpm": {"amount": 2500, "currency": "USD"}}, "starts_on": "2026-01-01", "ends_on": "2026-01-31",
            "landing_url": "https://shop.example/", "placements": [{"id": "a", "position": "pre_roll"}],
            "attribution": {"promo_codes": ["AUTUMN"], "vanity_slug": "autumn-26", "complete": false},
        });
        change(&mut body);
        let body: TermsBody = serde_json::from_value(body).unwrap();
        let mut checks = Checks::default();
        terms(&body, &mut checks);
        let terms = body.into_terms(&mut checks);
        assert!(terms.attribution.complete());
        checks.done()
    }

    #[test]
    fn each_field_is_checked_and_named() {
        checked(|_| ()).unwrap();
        let money = |amount: i64, currency: &str| json!({"amount": amount, "currency": currency});
        let cases: Vec<(&str, &str, Value)> = vec![
            ("name", "/name", json!(" ")),
            ("landing_url", "/landing_url", json!("javascript:alert(1)")),
            ("landing_url", "/landing_url", json!("https://user@shop.example/")),
            ("ends_on", "/ends_on", json!("2025-12-31")),
            ("ends_on", "/ends_on", json!("2099-12-31")),
            ("budget", "/budget", money(-1, "USD")),
            ("budget", "/budget", money(1, "EUR")),
            ("price_model", "/price_model", json!({"flat": money(i64::MAX, "USD")})),
            ("placements[0].id", "/placements/0/id", json!("")),
            ("placements[0].to_byte", "/placements/0/from_byte", json!(7)),
            ("attribution.vanity_slug", "/attribution/vanity_slug", json!("../evil")),
            ("attribution.promo_codes[0]", "/attribution/promo_codes/0", json!("")),
        ];
        for (field, pointer, value) in cases {
            let refused = checked(|body| {
                if let Some(place) = body.pointer_mut(pointer) {
                    *place = value;
                } else {
                    body["placements"][0]["from_byte"] = value;
                }
            });
            let problem = refused.unwrap_err();
            assert!(problem.to_string().contains(field), "{field}: {problem}");
        }
    }
}
