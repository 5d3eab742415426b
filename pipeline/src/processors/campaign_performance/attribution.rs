//! Attribution: which campaigns a conversion is credited to, and why.

use std::collections::BTreeMap;

use castback_rules::credit::{CampaignTouch, Model, TouchKind, by_campaign, divide, is_within_lookback};
use castback_schemas::campaign::{CampaignVersion, PixelUse};
use castback_schemas::time::DAY;
use castback_schemas::{AccountId, CampaignId, Micros};

use super::conversions::{Conversion, Kind};
use super::{AccountState, Hash};
use crate::directory::{AccountDirectory, Campaign, Directory};

/// Why a conversion is connected to a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Touch {
    pub(super) campaign: CampaignId,
    pub(super) kind: TouchKind,
    pub(super) at: Micros,
    /// The exposing request; -1 for a touch that names its campaign.
    pub(super) request: i64,
}

/// Credit to one campaign under one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Credit {
    pub(super) campaign: CampaignId,
    pub(super) model: Model,
    pub(super) micro: i64,
    pub(super) money: i64,
    /// Whether the money is in the campaign's currency: other money is listed, never added.
    pub(super) adds_up: bool,
    pub(super) household: Option<(i32, Hash)>,
}

/// All that is said of one conversion.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Attributed {
    pub(super) conversion: Option<Conversion>,
    pub(super) touches: Vec<Touch>,
    pub(super) credits: Vec<Credit>,
    /// Campaigns of the data set, where nobody is credited.
    pub(super) unattributed: Vec<CampaignId>,
}

impl AccountState {
    /// Attributes the conversion at `offset` from all that is known now.
    pub(super) fn attribute(&self, offset: i64, account: AccountId, directory: &Directory) -> Attributed {
        let Some(conversion) = self.conversions.get(&offset) else { return Attributed::default() };
        let of_account = directory.account(account).into_iter().flat_map(AccountDirectory::campaigns);
        let mut campaigns: Vec<&Campaign> = of_account.map(AsRef::as_ref).collect();
        campaigns.sort_unstable_by_key(|campaign| campaign.id);
        // A refund follows the credit of the purchase it takes back.
        let source = self.refunded(conversion).unwrap_or(conversion);
        let touches = self.touches(source, &campaigns);
        let mut credits = self.credits(conversion, source, &touches);
        for credit in &mut credits {
            let campaign = campaigns.binary_search_by_key(&credit.campaign, |campaign| campaign.id);
            credit.adds_up = campaign.is_ok_and(|place| in_currency(campaigns[place], conversion));
        }
        let shown_only = source.is_pixel() && touches.is_empty();
        let unattributed = if credits.is_empty() && conversion.kind() != Kind::Refund && !shown_only {
            let of = |campaign: &&&Campaign| {
                open_to(campaign, source).is_some_and(|v| v.terms.data_set_ids.contains(&source.data_set))
            };
            campaigns.iter().filter(of).map(|campaign| campaign.id).collect()
        } else {
            Vec::new()
        };
        Attributed { conversion: Some(conversion.clone()), touches, credits, unattributed }
    }

    fn refunded(&self, conversion: &Conversion) -> Option<&Conversion> {
        let transaction = conversion.transaction.as_deref().filter(|_| conversion.kind() == Kind::Refund)?;
        let offsets = self.by_transaction.get(transaction)?;
        let of_it = offsets.iter().filter_map(|offset| Some((offset, self.conversions.get(offset)?)));
        of_it
            .filter(|(_, other)| other.kind() == Kind::Order && other.data_set == conversion.data_set)
            .min_by_key(|(offset, other)| (other.at, **offset))
            .map(|(_, order)| order)
    }

    fn touches(&self, conversion: &Conversion, campaigns: &[&Campaign]) -> Vec<Touch> {
        let mut named = Vec::new();
        let mut exposed = Vec::new();
        for campaign in campaigns {
            let Some(version) = open_to(campaign, conversion) else { continue };
            let exposures = self.exposures_before(conversion, campaign.id, version);
            if self.excluded(conversion, version, exposures.first().map(|(at, _)| *at)) {
                continue;
            }
            if let Some(kind) = named_by(conversion, campaign.id, version) {
                named.push(Touch { campaign: campaign.id, kind, at: conversion.at, request: -1 });
            } else if version.terms.data_set_ids.contains(&conversion.data_set) && !conversion.is_pixel() {
                exposed.extend(exposures.into_iter().map(|(at, request)| Touch {
                    campaign: campaign.id,
                    kind: TouchKind::Exposure,
                    at,
                    request,
                }));
            }
        }
        if let Some(strongest) = named.iter().map(|touch: &Touch| touch.kind).min() {
            named.retain(|touch| touch.kind == strongest);
            return named;
        }
        exposed.sort_unstable_by_key(|touch| (touch.at, touch.request, touch.campaign));
        exposed
    }

