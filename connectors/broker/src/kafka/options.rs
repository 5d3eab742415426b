//! How to reach the cluster, and what every client of ours is told.

use std::collections::BTreeMap;
use std::fmt;

use castback_schemas::topic::Topic;
use rdkafka::ClientConfig;

/// How to reach a Kafka cluster.
#[derive(Clone, Default)]
pub struct KafkaOptions {
    /// `host:port`, several separated by commas.
    pub brokers: String,
    /// Put before every topic's and every group's name, such as `castback.`; may be empty.
    pub prefix: String,
    /// Replicas of topics that are created here; `None` leaves it to the cluster's default.
    pub replication: Option<u16>,
    /// Settings by librdkafka's names, meant for TLS and SASL (`security.protocol`,
    /// `sasl.mechanism`, …). Those that the log's promises rest on cannot be set.
    pub settings: BTreeMap<String, String>,
}

impl fmt::Debug for KafkaOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Settings hold passwords: names only.
        f.debug_struct("KafkaOptions")
            .field("brokers", &self.brokers)
            .field("prefix", &self.prefix)
            .field("replication", &self.replication)
            .field("settings", &self.settings.keys())
            .finish()
    }
}

impl KafkaOptions {
    /// The topic's name on the cluster.
    pub(super) fn topic(&self, topic: Topic) -> String {
        format!("{}{topic}", self.prefix)
    }

    fn client(&self, ours: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value) in &self.settings {
            config.set(name, value);
        }
        config.set("bootstrap.servers", &self.brokers).set("client.id", "castback");
        for (name, value) in ours {
            config.set(*name, *value);
        }
        config
    }

    pub(super) fn admin(&self) -> ClientConfig {
        self.client(&[])
    }

    pub(super) fn producer(&self) -> ClientConfig {
        self.client(&[
            // Acknowledged means: on every replica in sync, once, in the order sent.
            ("acks", "all"),
            ("enable.idempotence", "true"),
            // Above what the log accepts by more than the framing, see `MAX_RECORD_BYTES`.
            ("message.max.bytes", "1048576"),
            ("compression.codec", "lz4"),
            ("linger.ms", "2"),
            // A caller waits no longer than this for an answer; then the outcome is unknown.
            ("message.timeout.ms", "20000"),
            // What waits is bounded by the log itself, below these.
            ("queue.buffering.max.kbytes", "262144"),
            ("queue.buffering.max.messages", "2000000"),
        ])
    }

    /// A consumer of many slots. It belongs to a group only because the library demands a name.
    pub(super) fn reader(&self) -> ClientConfig {
        let group = format!("{}reader", self.prefix);
        self.client(&[
            ("group.id", &group),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            // A position outside the log is an error, never a jump.
            ("auto.offset.reset", "error"),
            ("enable.partition.eof", "true"),
            ("allow.auto.create.topics", "false"),
            // The default of a second stalls a reader that has caught up with its queue.
            ("fetch.queue.backoff.ms", "5"),
            // A broker is asked for all slots at once. So long a slot may wait that was not among them, since it began
            // just now or its queue was full, and so late the end of a slot is noticed; records of others come at once.
            ("fetch.wait.max.ms", "50"),
            // Bounded by bytes, not by count: 4 MiB for every slot that is read, and so for an answer with all of them.
            ("queued.min.messages", "1000000"),
            ("queued.max.messages.kbytes", "4096"),
        ])
    }

    /// A consumer that only gives advice for `group`, and asks for the ends of slots.
    pub(super) fn adviser(&self, group: &str) -> ClientConfig {
        let group = format!("{}{group}", self.prefix);
        self.client(&[
            ("group.id", &group),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("allow.auto.create.topics", "false"),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown_and_promises_cannot_be_set_away() {
        let mut options = KafkaOptions { prefix: "p.".to_owned(), ..KafkaOptions::default() };
        options.settings.insert("sasl.password".to_owned(), "secret".to_owned());
        options.settings.insert("acks".to_owned(), "1".to_owned());
        options.settings.insert("auto.offset.reset".to_owned(), "latest".to_owned());
        assert!(!format!("{options:?}").contains("secret"));
        assert_eq!(options.producer().get("acks"), Some("all"));
        assert_eq!(options.producer().get("sasl.password"), Some("secret"));
        assert_eq!(options.reader().get("auto.offset.reset"), Some("error"));
        assert_eq!(options.adviser("counting").get("group.id"), Some("p.counting"));
        assert_eq!(options.topic(Topic::AppEvents), "p.app-events");
    }
}
