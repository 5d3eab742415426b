//! The product as a process in a directory of its own, also on a disk that is slow to sync.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::client::{Client, until};
use super::meter::Outcome;
use super::slow::Fsync;

/// Between two looks at a process that starts or ends.
const PAUSE: Duration = Duration::from_millis(5);

/// A running server; it ends when it is dropped, at the latest.
#[derive(Debug)]
pub(crate) struct Server {
    data: PathBuf,
    child: Child,
    pid: Pid,
    base: String,
}

impl Server {
    /// Starts on a directory; the server is ready when this returns.
    pub(crate) async fn start(data: &Path, fsync: Fsync) -> Outcome<Self> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            rustls::crypto::ring::default_provider().install_default().map_err(|_| "two TLS providers")?;
        }
        let address = data.join("address");
        if address.exists() {
            std::fs::remove_file(&address)?;
        }
        let output = OpenOptions::new().create(true).append(true).open(data.with_extension("output"))?;
        let mut command = fsync.command(env!("CARGO_BIN_EXE_castback"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data).stdin(Stdio::null());
        command.env("OUTBOUND_ALLOW", "127.0.0.0/8").env("PRICING_ENABLED", "false").env("RUST_LOG", "warn");
        let mut child = command.stdout(output.try_clone()?).stderr(output).spawn()?;
        let pid = process(&mut child, fsync).await?;
        let mut server = Self { data: data.to_owned(), child, pid, base: String::new() };
        server.base = until(("the server listens", PAUSE), async || {
            if let Some(status) = server.child.try_wait()? {
                return Err(format!("the server ended with {status}; see {}.output", data.display()).into());
            }
            let address = std::fs::read_to_string(&address).unwrap_or_default();
            Ok((!address.trim().is_empty()).then(|| format!("http://{}", address.trim().trim_start_matches("http://"))))
        })
        .await?;
        let client = server.client(None)?;
        until(("the server is ready", PAUSE), async || Ok(client.get("/readyz").await.ok())).await?;
        Ok(server)
    }

    /// The process id, for a meter.
    pub(crate) fn process(&self) -> String {
        self.pid.as_raw_nonzero().to_string()
    }

    /// A caller with this key.
    pub(crate) fn client(&self, key: Option<&str>) -> Outcome<Client> {
        Client::new(&self.base, key)
    }

    /// Waits until everything accepted has a verdict that is committed.
    pub(crate) async fn settled(&self) -> Outcome<()> {
        let key = std::fs::read_to_string(self.data.join("operator-key"))?;
        let operator = self.client(Some(key.trim()))?;
        until(("everything is judged", Duration::from_millis(200)), async || {
            let balance = operator.json("/v1/ledger/balance?account=all").await?;
            Ok((balance["pending"] == 0 && balance["balanced"] == true).then_some(()))
        })
        .await
    }

    /// Ends it by a signal.
    pub(crate) async fn end(mut self, signal: Signal) -> Outcome<()> {
        kill_process(self.pid, signal)?;
        let child = &mut self.child;
        until(("the server ends", PAUSE), async || Ok(child.try_wait()?.map(|_| ()))).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) && kill_process(self.pid, Signal::KILL).is_ok() {
            // Nobody can be told if it does not end.
            drop(self.child.wait());
        }
    }
}

/// The server's own process: strace is its parent.
async fn process(child: &mut Child, fsync: Fsync) -> Outcome<Pid> {
    let id = child.id();
    if fsync == Fsync::AsItIs {
        return Pid::from_raw(i32::try_from(id)?).ok_or_else(|| "no process id".into());
    }
    // Before it starts the server, strace tries out what the kernel can do, in children of its own.
    let binary = std::fs::canonicalize(env!("CARGO_BIN_EXE_castback"))?;
    until(("strace starts the server", PAUSE), async || {
        if let Some(status) = child.try_wait()? {
            return Err(format!("strace ended with {status}").into());
        }
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        let ours = |child: &&str| std::fs::read_link(format!("/proc/{child}/exe")).is_ok_and(|exe| exe == binary);
        Ok(children.split_whitespace().find(ours).and_then(|child| Pid::from_raw(child.parse().ok()?)))
    })
    .await
}
