//! The demo's own server: `castback serve` as a process of its own, so that it can be killed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use castback_connectors::http::ServerClient;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// Longest time from start to ready.
const START: Duration = Duration::from_mins(1);

/// Longest time from SIGTERM to the end.
const STOP: Duration = Duration::from_secs(12);

/// Between two looks whether it is ready.
const PAUSE: Duration = Duration::from_millis(100);

/// Lines of its output that are shown when it ends by itself.
const LAST_WORDS: usize = 12;

/// What the server inherits of this process: no setting, so that the demo is the same everywhere.
const INHERITED: [&str; 6] = ["PATH", "HOME", "TMPDIR", "RUST_LOG", "RUST_BACKTRACE", "CASTBACK_FAILPOINT"];

/// A server.
#[derive(Debug)]
pub(crate) struct Server {
    data: PathBuf,
    listen: SocketAddr,
    child: Child,
}

impl Server {
    /// Starts it and waits until it is ready.
    pub(crate) async fn start(data: &Path, listen: SocketAddr, client: &ServerClient) -> anyhow::Result<Self> {
        let mut server = Self { data: data.to_owned(), listen, child: spawn(data, listen)? };
        server.ready(client).await?;
        Ok(server)
    }

    /// Where its output goes.
    pub(crate) fn output(data: &Path) -> PathBuf {
        data.join("serve.log")
    }

    /// Kills it at once, as a power cut would, and starts it again.
    pub(crate) async fn crash(&mut self, client: &ServerClient) -> anyhow::Result<Duration> {
        self.child.kill().await.context("the server can't be killed")?;
        let started = Instant::now();
        self.child = spawn(&self.data, self.listen)?;
        self.ready(client).await?;
        Ok(started.elapsed())
    }

    /// An error if it has ended by itself.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the server ended with {status}; its last words:\n{}", self.last_words()),
        }
    }

    /// Stops it as a supervisor would.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let Some(pid) = pid else { return Ok(()) };
        kill_process(pid, Signal::TERM).context("the server can't be stopped")?;
        let status = timeout(STOP, self.child.wait()).await.context("the server does not stop")??;
        if status.success() {
            Ok(())
        } else {
            bail!("the server ended with {status}; its last words:\n{}", self.last_words())
        }
    }

    async fn ready(&mut self, client: &ServerClient) -> anyhow::Result<()> {
        let deadline = Instant::now() + START;
        while Instant::now() < deadline {
            self.check()?;
            if client.get("/readyz", "*/*").await.is_ok_and(|answer| answer.is_success()) {
                return Ok(());
            }
            sleep(PAUSE).await;
        }
        bail!("the server is not ready after {START:?}; its last words:\n{}", self.last_words())
    }

    fn last_words(&self) -> String {
        let output = std::fs::read_to_string(Self::output(&self.data)).unwrap_or_default();
        let lines: Vec<&str> = output.lines().collect();
        lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n")
    }
}

fn spawn(data: &Path, listen: SocketAddr) -> anyhow::Result<Child> {
    let output = std::fs::OpenOptions::new().create(true).append(true).open(Server::output(data));
    let output = output.context("the server's output can't be kept")?;
    let inherited = INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let mut command = Command::new(std::env::current_exe().context("this program can't find itself")?);
    command
        .arg("serve")
        .args(["--listen", &listen.to_string(), "--data"])
        .arg(data)
        .env_clear()
        .envs(inherited)
        // The sample feeds lie on this machine.
        .env("OUTBOUND_ALLOW", "127.0.0.0/8")
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        // Ctrl-C is for the demo, which stops its server itself.
        .process_group(0)
        .kill_on_drop(true);
    command.spawn().context("the server can't be started")
}
