//! A client for one hop that can dial the given addresses and no other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Name, Resolve, Resolving};
use rustls::{ClientConfig, RootCertStore};
use url::Url;

/// Time for one TCP connection, so that a dead first address leaves time for the next.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How we introduce ourselves to publishers.
const USER_AGENT: &str = concat!("Castback/", env!("CARGO_PKG_VERSION"), " (podcast feed reader)");

/// Resolves nothing: what was not pinned cannot be dialed.
struct NoNames;

impl Resolve for NoNames {
    fn resolve(&self, _name: Name) -> Resolving {
        Box::pin(std::future::ready(Err("this name was not checked".into())))
    }
}

/// TLS with the compiled-in web roots, so that a machine without a certificate store works too.
pub(super) fn tls() -> Result<ClientConfig, rustls::Error> {
    let roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// A client that dials `addresses` for the host of `url`, follows no redirect, uses no proxy and decodes nothing.
pub(super) fn client(url: &Url, addresses: &[SocketAddr], tls: &ClientConfig) -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls.clone())
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .http1_only()
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(0)
        .dns_resolver(NoNames)
        .resolve_to_addrs(url.host_str().unwrap_or_default(), addresses)
        .build()
}
