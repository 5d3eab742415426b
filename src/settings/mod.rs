//! Settings: read once at the start, typed, refused in words that help.
//!
//! ```text
//! environment, file ─Source─▶ texts ─Reader─▶ types ─▶ Settings, or everything that is wrong with them
//! ```
//! Where to add: a row in `table.rs`, a line in [`Settings::read`].

mod source;
mod table;
mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use castback_api::Part;
use castback_broker::KafkaOptions;
use castback_connectors::registry::RegistryAddress;
use castback_store::mirror::{MirrorAddress, MirrorOptions};
use clap::ValueEnum;
use ipnet::IpNet;
use secrecy::SecretString;
use url::Url;

use crate::command::SettingsArguments;
use crate::failure::BadUsage;

pub(crate) use self::source::Source;
pub(crate) use self::table::{SETTINGS, described};
use self::values::Reader;

/// Shortest and longest interval of background work, in seconds.
const INTERVALS: std::ops::RangeInclusive<u32> = 1..=86_400;

/// The settings that switch a part off.
const SWITCHES: [(&str, Part); 4] = [
    ("METRICS_ENABLED", Part::Metrics),
    ("EVENTS_ENABLED", Part::Events),
    ("MEASUREMENT_ENABLED", Part::Measurement),
    ("PRICING_ENABLED", Part::Pricing),
];

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Answers people.
    Api,
    /// Takes records.
    Ingest,
    /// Judges records.
    Process,
    /// Polls feeds, makes reports, keeps house.
    Agents,
}

/// Which log.
#[derive(Debug)]
pub(crate) enum LogSettings {
    /// In the data directory.
    Embedded,
    /// On a cluster.
    Kafka(KafkaOptions),
}

/// How messages of the program itself are written.
#[derive(Debug, Clone)]
pub(crate) struct Logging {
    /// As `RUST_LOG` has it.
    pub(crate) filter: String,
    /// As JSON, else as text.
    pub(crate) json: bool,
}

/// Every setting.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) data: PathBuf,
    pub(crate) roles: Vec<Role>,
    pub(crate) log: LogSettings,
    /// None: SQLite in the data directory.
    pub(crate) database_url: Option<SecretString>,
    /// None: a folder of the data directory.
    pub(crate) object_store_url: Option<String>,
    pub(crate) secret_key_file: Option<PathBuf>,
    /// Where series are mirrored; none: nowhere.
    pub(crate) mirror: Option<MirrorOptions>,
    /// Where schemas have their ids from; none: the registry built in.
    pub(crate) schema_registry: Option<RegistryAddress>,
    /// Parts that are switched off.
    pub(crate) off: Vec<Part>,
    /// Seconds.
    pub(crate) feed_poll_interval: u32,
    /// Seconds.
    pub(crate) update_interval: u32,
    /// None: the bound address.
    pub(crate) public_url: Option<Url>,
    pub(crate) cors_origins: Vec<String>,
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) operators: Vec<String>,
    pub(crate) metrics_listen: Option<std::net::SocketAddr>,
    pub(crate) outbound_allow: Vec<IpNet>,
    pub(crate) user_agents_path: Option<PathBuf>,
    pub(crate) logging: Logging,
    /// Settings that are set and that this version does nothing with.
    pub(crate) without_effect: Vec<&'static str>,
}

