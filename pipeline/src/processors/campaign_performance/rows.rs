//! The rows that `campaign_performance` writes: what came, and what went (`withdrawn`).

use arrow::error::ArrowError;
use castback_rules::verdict::Reason;
use castback_schemas::table::Table;
use castback_schemas::{AccountId, Micros, Slot, Topic};

use super::attribution::{Attributed, Credit, Touch};
use super::conversions::Conversion;
use super::{Carrier, Delivered};
use crate::change::{Changes, Value};
use crate::directory::Directory;
use crate::ledger::RULE_VERSION;
use crate::ledger::judged::Judged;

/// The credit row of a conversion that nobody is credited for.
const NO_MODEL: &str = "none";

/// Deliveries of a request that differ.
pub(super) fn deliveries(
    (account, slot, offset): (AccountId, Slot, i64),
    (old, new): (&[Delivered], &Carrier),
    out: &mut Changes,
) -> Result<(), ArrowError> {
    let same = |a: &Delivered, b: &Delivered| (a.campaign, &a.placement) == (b.campaign, &b.placement);
    let event_id = new.event_id.as_deref();
    for delivered in old.iter().filter(|old| !new.delivered.iter().any(|new| same(old, new))) {
        delivery((account, slot, offset), (delivered, event_id, true), out)?;
    }
    for delivered in new.delivered.iter().filter(|new| !old.contains(new)) {
        delivery((account, slot, offset), (delivered, event_id, false), out)?;
    }
    Ok(())
}

fn delivery(
    (account, slot, offset): (AccountId, Slot, i64),
    (delivered, event_id, withdrawn): (&Delivered, Option<&str>, bool),
    out: &mut Changes,
) -> Result<(), ArrowError> {
    let (account, campaign) = (account.to_string(), delivered.campaign.to_string());
    let (podcast, episode) = (delivered.podcast.to_string(), delivered.episode.to_string());
    let [utc_day, first_touch, last_touch] = delivered.windows;
    out.row(
        Table::AdDeliveries,
        &[
            account.as_str().into(),
            i64::from(slot.0).into(),
            offset.into(),
            campaign.as_str().into(),
            (&*delivered.placement).into(),
            podcast.as_str().into(),
            episode.as_str().into(),
            delivered.at.into(),
            delivered.listener.into(),
            delivered.household.into(),
            delivered.position_unknown.into(),
            utc_day.into(),
            first_touch.into(),
            last_touch.into(),
            delivered.exposure.into(),
            event_id.into(),
            withdrawn.into(),
        ],
    )
}

/// Touches and credits of a conversion that differ.
pub(super) fn attributed(
    place: (AccountId, Slot, i64),
    (old, new): (&Attributed, &Attributed),
    out: &mut Changes,
) -> Result<(), ArrowError> {
    let key = |credit: &Credit| (credit.campaign, credit.model);
    if let Some(conversion) = &old.conversion {
        for gone in old.touches.iter().filter(|old| !new.touches.contains(old)) {
            touch(place, (conversion, gone, true), out)?;
        }
        for gone in old.credits.iter().filter(|old| !new.credits.iter().any(|new| key(new) == key(old))) {
            credit(place, (conversion, Some(gone), true), out)?;
        }
        if old.credits.is_empty() && (!new.credits.is_empty() || new.conversion.is_none()) {
            credit(place, (conversion, None, true), out)?;
        }
    }
    if let Some(conversion) = &new.conversion {
        let changed = old.conversion != new.conversion;
        for come in new.touches.iter().filter(|new| changed || !old.touches.contains(new)) {
            touch(place, (conversion, come, false), out)?;
        }
        for come in new.credits.iter().filter(|new| changed || !old.credits.contains(new)) {
            credit(place, (conversion, Some(come), false), out)?;
        }
        if new.credits.is_empty() && (changed || !old.credits.is_empty()) {
            credit(place, (conversion, None, false), out)?;
        }
    }
    Ok(())
}

fn touch(
    (account, slot, offset): (AccountId, Slot, i64),
    (conversion, touch, withdrawn): (&Conversion, &Touch, bool),
    out: &mut Changes,
) -> Result<(), ArrowError> {
    let (account, campaign) = (account.to_string(), touch.campaign.to_string());
    out.row(
        Table::Touches,
        &[
            account.as_str().into(),
            i64::from(slot.0).into(),
            offset.into(),
            campaign.as_str().into(),
            touch.kind.name().into(),
            touch.request.into(),
            touch.at.into(),
            conversion.at.into(),
            touch.placement.as_deref().into(),
            touch.event_id.as_deref().into(),
            withdrawn.into(),
        ],
    )
}

fn credit(
    (account, slot, offset): (AccountId, Slot, i64),
    (conversion, credit, withdrawn): (&Conversion, Option<&Credit>, bool),
    out: &mut Changes,
) -> Result<(), ArrowError> {
    let account = account.to_string();
    let campaign = credit.map(|credit| credit.campaign.to_string()).unwrap_or_default();
    let currency = conversion.currency.map(|currency| currency.to_string());
    let household = credit.and_then(|credit| credit.household);
    out.row(
        Table::Credits,
        &[
            account.as_str().into(),
            i64::from(slot.0).into(),
            offset.into(),
            campaign.as_str().into(),
            credit.map_or(NO_MODEL, |credit| credit.model.name()).into(),
            conversion.at.into(),
            (&*conversion.event_type).into(),
            credit.map_or(0, |credit| credit.micro).into(),
            credit.map_or(0, |credit| credit.money).into(),
            currency.as_deref().into(),
            conversion.verified.into(),
            household.map(|(month, _)| i64::from(month)).into(),
            household.map(|(_, hash)| hash).into(),
            withdrawn.into(),
        ],
    )
}

/// A conversion's revised verdict.
pub(super) fn verdict(
    (account, slot, offset): (AccountId, Slot, i64),
    (at, previous, judged): (Micros, Judged, Judged),
    directory: &Directory,
    out: &mut Changes,
) -> Result<(), ArrowError> {
    let account = account.to_string();
    out.row(
        Table::Verdicts,
        &[
            account.as_str().into(),
            Topic::Conversions.name().into(),
            i64::from(slot.0).into(),
            offset.into(),
            at.into(),
            Value::Null,
            judged.verdict().as_str().into(),
            previous.verdict().as_str().into(),
            judged.reason.map(Reason::as_str).into(),
            judged.duplicate_of.into(),
            false.into(),
            false.into(),
            false.into(),
            RULE_VERSION.into(),
            directory.change().into(),
        ],
    )
}
