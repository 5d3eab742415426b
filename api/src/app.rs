//! What every handler is given: the parts of a running server, made once.

use std::sync::Arc;

use castback_broker::Log;
use castback_catalogue::registry::SchemaRegistry;
use castback_catalogue::{Catalogue, CatalogueError};
use castback_connectors::agent::FeedPoller;
use castback_connectors::http::Fetcher;
use castback_rules::lists::DatedLists;
use castback_schemas::edge::HashKey;
use castback_schemas::id::IdSource;
use castback_schemas::{AccountId, Clock};
use castback_store::Store;
use ipnet::IpNet;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::edge_map::EdgeMap;
use crate::encoders::{Encoders, EncodersError};
use crate::identity::KnownCallers;
use crate::key_ring::KeyRings;
use crate::metrics::Metrics;
use crate::query::{Reads, SqlWorkers};
use crate::quota::Quotas;
use crate::redirects::queue::{Sightings, SightingsReceiver, sightings};
use crate::tiers::Tiers;

/// A part that an operator can switch off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Metrics are shown (`METRICS_ENABLED`).
    Metrics,
    /// App events are taken (`EVENTS_ENABLED`).
    Events,
    /// Tasks and satisfaction are measured (`MEASUREMENT_ENABLED`).
    Measurement,
    /// Limits of subscriptions hold (`PRICING_ENABLED`).
    Pricing,
}

/// What an operator sets.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where people reach this server (`PUBLIC_URL`); cookies are `Secure` if it is HTTPS.
    pub public_url: Url,
    /// Origins whose pages may call (`CORS_ORIGINS`), as browsers write them.
    pub cors_origins: Vec<String>,
    /// Addresses of people who see across accounts (`OPERATORS`): nobody signs up with one unless an operator vouches.
    pub operators: Vec<String>,
    /// Proxies whose `X-Forwarded-For` is believed (`TRUSTED_PROXIES`).
    pub trusted_proxies: Vec<IpNet>,
    /// Parts that are switched off (`METRICS_ENABLED`, `EVENTS_ENABLED`, …).
    pub off: Vec<Part>,
    /// The subscription tiers.
    pub tiers: Tiers,
    /// The installation's secret (`SECRET_KEY_FILE`).
    pub secret: HashKey,
    /// Where the schema registry is, if it is not the one built in (`SCHEMA_REGISTRY_URL`, without user and password).
    pub registry: Option<Url>,
}

impl Settings {
    /// Whether a part is switched on.
    #[must_use]
    pub fn has(&self, part: Part) -> bool {
        !self.off.contains(&part)
    }
}

/// What `main` brings.
#[derive(Debug)]
pub struct AppParts {
    /// What people own.
    pub catalogue: Catalogue,
    /// What was counted.
    pub store: Store,
    /// Where records are accepted.
    pub log: Arc<dyn Log>,
    /// Where schemas have their ids from.
    pub schemas: Arc<dyn SchemaRegistry>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// New identifiers.
    pub ids: Arc<dyn IdSource>,
    /// Data-centre ranges and the safe list, by date.
    pub lists: Arc<DatedLists>,
    /// The guarded client.
    pub fetcher: Arc<Fetcher>,
    /// Polls feeds, shared with the agent.
    pub poller: FeedPoller,
    /// What the operator set.
    pub settings: Settings,
    /// Who runs ad-hoc SQL.
    pub sql: SqlWorkers,
    /// Where metrics are registered.
    pub registry: prometheus::Registry,
}

/// Why a server can't be made.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The topics' schemas can't be registered.
    #[error("the topics' schemas can't be registered")]
    Encoders(#[from] EncodersError),
    /// A metric of this name is there already.
    #[error("the metrics can't be registered")]
    Metrics(#[from] prometheus::Error),
    /// The catalogue can't be read.
    #[error("the catalogue can't be read")]
    Catalogue(#[from] CatalogueError),
}

/// A running server, shared by all its requests.
#[derive(Debug)]
pub struct App {
    /// What people own.
    pub catalogue: Catalogue,
    /// What was counted.
    pub store: Store,
    /// Where records are accepted.
    pub log: Arc<dyn Log>,
    /// Where schemas have their ids from.
    pub schemas: Arc<dyn SchemaRegistry>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// New identifiers.
    pub ids: Arc<dyn IdSource>,
    /// Data-centre ranges and the safe list, by date.
    pub lists: Arc<DatedLists>,
    /// The guarded client.
    pub fetcher: Arc<Fetcher>,
    /// Polls feeds, shared with the agent.
    pub poller: FeedPoller,
    /// What the operator set.
    pub settings: Settings,
    /// What is measured.
    pub metrics: Metrics,
    /// All metrics of the process.
    pub registry: prometheus::Registry,
    /// Cancelled when the server drains: long answers (streams) end then.
    pub stopping: CancellationToken,
    /// The topics' encoders with their schema ids.
    pub encoders: Encoders,
    /// Token buckets of records and calls.
    pub quotas: Quotas,
    pub(crate) reads: Reads,
    pub(crate) callers: KnownCallers,
    pub(crate) keys: KeyRings,
    pub(crate) edges: EdgeMap,
    pub(crate) sightings: Sightings,
    pub(crate) bodies: crate::intake::Room,
    /// Wakes this process's maker of reports; others look for themselves.
    pub(crate) report_wanted: Notify,
}

impl App {
    /// Makes the server's parts and registers the topics' schemas. What was seen by redirects and
    /// pixels comes out at the other end: give it to [`crate::redirects::queue::flush`].
    pub async fn new(parts: AppParts) -> Result<(Arc<Self>, SightingsReceiver), AppError> {
        let AppParts { catalogue, store, log, schemas, clock, ids, lists, fetcher, poller, settings, sql, registry } =
            parts;
        let metrics = Metrics::new(&registry)?;
        metrics.watch(&catalogue);
        let encoders = Encoders::register(schemas.as_ref()).await?;
        let edges = EdgeMap::load(&catalogue).await?;
        let (sightings, receiver) = sightings();
        let app = Self {
            callers: KnownCallers::new(settings.secret.clone()),
            keys: KeyRings::default(),
            quotas: Quotas::default(),
            reads: Reads::new(sql),
            bodies: crate::intake::Room::default(),
            report_wanted: Notify::new(),
            stopping: CancellationToken::new(),
            catalogue,
            store,
            log,
            schemas,
            clock,
            ids,
            lists,
            fetcher,
            poller,
            settings,
            metrics,
            registry,
            encoders,
            edges,
            sightings,
        };
        Ok((Arc::new(app), receiver))
    }

    /// An account is shown a counted download.
    pub(crate) async fn valued(&self, account: AccountId) {
        match self.catalogue.note_first_value(account).await {
            Ok(Some(made)) => self.metrics.valued(self.clock.now().0 - made.0),
            Ok(None) => {}
            Err(error) => tracing::warn!(error = %error, "the first value of an account can't be noted"),
        }
    }
}
