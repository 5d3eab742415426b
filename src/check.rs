//! `castback check`: for every part that a setting names, whether it works, in words that help.
//!
//! It opens what `serve` would open, and leaves nothing behind but an empty data directory. While a server runs in the
//! data directory, what only one process may open is taken to be that server's.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use castback_broker::{EmbeddedLog, EmbeddedOptions, KafkaLog};
use castback_catalogue::Catalogue;
use castback_connectors::registry::{RegistryAddress, RemoteRegistry};
use castback_schemas::id::{IdSource, SeededIds};
use castback_schemas::{Clock, SystemClock};
use castback_store::Objects;
use castback_store::mirror::{Mirror, MirrorError};
use secrecy::{ExposeSecret, SecretString};

use crate::command::SettingsArguments;
use crate::data_dir::{self, DataDir, DataDirError};
use crate::serve::load_lists;
use crate::settings::{LogSettings, Settings};
use crate::{random, show};

/// Longest wait for one part.
const PATIENCE: Duration = Duration::from_secs(15);

/// What was found of a part: words for good news, or an error.
type Finding = anyhow::Result<String>;

/// Checks every part, shows a line each, and fails if one failed.
pub(crate) async fn run(arguments: &SettingsArguments) -> anyhow::Result<ExitCode> {
    let settings = Settings::load(arguments)?;
    let data = directory(&settings.data);
    let mut all_well =
        told("--data", &data.as_ref().map(Directory::words).map_err(|error| anyhow::anyhow!("{error:#}")));
    if let Ok(data) = &data {
        all_well &= told("KAFKA_BROKERS", &within(log(&settings.log, data)).await);
        all_well &= told("DATABASE_URL", &within(catalogue(&settings, data)).await);
        all_well &= told("OBJECT_STORE_URL", &within(objects(&settings, data)).await);
        all_well &= told("SECRET_KEY_FILE", &secret(&settings, data));
    }
    all_well &= told("SCHEMA_REGISTRY_URL", &within(schemas(settings.schema_registry.as_ref())).await);
    all_well &= told("TIMESERIES_DB_URL", &within(mirror(&settings)).await);
    all_well &= told("USER_AGENTS_PATH", &lists(settings.user_agents_path.as_deref()));
    all_well &= told("METRICS_LISTEN", &metrics(&settings).await);
    for name in &settings.without_effect {
        show::line(&format!("note   {name}: this version does nothing with it"));
    }
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The data directory: ours, or a running server's.
#[derive(Debug)]
enum Directory {
    Ours(DataDir),
    Running(Option<String>),
}

impl Directory {
    fn words(&self) -> String {
        match self {
            Self::Ours(_) => "can be used; no server runs in it".to_owned(),
            Self::Running(Some(address)) => format!("a server runs in it, at {address}"),
            Self::Running(None) => "another process uses it".to_owned(),
        }
    }
}

fn directory(path: &Path) -> anyhow::Result<Directory> {
    match DataDir::take(path) {
        Ok(data) => Ok(Directory::Ours(data)),
        Err(DataDirError::InUse(_)) => Ok(Directory::Running(data_dir::address(path)?)),
        Err(error) => Err(error.into()),
    }
}

/// Shows a finding. Whether it is a good one.
fn told(name: &str, finding: &Finding) -> bool {
    match finding {
        Ok(words) => show::line(&format!("ok     {name}: {words}")),
        Err(error) => show::line(&format!("FAILED {name}: {error:#}")),
    };
    finding.is_ok()
}

async fn within(check: impl Future<Output = Finding>) -> Finding {
    let waited = tokio::time::timeout(PATIENCE, check).await;
    waited.unwrap_or_else(|_| {
        Err(anyhow::anyhow!("no answer within {PATIENCE:?}: is the address right, does a firewall drop it?"))
    })
}

async fn log(settings: &LogSettings, data: &Directory) -> Finding {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    match (settings, data) {
        (LogSettings::Kafka(options), _) => {
            let log = KafkaLog::new(options.clone(), clock).context("the client can't be made from KAFKA_*")?;
            let asked = log.survey().await;
            log.close().await;
            let found = asked.map_err(|error| {
                let error = anyhow::Error::from(error);
                let hint = kafka_hint(&format!("{error:#}"));
                error.context(format!("the cluster does not answer as it should{hint}"))
            })?;
            let number = match found.brokers {
                1 => "1 broker answers".to_owned(),
                brokers => format!("{brokers} brokers answer"),
            };
            let more = match found.no_topics {
                None => "can be created".to_owned(),
                Some(why) => format!("can't be created ({why}); a later version may want some"),
            };
            // The client knows no more of a broker than what it can do.
            Ok(format!("{number}, of a version not told; the topics are there and can be written, further ones {more}"))
        }
        (LogSettings::Embedded, Directory::Running(_)) => Ok("the embedded log, open in the running server".to_owned()),
        (LogSettings::Embedded, Directory::Ours(data)) => {
            let path = data.log();
            if !path.exists() {
                return Ok("the embedded log, made at the first start".to_owned());
            }
            let open = move || EmbeddedLog::open(&path, clock, EmbeddedOptions::default());
            let log = tokio::task::spawn_blocking(open).await?.context("the embedded log can't be opened")?;
            log.close().await;
            Ok("the embedded log can be opened".to_owned())
        }
    }
}

/// What to look at, if what librdkafka says is what it says where brokers expect TLS or a password, and nobody else would
/// know: it reads the start of their refusal as a size, or is hung up on without a reason.
fn kafka_hint(said: &str) -> &'static str {
    let has = |words: &[&str]| words.iter().any(|words| said.contains(words));
    let hung_up = has(&["BrokerTransportFailure"]) && !has(&["refused", "resolve", "timed out", "uthentication"]);
    let other_protocol = hung_up || has(&["security.protocol", "Invalid response size"]);
    if other_protocol { "; see KAFKA_SECURITY_PROTOCOL and the like" } else { "" }
}

