//! Asking the counting unit to judge days again, after something changed what they say.

use castback_catalogue::unit_requests::RequestKind;
use castback_schemas::{AccountId, Day, Group, PodcastId, Slot, Unit};
use serde_json::json;

use crate::App;
use crate::problem::Result;

/// Asks for the days from `from` to `to`, both included, of one podcast or of all of an account.
pub(crate) async fn recount(
    app: &App,
    account: AccountId,
    podcast: Option<PodcastId>,
    (from, to): (Day, Day),
) -> Result<()> {
    let unit = Unit { group: Group::Counting, slot: Slot::of(account) };
    let body = json!({ "account": account, "podcast": podcast, "from": from, "to": to });
    app.catalogue.enqueue_unit_request(unit, RequestKind::Recount, body.to_string()).await?;
    Ok(())
}
