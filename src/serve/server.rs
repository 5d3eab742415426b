//! A running server, and how it stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use castback_api::query;
use castback_api::redirects::queue;
use castback_api::tiers::Tiers;
use castback_api::{App, AppParts};
use castback_catalogue::Catalogue;
use castback_connectors::agent::FeedPoller;
use castback_connectors::feeds::PollPolicy;
use castback_pipeline::{LedgerDays, Runtime, RuntimeParts};
use castback_store::mirror::Mirror;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use super::agents;
use super::heartbeat;
use super::metrics::AgentMetrics;
use super::parts::{OpenLog, Parts};
use crate::data_dir::DataDir;
use crate::random;
use crate::settings::{Role, Settings};

/// Queries of people at once, each a process with a core and up to its memory cap; others wait.
const SQL_AT_ONCE: usize = 2;

/// Longest wait for answers under way; the API cuts connections a little earlier.
const CALLS: Duration = Duration::from_millis(8_200);

/// Longest wait for what redirects saw to be written; the rest is counted as not logged.
const SIGHTINGS: Duration = Duration::from_secs(2);

/// Longest wait for agents. A poll or a report that is broken off is taken up again when its lease ends.
const AGENTS: Duration = Duration::from_millis(500);

/// What runs, in the order in which it stops.
#[derive(Debug)]
pub(crate) struct Server {
    calls: Stage,
    sightings: Stage,
    agents: Stage,
    runtime: Option<Runtime>,
    log: OpenLog,
    catalogue: Catalogue,
    data: DataDir,
}

/// Tasks that end when they are told to.
#[derive(Debug, Default)]
struct Stage {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Stage {
    /// Tells the tasks to end and waits for them, but for `patience` only.
    async fn end(&self, patience: Duration) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(patience, self.tasks.wait()).await.is_err() {
            tracing::warn!(tasks.left = self.tasks.len(), "going on without tasks that did not end in time");
        }
    }
}

impl Server {
    /// Starts everything that the roles ask for; ready when this returns.
    pub(crate) async fn start(
        settings: Settings,
        (data, parts): (DataDir, Parts),
        listener: Option<TcpListener>,
    ) -> anyhow::Result<Self> {
        let registry = registry()?;
        let bound = listener.as_ref().map(TcpListener::local_addr).transpose()?;
        let (app, seen) = app(&settings, &parts, (registry.clone(), bound)).await?;
        let runtime =
            if settings.plays(Role::Process) { Some(runtime(&settings, &parts, &registry).await?) } else { None };
        let (calls, sightings) = (Stage::default(), Stage::default());
        if runtime.is_none() {
            let heart = heartbeat::register(&registry, parts.clock.as_ref())?;
            sightings.tasks.spawn(heartbeat::beat(heart, Arc::clone(&parts.clock), sightings.stop.clone()));
        }
        sightings.tasks.spawn(queue::flush(Arc::clone(&app), seen, sightings.stop.clone()));
        sightings.tasks.spawn(query::follow(Arc::clone(&app), sightings.stop.clone()));
        let agents = agents(&settings, (&parts, &app), &registry)?;
        if let Some(address) = settings.metrics_listen {
            let bound = TcpListener::bind(address).await;
            let bound = bound.with_context(|| format!("METRICS_LISTEN: nothing can listen on {address}"))?;
            let address = bound.local_addr()?;
            tracing::info!(metrics.address = %address, "metrics are open to whoever reaches this");
            calls.tasks.spawn(castback_api::serve_metrics(bound, Arc::clone(&app), calls.stop.clone()));
        }
        if let Some(listener) = listener {
            calls.tasks.spawn(castback_api::serve(listener, app, calls.stop.clone()));
        }
        if let Some(address) = bound {
            data.keep_address(address)?;
            tracing::info!(server.address = %address, server.roles = ?settings.roles, "ready");
        }
        let Parts { log, catalogue, .. } = parts;
        Ok(Self { calls, sightings, agents, runtime, log, catalogue, data })
    }

