//! Before the server starts: an empty directory, a person who may see everything, a key, a link.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use castback_catalogue::Catalogue;
use castback_catalogue::keys::{KeyKind, NewKey};
use castback_catalogue::people::{NewUser, User};
use castback_catalogue::sessions::LinkPurpose;
use castback_schemas::{Clock, Micros, SystemClock};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::data_dir::DataDir;
use crate::random;

/// The person of the demo. Nobody can sign in by a password: it is thrown away.
const EMAIL: &str = "demo@castback.example";

/// Ports that are tried after the one asked for.
const PORTS: u16 = 100;

/// What a demo remembers for the next one with `--keep`.
const MEMORY: &str = "demo.json";

/// A directory that is ready, and who plays in it.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// When the first demo of this directory began.
    pub(crate) begun: Micros,
    /// Where the feeds were published; 0 if they never were.
    pub(crate) feeds_port: u16,
    /// The person's account.
    pub(crate) account: String,
    /// The person's key.
    pub(crate) key: SecretString,
    /// Leads to the person's session, once.
    pub(crate) login: String,
}

/// Empties `path` unless it is to be kept.
pub(crate) fn empty(path: &Path, keep: bool) -> anyhow::Result<()> {
    if keep || !path.exists() {
        return Ok(());
    }
    if !path.join("lock").exists() && std::fs::read_dir(path)?.next().is_some() {
        bail!("{} is no demo's: please move it away", path.display());
    }
    // Taken, so that nobody is at work in it.
    let data = DataDir::take(path)?;
    std::fs::remove_dir_all(path).with_context(|| format!("{} can't be emptied", path.display()))?;
    drop(data);
    Ok(())
}

/// Makes the person, or finds them again, with a new key and a new link.
pub(crate) async fn person(path: &Path) -> anyhow::Result<Prepared> {
    let data = DataDir::take(path)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let catalogue = Catalogue::open(&data.database_url(), Arc::clone(&clock), random::bytes()?).await?;
    let user = match catalogue.user_by_email(EMAIL).await? {
        Some(user) => user,
        None => sign_up(&catalogue).await?,
    };
    let new = NewKey { kind: KeyKind::Secret, label: "demo".to_owned() };
    let (_, key) = catalogue.create_api_key(user.account, user.id, new).await?;
    let login = catalogue.create_link(user.id, LinkPurpose::Login).await?;
    catalogue.close().await?;
    let memory: Value =
        std::fs::read(path.join(MEMORY)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
    Ok(Prepared {
        begun: memory["begun"].as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| clock.now()),
        feeds_port: memory["feeds_port"].as_u64().and_then(|port| port.try_into().ok()).unwrap_or(0),
        account: user.account.to_string(),
        key: key.into(),
        login,
    })
}

async fn sign_up(catalogue: &Catalogue) -> anyhow::Result<User> {
    let password = random::digits(&random::bytes()?);
    let new = NewUser { email: EMAIL.to_owned(), password: password.into(), name: "Démo".to_owned() };
    let user = catalogue.sign_up(new).await?.user;
    catalogue.add_operator(EMAIL).await?;
    // Three podcasts and three campaigns are more than the free tier has.
    catalogue.set_tier(user.account, user.id, "professional").await?;
    Ok(user)
}

/// Remembers what the next demo of this directory needs.
pub(crate) fn remember(path: &Path, begun: Micros, feeds_port: u16) -> anyhow::Result<()> {
    let memory = json!({ "begun": begun, "feeds_port": feeds_port }).to_string();
    std::fs::write(path.join(MEMORY), memory).context("the demo's memory can't be written")
}

/// The address asked for, or the next whose port is free.
pub(crate) fn free_address(asked: SocketAddr) -> anyhow::Result<SocketAddr> {
    let ports = asked.port()..=asked.port().saturating_add(PORTS);
    let free = ports.map(|port| SocketAddr::new(asked.ip(), port)).find_map(|address| {
        let bound = std::net::TcpListener::bind(address).ok()?;
        bound.local_addr().ok()
    });
    free.with_context(|| format!("none of {PORTS} ports from {asked} on is free"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_free_port_is_taken() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = taken.local_addr().unwrap();
        let free = free_address(taken).unwrap();
        assert!(free.port() > taken.port());
    }

    #[test]
    fn only_a_demo_s_directory_is_emptied() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("castback-demo");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("thesis.txt"), "years of work").unwrap();
        assert!(empty(&path, false).is_err() && path.join("thesis.txt").exists());
        std::fs::write(path.join("lock"), "").unwrap();
        empty(&path, true).unwrap();
        assert!(path.join("thesis.txt").exists());
        empty(&path, false).unwrap();
        assert!(!path.exists());
    }
}
