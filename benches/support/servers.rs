//! The servers of `tests/servers`, each started for a bench and ended with it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::meter::Outcome;

/// A running server; its folder goes with it.
pub(crate) struct OwnServer {
    script: PathBuf,
    folder: tempfile::TempDir,
}

impl OwnServer {
    /// Starts `tests/servers/<name>`; the second is its address. None, which is said, if it does not start here.
    #[expect(clippy::print_stdout, reason = "a bench prints what it does not measure")]
    pub(crate) fn start(name: &str) -> Outcome<Option<(Self, String)>> {
        let script = Path::new("tests/servers").join(name);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|above| above.join(&script));
        let script = script.into_iter().find(|script| script.exists()).ok_or("no tests/servers above this package")?;
        let server = Self { script, folder: tempfile::tempdir()? };
        let started = server.command("start").stderr(Stdio::inherit()).output()?;
        if !started.status.success() {
            println!("nothing is measured on {name}, which did not start; its words are above");
            return Ok(None);
        }
        let address = String::from_utf8_lossy(&started.stdout).trim().to_owned();
        Ok(Some((server, address)))
    }

    fn command(&self, action: &str) -> Command {
        let mut command = Command::new(&self.script);
        command.arg(action).arg(self.folder.path()).stdin(Stdio::null());
        command
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        // Nobody can be told if it does not end.
        drop(self.command("remove").status());
    }
}
