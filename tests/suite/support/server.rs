//! The product as a process: started on port 0 in its own directory, signalled, killed, started again, and audited.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::client::Client;
use super::servers::{self, Place};
use super::{PATIENCE, PAUSE, until};

/// A stop by signal takes at most this long (the contract, "The command line").
pub(crate) const DRAIN: Duration = Duration::from_secs(10);

/// A running (or stopped) product. Call [`Server::finish`] at the end: it audits.
#[derive(Debug)]
pub(crate) struct Server {
    data: PathBuf,
    own_folder: Option<tempfile::TempDir>,
    /// On the servers of others; kept as long as this.
    place: Option<Place>,
    output: PathBuf,
    environment: Vec<(String, String)>,
    roles: Option<String>,
    child: Option<Child>,
    base: String,
    finished: bool,
}

impl Server {
    /// Starts in a fresh temporary directory.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts in a fresh temporary directory with these settings; on the servers of others when the whole suite runs
    /// on them.
    pub(crate) async fn start_with(environment: &[(&str, &str)]) -> Self {
        let mut server = Self::prepare(servers::wanted().then(Place::new).as_ref());
        for (name, value) in environment {
            server.set(name, Some(value));
        }
        server.launch().await;
        server
    }

    /// A server in a fresh temporary directory and, given a place, on the servers of others; not started yet.
    pub(crate) fn prepare(place: Option<&Place>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let mut server = Self::in_directory(&folder.path().join("data"), &[]);
        server.environment = place.map(Place::settings).unwrap_or_default();
        server.place = place.cloned();
        server.own_folder = Some(folder);
        server
    }

    /// One of several processes, with these roles only and a secret in common.
    pub(crate) fn with_roles(place: &Place, roles: &str, secret: &Path) -> Self {
        let mut server = Self::prepare(Some(place));
        server.roles = Some(roles.to_owned());
        server.set("SECRET_KEY_FILE", secret.to_str());
        server
    }

    /// A server that isn't started yet.
    pub(crate) fn in_directory(data: &Path, environment: &[(&str, &str)]) -> Self {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let output = data.with_extension("output");
        Self {
            data: data.to_owned(),
            own_folder: None,
            place: None,
            output,
            environment,
            roles: None,
            child: None,
            base: String::new(),
            finished: false,
        }
    }

