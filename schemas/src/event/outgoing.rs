//! Events other than requests and conversions.

use serde::{Deserialize, Serialize};

use super::Event;
use crate::id::AccountId;
use crate::time::Micros;
use crate::topic::Topic;

/// What a user did in an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppEvent {
    /// Unique id of the record; deduplicate on it.
    pub event_id: String,
    /// Whose it is.
    pub account_id: AccountId,
    /// When it happened.
    pub occurred_at: Micros,
    /// When Castback received it.
    pub recorded_at: Micros,
    /// Commit number that made it; 0 for what came from outside.
    pub revision: i64,
    /// `page_view`, `feature_used`, click, ...
    #[serde(rename = "type")]
    pub event_type: String,
    /// Hash of the user's or session's id under the account's key.
    pub user: String,
    /// Session.
    pub session_id: Option<String>,
    /// Page path.
    pub page: Option<String>,
    /// Feature.
    pub feature: Option<String>,
    /// Element.
    pub element: Option<String>,
    /// Free properties, encrypted.
    #[serde(with = "apache_avro::serde::bytes_opt")]
    pub properties: Option<Vec<u8>>,
}

impl Event for AppEvent {
    const TOPIC: Topic = Topic::AppEvents;
}

/// A change seen in a feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeedUpdate {
    /// Unique id of the record; deduplicate on it.
    pub event_id: String,
    /// Whose it is.
    pub account_id: AccountId,
    /// When it happened.
    pub occurred_at: Micros,
    /// When Castback received it.
    pub recorded_at: Micros,
    /// Commit number that made it; 0 for what came from outside.
    pub revision: i64,
    /// The podcast.
    pub podcast_id: String,
    /// `episode_added`, `episode_removed`, `enclosure_changed`, `guid_changed`, `title_changed`, `feed_moved`, `feed_gone`.
    pub kind: String,
    /// The episode.
    pub guid: Option<String>,
    /// Old value.
    pub before: Option<String>,
    /// New value.
    pub after: Option<String>,
}

impl Event for FeedUpdate {
    const TOPIC: Topic = Topic::FeedUpdates;
}

/// A change of a user or account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserChange {
    /// Unique id of the record; deduplicate on it.
    pub event_id: String,
    /// Whose it is.
    pub account_id: AccountId,
    /// When it happened.
    pub occurred_at: Micros,
    /// When Castback received it.
    pub recorded_at: Micros,
    /// Commit number that made it; 0 for what came from outside.
    pub revision: i64,
    /// The user.
    pub user_id: String,
    /// `user_created`, ...
    pub kind: String,
    /// Tier after the change.
    pub subscription_tier: Option<String>,
}

impl Event for UserChange {
    const TOPIC: Topic = Topic::UserChanges;
}

/// A change of a campaign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CampaignChange {
    /// Unique id of the record; deduplicate on it.
    pub event_id: String,
    /// Whose it is.
    pub account_id: AccountId,
    /// When it happened.
    pub occurred_at: Micros,
    /// When Castback received it.
    pub recorded_at: Micros,
    /// Commit number that made it; 0 for what came from outside.
    pub revision: i64,
    /// The campaign.
    pub campaign_id: String,
    /// `campaign_created`, `campaign_launched`, ...
    pub kind: String,
    /// State after the change.
    pub state: String,
    /// Version of the campaign.
    pub version: i64,
}

impl Event for CampaignChange {
    const TOPIC: Topic = Topic::CampaignChanges;
}

/// Absolute minute values of a campaign; a higher revision replaces a lower.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CampaignPerformance {
    /// Unique id of the record; deduplicate on it.
    pub event_id: String,
    /// Whose it is.
    pub account_id: AccountId,
    /// When it happened.
    pub occurred_at: Micros,
    /// When Castback received it.
    pub recorded_at: Micros,
    /// Commit number that made it; 0 for what came from outside.
    pub revision: i64,
    /// The campaign.
    pub campaign_id: String,
    /// Start of the minute.
    pub bucket_start: Micros,
    /// Currency of all money here.
    pub currency: String,
    /// Ads delivered in downloads of the window `utc_day`.
    pub impressions_utc_day: i64,
    /// Ads delivered in downloads of the window `first_touch`.
    pub impressions_first_touch: i64,
    /// Ads delivered in downloads of the window `last_touch`.
    pub impressions_last_touch: i64,
    /// Counted downloads that could carry the ad, in the podcast's window.
    pub downloads: i64,
    /// Visits.
    pub visits_micro: i64,
    /// Leads.
    pub leads_micro: i64,
    /// Conversions of the campaign's data sets without credit.
    pub unattributed_conversions: i64,
    /// Credited conversions x 1,000,000, model first.
    pub conversions_first_micro: i64,
    /// Credited conversions x 1,000,000, model last.
    pub conversions_last_micro: i64,
    /// Credited conversions x 1,000,000, model equal.
    pub conversions_equal_micro: i64,
    /// Credited conversions x 1,000,000, model `time_decay`.
    pub conversions_time_decay_micro: i64,
    /// Credited revenue in minor units, model first.
    pub revenue_first_minor: i64,
    /// Credited revenue in minor units, model last.
    pub revenue_last_minor: i64,
    /// Credited revenue in minor units, model equal.
    pub revenue_equal_minor: i64,
    /// Credited revenue in minor units, model `time_decay`.
    pub revenue_time_decay_minor: i64,
}

impl Event for CampaignPerformance {
    const TOPIC: Topic = Topic::CampaignPerformance;
}

/// A record that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Unique id of the record; deduplicate on it.
    pub event_id: String,
    /// Whose it is.
    pub account_id: AccountId,
    /// When it happened.
    pub occurred_at: Micros,
    /// When Castback received it.
    pub recorded_at: Micros,
    /// Commit number that made it; 0 for what came from outside.
    pub revision: i64,
    /// Where it was.
    pub topic: String,
    /// Its slot.
    pub slot: i32,
    /// Its offset.
    pub offset: i64,
    /// undecodable, schema or `too_large`.
    pub reason: String,
    /// The original bytes, encrypted.
    #[serde(with = "apache_avro::serde::bytes")]
    pub value: Vec<u8>,
}

impl Event for DeadLetter {
    const TOPIC: Topic = Topic::DeadLetters;
}