impl Settings {
    /// The settings of this process: arguments, environment, file.
    pub(crate) fn load(arguments: &SettingsArguments) -> anyhow::Result<Self> {
        let environment = std::env::vars_os()
            .map(|(name, text)| (name.to_string_lossy().into_owned(), text.to_string_lossy().into_owned()));
        let source = Source::new(environment);
        let source = match &arguments.config {
            None => source,
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| BadUsage::because(format!("--config {}: {error}", path.display())))?;
                source.with_file(path, &text).map_err(BadUsage)?
            }
        };
        let data = std::path::absolute(&arguments.data)
            .map_err(|error| BadUsage::because(format!("--data {}: {error}", arguments.data.display())))?;
        Self::read(&source, &data, &arguments.roles).map_err(|wrong| BadUsage(wrong).into())
    }

    /// Reads every setting; answers all that is wrong, not only the first.
    pub(crate) fn read(source: &Source, data: &Path, roles: &[Role]) -> Result<Self, Vec<String>> {
        let mut reader = Reader { source, wrong: Vec::new() };
        let settings = Self {
            data: data.to_owned(),
            roles: roles.to_vec(),
            log: log(&mut reader),
            database_url: reader
                .read("DATABASE_URL", |text| values::scheme(text, &["sqlite://", "postgresql://", "postgres://"]))
                .map(SecretString::from),
            object_store_url: reader.read("OBJECT_STORE_URL", |text| values::scheme(text, &["file:///", "s3://"])),
            secret_key_file: reader.read("SECRET_KEY_FILE", |text| Ok(PathBuf::from(text))),
            mirror: mirror(&mut reader),
            schema_registry: reader.read("SCHEMA_REGISTRY_URL", registry),
            off: SWITCHES.iter().filter(|(name, _)| !reader.switch(name)).map(|(_, part)| *part).collect(),
            feed_poll_interval: interval(&mut reader, "FEED_POLL_INTERVAL"),
            update_interval: interval(&mut reader, "UPDATE_INTERVAL"),
            public_url: reader.read("PUBLIC_URL", values::web),
            cors_origins: reader.list("CORS_ORIGINS", values::origin),
            trusted_proxies: reader.list("TRUSTED_PROXIES", values::network),
            operators: reader.list("OPERATORS", values::email),
            metrics_listen: reader.read("METRICS_LISTEN", values::socket),
            outbound_allow: reader.list("OUTBOUND_ALLOW", values::network),
            user_agents_path: reader.read("USER_AGENTS_PATH", folder),
            logging: logging(&mut reader),
            without_effect: without_effect(source),
        };
        reader.wrong.extend(settings.unfit_for_several());
        if reader.wrong.is_empty() { Ok(settings) } else { Err(reader.wrong) }
    }

    /// Whether this process plays `role`.
    pub(crate) fn plays(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Whether the catalogue is a server's, which other processes may use too.
    pub(crate) fn shares_catalogue(&self) -> bool {
        use secrecy::ExposeSecret;
        self.database_url.as_ref().is_some_and(|url| url.expose_secret().starts_with("postgres"))
    }

    /// Whether this process alone works on the log: nobody else can, or its catalogue is its own.
    pub(crate) fn is_alone(&self) -> bool {
        matches!(self.log, LogSettings::Embedded) || !self.shares_catalogue()
    }

    /// What is missing for a process that plays only some roles, and so needs others beside it.
    fn unfit_for_several(&self) -> Option<String> {
        if Role::value_variants().iter().all(|role| self.plays(*role)) {
            return None;
        }
        let needs = [
            ("KAFKA_BROKERS", matches!(self.log, LogSettings::Kafka(_))),
            ("DATABASE_URL (postgresql://…)", self.shares_catalogue()),
            ("OBJECT_STORE_URL", self.object_store_url.is_some()),
            ("SECRET_KEY_FILE", self.secret_key_file.is_some()),
        ];
        let missing: Vec<&str> = needs.iter().filter(|(_, there)| !there).map(|(name, _)| *name).collect();
        let words = "--roles: a process with some of the roles works beside others, and they need a log, a catalogue, \
                     an object store and a secret in common";
        (!missing.is_empty()).then(|| format!("{words}; please set {}", missing.join(", ")))
    }
}

fn registry(text: &str) -> Result<RegistryAddress, String> {
    text.parse().map_err(|error: castback_connectors::registry::AddressError| error.to_string())
}

fn folder(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_dir() { Ok(path) } else { Err(format!("{text} is no folder")) }
}

