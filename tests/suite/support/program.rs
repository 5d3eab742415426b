//! Servers of other people that tests need: started on loopback, a free port and a folder of their own, ended with the test.

use std::process::{Child, Command, Stdio};

use super::until;

/// A running server.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    folder: tempfile::TempDir,
}

impl Program {
    /// Starts it; `arguments` is told the server's folder. Without it the test fails, and says what to install.
    pub(crate) fn start(name: &str, package: &str, arguments: impl Fn(&std::path::Path) -> Vec<String>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let output = std::fs::File::create(folder.path().join("output")).expect("a file for the output");
        let child = Command::new(name)
            .args(arguments(folder.path()))
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("one file, two handles"))
            .stderr(output)
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}; tests/run installs it (Debian: {package})"));
        Self { child, folder }
    }

    /// Waits until an address of it answers 2xx.
    pub(crate) async fn ready(&mut self, url: &str) {
        let (base, path) = url.rsplit_once("//").and_then(|(_, rest)| rest.split_once('/')).expect("an address");
        let client = super::client::Client::new(&format!("http://{base}"));
        until("the server answers", async || {
            if let Some(status) = self.child.try_wait().expect("our own process can be asked") {
                panic!("it ended with {status}:\n{}", self.output());
            }
            client.try_get(&format!("/{path}")).await.filter(|answer| answer.status < 300).map(drop)
        })
        .await;
    }

    pub(crate) fn output(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("output")).unwrap_or_default()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.child.kill().is_ok() && self.child.wait().is_err() {
            eprintln!("a server could not be ended");
        }
        if std::thread::panicking() {
            eprintln!("its last words:\n{}", self.output());
        }
    }
}

/// A port that nobody listens on just now.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a local port");
    listener.local_addr().expect("an address").port()
}