    /// Exposures to a campaign inside its look-back, oldest first.
    fn exposures_before(
        &self,
        conversion: &Conversion,
        campaign: CampaignId,
        version: &CampaignVersion,
    ) -> Vec<(Micros, i64)> {
        let mut all: Vec<(Micros, i64)> = Vec::new();
        for (_, household) in &conversion.households {
            let exposures = self.exposures.get(household).into_iter().flatten();
            let inside = exposures.filter(|(at, _, to)| {
                *to == campaign && is_within_lookback(*at, conversion.at, version.terms.lookback_days)
            });
            all.extend(inside.map(|(at, request, _)| (*at, *request)));
        }
        all.sort_unstable();
        all
    }

    fn excluded(&self, conversion: &Conversion, version: &CampaignVersion, first_exposure: Option<Micros>) -> bool {
        let exclusions = &version.terms.exclusions;
        let has = |text: &Option<Box<str>>, parts: &[String]| {
            text.as_deref().is_some_and(|text| {
                let text = text.to_lowercase();
                parts.iter().any(|part| !part.is_empty() && text.contains(&part.to_lowercase()))
            })
        };
        if has(&conversion.referrer, &exclusions.referrers) || has(&conversion.utm, &exclusions.utm_sources) {
            return true;
        }
        let Some(customer) = conversion.customer.filter(|_| exclusions.prior_customers) else { return false };
        let since = first_exposure.unwrap_or(conversion.at);
        let orders = self.by_customer.get(&customer).into_iter().flatten().filter_map(|o| self.conversions.get(o));
        orders.into_iter().any(|order| order.kind() == Kind::Order && order.at < since)
    }

    fn credits(&self, conversion: &Conversion, source: &Conversion, touches: &[Touch]) -> Vec<Credit> {
        let ids: Vec<String> = touches.iter().map(|touch| format!("{:020}", touch.request.max(0))).collect();
        let campaign_touches: Vec<CampaignTouch<'_>> = touches
            .iter()
            .zip(&ids)
            .map(|(touch, id)| CampaignTouch { kind: touch.kind, at: touch.at, event_id: id, campaign: touch.campaign })
            .collect();
        let households = self.converting(source, touches);
        let mut credits = Vec::new();
        for model in Model::ALL {
            let parts = divide(model, &campaign_touches, conversion.money());
            for (campaign, micro, money) in by_campaign(&parts, &campaign_touches) {
                let micro = if conversion.kind() == Kind::Refund { 0 } else { micro };
                let household = households.get(&campaign).copied();
                credits.push(Credit { campaign, model, micro, money, adds_up: true, household });
            }
        }
        credits
    }

    /// The household through which each touched campaign reached the conversion, if it did.
    fn converting(&self, conversion: &Conversion, touches: &[Touch]) -> BTreeMap<CampaignId, (i32, Hash)> {
        let mut households = BTreeMap::new();
        for (month, household) in &conversion.households {
            for (at, _, campaign) in self.exposures.get(household).into_iter().flatten() {
                if *at <= conversion.at && touches.iter().any(|touch| touch.campaign == *campaign) {
                    households.entry(*campaign).or_insert((*month, *household));
                }
            }
        }
        households
    }
}

/// Whether a conversion's money is in the campaign's currency. A value without one is taken to be.
pub(super) fn in_currency(campaign: &Campaign, conversion: &Conversion) -> bool {
    let terms = campaign.in_force(conversion.at).map(|version| &version.terms);
    terms.is_some_and(|terms| conversion.currency.is_none_or(|currency| currency == terms.currency))
}

/// The version of a campaign that a conversion is judged by, if it was launched and its flight
/// takes conversions of that time: from its first day until its last + look-back.
fn open_to<'a>(campaign: &'a Campaign, conversion: &Conversion) -> Option<&'a CampaignVersion> {
    let version = campaign.in_force(conversion.at)?;
    let (first, last) = version.terms.starts_on.zip(version.terms.ends_on)?;
    let until = last.next().start().plus(i64::from(version.terms.lookback_days) * DAY);
    (first.start() <= conversion.at && conversion.at < until).then_some(version)
}

fn named_by(conversion: &Conversion, campaign: CampaignId, version: &CampaignVersion) -> Option<TouchKind> {
    let attribution = &version.terms.attribution;
    let same = |text: &Option<Box<str>>, wanted: &str| {
        text.as_deref().is_some_and(|text| text.trim().to_lowercase() == wanted.trim().to_lowercase())
    };
    let pixel =
        || conversion.campaign == Some(campaign) && (!conversion.is_pixel() || attribution.pixel == PixelUse::Counted);
    if attribution.promo_codes.iter().any(|code| same(&conversion.coupon, code)) {
        Some(TouchKind::PromoCode)
    } else if attribution.survey.iter().flatten().any(|answer| same(&conversion.survey, answer)) {
        Some(TouchKind::Survey)
    } else if attribution.vanity_slug.iter().any(|slug| same(&conversion.slug, slug)) {
        Some(TouchKind::Vanity)
    } else {
        pixel().then_some(TouchKind::Pixel)
    }
}
