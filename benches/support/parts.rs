//! The parts under a bench's own process: in its directory, or servers as production has them.

use std::collections::BTreeMap;
use std::process::Command;

use super::anew::{self, Case};
use super::meter::Outcome;
use super::servers::OwnServer;

/// A part that may be elsewhere.
struct Part {
    /// Of `tests/servers`.
    server: &'static str,
    /// Where a bench that another has started finds its address.
    variable: &'static str,
    /// As a heading.
    name: &'static str,
}

const PARTS: &[Part] = &[
    Part { server: "kafka", variable: "CASTBACK_BENCH_KAFKA", name: "the log on Kafka" },
    Part { server: "s3-slow", variable: "AWS_ENDPOINT_URL", name: "objects on S3, 100 ms away" },
    Part { server: "victoria", variable: "CASTBACK_BENCH_MIRROR", name: "a mirror" },
];

/// Runs a bench anew with the servers of `always`, on a disk as it is and slowed; then with each of `elsewhere` besides.
/// All are of `tests/servers`; what can't be started here is said, and not measured.
pub(crate) fn run_each(always: &[&str], elsewhere: &[&[&str]]) -> Outcome<()> {
    let mut running = BTreeMap::new();
    let mut cases = Vec::new();
    for mut case in Case::each_fsync()? {
        if name_to(&mut case, always, &mut running)? {
            cases.push(case);
        }
    }
    for servers in elsewhere {
        let names = PARTS.iter().filter(|part| servers.contains(&part.server)).map(|part| part.name);
        let name = names.collect::<Vec<_>>().join(", ");
        let mut case = Case { name, command: Command::new(std::env::current_exe()?) };
        if name_to(&mut case, always, &mut running)? && name_to(&mut case, servers, &mut running)? {
            cases.push(case);
        }
    }
    anew::run(cases)
}

/// Tells a case the addresses of servers, and starts those that do not run; false if one can't be started.
fn name_to(
    case: &mut Case,
    servers: &[&str],
    running: &mut BTreeMap<&str, Option<(OwnServer, String)>>,
) -> Outcome<bool> {
    case.command.envs([
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", "bench"),
        ("AWS_SECRET_ACCESS_KEY", "loopback"),
        ("AWS_REGION", "us-east-1"),
    ]);
    for part in PARTS.iter().filter(|part| servers.contains(&part.server)) {
        if !running.contains_key(part.server) {
            running.insert(part.server, OwnServer::start(part.server)?);
        }
        let Some(Some((_, address))) = running.get(part.server) else { return Ok(false) };
        case.command.env(part.variable, address);
    }
    Ok(true)
}

/// The address of one of `tests/servers`; none if this bench has that part in its directory.
pub(crate) fn address(server: &str) -> Option<String> {
    PARTS.iter().find(|part| part.server == server).and_then(|part| std::env::var(part.variable).ok())
}
