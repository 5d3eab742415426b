//! A bench that measures its own process, run anew.

use super::meter::Outcome;
use super::slow::Fsync;

/// Set for a bench that this bench has started.
const CHILD: &str = "CASTBACK_BENCH_CHILD";

/// Runs this bench anew with each of both, in processes of their own. Answers whether this is one of these, which
/// has to measure.
#[expect(clippy::print_stdout, reason = "a bench prints what it measured")]
pub(crate) fn run() -> Outcome<bool> {
    if std::env::var_os(CHILD).is_some() {
        return Ok(true);
    }
    for fsync in Fsync::both() {
        println!("{}", fsync.name());
        let mut child = fsync.command(std::env::current_exe()?);
        let status = child.args(std::env::args_os().skip(1)).env(CHILD, "1").status()?;
        if !status.success() {
            return Err(format!("the bench ended with {status}").into());
        }
    }
    Ok(false)
}