    /// Replaces a setting; it holds from the next launch on.
    pub(crate) fn set(&mut self, name: &str, value: Option<&str>) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    }

    /// Starts the process and waits until it is ready.
    pub(crate) async fn launch(&mut self) {
        self.spawn();
        let ready = self.ready_or_dead().await;
        assert!(ready, "the server ended before it was ready; its last words:\n{}", self.last_words());
    }

    /// Starts the process without waiting.
    pub(crate) fn spawn(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let address = self.data.join("address");
        if address.exists() {
            std::fs::remove_file(&address).expect("the address of the last run can be removed");
        }
        let output = OpenOptions::new().create(true).append(true).open(&self.output).expect("a file for the output");
        let child = command()
            .arg("serve")
            .args(["--listen", "127.0.0.1:0", "--data"])
            .arg(&self.data)
            .args(self.roles.iter().flat_map(|roles| ["--roles", roles]))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("one file, two handles"))
            .stderr(output)
            .spawn()
            .expect("the binary starts");
        self.child = Some(child);
    }

    /// Whether it became ready; false when it ended before.
    pub(crate) async fn ready_or_dead(&mut self) -> bool {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if self.exited().is_some() {
                return false;
            }
            if let Ok(address) = std::fs::read_to_string(self.data.join("address"))
                && !address.trim().is_empty()
            {
                let address = address.trim();
                self.base = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
                if self.client().try_get("/readyz").await.is_some_and(|answer| answer.status == 200) {
                    return true;
                }
            }
            let words = || self.last_words();
            assert!(tokio::time::Instant::now() < deadline, "not ready in {PATIENCE:?}; last words:\n{}", words());
            tokio::time::sleep(PAUSE).await;
        }
    }

    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// A client without identity.
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.base)
    }

    /// The operator, who sees every account.
    pub(crate) fn operator(&self) -> Client {
        let key = std::fs::read_to_string(self.data.join("operator-key")).expect("the operator's key");
        Client::new(&self.base).with_key(key.trim())
    }

    /// What the process has printed.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    fn last_words(&self) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// The running process's number.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("our own process can be signalled");
    }

    /// Ends it at once, as a power cut would, the disk's cache apart.
    pub(crate) fn kill9(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("our own process can be killed");
        child.wait().expect("a killed process ends");
    }

    /// Asks it to stop; see [`Server::exit_within`].
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Stops it in its tracks, as a long pause of the machine would.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a frozen one go on.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Its exit status if it has ended.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().expect("our own process can be asked");
        if status.is_some() {
            self.child = None;
        }
        status
    }

    /// Waits for its end.
    pub(crate) async fn exit_within(&mut self, limit: Duration) -> ExitStatus {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            if let Some(status) = self.exited() {
                return status;
            }
            assert!(tokio::time::Instant::now() < deadline, "still running after {limit:?}:\n{}", self.last_words());
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The audit: nothing pending, the identity holds for all accounts, a clean exit within the limit, and nothing in
    /// the output that must not be there.
    pub(crate) async fn finish(self) {
        let operator = self.operator();
        let balance = until("nothing is pending", async || {
            let answer = operator.try_get("/v1/ledger/balance?account=all").await?;
            if answer.status == 503 {
                return None;
            }
            let balance: Value = answer.ok().json();
            (balance["pending"] == 0 && balance["balanced"] == true).then_some(balance)
        })
        .await;
        assert_eq!(balance["balanced"], true, "{balance}");
        let parts = ["counted", "duplicate", "filtered", "late", "dead_lettered"].map(|part| count(&balance, part));
        assert_eq!(count(&balance, "accepted"), parts.iter().sum::<u64>(), "{balance}");
        let key = operator.key().expect("a key").to_owned();
        assert!(!self.output().contains(&key), "the operator's key in the output");
        self.end().await;
    }

    /// A clean exit within the limit, and nothing in the output that must not be there.
    pub(crate) async fn end(mut self) {
        self.terminate();
        let status = self.exit_within(DRAIN).await;
        assert!(status.success(), "a stop by signal ended with {status}:\n{}", self.last_words());
        let output = self.output();
        assert!(!output.contains("panicked at"), "a panic in the output:\n{}", self.last_words());
        assert!(!output.contains("@listeners.example"), "an e-mail address in the output");
        self.finished = true;
    }
}

fn count(balance: &Value, part: &str) -> u64 {
    balance[part].as_u64().unwrap_or_else(|| panic!("no {part} in {balance}"))
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take()
            && child.kill().is_ok()
            && child.wait().is_err()
        {
            eprintln!("a server could not be ended");
        }
        if std::thread::panicking() {
            eprintln!("last words of the server in {}:\n{}", self.data.display(), self.last_words());
        } else {
            assert!(self.finished, "a test ended without the audit: call finish()");
        }
    }
}

/// The binary with nothing of this shell's settings.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_castback"));
    command.env_clear();
    for inherited in ["PATH", "HOME", "TMPDIR"] {
        if let Some(value) = std::env::var_os(inherited) {
            command.env(inherited, value);
        }
    }
    command.env("OUTBOUND_ALLOW", "127.0.0.0/8").env("RUST_LOG", "info").env("PRICING_ENABLED", "false");
    command
}

/// Writes all of `bytes` and returns once they are on the disk.
pub(crate) fn write_durably(file: &mut File, bytes: &[u8]) {
    use std::io::Write;
    file.write_all(bytes).expect("the journal can be written");
    file.sync_data().expect("the journal is on the disk");
}
