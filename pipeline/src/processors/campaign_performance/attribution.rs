//! Attribution: which campaigns a conversion is credited to, and why.

use std::collections::BTreeMap;
use std::sync::Arc;

use castback_rules::credit::{
    CampaignTouch, MAX_LOOKBACK_DAYS, Model, TouchKind, by_campaign, divide, is_within_lookback,
};
use castback_schemas::campaign::{CampaignVersion, PixelUse};
use castback_schemas::time::DAY;
use castback_schemas::{AccountId, CampaignId, Micros};

use super::conversions::{Conversion, Kind};
use super::{AccountState, Carrier, Delivered, Hash};
use crate::directory::{AccountDirectory, Campaign, Directory};

/// Why a conversion is connected to a campaign. The fields' order is that of judgement: time, then
/// event id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Touch {
    pub(super) at: Micros,
    /// Of the exposing request, if known.
    pub(super) event_id: Option<Arc<str>>,
    pub(super) campaign: CampaignId,
    /// The ad heard.
    pub(super) placement: Option<Arc<str>>,
    /// The exposing request; -1 for a touch that names its campaign.
    pub(super) request: i64,
    pub(super) kind: TouchKind,
}

/// An ad that a household of a conversion heard before it.
struct Exposure {
    touch: Touch,
    /// The place of the household among the conversion's.
    household: usize,
}

/// What connects a conversion to campaigns, in order, and through which household each was heard.
#[derive(Default)]
struct Reached {
    touches: Vec<Touch>,
    households: BTreeMap<CampaignId, (i32, Hash)>,
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
        let campaigns = campaigns_of(directory, account);
        let reached = match self.refunded(conversion) {
            // A refund follows the credit of the order it takes back.
            Some(order) => self.attributed.get(&order).map(Reached::of).unwrap_or_default(),
            // Of an order that nobody sent, no campaign was credited with anything that could be taken back.
            None if conversion.kind() == Kind::Refund => Reached::default(),
            None => self.reached(conversion, &campaigns),
        };
        let mut credits = credits(conversion, &reached);
        for credit in &mut credits {
            credit.adds_up = adds_up(credit.campaign, &campaigns, conversion);
        }
        let unattributed = if credits.is_empty() { open_for(conversion, &campaigns) } else { Vec::new() };
        Attributed { conversion: Some(conversion.clone()), touches: reached.touches, credits, unattributed }
    }

    /// The order that a refund takes back: the first of its transaction.
    pub(super) fn refunded(&self, conversion: &Conversion) -> Option<i64> {
        let transaction = conversion.transaction.as_deref().filter(|_| conversion.kind() == Kind::Refund)?;
        let offsets = self.by_transaction.get(transaction)?;
        let of_it = offsets.iter().filter_map(|offset| Some((*offset, self.conversions.get(offset)?)));
        of_it
            .filter(|(_, other)| other.kind() == Kind::Order && other.data_set == conversion.data_set)
            .min_by_key(|(offset, other)| (other.at, &other.id, *offset))
            .map(|(offset, _)| offset)
    }

    fn reached(&self, conversion: &Conversion, campaigns: &[&Campaign]) -> Reached {
        let mut reached = Reached::default();
        let mut named: Vec<Touch> = Vec::new();
        let heard = self.heard(conversion);
        for campaign in campaigns {
            let Some(version) = open_to(campaign, conversion) else { continue };
            let inside = |exposure: &&Exposure| {
                let lookback = version.terms.lookback_days;
                exposure.touch.campaign == campaign.id && is_within_lookback(exposure.touch.at, conversion.at, lookback)
            };
            let exposures: Vec<&Exposure> = heard.iter().filter(inside).collect();
            if self.excluded(conversion, (campaign.id, version), exposures.first().map(|first| first.touch.at)) {
                continue;
            }
            let household = exposures.iter().map(|exposure| exposure.household).min();
            if let Some(household) = household.and_then(|place| conversion.households.get(place)) {
                reached.households.insert(campaign.id, *household);
            }
            if let Some(kind) = named_by(conversion, campaign.id, version) {
                let (event_id, placement) = (None, None);
                named.push(Touch { at: conversion.at, event_id, campaign: campaign.id, placement, request: -1, kind });
            } else if version.terms.data_set_ids.contains(&conversion.data_set) && !conversion.is_pixel() {
                reached.touches.extend(exposures.into_iter().map(|exposure| exposure.touch.clone()));
            }
        }
        if let Some(strongest) = named.iter().map(|touch| touch.kind).min() {
            named.retain(|touch| touch.kind == strongest);
            reached.touches = named;
        }
        reached.touches.sort_unstable();
        reached
    }

    /// Ads that the conversion's households heard inside the longest look-back, oldest first.
    fn heard(&self, conversion: &Conversion) -> Vec<Exposure> {
        let mut heard: Vec<Exposure> = Vec::new();
        let since = conversion.at.plus(-i64::from(MAX_LOOKBACK_DAYS) * DAY);
        for (household, (_, hash)) in conversion.households.iter().enumerate() {
            let Some(exposures) = self.exposures.get(hash) else { continue };
            for (_, request) in exposures.range((since, i64::MIN)..=(conversion.at, i64::MAX)) {
                let Some(carrier) = self.carriers.get(request) else { continue };
                let ads = carrier.delivered.iter().filter(|delivered| delivered.exposure);
                heard.extend(ads.map(|ad| Exposure { touch: Touch::exposure(ad, (*request, carrier)), household }));
            }
        }
        heard.sort_unstable_by(|a, b| a.touch.cmp(&b.touch));
        heard
    }

    fn excluded(
        &self,
        conversion: &Conversion,
        (campaign, version): (CampaignId, &CampaignVersion),
        first_exposure: Option<Micros>,
    ) -> bool {
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
        // An advertiser's id of a customer means nothing in another advertiser's data set.
        let own = |other: &&Conversion| {
            other.data_set == conversion.data_set || version.terms.data_set_ids.contains(&other.data_set)
        };
        let others = self.by_customer.get(&customer).into_iter().flatten().filter_map(|o| self.conversions.get(o));
        let others: Vec<&Conversion> = others.filter(own).collect();
        // Who never heard the ad but named the campaign was won by it then.
        let named = others.iter().filter(|other| named_by(other, campaign, version).is_some()).map(|other| other.at);
        let since = named.chain(first_exposure).fold(conversion.at, Micros::min);
        others.iter().any(|other| other.kind() == Kind::Order && other.at < since)
    }
}

