//! The one binary: command line, settings, wiring, shutdown.
//!
//! ```text
//! arguments ─command─▶ serve ─settings─▶ data directory ─▶ log, catalogue, store ─▶ runtime, agents, API
//!                   ├▶ demo: a server of its own, and a day of listeners
//!                   └▶ sql, why, tail, …: clients of a running server
//! ```
//! It must not know how anything is judged, stored or answered: it puts parts together. Randomness and the clock
//! enter the program here and nowhere else, and `anyhow` stays here.
//!
//! Where to add: a command is a variant in `command.rs` and a file here (or in `client/`); a setting is a row in
//! `settings/table.rs`.

mod check;
mod client;
mod command;
mod data_dir;
mod demo;
mod failure;
mod logging;
mod random;
#[cfg(test)]
mod readme;
mod serve;
mod settings;
mod show;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use tokio::runtime::Builder;

use crate::command::{Arguments, Command};

/// Batches come on one thread and go on another, millions of times: memory that is free goes back to the system.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Stack of the runtime's threads: planning a query recurses deeper than the default allows.
const STACK: usize = 8 * 1024 * 1024;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments.command) {
        Ok(code) => code,
        Err(error) => {
            show::error_line(&failure::in_words(&error));
            failure::exit_code(&error)
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        anyhow::bail!("another TLS provider is installed");
    }
    match command {
        Command::SqlWorker => {
            castback_store::worker::main(std::io::stdin(), std::io::stdout().lock())
                .context("the query can't be run")?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Serve(arguments) => block_on(serve::run(&arguments)),
        Command::Demo(arguments) => block_on(demo::run(&arguments)),
        Command::Check(arguments) => block_on(check::run(&arguments)),
        other => block_on(client::run(other)),
    }
}

/// Runs it to its end. Threads that still block then (a read that waits) are not waited for: nothing needs what they do.
fn block_on(task: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = Builder::new_multi_thread().enable_all().thread_stack_size(STACK).build();
    let runtime = runtime.context("no threads can be started")?;
    let ended = runtime.block_on(task);
    runtime.shutdown_background();
    ended
}