async fn catalogue(settings: &Settings, data: &Directory) -> Finding {
    let (url, kind) = match (&settings.database_url, data) {
        (Some(url), _) => (url.clone(), if settings.shares_catalogue() { "PostgreSQL" } else { "SQLite" }),
        (None, Directory::Running(_)) => return Ok("SQLite, open in the running server".to_owned()),
        (None, Directory::Ours(data)) if !data.has_catalogue() => {
            return Ok("SQLite, made at the first start".to_owned());
        }
        (None, Directory::Ours(data)) => (SecretString::from(data.database_url()), "SQLite"),
    };
    let opened = Catalogue::open(url.expose_secret(), Arc::new(SystemClock), random::bytes()?).await;
    let catalogue =
        opened.context("the catalogue can't be opened; is the address right, may this user make tables?")?;
    let commit = catalogue.newest_commit().await?;
    let version = catalogue.server_version().await?.map(|version| format!(" {version}")).unwrap_or_default();
    let installation = catalogue.installation().id;
    catalogue.close().await?;
    Ok(format!("{kind}{version} answers: installation {installation}, commit {commit}"))
}

async fn objects(settings: &Settings, data: &Directory) -> Finding {
    let url = match (&settings.object_store_url, data) {
        (Some(url), _) => url.clone(),
        (None, Directory::Running(_)) => return Ok("a folder, used by the running server".to_owned()),
        (None, Directory::Ours(data)) => data.object_store_url(),
    };
    let objects = Objects::open(&url).context("the object store can't be opened")?;
    let name = SeededIds::new(random::bytes()?).next(SystemClock.now());
    let key = format!("check/{name}");
    objects.put(&key, bytes::Bytes::from_static(b"castback check")).await.context("nothing can be written")?;
    let read = objects.get(&key).await.context("what was written can't be read");
    objects.remove(&key).await.context("what was written can't be removed")?;
    anyhow::ensure!(read? == b"castback check"[..], "what was written comes back changed");
    Ok("objects can be written, read and removed".to_owned())
}

