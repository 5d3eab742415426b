//! A campaign as its terms: what was bought, where it runs, how it is attributed.

use serde::{Deserialize, Serialize};

use crate::id::{CampaignId, PodcastId};
use crate::money::Currency;
use crate::time::{Day, Micros};

/// Where a campaign stands: `draft → scheduled → active ⇄ paused → completed | cancelled`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CampaignState {
    /// Being set up.
    Draft,
    /// Launched, its flight not begun.
    Scheduled,
    /// Delivering.
    Active,
    /// Not delivering until resumed.
    Paused,
    /// Ended as planned.
    Completed,
    /// Ended before.
    Cancelled,
}

impl CampaignState {
    /// The word used in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Scheduled => "scheduled",
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether ads count as delivered in this state (dates apart).
    #[must_use]
    pub fn delivers(self) -> bool {
        matches!(self, Self::Scheduled | Self::Active | Self::Completed)
    }
}

/// What an advertiser pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PriceModel {
    /// Minor units per thousand impressions.
    Cpm(i64),
    /// Minor units for the whole flight, earned by the second.
    Flat(i64),
}

/// Where in an episode an ad stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// Before the content.
    PreRoll,
    /// Inside the content.
    MidRoll,
    /// After the content.
    PostRoll,
}

/// An ad's place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Its id, unique in the campaign.
    pub id: String,
    /// Where it stands.
    pub position: Position,
    /// The episodes that carry it; none given: every episode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub episode_guids: Option<Vec<String>>,
    /// Inserted when served: counts only where a request names it in `ads`.
    #[serde(default)]
    pub dynamic: bool,
    /// Start in the content, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_seconds: Option<u32>,
    /// Length, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<u32>,
    /// First byte in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_byte: Option<u64>,
    /// Byte after the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_byte: Option<u64>,
}

/// What counts of a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PixelUse {
    /// Not accepted as a touch.
    #[default]
    Off,
    /// Shown, without money.
    Shown,
    /// Counted like a signed conversion.
    Counted,
}

/// How conversions are connected to the campaign.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Attribution {
    /// Codes that name this campaign (compared without case).
    #[serde(default)]
    pub promo_codes: Vec<String>,
    /// Path of the vanity redirect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vanity_slug: Option<String>,
    /// What counts of a pixel.
    #[serde(default)]
    pub pixel: PixelUse,
    /// Survey answers that name this campaign (compared without case).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub survey: Option<Vec<String>>,
}

impl Attribution {
    /// Whether at least one method is set.
    #[must_use]
    pub fn complete(&self) -> bool {
        !self.promo_codes.is_empty()
            || self.vanity_slug.is_some()
            || self.pixel != PixelUse::Off
            || self.survey.as_ref().is_some_and(|answers| !answers.is_empty())
    }
}

/// What the buyer hopes for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Goals {
    /// Impressions wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impressions: Option<u64>,
    /// Conversions wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conversions: Option<u64>,
    /// Return on ad spend wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roas: Option<f64>,
}

/// What excludes a conversion from credit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Exclusions {
    /// Customers with a purchase before their first exposure.
    #[serde(default)]
    pub prior_customers: bool,
    /// Referrers that contain one of these.
    #[serde(default)]
    pub referrers: Vec<String>,
    /// UTM sources that are someone else's.
    #[serde(default)]
    pub utm_sources: Vec<String>,
}

/// Everything about a campaign that a person sets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CampaignTerms {
    /// Its name.
    pub name: String,
    /// Who advertises.
    #[serde(default)]
    pub advertiser: String,
    /// Podcasts that carry it.
    #[serde(default)]
    pub podcast_ids: Vec<PodcastId>,
    /// ECAPI data sets whose conversions are its own.
    #[serde(default)]
    pub data_set_ids: Vec<String>,
    /// Where the vanity redirect leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub landing_url: Option<String>,
    /// First day of the flight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_on: Option<Day>,
    /// Last day of the flight, included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_on: Option<Day>,
    /// Currency of budget, price and revenue.
    pub currency: Currency,
    /// Budget in minor units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<i64>,
    /// Price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_model: Option<PriceModel>,
    /// Ads.
    #[serde(default)]
    pub placements: Vec<Placement>,
    /// Goals.
    #[serde(default)]
    pub goals: Goals,
    /// Look-back in days, 1 to 60.
    #[serde(default = "default_lookback")]
    pub lookback_days: u16,
    /// Attribution.
    #[serde(default)]
    pub attribution: Attribution,
    /// Exclusions.
    #[serde(default)]
    pub exclusions: Exclusions,
}

fn default_lookback() -> u16 {
    30
}

/// One version of a campaign, in force from `valid_from` until the next version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CampaignVersion {
    /// The campaign.
    pub campaign: CampaignId,
    /// Since when; the first version is valid from the beginning of time.
    pub valid_from: Micros,
    /// Its state.
    pub state: CampaignState,
    /// Its terms.
    pub terms: CampaignTerms,
}
