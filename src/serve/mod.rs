//! `castback serve`: the parts put together, and taken apart again.
//!
//! ```text
//! data directory ─▶ log, catalogue, store ─▶ runtime ─▶ agents ─▶ API            (start)
//! API: no new calls, answers end ─▶ what redirects saw ─▶ agents ─▶ runtime: last commit ─▶ log ─▶ catalogue   (stop)
//! ```

mod agents;
mod heartbeat;
mod housekeeping;
mod installation;
mod lists;
mod metrics;
mod parts;
mod server;
mod signals;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;

use crate::command::ServeArguments;
use crate::data_dir::DataDir;
use crate::logging;
use crate::settings::{Role, Settings};

pub(crate) use self::lists::load as load_lists;
pub(crate) use self::signals::Signals;

use self::parts::Parts;
use self::server::Server;

/// Longest stop: below the ten seconds after which a supervisor kills. Then the process ends as if it were killed, which
/// loses nothing.
const STOP: Duration = Duration::from_millis(9_500);

/// Runs the server until SIGTERM or Ctrl-C.
pub(crate) async fn run(arguments: &ServeArguments) -> anyhow::Result<ExitCode> {
    let settings = Settings::load(&arguments.settings)?;
    logging::start(&settings.logging)?;
    let mut signals = Signals::listen()?;
    for name in &settings.without_effect {
        tracing::warn!(setting = name, "this version does nothing with a setting that is set");
    }
    let data = DataDir::take_when_free(&settings.data).await?;
    let serves = settings.plays(Role::Api) || settings.plays(Role::Ingest);
    let listener = if serves {
        let bound = TcpListener::bind(arguments.listen).await;
        Some(bound.with_context(|| format!("nothing can listen on {}", arguments.listen))?)
    } else {
        None
    };
    let server = tokio::select! {
        started = start(settings, data, listener) => started?,
        // Whatever was begun is as after a kill: the next start finds it right.
        () = signals.next() => return Ok(ExitCode::SUCCESS),
    };
    signals.next().await;
    tracing::info!("stopping");
    tokio::select! {
        stopped = tokio::time::timeout(STOP, server.stop()) => match stopped {
            Ok(stopped) => stopped.map(|()| ExitCode::SUCCESS),
            Err(_) => anyhow::bail!("the server did not stop within {STOP:?}; nothing that was accepted is lost"),
        },
        () = signals.next() => anyhow::bail!("stopped at once, by a second signal; nothing that was accepted is lost"),
    }
}

async fn start(settings: Settings, data: DataDir, listener: Option<TcpListener>) -> anyhow::Result<Server> {
    let parts = Parts::open(&settings, &data).await?;
    Server::start(settings, (data, parts), listener).await
}
