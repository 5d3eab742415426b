//! From a settled group to the ads that it delivered.

use std::collections::BTreeMap;
use std::sync::Arc;

use castback_rules::delivery::{Ads, JudgedDay, NamedAd, deliveries};
use castback_rules::window::NamedBytes;
use castback_schemas::campaign::{CampaignTerms, Placement};
use castback_schemas::{CampaignId, Micros};

use super::Delivered;
use crate::directory::{Campaign, Directory, Episode, Podcast};
use crate::processors::downloads::Settled;

/// A campaign's ad that the group's episode may carry.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    campaign: &'a Campaign,
    placement: &'a Placement,
}

/// The ads that a settled group delivered, by the offset of the request that completed each.
pub(super) fn of(group: &Settled, directory: &Directory) -> BTreeMap<i64, Vec<Delivered>> {
    let mut by_request: BTreeMap<i64, Vec<Delivered>> = BTreeMap::new();
    let podcast = directory.account(group.account).and_then(|account| account.podcast(group.podcast));
    let Some((podcast, episode)) = podcast.and_then(|p| Some((p, p.episode(group.episode as usize)?))) else {
        return by_request;
    };
    let (Some(first), false) = (group.touches.first(), group.outcomes.is_empty()) else { return by_request };
    let facts = episode.facts.at(first.at).copied().unwrap_or_default();
    let candidates = candidates(podcast, episode, group);
    let placements: Vec<&Placement> = candidates.iter().map(|candidate| candidate.placement).collect();
    let ads = Ads { placements: &placements, episode: facts };
    let day = JudgedDay { carry: &group.carry_in, touches: &group.touches, outcomes: &group.outcomes };
    let named = named(group, &ads);
    for delivery in deliveries(&day, &ads, |touch| named.get(&touch).cloned().unwrap_or_default()) {
        let touch = &group.touches[delivery.touch];
        let Candidate { campaign, placement } = candidates[delivery.placement];
        let Ok(offset) = i64::try_from(touch.row) else { continue };
        if !carried(campaign, touch.at, (group, episode)).any(|in_force| in_force == placement) {
            continue;
        }
        by_request.entry(offset).or_default().push(Delivered {
            campaign: campaign.id,
            placement: Arc::from(placement.id.as_str()),
            podcast: group.podcast,
            episode: episode.id,
            at: touch.at,
            listener: group.listener,
            household: group.household,
            position_unknown: delivery.position_unknown,
            windows: delivery.windows,
            exposure: podcast.window(touch.at).is_some_and(|window| delivery.windows[window as usize]),
        });
    }
    for delivered in by_request.values_mut() {
        delivered.sort_by(|a, b| (a.campaign, &a.placement).cmp(&(b.campaign, &b.placement)));
    }
    by_request
}

/// The ads of a campaign that the episode carries at an instant, by the terms in force then.
fn carried<'a>(
    campaign: &'a Campaign,
    at: Micros,
    (group, episode): (&Settled, &Episode),
) -> impl Iterator<Item = &'a Placement> {
    let terms = campaign.in_force(at).filter(|_| campaign.delivers(at)).map(|version| &version.terms);
    let of_podcast = terms.filter(|terms: &&CampaignTerms| terms.podcast_ids.contains(&group.podcast));
    of_podcast
        .into_iter()
        .flat_map(|terms| &terms.placements)
        .filter(|placement| placement.episode_guids.as_ref().is_none_or(|guids| guids.contains(&episode.guid)))
}

/// Every ad that is carried when one of the group's requests was made.
fn candidates<'a>(podcast: &'a Podcast, episode: &Episode, group: &Settled) -> Vec<Candidate<'a>> {
    let mut candidates: Vec<Candidate<'_>> = Vec::new();
    for campaign in podcast.campaigns() {
        let mut versions: Vec<Micros> = Vec::new();
        for touch in &group.touches {
            let Some(version) = campaign.at(touch.at).filter(|version| !versions.contains(&version.valid_from)) else {
                continue;
            };
            versions.push(version.valid_from);
            for placement in carried(campaign, touch.at, (group, episode)) {
                let known = |candidate: &Candidate<'_>| {
                    candidate.campaign.id == campaign.id && candidate.placement == placement
                };
                if !candidates.iter().any(known) {
                    candidates.push(Candidate { campaign, placement });
                }
            }
        }
    }
    candidates.sort_by(|a, b| key(a).cmp(&key(b)));
    candidates
}

fn key<'a>(candidate: &Candidate<'a>) -> (CampaignId, &'a str) {
    (candidate.campaign.id, &candidate.placement.id)
}

/// The ads that requests named, by the index of the touch.
fn named(group: &Settled, ads: &Ads<'_>) -> BTreeMap<usize, Vec<NamedAd>> {
    let mut named = BTreeMap::new();
    for (row, json) in &group.ads {
        let Some(touch) = group.touches.iter().position(|touch| touch.row == *row) else { continue };
        named.insert(touch, NamedBytes::read(json).iter().flat_map(|bytes| ads.named(bytes)).collect());
    }
    named
}
