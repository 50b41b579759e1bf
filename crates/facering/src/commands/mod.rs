//! One file per command.

mod check;
mod deadletters;
mod decisions;
mod demo;
mod evaluate;
mod forget;
mod index;
mod models;
mod receipt;
mod report;
mod run;
mod search;
mod serve;
mod simulate;

pub use self::index::{runtime_for_lists, train_state};
pub use report::write_html;

use std::io::Write;

use anyhow::Context;
use serde::Serialize;

use crate::cli::{Cli, Command, Common};

/// Runs what was asked for.
pub fn execute(cli: Cli) -> anyhow::Result<()> {
    let Cli { common, command } = cli;
    match command {
        Command::Run { pipeline, beside } => run::execute(&common, &pipeline, beside),
        Command::Check { pipeline } => check::execute(&common, &pipeline),
        Command::Demo(arguments) => demo::execute(&common, &arguments),
        Command::Index { action } => index::execute(&common, &action),
        Command::Search(arguments) => search::execute(&common, &arguments),
        Command::Report(arguments) => report::execute(&common, &arguments),
        Command::Simulate(arguments) => simulate::execute(&common, &arguments),
        Command::Evaluate(arguments) => evaluate::execute(&common, &arguments),
        Command::Models { action } => models::execute(&common, &action),
        Command::Serve => serve::execute(&common),
        Command::Receipt { action } => receipt::execute(&common, &action),
        Command::Forget { account } => forget::execute(&common, &account),
        Command::Decisions(arguments) => decisions::execute(&common, &arguments),
        Command::Deadletters { action } => deadletters::execute(&common, &action),
    }
}

/// Prints text on standard output. A reader that has gone away (`| head`) is no error.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out
        .write_all(text.as_bytes())
        .and_then(|()| if text.ends_with('\n') { Ok(()) } else { out.write_all(b"\n") })
    {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("standard output cannot be written to"),
    }
}

/// Prints the value as one JSON document if `--json` was given, else the text.
pub fn print_result(
    common: &Common,
    value: &impl Serialize,
    text: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    if common.json {
        print(&serde_json::to_string(value).context("the result cannot be written as JSON")?)
    } else {
        print(&text())
    }
}

/// A runtime for commands that wait for sockets.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the async runtime does not start")
}
