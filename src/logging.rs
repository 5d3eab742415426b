//! The program's own messages: on standard error, as text or JSON, filtered by `RUST_LOG`.

use tracing_subscriber::EnvFilter;

use crate::settings::Logging;

/// Libraries that tell at `info` what only their authors want to know; a filter given for them goes before.
const QUIET: &str = "fjall=warn,lsm_tree=warn,sqlx=warn,datafusion=warn";

/// Begins to log.
pub(crate) fn start(logging: &Logging) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", logging.filter))?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started =
        if logging.json { subscriber.json().try_init() } else { subscriber.with_ansi(is_terminal()).try_init() };
    started.map_err(|error| anyhow::anyhow!("messages can't be logged: {error}"))
}

fn is_terminal() -> bool {
    std::io::IsTerminal::is_terminal(&std::io::stderr())
}
