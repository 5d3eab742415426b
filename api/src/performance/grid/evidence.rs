//! What the grid divides: conversions, the touches that name a campaign, exposures of households.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use castback_catalogue::campaigns::Campaign;
use castback_rules::credit::{CampaignTouch, TouchKind};
use castback_schemas::time::DAY;
use castback_schemas::{CampaignId, Currency, Micros};

use super::kind;
use crate::problem::{Code, Problem, Result};
use crate::query::literal::list;
use crate::query::{Ask, Rows};

/// Conversions and exposures that are divided in memory; of more, no grid is made.
const MAX_ROWS: usize = 2_000_000;

/// The longest look-back shown, in microseconds.
const REACH: i64 = 60 * DAY;

/// A counted conversion.
#[derive(Debug, Clone)]
pub(super) struct Conversion {
    pub(super) offset: i64,
    pub(super) at: Micros,
    pub(super) data_set: String,
    event_type: String,
    value: i64,
    pub(super) currency: Option<Currency>,
    transaction: Option<String>,
    pub(super) referrer: Option<String>,
    customer: Option<String>,
    households: Vec<String>,
    pub(super) utm: Option<String>,
    pub(super) pixel: bool,
}

impl Conversion {
    fn is_order(&self) -> bool {
        matches!(self.event_type.as_str(), "purchase" | "subscribe" | "donate")
    }

    /// Whether it counts as one: visits, leads and refunds do not.
    pub(super) fn is_conversion(&self) -> bool {
        !matches!(self.event_type.as_str(), "visit" | "page_view" | "lead" | "generate_lead" | "refund")
    }

    /// Minor units that it brings: refunds negative.
    pub(super) fn money(&self) -> i64 {
        match self.event_type.as_str() {
            "refund" => -self.value.abs(),
            _ if self.is_order() => self.value,
            _ => 0,
        }
    }
}

/// Why a conversion may be a campaign's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Touch {
    pub(super) at: Micros,
    /// Of the exposing request.
    event_id: String,
    pub(super) campaign: CampaignId,
    placement: String,
    request: i64,
    kind: TouchKind,
}

impl Touch {
    /// As credit is divided over it.
    pub(super) fn as_credited(&self) -> CampaignTouch<'_> {
        CampaignTouch { kind: self.kind, at: self.at, event_id: &self.event_id, campaign: self.campaign }
    }
}

/// What a customer did before.
#[derive(Debug)]
struct Deed {
    at: Micros,
    offset: i64,
    data_set: String,
    is_order: bool,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    conversions: Vec<Conversion>,
    named: HashMap<i64, Vec<Touch>>,
    exposures: HashMap<String, BTreeSet<Touch>>,
    orders: BTreeMap<(String, String), usize>,
    customers: HashMap<String, Vec<Deed>>,
}

impl Evidence {
    /// Reads what the campaigns' flights can reach.
    pub(super) async fn read(ask: &Ask, rivals: &[Campaign], now: Micros) -> Result<Self> {
        let starts = rivals.iter().filter_map(|rival| rival.terms.starts_on).map(castback_schemas::Day::start);
        let from = starts.min().unwrap_or(now).plus(-REACH);
        let ids: Vec<String> = rivals.iter().map(|rival| rival.id.to_string()).collect();
        let campaigns = list(ids.iter().map(String::as_str));
        let conversions = format!(
            "SELECT \"offset\", CAST(occurred_at AS BIGINT) AS at, data_set_id, event_type, value_minor, currency, \
             transaction_id, referrer, customer, households, utm, source FROM conversions WHERE verdict = 'counted' \
             AND occurred_at >= '{from}' ORDER BY occurred_at, event_id LIMIT {MAX_ROWS}"
        );
        let named = format!(
            "SELECT conversion_offset, campaign_id, kind, CAST(touched_at AS BIGINT) AS at, request_offset, \
             coalesce(event_id, '') AS event_id, coalesce(placement_id, '') AS placement_id FROM touches \
             WHERE kind <> 'exposure' AND occurred_at >= '{from}' LIMIT {MAX_ROWS}"
        );
        let exposures = format!(
            "SELECT household, CAST(occurred_at AS BIGINT) AS at, request_offset, campaign_id, \
             coalesce(event_id, '') AS event_id, placement_id FROM ad_deliveries \
             WHERE exposure AND campaign_id IN {campaigns} AND occurred_at >= '{from}' LIMIT {MAX_ROWS}"
        );
        let [conversions, named, exposures] = ask.all([conversions.as_str(), &named, &exposures]).await?;
        if [&conversions, &named, &exposures].iter().any(|rows| rows.len() >= MAX_ROWS) {
            return Err(Problem::new(
                Code::TooLarge,
                "there are too many conversions or exposures to divide them again",
            ));
        }
        let mut evidence = Self::default();
        (0..conversions.len()).for_each(|row| evidence.convert(&conversions, row));
        for row in 0..named.len() {
            if let Some(touch) = touch(&named, row, kind(named.text(row, "kind"))) {
                evidence.named.entry(named.int(row, "conversion_offset")).or_default().push(touch);
            }
        }
        for row in 0..exposures.len() {
            if let Some(touch) = touch(&exposures, row, Some(TouchKind::Exposure)) {
                evidence.exposures.entry(exposures.text(row, "household").to_owned()).or_default().insert(touch);
            }
        }
        Ok(evidence)
    }

