//! Clients of a running server: one command, a few calls, words for a person.
//!
//! Where to add: a command is a variant in `command.rs`, a file here and an arm in [`run`]. Everything goes over the
//! public API: nothing here can do what a program of somebody else couldn't.

mod connection;
mod operations;
mod reasons;
mod report;
mod sql;
mod tail;
mod why;

use std::process::ExitCode;

use crate::command::{Command, OperatorCommand};
use crate::failure::BadUsage;

pub(crate) use self::connection::{Connection, encoded, problem};
pub(crate) use self::report::fetch;

/// Runs one of the clients' commands.
pub(crate) async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Sql { sql, format, at } => sql::run(&Connection::open(&at)?, &sql, format).await,
        Command::Why { event_id, at } => why::run(&Connection::open(&at)?, &event_id).await,
        Command::Tail { topic, at } => tail::run(&Connection::open(&at)?, topic).await,
        Command::Report(arguments) => report::run(&Connection::open(&arguments.at)?, &arguments).await,
        Command::Recount { from, to, at } => operations::recount(&Connection::open(&at)?, from, to).await,
        Command::ReplayDeadLetters { dry_run, at } => operations::replay(&Connection::open(&at)?, dry_run).await,
        Command::AcceptGap { unit, at } => operations::accept_gap(&Connection::open(&at)?, &unit).await,
        Command::Operator { command: OperatorCommand::Add { email, at } } => {
            operations::add_operator(&Connection::open(&at)?, &email).await
        }
        Command::Serve(_) | Command::Demo(_) | Command::Check(_) | Command::SqlWorker => {
            Err(BadUsage::because("not a client's command"))
        }
    }?;
    Ok(ExitCode::SUCCESS)
}
