//! `castback demo`: a server of its own in `./castback-demo`, and a day of listeners posted to it over HTTP.
//!
//! ```text
//! cast ─listeners─▶ what is sent, when ─post─▶ the server, a process that may be killed ─▶ balance, report, SQL
//! ```
//! The demo uses the public API alone; only the person and their one-time link are made beside it, before the server
//! starts. Where to add: somebody new is a row in `cast.rs`; something new that they do is an arm in `listeners.rs`.

mod balance;
mod cast;
mod dates;
mod feeds;
mod listeners;
mod play;
mod post;
mod prepare;
mod process;
mod screen;
mod sent;
mod stage;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use castback_connectors::http::ServerClient;
use secrecy::ExposeSecret;
use url::Url;

use crate::command::DemoArguments;
use crate::random;
use crate::serve::Signals;

use self::feeds::FeedHost;
use self::play::{Play, Scene};
use self::process::Server;

/// Where the demo's data lies, below the working directory.
const DATA: &str = "castback-demo";

/// Plays until Ctrl-C.
pub(crate) async fn run(arguments: &DemoArguments) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen_at_a_terminal()?;
    let mut play = tokio::select! {
        raised = raise(arguments) => raised?,
        () = signals.next() => return Ok(ExitCode::SUCCESS),
    };
    let played = tokio::select! {
        played = play.run() => played,
        () = signals.next() => Ok(()),
    };
    let ended = play.end().await;
    played.and(ended)?;
    Ok(ExitCode::SUCCESS)
}

/// Everything up to the first listener.
async fn raise(arguments: &DemoArguments) -> anyhow::Result<Play> {
    let data = std::path::absolute(DATA)?;
    prepare::empty(&data, arguments.keep)?;
    let prepared = prepare::person(&data).await.context("the demo can't be prepared")?;
    let feeds = FeedHost::start(prepared.feeds_port, prepared.begun).await?;
    prepare::remember(&data, prepared.begun, feeds.port())?;
    let listen = prepare::free_address(arguments.listen)?;
    let base = Url::parse(&format!("http://{listen}"))?;
    let client = ServerClient::new(base, Some(prepared.key.expose_secret()))?;
    let server = Server::start(&data, listen, &client).await?;
    let stage = stage::set(&client, &feeds, prepared.begun).await.context("the stage can't be set")?;
    let seed = match arguments.seed {
        Some(seed) => seed,
        // Short enough to be typed again.
        None => random::bytes()?.iter().take(3).fold(0, |seed, byte| seed << 8 | u64::from(*byte)),
    };
    let scene = Scene { data, program: program(), seed, speed: arguments.speed, crash: arguments.crash };
    Play::new(scene, (server, client), (stage, prepared))
}

/// This program as it can be typed from here.
fn program() -> String {
    let Ok(path) = std::env::current_exe() else { return "castback".to_owned() };
    let here = std::env::current_dir().unwrap_or_default();
    match path.strip_prefix(&here) {
        Ok(below) => Path::new(".").join(below).display().to_string(),
        Err(_) => path.display().to_string(),
    }
}
