//! The command line as the contract has it: what a person can type, and nothing else.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use castback_schemas::{Day, Topic};
use clap::{Args, Parser, Subcommand, ValueEnum};
use url::Url;

use crate::settings::Role;

/// Where data lies unless told otherwise.
const DATA: &str = "./castback-data";

/// What every podcast ad campaign brings back, while it runs.
#[derive(Debug, Parser)]
#[command(name = "castback", version, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs the server; everything is embedded unless a setting says otherwise
    #[command(after_long_help = crate::settings::described())]
    Serve(ServeArguments),
    /// Plays a day of listeners on a server of its own, until Ctrl-C
    Demo(DemoArguments),
    /// Says for every setting whether it works, without starting the server
    Check(SettingsArguments),
    /// One query in a process of its own; started by the server only
    #[command(hide = true)]
    SqlWorker,
    /// Asks a running server by SQL
    Sql {
        /// The query
        sql: String,
        /// How the rows are written
        #[arg(long, value_enum, default_value = "table")]
        format: RowFormat,
        #[command(flatten)]
        at: ServerArguments,
    },
    /// Says what became of one record, and why
    Why {
        /// The record's event id
        event_id: String,
        #[command(flatten)]
        at: ServerArguments,
    },
    /// Shows the records of a topic as JSON, as they come (for operators)
    Tail {
        /// The topic, such as listener-requests
        #[arg(value_parser = topic)]
        topic: Topic,
        #[command(flatten)]
        at: ServerArguments,
    },
    /// Makes a report and keeps it in a file
    Report(ReportArguments),
    /// Has the records of some days judged again (for operators)
    Recount {
        /// First day (UTC)
        #[arg(long, value_parser = day)]
        from: Day,
        /// The first day that is no longer judged again (UTC)
        #[arg(long, value_parser = day)]
        to: Day,
        #[command(flatten)]
        at: ServerArguments,
    },
    /// Has dead letters judged again
    ReplayDeadLetters {
        /// Only says how many there are
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        at: ServerArguments,
    },
    /// Goes on behind records that the log lost, and writes the gap into the balance (for operators)
    AcceptGap {
        /// The unit that stopped, such as counting/3
        unit: String,
        #[command(flatten)]
        at: ServerArguments,
    },
    /// Who sees across accounts
    Operator {
        #[command(subcommand)]
        command: OperatorCommand,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum OperatorCommand {
    /// Lets a person who has signed up see across accounts
    Add {
        /// Their e-mail address
        email: String,
        #[command(flatten)]
        at: ServerArguments,
    },
}

/// Where settings come from.
#[derive(Debug, Clone, Args)]
pub(crate) struct SettingsArguments {
    /// Where data lies
    #[arg(long, default_value = DATA)]
    pub(crate) data: PathBuf,
    /// A TOML file of settings; the environment goes before it
    #[arg(long)]
    pub(crate) config: Option<PathBuf>,
    /// The roles of this process
    #[arg(long, value_enum, value_delimiter = ',', default_value = "api,ingest,process,agents")]
    pub(crate) roles: Vec<Role>,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// The address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8080", value_parser = address)]
    pub(crate) listen: SocketAddr,
    #[command(flatten)]
    pub(crate) settings: SettingsArguments,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Goes on with what an earlier demo left in ./castback-demo
    #[arg(long)]
    pub(crate) keep: bool,
    /// Kills the server in the middle of the day and starts it again
    #[arg(long)]
    pub(crate) crash: bool,
    /// The address to listen on; if it is taken, the next free port is
    #[arg(long, default_value = "127.0.0.1:8080", value_parser = address)]
    pub(crate) listen: SocketAddr,
    /// Seconds of the simulated day that pass in one second
    #[arg(long, default_value_t = 1440, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) speed: u32,
    /// The seed of the listeners; the same seed makes the same day
    #[arg(long)]
    pub(crate) seed: Option<u64>,
}

/// Which server, and as whom.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServerArguments {
    /// The server's address, else the one in `<data>/address`
    #[arg(long, env = "CASTBACK_URL")]
    pub(crate) server: Option<Url>,
    /// Where the server's data lies on this machine: its address and the operator's key
    #[arg(long, default_value = DATA)]
    pub(crate) data: PathBuf,
    /// Whose data is read, `all` for operators; an operator's default is all, anybody else's their own
    #[arg(long)]
    pub(crate) account: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArguments {
    /// What is reported
    #[arg(value_enum)]
    pub(crate) kind: ReportKind,
    /// The campaign, where the report is about one
    #[arg(long)]
    pub(crate) campaign: Option<String>,
    /// First day (UTC)
    #[arg(long, value_parser = day)]
    pub(crate) from: Day,
    /// The day after the last (UTC)
    #[arg(long, value_parser = day)]
    pub(crate) to: Day,
    /// The file's format
    #[arg(long, value_enum, default_value = "pdf")]
    pub(crate) format: FileFormat,
    /// The file, else `<kind>.<format>`
    #[arg(long)]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) at: ServerArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RowFormat {
    Table,
    Csv,
    Json,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ReportKind {
    Roi,
    Downloads,
    Attribution,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum FileFormat {
    Pdf,
    Csv,
    Json,
    Parquet,
}

fn topic(text: &str) -> Result<Topic, String> {
    text.parse().map_err(|_| {
        let names: Vec<&str> = castback_schemas::topic::TOPICS.iter().map(|spec| spec.name).collect();
        format!("no such topic; there are {}", names.join(", "))
    })
}

fn day(text: &str) -> Result<Day, String> {
    text.parse().map_err(|_| "expected a date such as 2026-11-24".to_owned())
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let found = text.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    found.ok_or_else(|| "expected an address and a port, such as 127.0.0.1:8080".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parsed(line: &str) -> Result<Command, i32> {
        let words = std::iter::once("castback").chain(line.split(' '));
        Arguments::try_parse_from(words).map(|arguments| arguments.command).map_err(|error| error.exit_code())
    }

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_contract_s_lines_are_understood() {
        for line in [
            "serve",
            "serve --listen 127.0.0.1:0 --data /tmp/x --config c.toml --roles api,ingest",
            "demo --keep --crash",
            "check",
            "sql SELECT",
            "why 17",
            "tail dead-letters",
            "report roi --from 2026-11-01 --to 2026-12-01 --campaign c",
            "recount --from 2026-11-01 --to 2026-11-02",
            "replay-dead-letters --dry-run",
            "accept-gap counting/3",
            "operator add a@b.example",
        ] {
            assert!(parsed(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn a_line_that_is_not_understood_ends_with_2() {
        for line in ["no-such-command", "serve --listen nowhere", "serve --roles king", "tail no-such-topic", "sql"] {
            assert_eq!(parsed(line).err(), Some(2), "{line}");
        }
    }

    #[test]
    fn every_role_is_a_default() {
        let Ok(Command::Serve(serve)) = parsed("serve") else { panic!("serve") };
        assert_eq!(serve.settings.roles, [Role::Api, Role::Ingest, Role::Process, Role::Agents]);
    }
}
