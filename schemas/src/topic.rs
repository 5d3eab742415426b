//! Topics and slots: what is on the log, how long, and where a record belongs.

use std::fmt;
use std::str::FromStr;

use crate::id::AccountId;
use crate::time::DAY;

/// Slots (partitions) of every topic, fixed for the life of an installation.
pub const SLOTS: u16 = 16;

/// A partition of a topic: `murmur2(account id) mod SLOTS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u16);

impl Slot {
    /// The slot of everything that belongs to `account`.
    #[must_use]
    pub fn of(account: AccountId) -> Self {
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        let text = account.uuid().hyphenated().encode_lower(&mut text);
        let positive = murmur2(text.as_bytes()) & 0x7fff_ffff;
        Self(u16::try_from(positive % u32::from(SLOTS)).unwrap_or(0))
    }

    /// Every slot of an installation.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SLOTS).map(Self)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Kafka's default partitioner hash (`org.apache.kafka.common.utils.Utils.murmur2`).
#[must_use]
pub fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut h: u32 = 0x9747_b28c ^ length;
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        for (i, byte) in rest.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

macro_rules! topics {
    ($($variant:ident $name:literal $record:literal $days:literal, $doc:literal;)+) => {
        /// A topic of the log. Its row in [`TOPICS`] says the rest.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Topic { $(#[doc = $doc] $variant),+ }

        /// Every topic: name, record, retention and schema.
        pub const TOPICS: &[TopicSpec] = &[$(TopicSpec {
            topic: Topic::$variant,
            name: $name,
            record: $record,
            retention: $days * DAY,
            schema: include_str!(concat!("../avro/", $name, ".avsc")),
            doc: $doc,
        }),+];
    };
}

/// A row of [`TOPICS`].
#[derive(Debug, Clone, Copy)]
pub struct TopicSpec {
    /// The topic.
    pub topic: Topic,
    /// Its name on the log, before any prefix.
    pub name: &'static str,
    /// The Avro record's name in the namespace `castback.v1`.
    pub record: &'static str,
    /// How long records are kept, in microseconds.
    pub retention: i64,
    /// The Avro schema (the text of the `.avsc` file).
    pub schema: &'static str,
    /// What is on it.
    pub doc: &'static str,
}

topics! {
    ListenerRequests "listener-requests" "ListenerRequest" 7, "A request for an episode file; key: podcast.";
    FeedUpdates "feed-updates" "FeedUpdate" 30, "A change seen in a feed; key: podcast.";
    AppEvents "app-events" "AppEvent" 7, "What a user did in an app; key: user.";
    UserChanges "user-changes" "UserChange" 30, "A change of a user or account; key: user.";
    Conversions "conversions" "Conversion" 7, "An IAB ECAPI conversion; key: data set and id.";
    CampaignChanges "campaign-changes" "CampaignChange" 30, "A change of a campaign; key: campaign.";
    CampaignPerformance "campaign-performance" "CampaignPerformance" 7, "A campaign's minute values; key: campaign.";
    FrictionSignals "friction-signals" "FrictionSignal" 7, "A sign of friction; key: user.";
    SupportTriggers "support-triggers" "SupportTrigger" 7, "A support flow started; key: user.";
    Anomalies "anomalies" "Anomaly" 7, "A scored anomaly; key: series.";
    AlertsCritical "alerts-critical" "Alert" 30, "Critical alerts; key: fingerprint.";
    AlertsHigh "alerts-high" "Alert" 30, "High alerts; key: fingerprint.";
    AlertsMedium "alerts-medium" "Alert" 30, "Medium alerts; key: fingerprint.";
    AlertsLow "alerts-low" "Alert" 30, "Low alerts and the heartbeat; key: fingerprint.";
    DeadLetters "dead-letters" "DeadLetter" 30, "Records that could not be read; key: source topic.";
}

impl Topic {
    /// The topic's row.
    #[must_use]
    pub fn spec(self) -> &'static TopicSpec {
        // TOPICS is generated from the same list, in the same order.
        &TOPICS[self as usize]
    }

    /// The topic's name, before any prefix.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.spec().name
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no such topic")]
pub struct UnknownTopic;

impl FromStr for Topic {
    type Err = UnknownTopic;

    fn from_str(name: &str) -> Result<Self, UnknownTopic> {
        TOPICS.iter().find(|spec| spec.name == name).map(|spec| spec.topic).ok_or(UnknownTopic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_is_kafkas() {
        // Vectors of Kafka's own UtilsTest.
        let vectors: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (text, expected) in vectors {
            assert_eq!(murmur2(text.as_bytes()).cast_signed(), expected, "{text}");
        }
    }

    #[test]
    fn every_topic_has_its_row() {
        for spec in TOPICS {
            assert_eq!(spec.topic.spec().name, spec.name);
            assert_eq!(spec.name.parse::<Topic>(), Ok(spec.topic));
        }
    }
}