impl Touch {
    /// As credit is divided over it.
    fn as_credited(&self) -> CampaignTouch<'_> {
        let event_id = self.event_id.as_deref().unwrap_or_default();
        CampaignTouch { kind: self.kind, at: self.at, event_id, campaign: self.campaign }
    }

    fn exposure(ad: &Delivered, (request, carrier): (i64, &Carrier)) -> Self {
        Self {
            at: ad.at,
            event_id: carrier.event_id.clone(),
            campaign: ad.campaign,
            placement: Some(Arc::clone(&ad.placement)),
            request,
            kind: TouchKind::Exposure,
        }
    }
}

impl Reached {
    /// By what was said of a conversion.
    fn of(said: &Attributed) -> Self {
        let households = said.credits.iter().filter_map(|credit| Some((credit.campaign, credit.household?)));
        Self { touches: said.touches.clone(), households: households.collect() }
    }
}

fn credits(conversion: &Conversion, reached: &Reached) -> Vec<Credit> {
    let touches: Vec<CampaignTouch<'_>> = reached.touches.iter().map(Touch::as_credited).collect();
    let mut credits = Vec::new();
    for model in Model::ALL {
        let parts = divide(model, &touches, conversion.money());
        for (campaign, micro, money) in by_campaign(&parts, &touches) {
            let micro = if conversion.kind() == Kind::Refund { 0 } else { micro };
            let household = reached.households.get(&campaign).copied();
            credits.push(Credit { campaign, model, micro, money, adds_up: true, household });
        }
    }
    credits
}

/// The campaigns of the conversion's data set, for which it is nobody's. A pixel that is only shown, or
/// that no campaign takes, is none: anyone could have sent it.
pub(super) fn open_for(conversion: &Conversion, campaigns: &[&Campaign]) -> Vec<CampaignId> {
    if conversion.kind() == Kind::Refund || conversion.is_pixel() {
        return Vec::new();
    }
    let of = |campaign: &&&Campaign| {
        open_to(campaign, conversion).is_some_and(|v| v.terms.data_set_ids.contains(&conversion.data_set))
    };
    campaigns.iter().filter(of).map(|campaign| campaign.id).collect()
}

/// The campaigns of an account, in order of their ids.
pub(super) fn campaigns_of(directory: &Directory, account: AccountId) -> Vec<&Campaign> {
    let of_account = directory.account(account).into_iter().flat_map(AccountDirectory::campaigns);
    let mut campaigns: Vec<&Campaign> = of_account.map(AsRef::as_ref).collect();
    campaigns.sort_unstable_by_key(|campaign| campaign.id);
    campaigns
}

/// Whether a conversion's money is in the campaign's currency. A value without one is taken to be.
pub(super) fn adds_up(campaign: CampaignId, campaigns: &[&Campaign], conversion: &Conversion) -> bool {
    let place = campaigns.binary_search_by_key(&campaign, |campaign| campaign.id).ok();
    let version = place.and_then(|place| campaigns[place].in_force(conversion.at));
    version
        .map(|version| &version.terms)
        .is_some_and(|terms| conversion.currency.is_none_or(|currency| currency == terms.currency))
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
