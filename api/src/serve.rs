//! The accept loop: bounded, deaf to the slow, and gone within the deadline.
//!
//! hyper alone waits for ever for a first byte, and axum's own loop waits for ever for idle connections
//! and streams when it stops. Here a connection needs a place, must say something in time, and is
//! closed when the server has drained long enough.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::App;
use crate::peer::Peer;

/// Connections at once; further ones wait in the system's queue until one closes.
const MAX_CONNECTIONS: usize = 4_096;

/// Connections of one address at once (proxies that are trusted apart); further ones are closed unheard.
const MAX_PER_ADDRESS: usize = 1_024;

/// Longest time from accept to the first byte, and for the head of a call.
const FIRST_BYTE: Duration = Duration::from_secs(10);

/// Headers of a call; a call with more is refused.
const MAX_HEADERS: usize = 100;

/// Bytes of a call's head.
const MAX_HEAD: usize = 64 * 1024;

/// Calls at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;

/// Streams that a peer may have reset and we have not forgotten; beyond that the connection is closed (rapid reset).
const MAX_RESETS: usize = 64;

/// Silence on HTTP/2 before the peer is asked whether it is there, and its time to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Longest drain; then connections are cut. Two seconds below the ten in which the process ends.
const DRAIN: Duration = Duration::from_secs(8);

/// Pause after a failed accept: out of file descriptors is over when something closes.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the API on `listener` until `shutdown`, then drains for eight seconds at most.
pub async fn serve(listener: TcpListener, app: Arc<App>, shutdown: CancellationToken) {
    let router = crate::router(Arc::clone(&app));
    // It ends when the server drains.
    tokio::spawn(Arc::clone(&app).keep_edges_fresh());
    serve_router(listener, (app, router), shutdown).await;
}

/// Serves metrics alone on `listener` (`METRICS_LISTEN`) until `shutdown`.
pub async fn serve_metrics(listener: TcpListener, app: Arc<App>, shutdown: CancellationToken) {
    let router = crate::metrics_router(Arc::clone(&app));
    serve_router(listener, (app, router), shutdown).await;
}

/// Serves any router of the API on `listener` until `shutdown`.
async fn serve_router(listener: TcpListener, (app, router): (Arc<App>, Router), shutdown: CancellationToken) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let addresses = Addresses::default();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &places) => accepted,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
        };
        let Some((stream, peer, place)) = accepted else { continue };
        let Some(share) = addresses.share(peer.ip(), &app) else {
            app.metrics.connections_refused.with_label_values(&["address"]).inc();
            continue;
        };
        let connection = Connection { app: Arc::clone(&app), router: router.clone(), shutdown: shutdown.clone(), peer };
        connections.spawn(async move {
            connection.run(stream).await;
            drop((place, share));
        });
    }
    drop(listener);
    app.stopping.cancel();
    let drained = timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!(connections.open = connections.len(), "cutting connections that did not end in time");
        connections.abort_all();
    }
}

type Accepted = (TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

/// A connection, once there is a place for it.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> Option<Accepted> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => Some((stream, peer, place)),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "a connection can't be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// One connection and what it needs.
struct Connection {
    app: Arc<App>,
    router: Router,
    shutdown: CancellationToken,
    peer: SocketAddr,
}

impl Connection {
    async fn run(self, stream: TcpStream) {
        let mut first = [0; 1];
        let spoke = tokio::select! {
            () = self.shutdown.cancelled() => return,
            spoke = timeout(FIRST_BYTE, stream.peek(&mut first)) => spoke,
        };
        if !matches!(spoke, Ok(Ok(1))) {
            self.app.metrics.connections_refused.with_label_values(&["silent"]).inc();
            return;
        }
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(error = &error as &dyn std::error::Error, "small answers may wait for others");
        }
        let service = self.router.layer(Extension(Peer(self.peer)));
        let builder = builder();
        let connection =
            builder.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(service));
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            // A peer's doing, as a rule: it hung up, was too slow, or spoke no HTTP.
            tracing::debug!(error = %error, "a connection ended badly");
        }
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(FIRST_BYTE)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_RESETS)
        .max_header_list_size(16 * 1024)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(FIRST_BYTE);
    builder
}

/// Connections by address.
#[derive(Debug, Clone, Default)]
struct Addresses(Arc<Mutex<HashMap<IpAddr, usize>>>);

impl Addresses {
    /// A share of the address's connections; none if it has all of them.
    fn share(&self, address: IpAddr, app: &App) -> Option<Share> {
        let address = address.to_canonical();
        let trusted = app.settings.trusted_proxies.iter().any(|range| range.contains(&address));
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(address).or_default();
        if *count >= MAX_PER_ADDRESS && !trusted {
            return None;
        }
        *count += 1;
        Some(Share(self.clone(), address))
    }
}

/// Given back when the connection ends.
#[derive(Debug)]
struct Share(Addresses, IpAddr);

impl Drop for Share {
    fn drop(&mut self) {
        let Self(Addresses(all), address) = self;
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(address) {
            *count -= 1;
            if *count == 0 {
                all.remove(address);
            }
        }
    }
}
