//! The states of a campaign and what leads from one to another. Pure.

use castback_schemas::Day;
use castback_schemas::campaign::{CampaignState, CampaignTerms};

use crate::error::{CatalogueError, Result};
use crate::stored::words;

words! {
    /// What a person does with a campaign.
    Transition {
        /// Begin, at the flight's first day.
        Launch = "launch",
        /// Stop delivering for a while.
        Pause = "pause",
        /// Deliver again.
        Resume = "resume",
        /// End as planned.
        Complete = "complete",
        /// End before.
        Cancel = "cancel",
    }
}

impl Transition {
    /// The kind of the event that tells of it.
    #[must_use]
    pub fn event(self) -> &'static str {
        match self {
            Self::Launch => "campaign_launched",
            Self::Pause => "campaign_paused",
            Self::Resume => "campaign_resumed",
            Self::Complete => "campaign_completed",
            Self::Cancel => "campaign_cancelled",
        }
    }

    /// The state it leads to from `state`, which dates have brought up to `today`
    /// ([`by_date`]).
    pub fn apply(self, state: CampaignState, terms: &CampaignTerms, today: Day) -> Result<CampaignState> {
        match (self, state) {
            (Self::Launch, CampaignState::Draft) => {
                let missing = missing_for_launch(terms);
                if missing.is_empty() {
                    Ok(by_date(CampaignState::Scheduled, terms, today))
                } else {
                    Err(CatalogueError::WrongState { state, missing })
                }
            }
            (Self::Pause, CampaignState::Active) => Ok(CampaignState::Paused),
            (Self::Resume, CampaignState::Paused) => Ok(CampaignState::Active),
            (Self::Complete, CampaignState::Active | CampaignState::Paused) => Ok(CampaignState::Completed),
            (Self::Cancel, CampaignState::Scheduled | CampaignState::Active | CampaignState::Paused) => {
                Ok(CampaignState::Cancelled)
            }
            (transition, state) => Err(CatalogueError::WrongState { state, missing: vec![transition.needs()] }),
        }
    }

    /// The states it starts from, in words.
    fn needs(self) -> &'static str {
        match self {
            Self::Launch => "state draft",
            Self::Pause => "state active",
            Self::Resume => "state paused",
            Self::Complete => "state active or paused",
            Self::Cancel => "state scheduled, active or paused",
        }
    }
}

/// What a campaign lacks to be launched, by the names of its fields.
#[must_use]
pub fn missing_for_launch(terms: &CampaignTerms) -> Vec<&'static str> {
    let dates_in_order = !matches!((terms.starts_on, terms.ends_on), (Some(first), Some(last)) if last < first);
    [
        ("placements", !terms.placements.is_empty()),
        ("starts_on", terms.starts_on.is_some()),
        ("ends_on", terms.ends_on.is_some() && dates_in_order),
        ("budget", terms.budget.is_some()),
        ("attribution.complete", terms.attribution.complete()),
    ]
    .into_iter()
    .filter(|(_, there)| !there)
    .map(|(field, _)| field)
    .collect()
}

/// The state that the flight's dates make of `state` on the day `today`.
#[must_use]
pub fn by_date(state: CampaignState, terms: &CampaignTerms, today: Day) -> CampaignState {
    let begun = terms.starts_on.is_some_and(|first| first <= today);
    let ended = terms.ends_on.is_some_and(|last| last < today);
    match state {
        CampaignState::Scheduled | CampaignState::Active | CampaignState::Paused if ended => CampaignState::Completed,
        CampaignState::Scheduled if begun => CampaignState::Active,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TODAY: Day = Day(20_000);

    fn terms() -> CampaignTerms {
        serde_json::from_value(serde_json::json!({
            "name": "Autumn", "currency": "USD", "budget": 100_000, "starts_on": "2024-10-04", "ends_on": "2024-10-05",
            "placements": [{ "id": "a", "position": "pre_roll" }], "attribution": { "promo_codes": ["AUTUMN"] }
        }))
        .unwrap()
    }

    #[test]
    fn launch_says_everything_that_is_missing() {
        let bare: CampaignTerms =
            serde_json::from_value(serde_json::json!({ "name": "x", "currency": "USD" })).unwrap();
        let refused = Transition::Launch.apply(CampaignState::Draft, &bare, TODAY);
        let Err(CatalogueError::WrongState { missing, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(missing, ["placements", "starts_on", "ends_on", "budget", "attribution.complete"]);
        let backwards = CampaignTerms { ends_on: Some(Day(1)), ..terms() };
        assert_eq!(missing_for_launch(&backwards), ["ends_on"]);
    }

    #[test]
    fn launch_leads_to_what_the_dates_say() {
        let start = terms().starts_on.unwrap();
        for (today, state) in [
            (start.previous(), CampaignState::Scheduled),
            (start, CampaignState::Active),
            (start.next(), CampaignState::Active),
            (start.next().next(), CampaignState::Completed),
        ] {
            assert_eq!(Transition::Launch.apply(CampaignState::Draft, &terms(), today).unwrap(), state, "{today}");
        }
    }

    #[test]
    fn every_other_step_is_refused() {
        use CampaignState::{Active, Cancelled, Completed, Draft, Paused, Scheduled};
        use Transition::{Cancel, Complete, Launch, Pause, Resume};
        let allowed = [
            (Transition::Launch, Draft),
            (Transition::Pause, Active),
            (Transition::Resume, Paused),
            (Transition::Complete, Active),
            (Transition::Complete, Paused),
            (Transition::Cancel, Scheduled),
            (Transition::Cancel, Active),
            (Transition::Cancel, Paused),
        ];
        for transition in [Launch, Pause, Resume, Complete, Cancel] {
            for state in [Draft, Scheduled, Active, Paused, Completed, Cancelled] {
                let done = transition.apply(state, &terms(), TODAY);
                assert_eq!(done.is_ok(), allowed.contains(&(transition, state)), "{transition:?} {state:?}");
            }
        }
    }
}
