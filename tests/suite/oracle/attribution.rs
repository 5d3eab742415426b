//! Ads delivered, conversions credited, money spent.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::bytes::{Got, covers, file_size, got};
use super::credit::{round_half_even, split, weights};
use super::windows::{Download, outcome};
use super::{DAY, Household, Judgement, Listener, Oracle, Request, day_of, household, month_of};

/// What was bought, as far as the figures need it.
#[derive(Debug, Clone)]
pub(crate) struct Campaign {
    pub(crate) podcasts: Vec<String>,
    pub(crate) data_sets: Vec<String>,
    /// First and last day of the flight, both included, counted from 1970.
    pub(crate) flight: (i64, i64),
    pub(crate) lookback_days: i64,
    pub(crate) promo_codes: Vec<String>,
    pub(crate) placements: Vec<Placement>,
    /// Minor units per thousand.
    pub(crate) cpm: i64,
    pub(crate) budget: i64,
}

/// An ad's place.
#[derive(Debug, Clone)]
pub(crate) struct Placement {
    pub(crate) id: String,
    /// The episodes that carry it.
    pub(crate) guids: Vec<String>,
    /// Inserted when served: only where a request names it.
    pub(crate) dynamic: bool,
    pub(crate) bytes: Option<(u64, u64)>,
    /// Start and duration in seconds.
    pub(crate) seconds: Option<(u64, u64)>,
}

/// An ad delivered to a household.
#[derive(Debug, Clone)]
pub(crate) struct Impression {
    pub(crate) campaign: usize,
    pub(crate) at: i64,
    pub(crate) listener: Listener,
    pub(crate) event_id: String,
}

impl Impression {
    pub(crate) fn household(&self) -> &Household {
        &self.listener.0
    }
}

/// A conversion as sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conversion {
    pub(crate) data_set: String,
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) at: i64,
    pub(crate) value_minor: i64,
    pub(crate) address: Option<IpAddr>,
    pub(crate) coupon: Option<String>,
    pub(crate) transaction: Option<String>,
}

/// The part of a conversion that a campaign gets.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Credit {
    pub(crate) conversion: usize,
    pub(crate) campaign: usize,
    /// Share as numerator and denominator.
    pub(crate) share: (i128, i128),
    /// Signed revenue in minor units; 0 for what has no money.
    pub(crate) revenue: i64,
}

/// Every ad delivered inside a download of the window.
pub(crate) fn impressions(
    oracle: &Oracle,
    requests: &[Request],
    campaigns: &[Campaign],
    window: usize,
) -> Vec<Impression> {
    let judged = oracle.filter(requests);
    let mut delivered = Vec::new();
    for members in super::listener_episodes(requests, &judged).into_values() {
        for download in outcome(oracle, requests, &members, &judged, window).downloads {
            for (number, campaign) in campaigns.iter().enumerate() {
                for placement in &campaign.placements {
                    let Some(by) = delivery(oracle, requests, &judged, &download, placement) else { continue };
                    let request = &requests[by];
                    let in_flight = (campaign.flight.0..=campaign.flight.1).contains(&day_of(request.at));
                    if in_flight && campaign.podcasts.contains(&request.podcast) {
                        delivered.push(Impression {
                            campaign: number,
                            at: request.at,
                            listener: judged[by].listener.clone().unwrap_or_default(),
                            event_id: request.id.clone(),
                        });
                    }
                }
            }
        }
    }
    delivered.sort_by(|a, b| a.at.cmp(&b.at).then_with(|| a.event_id.cmp(&b.event_id)));
    delivered
}

/// The request with which the ad was delivered: the first, from the download on, after which its bytes are complete.
///
/// Reading: bytes that came inside the open window belong to the download too; a baked-in ad needs all of its bytes
/// as a dynamic one does; those of an ad without a known position are the whole file (`position_unknown`).
fn delivery(
    oracle: &Oracle,
    requests: &[Request],
    judged: &[Judgement],
    download: &Download,
    placement: &Placement,
) -> Option<usize> {
    let episode = oracle.episode_of(&requests[download.by], &judged[download.by])?;
    if !placement.guids.contains(&episode.guid) {
        return None;
    }
    let size = file_size(&requests[download.by], episode)?;
    let mut members = download.helped.clone();
    let mut pieces: Vec<Got> = members.iter().map(|index| got(&requests[*index], episode)).collect();
    for &next in std::iter::once(&download.by).chain(&download.inside) {
        members.push(next);
        pieces.push(got(&requests[next], episode));
        let named = members.iter().flat_map(|index| &requests[*index].ads).find(|ad| ad.0 == placement.id);
        let bytes = named.map(|ad| (ad.1, ad.2)).or(placement.bytes).or_else(|| {
            let (start, length) = placement.seconds.filter(|_| episode.duration > 0)?;
            let byte = |second: u64| episode.length * second / episode.duration;
            Some((byte(start), byte(start + length)))
        });
        let complete = match bytes {
            _ if placement.dynamic && named.is_none() => false,
            Some((from, to)) => covers(&pieces, size, from, to),
            // Nobody knows where the ad is: its bytes are the whole file.
            None => covers(&pieces, size, 0, size),
        };
        if complete {
            return Some(next);
        }
    }
    None
}