/// Whether it answers as a registry does, and whose schemas it holds. Whether it takes new ones shows at the start only:
/// it has no way to ask without registering.
async fn schemas(address: Option<&RegistryAddress>) -> Finding {
    let Some(address) = address else { return Ok("not set; the registry built in, at /registry".to_owned()) };
    let registry = RemoteRegistry::new(address)?;
    let asked = registry.subjects().await;
    let subjects =
        asked.with_context(|| format!("{}: is it a registry's address, with user and password?", address.base))?;
    let ours =
        castback_schemas::topic::TOPICS.iter().filter(|spec| subjects.contains(&format!("{}-value", spec.topic)));
    Ok(match ours.count() {
        0 => "it answers; the topics' schemas are registered at the first start".to_owned(),
        known => format!("it answers, and has the schemas of {known} topics of ours"),
    })
}

/// Whether points could be written now: a request without points is one, for every server.
async fn mirror(settings: &Settings) -> Finding {
    let Some(options) = settings.mirror.clone() else {
        return Ok("not set; series are in the object store only".to_owned());
    };
    let name = options.bucket.clone();
    let mirror = Mirror::new(options)?;
    let version = match mirror.version().await {
        Ok(version) => version,
        Err(error) if error.passes() => return Err(error.into()),
        Err(_) => "a server that is no InfluxDB 2".to_owned(),
    };
    anyhow::ensure!(is_taken(&version), "{version} answers, with another interface than InfluxDB 2");
    let bucket = mirror.prepare().await.context("the server can't be prepared")?;
    match mirror.probe(&bucket).await {
        Ok(()) | Err(MirrorError::Rejected { .. }) => Ok(format!("{version} takes points into the bucket {name}")),
        Err(error) => Err(error).context("points can't be written"),
    }
}

/// Whether a server of this name and version may know the interface: one that says less is tried.
fn is_taken(version: &str) -> bool {
    let number = version.strip_prefix("influxdb ").map(|number| number.trim_start_matches('v'));
    let major = number.and_then(|number| number.split('.').next()?.parse::<u32>().ok());
    major.is_none_or(|major| major == 2)
}

fn secret(settings: &Settings, data: &Directory) -> Finding {
    match (data, &settings.secret_key_file) {
        (Directory::Ours(data), Some(file)) => {
            data.secret(Some(file), [0; 32])?;
            Ok("can be read".to_owned())
        }
        (Directory::Running(_), _) => Ok("in use by the running server".to_owned()),
        (Directory::Ours(_), None) => Ok("kept in the data directory".to_owned()),
    }
}

fn lists(folder: Option<&Path>) -> Finding {
    let lists = load_lists(folder)?;
    Ok(format!("today's lists are {}", lists.at(SystemClock.now()).version))
}

async fn metrics(settings: &Settings) -> Finding {
    let Some(address) = settings.metrics_listen else {
        return Ok("not set; operators read /metrics with their key".to_owned());
    };
    match tokio::net::TcpListener::bind(address).await {
        Ok(_) => Ok(format!("{address} is free")),
        Err(error) => Err(error).with_context(|| format!("nothing can listen on {address}")),
    }
}

#[cfg(test)]
mod tests {
    use super::{is_taken, kafka_hint};

    #[test]
    fn the_protocol_is_named_only_where_it_is_the_reason() {
        for (said, hinted) in [
            ("k:9092/1: Disconnected: requesting ApiVersion: might be caused by incorrect security.protocol", true),
            ("k:9092/1: Receive failed: Invalid response size 352518912 (0..100000000)", true),
            (
                "nobody answers at its address: Meta data fetch error: BrokerTransportFailure (Local: Broker transport failure)",
                true,
            ),
            ("BrokerTransportFailure: k:9092/1: Connect to ipv4#127.0.0.1:1 failed: Connection refused", false),
            ("BrokerTransportFailure: Failed to resolve 'k:9092': Name or service not known", false),
            ("sasl_ssl://k:9092/1: SASL authentication error: Authentication failed", false),
        ] {
            assert_eq!(kafka_hint(said).contains("KAFKA_SECURITY_PROTOCOL"), hinted, "{said}");
        }
    }

    #[test]
    fn only_the_second_influxdb_is_taken_and_what_says_nothing_is_tried() {
        for version in ["influxdb v2.7.12", "influxdb 2.0.0", "influxdb of unknown version", "another 1.2"] {
            assert!(is_taken(version), "{version}");
        }
        for version in ["influxdb 1.8.10", "influxdb v3.0.1"] {
            assert!(!is_taken(version), "{version}");
        }
    }
}