fn interval(reader: &mut Reader<'_>, name: &str) -> u32 {
    reader.read(name, |text| values::seconds(text, INTERVALS)).unwrap_or(900)
}

fn logging(reader: &mut Reader<'_>) -> Logging {
    let json = |text: &str| match text {
        "text" => Ok(false),
        "json" => Ok(true),
        _ => Err("expected text or json".to_owned()),
    };
    let filter = |text: &str| {
        let parsed = tracing_subscriber::EnvFilter::try_new(text);
        parsed
            .map(|_| text.to_owned())
            .map_err(|error| format!("not a filter such as info or castback_api=debug: {error}"))
    };
    let filter = reader.read("RUST_LOG", filter).unwrap_or_else(|| "info".to_owned());
    Logging { filter, json: reader.read("LOG_FORMAT", json).unwrap_or(false) }
}

/// The cluster, if one is named; a setting of it without one is a slip.
fn log(reader: &mut Reader<'_>) -> LogSettings {
    let mut given = reader.source.beginning(table::KAFKA_PREFIX);
    let Some(brokers) = given.remove("KAFKA_BROKERS") else {
        if let Some(name) = given.keys().next() {
            reader.wrong.push(format!("{name} is set, but KAFKA_BROKERS is not: which cluster?"));
        }
        return LogSettings::Embedded;
    };
    let prefix = given.remove("KAFKA_TOPIC_PREFIX").unwrap_or_default();
    given.remove("KAFKA_REPLICATION");
    let replicas = |text: &str| match text.parse() {
        Ok(replicas @ 1..=32) => Ok(replicas),
        _ => Err("expected a number of replicas from 1 to 32".to_owned()),
    };
    let replication = reader.read("KAFKA_REPLICATION", replicas);
    let of_librdkafka = |(name, text): (String, String)| {
        let name = name.trim_start_matches(table::KAFKA_PREFIX).to_lowercase().replace('_', ".");
        (name, text.trim().to_owned())
    };
    let settings: BTreeMap<String, String> = given.into_iter().map(of_librdkafka).collect();
    LogSettings::Kafka(KafkaOptions { brokers, prefix, replication, settings })
}

/// The mirror, if a server is named; a setting of it without one is a slip.
fn mirror(reader: &mut Reader<'_>) -> Option<MirrorOptions> {
    let given = |text: &str| if text.is_empty() { Err("expected something".to_owned()) } else { Ok(text.to_owned()) };
    let token = reader.read("INFLUX_TOKEN", given).map(SecretString::from);
    let organization = reader.read("INFLUX_ORG", given);
    let address =
        reader.read("TIMESERIES_DB_URL", |text| text.parse::<MirrorAddress>().map_err(|error| error.to_string()));
    if reader.source.get("TIMESERIES_DB_URL").is_none() {
        for name in ["INFLUX_TOKEN", "INFLUX_ORG"].into_iter().filter(|name| reader.source.get(name).is_some()) {
            reader.wrong.push(format!("{name} is set, but TIMESERIES_DB_URL is not: which server?"));
        }
    }
    let MirrorAddress { server, bucket } = address?;
    Some(MirrorOptions { server, bucket, organization, token })
}

