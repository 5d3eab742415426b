//! What surrounds every page.

use castback_catalogue::campaigns::Campaign;
use castback_schemas::{CampaignId, Micros, Revision};
use maud::{DOCTYPE, Markup, html};

use crate::render::Value;

/// Seconds until a signed-in page is loaded again.
const REFRESH: u32 = 5;

/// What the frame of a signed-in page shows.
pub(super) struct Parts<'a> {
    pub(super) campaigns: &'a [Campaign],
    pub(super) picked: Option<CampaignId>,
    pub(super) revision: Revision,
    pub(super) now: Micros,
}

fn frame(refresh: bool, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                @if refresh { meta http-equiv="refresh" content=(REFRESH); }
                title { "Castback" }
                link rel="stylesheet" href="/style.css";
            }
            body {
                header.top {
                    a.brand href="/" { "Castback" }
                    span.claim { "what every campaign brings back, while it runs" }
                    nav { a href="/docs" { "API" } }
                }
                main { (body) }
            }
        }
    }
}

/// How to sign in.
pub(super) fn signed_out() -> Markup {
    let body = html! {
        section.card {
            h1 { "Sign in" }
            p { "Open the one-time link that " code { "castback demo" } " or your operator gave you, or sign in over the API:" }
            pre { "curl -i -c cookies.txt -H 'Content-Type: application/json' \\\n  -d '{\"email\": \"you@example.com\", \"password\": \"…\"}' \\\n  \"$SERVER/v1/sessions\"" }
            p { "New here? " code { "POST /v1/users" } " signs you up and shows your API key once. " a href="/docs" { "Every call is documented." } }
        }
    };
    frame(false, &body)
}

/// What to do instead of following a one-time link again.
pub(super) fn used_link() -> Markup {
    let body = html! {
        section.card {
            h1 { "This link signs in no more" }
            p { "A one-time link is good once, and only for a few minutes: this one was used already, or is too old." }
            p { "If it was you who used it, you are signed in: " a href="/" { "go to the first page" } ". Else ask whoever gave it to you for another one, or sign in by your password, as " a href="/" { "that page" } " says." }
        }
    };
    frame(false, &body)
}

/// The page of a signed-in caller.
pub(super) fn signed_in(parts: &Parts<'_>, body: &Markup) -> Markup {
    let body = html! {
        form.picker method="get" action="/" {
            label for="campaign" { "Campaign" }
            select #campaign name="campaign" {
                @for campaign in parts.campaigns {
                    option value=(campaign.id) selected[Some(campaign.id) == parts.picked] {
                        (campaign.terms.name) " · " (campaign.state.as_str())
                    }
                }
            }
            button { "Show" }
        }
        (body)
        footer { "As of " (Value::Time(parts.now)) " · revision " (parts.revision) " · all times UTC · loads itself again every " (REFRESH) " s" }
    };
    frame(true, &body)
}
