//! The same process as it is, and on a disk that is slow to sync.

use std::path::Path;
use std::process::{Command, Stdio};

/// How long the disk takes to make bytes durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fsync {
    /// As long as it takes.
    AsItIs,
    /// 5 ms longer: strace holds up each call. It costs processor time, too, which counts as the process's.
    Slowed,
}

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
}