/// Who gets which part of which conversion; a conversion in none of them is unattributed.
pub(crate) fn credits(
    campaigns: &[Campaign],
    impressions: &[Impression],
    conversions: &[Conversion],
    model: &str,
) -> Vec<Credit> {
    let mut credits = Vec::new();
    for (index, conversion) in conversions.iter().enumerate() {
        let Some(origin) = original(conversions, index) else { continue };
        let shares = shares(campaigns, impressions, &conversions[origin], model);
        if shares.is_empty() {
            continue;
        }
        let weights: Vec<i128> = shares.iter().map(|(_, weight)| *weight).collect();
        let total: i128 = weights.iter().sum();
        let parts = split(signed_value(conversion), &weights);
        for ((campaign, weight), revenue) in shares.into_iter().zip(parts) {
            if weight > 0 {
                credits.push(Credit { conversion: index, campaign, share: (weight, total), revenue });
            }
        }
    }
    credits
}

/// A refund goes where the purchase went that it takes back; nowhere if there is none.
fn original(conversions: &[Conversion], index: usize) -> Option<usize> {
    let refund = &conversions[index];
    if refund.kind != "refund" {
        return Some(index);
    }
    refund.transaction.as_ref()?;
    let same = |other: &Conversion| {
        other.kind != "refund" && other.data_set == refund.data_set && other.transaction == refund.transaction
    };
    conversions.iter().position(same)
}

/// Campaigns and their weights, in the order of time and event id of what they stand for.
fn shares(
    campaigns: &[Campaign],
    impressions: &[Impression],
    conversion: &Conversion,
    model: &str,
) -> Vec<(usize, i128)> {
    let named = campaigns.iter().position(|campaign| {
        let coupon = conversion.coupon.as_deref().unwrap_or_default();
        campaign.promo_codes.iter().any(|code| code.eq_ignore_ascii_case(coupon))
    });
    if let Some(campaign) = named {
        return vec![(campaign, 1)];
    }
    let exposed: Vec<&Impression> = impressions
        .iter()
        .filter(|impression| is_exposure(&campaigns[impression.campaign], impression, conversion))
        .collect();
    let times: Vec<i64> = exposed.iter().map(|impression| impression.at).collect();
    exposed.iter().map(|impression| impression.campaign).zip(weights(model, &times)).collect()
}

/// Reading: the look-back is closed at its far end, and an ad heard at the conversion's very instant led to it.
fn is_exposure(campaign: &Campaign, impression: &Impression, conversion: &Conversion) -> bool {
    let age = conversion.at - impression.at;
    campaign.data_sets.contains(&conversion.data_set)
        && conversion.address.is_some()
        && *impression.household() == household(conversion.address)
        && (0..=campaign.lookback_days * DAY).contains(&age)
}

fn signed_value(conversion: &Conversion) -> i64 {
    match conversion.kind.as_str() {
        "purchase" | "subscribe" | "donate" => conversion.value_minor,
        "refund" => -conversion.value_minor,
        _ => 0,
    }
}

/// Reading: visits, leads and refunds have figures of their own and are no conversions.
pub(crate) fn is_conversion(kind: &str) -> bool {
    !matches!(kind, "visit" | "page_view" | "lead" | "generate_lead" | "refund")
}

/// Spend at CPM: rounded once, capped at the budget.
pub(crate) fn spend(campaign: &Campaign, impressions: usize) -> i64 {
    let impressions = i128::try_from(impressions).expect("a count");
    let spent = round_half_even(impressions * i128::from(campaign.cpm), 1000);
    i64::try_from(spent).expect("an amount").min(campaign.budget)
}

/// Distinct listeners and households of a campaign's impressions, per month of their keys, summed over the months.
pub(crate) fn reach(impressions: &[Impression], campaign: usize) -> (usize, usize) {
    let own = || impressions.iter().filter(|impression| impression.campaign == campaign);
    let devices: BTreeSet<_> = own().map(|impression| (month_of(impression.at), &impression.listener)).collect();
    let households: BTreeSet<_> = own().map(|impression| (month_of(impression.at), impression.household())).collect();
    (devices.len(), households.len())
}
