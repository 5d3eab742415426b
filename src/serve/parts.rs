//! The parts that everything else stands on: log, catalogue, store, clock, identifiers, lists.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use castback_broker::{EmbeddedLog, EmbeddedOptions, KafkaLog, Log};
use castback_catalogue::people::User;
use castback_catalogue::registry::SchemaRegistry;
use castback_catalogue::{Catalogue, CatalogueError};
use castback_connectors::http::{Fetcher, Guard};
use castback_connectors::registry::{RegistryAddress, RemoteRegistry};
use castback_rules::lists::DatedLists;
use castback_schemas::edge::HashKey;
use castback_schemas::id::{IdSource, SeededIds};
use castback_schemas::{Clock, SystemClock};
use castback_store::Store;
use secrecy::{ExposeSecret, SecretString};

use super::{installation, lists};
use crate::data_dir::DataDir;
use crate::failure::BadUsage;
use crate::random;
use crate::settings::{LogSettings, Role, Settings};

/// How long a start waits for the schema registry of others.
const REGISTRY: Duration = Duration::from_mins(1);

/// Between two questions to it.
const AGAIN: Duration = Duration::from_secs(1);

/// The log that was opened.
#[derive(Debug, Clone)]
pub(crate) enum OpenLog {
    Embedded(Arc<EmbeddedLog>),
    Kafka(Arc<KafkaLog>),
}

impl OpenLog {
    /// For whoever appends and reads.
    pub(crate) fn shared(&self) -> Arc<dyn Log> {
        match self {
            Self::Embedded(log) => Arc::clone(log) as Arc<dyn Log>,
            Self::Kafka(log) => Arc::clone(log) as Arc<dyn Log>,
        }
    }

    /// Writes what waits, then refuses.
    pub(crate) async fn close(&self) {
        match self {
            Self::Embedded(log) => log.close().await,
            Self::Kafka(log) => log.close().await,
        }
    }
}

/// What everything else is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) log: OpenLog,
    pub(crate) catalogue: Catalogue,
    pub(crate) schemas: Arc<dyn SchemaRegistry>,
    pub(crate) store: Store,
    pub(crate) store_url: String,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdSource>,
    pub(crate) lists: DatedLists,
    pub(crate) fetcher: Arc<Fetcher>,
    pub(crate) secret: HashKey,
    /// This process, as leases name it.
    pub(crate) owner: String,
}

impl Parts {
    /// Opens everything; in this order, so that what is missing is said before anything is made.
    pub(crate) async fn open(settings: &Settings, data: &DataDir) -> anyhow::Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let ids: Arc<dyn IdSource> = Arc::new(SeededIds::new(random::bytes()?));
        let secret = data.secret(settings.secret_key_file.as_deref(), random::bytes()?)?;
        let folder = settings.user_agents_path.clone();
        let lists = tokio::task::spawn_blocking(move || lists::load(folder.as_deref())).await??;
        let store_url = settings.object_store_url.clone().unwrap_or_else(|| data.object_store_url());
        let store = Store::open(&store_url).context("OBJECT_STORE_URL: the object store can't be opened")?;
        let log = open_log(&settings.log, data, Arc::clone(&clock)).await?;
        let catalogue = open_catalogue(settings, data, Arc::clone(&clock)).await?;
        installation::same_secret(&catalogue, &secret, settings.is_alone()).await?;
        let owner = ids.next(clock.now()).to_string();
        installation::same_objects(&catalogue, store.objects(), &owner).await?;
        let schemas = open_registry(settings.schema_registry.as_ref(), &catalogue).await?;
        let fetcher = Fetcher::new(Guard::new(settings.outbound_allow.clone())).context("no HTTP client")?;
        let fetcher = Arc::new(fetcher);
        Ok(Self { log, catalogue, schemas, store, store_url, clock, ids, lists, fetcher, secret, owner })
    }
}

async fn open_log(settings: &LogSettings, data: &DataDir, clock: Arc<dyn Clock>) -> anyhow::Result<OpenLog> {
    match settings {
        LogSettings::Embedded => {
            let path = data.log();
            let open = move || EmbeddedLog::open(&path, clock, EmbeddedOptions::default());
            let log = tokio::task::spawn_blocking(open).await?.context("the log can't be opened")?;
            Ok(OpenLog::Embedded(Arc::new(log)))
        }
        LogSettings::Kafka(options) => {
            let log = KafkaLog::new(options.clone(), clock).context("KAFKA_*: the cluster can't be used")?;
            Ok(OpenLog::Kafka(Arc::new(log)))
        }
    }
}

