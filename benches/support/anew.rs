//! A bench that measures its own process, run anew for each case.

use std::ffi::OsStr;
use std::process::Command;

use super::meter::Outcome;
use super::slow::Fsync;

/// Set for a bench that this bench has started: the file for its figure.
pub(crate) const CHILD: &str = "CASTBACK_BENCH_CHILD";

/// What is measured in a process of its own.
pub(crate) struct Case {
    /// Its heading.
    pub(crate) name: String,
    /// This bench, with what makes the case.
    pub(crate) command: Command,
}

impl Case {
    /// On the disk as it is, and slowed.
    pub(crate) fn each_fsync() -> Outcome<Vec<Self>> {
        let bench = std::env::current_exe()?;
        let case = |fsync: Fsync| Self { name: fsync.name().to_owned(), command: fsync.command(&bench) };
        Ok(Fsync::both().into_iter().map(case).collect())
    }
}

/// Whether this is a bench that another has started, which has to measure.
pub(crate) fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs one case after the other. If they tell figures, each is set against that of the first.
#[expect(clippy::print_stdout, reason = "a bench prints what it measured")]
pub(crate) fn run(cases: Vec<Case>) -> Outcome<()> {
    let told = tempfile::NamedTempFile::new()?;
    let mut first: Option<(String, f64)> = None;
    for Case { name, mut command } in cases {
        println!("{name}");
        std::fs::write(told.path(), "")?;
        let arguments = std::env::args_os().skip(1).filter(|argument| argument != OsStr::new("--bench"));
        let status = command.args(arguments).env(CHILD, told.path()).status()?;
        if !status.success() {
            return Err(format!("the bench ended with {status}").into());
        }
        let Ok(figure) = std::fs::read_to_string(told.path())?.parse::<f64>() else { continue };
        match &first {
            None => first = Some((name, figure)),
            Some((of_first, base)) => println!("  {:.2} of \"{of_first}\"", figure / base),
        }
    }
    Ok(())
}
