//! Every setting: its name in the environment and in the TOML file, its default, its meaning.

/// A row of [`SETTINGS`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct SettingSpec {
    /// The name in the environment; in the file in any case of letters.
    pub(crate) name: &'static str,
    /// What holds when it is not set.
    pub(crate) default: &'static str,
    /// What it is for.
    pub(crate) meaning: &'static str,
    /// Whether this version does what it says; else it is accepted and a warning says so.
    pub(crate) works: bool,
}

const fn setting(name: &'static str, default: &'static str, meaning: &'static str) -> SettingSpec {
    SettingSpec { name, default, meaning, works: true }
}

const fn later(name: &'static str, default: &'static str, meaning: &'static str) -> SettingSpec {
    SettingSpec { name, default, meaning, works: false }
}

/// Settings of librdkafka begin with this: `KAFKA_SASL_USERNAME` is its `sasl.username`.
pub(crate) const KAFKA_PREFIX: &str = "KAFKA_";

/// Every setting by name. Where to add: a row here, and a line in [`super::Settings::read`].
pub(crate) const SETTINGS: &[SettingSpec] = &[
    setting("KAFKA_BROKERS", "the embedded log", "host:9092,… of a Kafka cluster"),
    setting("KAFKA_TOPIC_PREFIX", "none", "put before the names of topics and groups"),
    setting("KAFKA_REPLICATION", "the cluster's", "replicas of topics that are created"),
    setting("KAFKA_*", "none", "TLS and SASL by librdkafka's names: KAFKA_SECURITY_PROTOCOL is security.protocol"),
    setting("DATABASE_URL", "sqlite://<data>/castback.db", "the catalogue: sqlite:// or postgresql://"),
    setting("OBJECT_STORE_URL", "file://<data>/objects", "ledger and series: file:// or s3://bucket/prefix"),
    setting(
        "SECRET_KEY_FILE",
        "made in <data>",
        "64 hexadecimal digits; the same for all processes of an installation",
    ),
    setting(
        "TIMESERIES_DB_URL",
        "Parquet only",
        "a mirror of every series: influxdb://host:8086/bucket; influxdbs:// by TLS",
    ),
    setting(
        "INFLUX_TOKEN",
        "none",
        "the mirror's token: it writes and reads the bucket, and makes it if it is missing",
    ),
    setting("INFLUX_ORG", "the server's only one", "the mirror's organization, by name"),
    setting(
        "SCHEMA_REGISTRY_URL",
        "the one built in",
        "a Confluent-compatible registry: http://host:8081 or https://, with user:password@ if it wants them",
    ),
    later("STRIPE_API_KEY", "upgrades are recorded", "charges for upgrades"),
    later("STRIPE_WEBHOOK_SECRET", "none", "proves that a webhook is Stripe's"),
    later("SMTP_URL", "mails are kept", "sends mail"),
    setting("METRICS_ENABLED", "true", "whether /metrics answers"),
    setting("EVENTS_ENABLED", "true", "whether app events are taken"),
    setting("MEASUREMENT_ENABLED", "true", "whether tasks and satisfaction are measured"),
    setting("PRICING_ENABLED", "true", "whether the tiers' limits hold"),
    setting("FEED_POLL_INTERVAL", "900", "shortest time between two polls of a feed, in seconds"),
    setting("UPDATE_INTERVAL", "900", "time between two rounds of housekeeping, in seconds"),
    setting("PUBLIC_URL", "the bound address", "where people reach this server"),
    setting("CORS_ORIGINS", "none", "origins whose pages may call, separated by commas; * for all"),
    setting("TRUSTED_PROXIES", "none", "ranges whose X-Forwarded-For is believed"),
    setting("OPERATORS", "none", "e-mail addresses of people who see across accounts"),
    setting("METRICS_LISTEN", "none", "an address of its own for /metrics, open to whoever reaches it"),
    setting("OUTBOUND_ALLOW", "none", "private ranges that feeds may lead to"),
    setting(
        "USER_AGENTS_PATH",
        "the lists shipped",
        "a folder of lists over the seed; subfolders named by date hold from that day",
    ),
    setting("RUST_LOG", "info", "what is logged, as tracing's filters are written"),
    setting("LOG_FORMAT", "text", "text or json, on standard error"),
    later("OTEL_EXPORTER_OTLP_ENDPOINT", "none", "where traces go"),
];

/// The row of a setting, if it is one.
pub(crate) fn spec(name: &str) -> Option<&'static SettingSpec> {
    let named = SETTINGS.iter().find(|spec| spec.name == name);
    named.or_else(|| SETTINGS.iter().find(|spec| spec.name == "KAFKA_*" && name.starts_with(KAFKA_PREFIX)))
}

/// Every setting in words, for the help of the command line.
pub(crate) fn described() -> String {
    let line = |spec: &SettingSpec| {
        let SettingSpec { name, default, meaning, works } = spec;
        let later = if *works { "" } else { "; nothing in this version" };
        format!("  {name}\n          {meaning} [default: {default}{later}]\n")
    };
    let lines: String = SETTINGS.iter().map(line).collect();
    format!("Settings, from the environment or the file of --config (by the same names):\n{lines}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_has_every_setting() {
        let readme = include_str!("../../README.md");
        for SettingSpec { name, default, .. } in SETTINGS {
            assert!(readme.contains(&format!("`{name}`")), "README.md: {name} (default: {default})");
        }
    }

    #[test]
    fn names_are_found_and_librdkafka_s_too() {
        assert_eq!(spec("PUBLIC_URL").map(|spec| spec.name), Some("PUBLIC_URL"));
        assert_eq!(spec("KAFKA_SASL_USERNAME").map(|spec| spec.name), Some("KAFKA_*"));
        assert!(spec("PUBLIC_ULR").is_none());
    }
}
