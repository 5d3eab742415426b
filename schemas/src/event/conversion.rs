//! Conversions: IAB ECAPI 1.0 events as they lie on the log.

use serde::{Deserialize, Serialize};

use super::Event;
use crate::id::AccountId;
use crate::time::Micros;
use crate::topic::Topic;

/// A conversion, made from ECAPI, a pixel or a vanity redirect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conversion {
    /// `data_set_id` and `id` joined: the id that is unique for life.
    pub event_id: String,
    /// Whose it is.
    pub account_id: AccountId,
    /// When it happened.
    pub occurred_at: Micros,
    /// When Castback received it.
    pub recorded_at: Micros,
    /// 0: from outside.
    pub revision: i64,
    /// ECAPI data set.
    pub data_set_id: String,
    /// ECAPI id.
    pub id: String,
    /// ECAPI event type.
    pub event_type: String,
    /// Value in minor units.
    pub value_minor: Option<i64>,
    /// ISO 4217.
    pub currency: Option<String>,
    /// Links refunds.
    pub transaction_id: Option<String>,
    /// Promo code.
    pub coupon: Option<String>,
    /// Referrer.
    pub referrer: Option<String>,
    /// Keyed hash of the customer identifier.
    #[serde(with = "apache_avro::serde::fixed_opt")]
    pub customer: Option<[u8; 16]>,
    /// Class of the network.
    pub network: String,
    /// Version of the range list.
    pub network_version: String,
    /// The household under each month's key that the look-back can reach.
    pub households: Vec<HouseholdKey>,
    /// Campaign named by the sender.
    pub campaign_id: Option<String>,
    /// Vanity address visited.
    pub vanity_slug: Option<String>,
    /// Survey answer.
    pub survey_answer: Option<String>,
    /// UTM parameters as JSON.
    pub utm: Option<String>,
    /// `api`, `pixel` or `vanity`.
    pub source: String,
    /// False for what anyone could have sent.
    pub verified: bool,
}

/// A household's hash under one month's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HouseholdKey {
    /// The month ([`crate::Month`]).
    pub month: i32,
    /// The hash.
    #[serde(with = "apache_avro::serde::fixed")]
    pub hash: [u8; 16],
}

impl Event for Conversion {
    const TOPIC: Topic = Topic::Conversions;
}
