//! From a settled group to the ads that it delivered.

use std::collections::BTreeMap;
use std::sync::Arc;

use castback_rules::delivery::{Ads, JudgedDay, NamedAd, deliveries};
use castback_schemas::CampaignId;
use castback_schemas::campaign::Placement;

use super::Delivered;
use crate::directory::{Campaign, Directory, Episode, Podcast};
use crate::processors::downloads::Settled;

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
    let placements: Vec<&Placement> = candidates.iter().map(|(_, placement)| *placement).collect();
    let ads = Ads { placements: &placements, episode: facts, file: facts.file_size(None) };
    let day = JudgedDay { carry: &group.carry_in, touches: &group.touches, outcomes: &group.outcomes };
    let named = named(group, &placements);
    for delivery in deliveries(&day, &ads, |touch| named.get(&touch).cloned().unwrap_or_default()) {
        let touch = &group.touches[delivery.touch];
        let (campaign, placement) = candidates[delivery.placement];
        let Ok(offset) = i64::try_from(touch.row) else { continue };
        if !campaign.delivers(touch.at) {
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

/// Placements of campaigns that deliver on the group's day and name the episode, or no episodes.
fn candidates<'a>(podcast: &'a Podcast, episode: &Episode, group: &Settled) -> Vec<(&'a Campaign, &'a Placement)> {
    let mut candidates: Vec<(&Campaign, &Placement)> = Vec::new();
    for campaign in podcast.campaigns() {
        let Some(touch) = group.touches.iter().find(|touch| campaign.delivers(touch.at)) else { continue };
        let Some(version) = campaign.in_force(touch.at) else { continue };
        if !version.terms.podcast_ids.contains(&group.podcast) {
            continue;
        }
        let carried =
            |placement: &&Placement| placement.episode_guids.as_ref().is_none_or(|guids| guids.contains(&episode.guid));
        candidates.extend(version.terms.placements.iter().filter(carried).map(|p| (campaign.as_ref(), p)));
    }
    candidates.sort_by(|a, b| key(a).cmp(&key(b)));
    candidates
}

fn key<'a>((campaign, placement): &(&Campaign, &'a Placement)) -> (CampaignId, &'a str) {
    (campaign.id, &placement.id)
}

/// The ads that requests named, by the index of the touch.
fn named(group: &Settled, placements: &[&Placement]) -> BTreeMap<usize, Vec<NamedAd>> {
    let mut named = BTreeMap::new();
    for (row, json) in &group.ads {
        let Some(touch) = group.touches.iter().position(|touch| touch.row == *row) else { continue };
        let Ok(ads) = serde_json::from_str::<Vec<(String, u64, u64)>>(json) else { continue };
        let of = |(id, from, to): (String, u64, u64)| {
            let places = placements.iter().enumerate().filter(move |(_, placement)| placement.id == id);
            places.map(|(placement, _)| NamedAd { placement, from, to }).collect::<Vec<_>>()
        };
        named.insert(touch, ads.into_iter().flat_map(of).collect());
    }
    named
}
