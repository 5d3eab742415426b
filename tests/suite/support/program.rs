//! Servers of other people that tests need: started on loopback, a free port and a folder of their own, ended with the test.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use super::until;

/// How often another port is tried when somebody was faster.
const PORTS: usize = 5;

/// A running server.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    folder: tempfile::TempDir,
}

impl Program {
    /// Starts it and waits until `path` answers 2xx; the second is its `host:port`. `arguments` is told the server's folder
    /// and that. Without it the test fails, and says what to install.
    pub(crate) async fn start(
        (name, package): (&str, &str),
        path: &str,
        arguments: impl Fn(&Path, &str) -> Vec<String>,
    ) -> (Self, String) {
        for _ in 0..PORTS {
            let host = format!("127.0.0.1:{}", free_port());
            let mut program = Self::run(name, package, |folder| arguments(folder, &host));
            match program.ready(&format!("http://{host}"), path).await {
                None => return (program, host),
                // Such a server is told its port, and can't tell one.
                Some(_) if program.output().contains("address already in use") => {}
                Some(status) => panic!("{name} ended with {status}:\n{}", program.output()),
            }
        }
        panic!("{name} found no free port {PORTS} times");
    }

    fn run(name: &str, package: &str, arguments: impl Fn(&Path) -> Vec<String>) -> Self {
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

    /// Waits until it answers 2xx, or has ended.
    async fn ready(&mut self, base: &str, path: &str) -> Option<ExitStatus> {
        let client = super::client::Client::new(base);
        until("the server answers", async || {
            // Before it is asked: whoever has its port may answer, too.
            if let Some(status) = self.child.try_wait().expect("our own process can be asked") {
                return Some(Some(status));
            }
            client.try_get(path).await.filter(|answer| answer.status < 300).map(|_| None)
        })
        .await
    }

    fn output(&self) -> String {
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
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a local port");
    listener.local_addr().expect("an address").port()
}