    fn convert(&mut self, rows: &Rows, row: usize) {
        let some = |name| rows.some_text(row, name).map(str::to_owned);
        let households: Vec<(i32, String)> = serde_json::from_str(rows.text(row, "households")).unwrap_or_default();
        let conversion = Conversion {
            offset: rows.int(row, "offset"),
            at: rows.micros(row, "at"),
            data_set: rows.text(row, "data_set_id").to_owned(),
            event_type: rows.text(row, "event_type").to_owned(),
            value: rows.int(row, "value_minor"),
            currency: rows.text(row, "currency").parse().ok(),
            transaction: some("transaction_id"),
            referrer: some("referrer"),
            customer: some("customer"),
            households: households.into_iter().map(|(_, hash)| hash).collect(),
            utm: some("utm"),
            pixel: rows.text(row, "source") == "pixel",
        };
        if let Some(transaction) = conversion.transaction.as_ref().filter(|_| conversion.is_order()) {
            let key = (conversion.data_set.clone(), transaction.clone());
            self.orders.entry(key).or_insert(self.conversions.len());
        }
        if let Some(customer) = &conversion.customer {
            self.customers.entry(customer.clone()).or_default().push(Deed {
                at: conversion.at,
                offset: conversion.offset,
                data_set: conversion.data_set.clone(),
                is_order: conversion.is_order(),
            });
        }
        self.conversions.push(conversion);
    }

    pub(super) fn conversions(&self) -> &[Conversion] {
        &self.conversions
    }

    /// Touches that name their campaign.
    pub(super) fn named(&self, offset: i64) -> &[Touch] {
        self.named.get(&offset).map_or(&[], Vec::as_slice)
    }

    /// Ads that the conversion's household heard.
    pub(super) fn exposures<'a>(&'a self, conversion: &'a Conversion) -> impl Iterator<Item = Touch> + 'a {
        conversion.households.iter().filter_map(|household| self.exposures.get(household)).flatten().cloned()
    }

    /// The purchase that a refund takes back.
    pub(super) fn refunded(&self, conversion: &Conversion) -> Option<&Conversion> {
        let transaction = conversion.transaction.clone().filter(|_| conversion.event_type == "refund")?;
        self.orders.get(&(conversion.data_set.clone(), transaction)).map(|index| &self.conversions[*index])
    }

    /// Whether the customer had ordered from the advertiser before the campaign first reached them, by an
    /// exposure or by a touch that named it.
    pub(super) fn ordered_before(&self, conversion: &Conversion, rival: &Campaign, first: Option<Micros>) -> bool {
        let customer = conversion.customer.as_ref().and_then(|customer| self.customers.get(customer));
        let own =
            |deed: &&Deed| deed.data_set == conversion.data_set || rival.terms.data_set_ids.contains(&deed.data_set);
        let deeds: Vec<&Deed> = customer.into_iter().flatten().filter(own).collect();
        let named = |deed: &&&Deed| self.named(deed.offset).iter().any(|touch| touch.campaign == rival.id);
        let since = deeds.iter().filter(named).map(|deed| deed.at).chain(first).fold(conversion.at, Micros::min);
        deeds.iter().any(|deed| deed.is_order && deed.at < since)
    }
}

fn touch(rows: &Rows, row: usize, kind: Option<TouchKind>) -> Option<Touch> {
    let campaign = rows.text(row, "campaign_id").parse().ok()?;
    Some(Touch {
        at: rows.micros(row, "at"),
        event_id: rows.text(row, "event_id").to_owned(),
        campaign,
        placement: rows.text(row, "placement_id").to_owned(),
        request: rows.int(row, "request_offset"),
        kind: kind?,
    })
}
