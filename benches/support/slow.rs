//! The same process as it is, and on a disk that is slow to sync.

use std::path::Path;
use std::process::{Command, Stdio};

use super::meter::Outcome;

/// How long the disk takes to make bytes durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fsync {
    /// As long as it takes.
    AsItIs,
    /// 5 ms longer: strace holds up each call. It costs processor time, too, which counts as the process's.
    Slowed,
}

/// Set for a bench that this bench has started.
const CHILD: &str = "CASTBACK_BENCH_CHILD";

impl Fsync {
    /// Both, or only the first where there is no strace, which is said.
    #[expect(clippy::print_stdout, reason = "a bench prints what it does not measure")]
    pub(crate) fn both() -> Vec<Self> {
        if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
            return vec![Self::AsItIs, Self::Slowed];
        }
        println!("strace is not installed: nothing is measured with a slowed fsync");
        vec![Self::AsItIs]
    }

    /// As a heading.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AsItIs => "fsync as it is",
            Self::Slowed => "fsync slowed by 5 ms",
        }
    }

    /// A program, ready for its arguments.
    pub(crate) fn command(self, program: impl AsRef<Path>) -> Command {
        let program = program.as_ref();
        if self == Self::AsItIs {
            return Command::new(program);
        }
        let mut command = Command::new("strace");
        command.args(["-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync"]);
        command.args(["-e", "inject=fsync,fdatasync:delay_enter=5000"]).arg(program);
        command
    }

    /// Runs this bench anew with each of both, in processes of their own. Answers whether this is one of these, which
    /// has to measure.
    #[allow(dead_code, clippy::allow_attributes, reason = "only benches that measure their own process run anew")]
    #[expect(clippy::print_stdout, reason = "a bench prints what it measured")]
    pub(crate) fn run_anew() -> Outcome<bool> {
        if std::env::var_os(CHILD).is_some() {
            return Ok(true);
        }
        for fsync in Self::both() {
            println!("{}", fsync.name());
            let mut child = fsync.command(std::env::current_exe()?);
            let status = child.args(std::env::args_os().skip(1)).env(CHILD, "1").status()?;
            if !status.success() {
                return Err(format!("the bench ended with {status}").into());
            }
        }
        Ok(false)
    }
}