    /// Stops in street order: nothing new comes in, what came in is written, what was written is committed.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.data.forget_address()?;
        self.calls.end(CALLS).await;
        self.sightings.end(SIGHTINGS).await;
        self.agents.end(AGENTS).await;
        if let Some(runtime) = self.runtime {
            runtime.stop().await;
        }
        self.log.close().await;
        self.catalogue.close().await.context("the catalogue did not close")?;
        tracing::info!("stopped");
        Ok(())
    }
}

fn registry() -> anyhow::Result<Registry> {
    let registry = Registry::new();
    let process = prometheus::process_collector::ProcessCollector::for_self();
    registry.register(Box::new(process)).context("the process can't be measured")?;
    Ok(registry)
}

async fn app(
    settings: &Settings,
    parts: &Parts,
    (registry, bound): (Registry, Option<SocketAddr>),
) -> anyhow::Result<(Arc<App>, queue::SightingsReceiver)> {
    let policy = PollPolicy { interval_seconds: settings.feed_poll_interval };
    let (catalogue, clock) = (parts.catalogue.clone(), Arc::clone(&parts.clock));
    let poller = FeedPoller::new(catalogue.clone(), Arc::clone(&parts.fetcher), Arc::clone(&clock), policy);
    let public_url = match (&settings.public_url, bound) {
        (Some(url), _) => url.clone(),
        (None, Some(address)) => Url::parse(&format!("http://{address}"))?,
        (None, None) => Url::parse("http://localhost")?,
    };
    let of_api = castback_api::Settings {
        public_url,
        cors_origins: settings.cors_origins.clone(),
        operators: settings.operators.clone(),
        trusted_proxies: settings.trusted_proxies.clone(),
        off: settings.off.clone(),
        tiers: Tiers::default(),
        secret: parts.secret.clone(),
        registry: settings.schema_registry.as_ref().map(|registry| registry.base.clone()),
    };
    let sql = query::SqlWorkers {
        pool: castback_store::worker::Pool::new(std::env::current_exe()?, vec!["sql-worker".into()], SQL_AT_ONCE),
        address: parts.store_url.clone(),
    };
    let app = App::new(AppParts {
        catalogue,
        store: parts.store.clone(),
        log: parts.log.shared(),
        schemas: Arc::clone(&parts.schemas),
        clock,
        ids: Arc::clone(&parts.ids),
        lists: Arc::new(parts.lists.clone()),
        fetcher: Arc::clone(&parts.fetcher),
        poller,
        settings: of_api,
        registry,
        sql,
    });
    app.await.context("the API can't be made")
}

async fn runtime(settings: &Settings, parts: &Parts, registry: &Registry) -> anyhow::Result<Runtime> {
    let mirror = settings.mirror.clone().map(Mirror::new).transpose().context("TIMESERIES_DB_URL")?;
    let tiers = Tiers::default();
    let tiers = tiers.all().iter().map(|tier| (tier.name.clone(), tier.ledger_days));
    let runtime = Runtime::start(RuntimeParts {
        catalogue: parts.catalogue.clone(),
        store: parts.store.clone(),
        log: parts.log.shared(),
        schemas: Arc::clone(&parts.schemas),
        clock: Arc::clone(&parts.clock),
        ids: Arc::clone(&parts.ids),
        lists: parts.lists.clone(),
        owner: parts.owner.clone(),
        exclusive: settings.is_alone(),
        random: random::bytes()?,
        mirror,
        metrics: castback_pipeline::Metrics::new(registry)?,
        ledger_days: LedgerDays::new(tiers),
    });
    runtime.await.context("the runtime can't start")
}

fn agents(settings: &Settings, (parts, app): (&Parts, &Arc<App>), registry: &Registry) -> anyhow::Result<Stage> {
    let stop = CancellationToken::new();
    let tasks = if settings.plays(Role::Agents) {
        agents::start(settings, (parts, app), AgentMetrics::new(registry)?, &stop)
    } else {
        TaskTracker::new()
    };
    Ok(Stage { tasks, stop })
}
