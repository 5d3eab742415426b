//! Settling: every dirty group is evaluated, and what differs from what was said is said.

use std::sync::Arc;

use arrow::error::ArrowError;

use castback_rules::filter::FilterReason;
use castback_rules::verdict::{DuplicateReason, Reason};

use super::state::{Evaluated, PodcastState};
use super::{Downloads, Prior, Row, Settled, write};
use crate::change::Changes;
use crate::directory::Directory;
use crate::processors::judged::Judged;

impl Downloads {
    /// Evaluates the dirty groups: fills in the verdicts of new rows, revises what was said
    /// otherwise, and answers the groups of podcasts that carry campaigns.
    pub(super) fn settle(
        &mut self,
        directory: &Directory,
        verdicts: &mut [Row],
        out: &mut Changes,
    ) -> Result<Vec<Settled>, ArrowError> {
        let mut settled = Vec::new();
        for ((account, podcast_id, day, key), mut priors) in std::mem::take(&mut self.dirty) {
            let state = self.accounts.get(&account).and_then(|a| a.podcasts.get(&podcast_id));
            let Some(state) = state else { continue };
            let known = directory.account(account).and_then(|account| account.podcast(podcast_id)).map(Arc::as_ref);
            let episode = known.and_then(|podcast| podcast.episode(key.episode as usize)).map(|episode| episode.id);
            let now = state.judge(day, &key);
            priors.sort_unstable_by_key(|(row, _)| *row);
            for (index, touch) in now.touches.iter().enumerate() {
                let judged = now.judged(index);
                let prior = priors.binary_search_by_key(&touch.row, |(row, _)| *row).ok().map(|place| priors[place].1);
                match prior {
                    Some(Prior::New(row)) => {
                        if let Some(row) = verdicts.get_mut(row) {
                            row.judged = Some(judged);
                        }
                    }
                    Some(Prior::Said(said)) if said == judged || helped_later(said, judged, &now) => {}
                    Some(Prior::Said(_)) | None => {
                        let revised = write::Revised {
                            account: account.to_string(),
                            slot: self.slot,
                            offset: i64::try_from(touch.row).unwrap_or(i64::MAX),
                            occurred_at: touch.at,
                            episode,
                        };
                        write::revision(&revised, (judged, directory), out)?;
                    }
                }
            }
            if known.is_some_and(|podcast| !podcast.campaigns().is_empty()) {
                settled.push(handed_on((account, podcast_id), (day, key), now, state));
            }
        }
        Ok(settled)
    }
}

/// Whether a row is known to have helped a download of a later day that is not at hand now: it
/// keeps that verdict.
fn helped_later(said: Judged, now: Judged, day: &Evaluated) -> bool {
    let below = Judged::filtered(FilterReason::BelowThreshold);
    let part_of = Some(Reason::Duplicate(DuplicateReason::PartOf));
    let of_today = |of: i64| day.touches.iter().any(|touch| i64::try_from(touch.row) == Ok(of));
    now == below && said.reason == part_of && said.duplicate_of.is_some_and(|of| !of_today(of))
}

fn handed_on(
    (account, podcast): (castback_schemas::AccountId, castback_schemas::PodcastId),
    (day, key): (castback_schemas::Day, super::GroupKey),
    now: Evaluated,
    state: &PodcastState,
) -> Settled {
    let day = state.open.get(&day);
    let ads = now.touches.iter().filter_map(|touch| Some((touch.row, day?.ads.get(&touch.row)?.clone()))).collect();
    let household = day.and_then(|day| day.groups.get(&key)).map(|group| group.household).unwrap_or_default();
    Settled {
        account,
        podcast,
        episode: key.episode,
        listener: key.listener,
        household,
        carry_in: now.carry_in,
        touches: now.touches,
        outcomes: now.outcomes,
        ads,
    }
}