async fn open_catalogue(settings: &Settings, data: &DataDir, clock: Arc<dyn Clock>) -> anyhow::Result<Catalogue> {
    let url = settings.database_url.clone().unwrap_or_else(|| SecretString::from(data.database_url()));
    let opened = Catalogue::open(url.expose_secret(), clock, random::bytes()?).await;
    let catalogue = opened.context("DATABASE_URL: the catalogue can't be opened")?;
    for user in name_operators(&catalogue, &settings.operators).await? {
        tracing::warn!(
            user.id = %user.id, user.created_at = %user.created_at, account.id = %user.account,
            "somebody in OPERATORS sees across accounts from now on: is it who signed up with that address then?"
        );
    }
    if settings.plays(Role::Api) {
        provide_operator_key(&catalogue, data).await?;
    }
    Ok(catalogue)
}

/// Lets the people of `OPERATORS` see across accounts; answers who did not before. Addresses are not verified: whoever
/// signed up with one before it was named there should not become an operator unseen.
async fn name_operators(catalogue: &Catalogue, emails: &[String]) -> Result<Vec<User>, CatalogueError> {
    let mut named = Vec::new();
    for email in emails {
        match catalogue.user_by_email(email).await? {
            Some(user) if user.operator => {}
            Some(user) => {
                catalogue.add_operator(email).await?;
                named.push(user);
            }
            None => tracing::warn!(
                "somebody in OPERATORS has not signed up yet: sign them up with the operator's key, then start again"
            ),
        }
    }
    Ok(named)
}

/// The registry that is set, once it answers: without it no record can be written. One that refuses is not waited for.
async fn open_registry(
    address: Option<&RegistryAddress>,
    catalogue: &Catalogue,
) -> anyhow::Result<Arc<dyn SchemaRegistry>> {
    let Some(address) = address else { return Ok(Arc::new(catalogue.clone())) };
    let registry = RemoteRegistry::new(address).context("SCHEMA_REGISTRY_URL: no HTTP client")?;
    let end = tokio::time::Instant::now() + REGISTRY;
    while let Err(error) = registry.subjects().await {
        let retryable = error.retryable();
        let error = anyhow::Error::from(error);
        if !retryable {
            return Err(BadUsage::because(format!("SCHEMA_REGISTRY_URL: {}: {error:#}", address.base)));
        }
        if tokio::time::Instant::now() >= end {
            return Err(error.context(format!("SCHEMA_REGISTRY_URL: {} can't be used", address.base)));
        }
        tracing::warn!(registry = %address.base, error = format!("{error:#}"), "waiting for the schema registry");
        tokio::time::sleep(AGAIN).await;
    }
    Ok(Arc::new(registry))
}

/// Makes the operator's key at the first start, and when the one that is kept is nobody's.
pub(crate) async fn provide_operator_key(catalogue: &Catalogue, data: &DataDir) -> anyhow::Result<()> {
    if let Some(key) = data.operator_key()?
        && catalogue.authenticate(key.expose_secret()).await?.is_some()
    {
        return Ok(());
    }
    let key = catalogue.create_operator_key().await.context("the operator's key can't be made")?;
    Ok(data.keep_operator_key(&SecretString::from(key))?)
}

#[cfg(test)]
mod tests {
    use castback_catalogue::people::NewUser;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn who_becomes_an_operator_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("castback.db").display());
        let catalogue = Catalogue::open(&url, Arc::new(SystemClock), [1; 32]).await.unwrap();
        let person = NewUser { email: "Ada@example.com".into(), password: "long enough".into(), name: String::new() };
        let signed = catalogue.sign_up(person).await.unwrap();
        let named = ["bob@example.com".to_owned(), "ada@example.com".to_owned()];
        assert_eq!(name_operators(&catalogue, &named).await.unwrap(), [signed.user]);
        assert!(catalogue.authenticate(&signed.api_key).await.unwrap().unwrap().operator);
        assert_eq!(name_operators(&catalogue, &named).await.unwrap(), []);
    }
}