fn without_effect(source: &Source) -> Vec<&'static str> {
    SETTINGS.iter().filter(|spec| !spec.works && source.get(spec.name).is_some()).map(|spec| spec.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(environment: &[(&str, &str)], roles: &[Role]) -> Result<Settings, Vec<String>> {
        let given = environment.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        Settings::read(&Source::new(given), Path::new("/data"), roles)
    }

    fn all() -> &'static [Role] {
        Role::value_variants()
    }

    #[test]
    fn nothing_set_is_everything_embedded() {
        let settings = read(&[], all()).unwrap();
        assert!(matches!(settings.log, LogSettings::Embedded) && settings.is_alone());
        assert!(settings.off.is_empty() && settings.feed_poll_interval == 900);
        assert!(settings.without_effect.is_empty() && settings.outbound_allow.is_empty());
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let wrong =
            read(&[("PUBLIC_URL", "x"), ("FEED_POLL_INTERVAL", "0"), ("DATABASE_URL", "mysql://u:hidden@h/d")], all());
        let wrong = wrong.unwrap_err();
        assert_eq!(wrong.len(), 3, "{wrong:?}");
        assert!(!wrong.join(" ").contains("hidden"), "a password is shown: {wrong:?}");
    }

    #[test]
    fn some_of_the_roles_need_everything_in_common() {
        let wrong = read(&[("KAFKA_BROKERS", "k:9092")], &[Role::Api]).unwrap_err().join(" ");
        assert!(
            wrong.contains("DATABASE_URL") && wrong.contains("SECRET_KEY_FILE") && !wrong.contains("KAFKA_BROKERS")
        );
        let shared = [
            ("KAFKA_BROKERS", "k:9092"),
            ("DATABASE_URL", "postgresql://u@h/d"),
            ("OBJECT_STORE_URL", "s3://bucket/castback"),
            ("SECRET_KEY_FILE", "/run/secret"),
        ];
        assert!(!read(&shared, &[Role::Process]).unwrap().is_alone());
    }

    #[test]
    fn librdkafka_s_settings_keep_their_names() {
        let given = [("KAFKA_BROKERS", "k:9092"), ("KAFKA_SASL_USERNAME", "me"), ("KAFKA_TOPIC_PREFIX", "cb.")];
        let LogSettings::Kafka(options) = read(&given, all()).unwrap().log else { panic!("a cluster is named") };
        assert_eq!((options.brokers.as_str(), options.prefix.as_str()), ("k:9092", "cb."));
        assert_eq!(options.settings, BTreeMap::from([("sasl.username".to_owned(), "me".to_owned())]));
        assert!(read(&[("KAFKA_SASL_USERNAME", "me")], all()).unwrap_err()[0].contains("which cluster"));
    }

    #[test]
    fn the_mirror_is_a_server_a_bucket_and_who_writes() {
        let given = [
            ("TIMESERIES_DB_URL", "influxdb://influx:8086/analytics"),
            ("INFLUX_TOKEN", "hidden"),
            ("INFLUX_ORG", "castback"),
        ];
        let settings = read(&given, all()).unwrap();
        let mirror = settings.mirror.as_ref().expect("a mirror");
        assert_eq!((mirror.server.as_str(), mirror.bucket.as_str()), ("http://influx:8086/", "analytics"));
        assert_eq!(mirror.organization.as_deref(), Some("castback"));
        assert!(!format!("{settings:?}").contains("hidden"), "the token is shown");
        assert!(read(&given[1..], all()).unwrap_err().join(" ").contains("which server"));
        let wrong = read(&[("TIMESERIES_DB_URL", "influxdb://u:hidden@h/b")], all()).unwrap_err().join(" ");
        assert!(wrong.contains("INFLUX_TOKEN") && !wrong.contains("hidden"), "{wrong}");
    }

    #[test]
    fn the_registry_s_password_is_not_shown() {
        let settings = read(&[("SCHEMA_REGISTRY_URL", "https://me:hidden@registry:8081")], all()).unwrap();
        assert_eq!(settings.schema_registry.as_ref().map(|at| at.base.as_str()), Some("https://registry:8081/"));
        let wrong = read(&[("SCHEMA_REGISTRY_URL", "me:hidden@registry")], all()).unwrap_err().join(" ");
        assert!(
            wrong.contains("SCHEMA_REGISTRY_URL") && !format!("{wrong} {settings:?}").contains("hidden"),
            "{wrong}"
        );
    }

    #[test]
    fn what_comes_later_is_named() {
        assert_eq!(read(&[("SMTP_URL", "smtp://h")], all()).unwrap().without_effect, ["SMTP_URL"]);
    }
}
