//! facering: finds networks of fake accounts by the faces they share.
//!
//! The only binary and the only place that knows the order of the stages. It reads the configuration, wires sources,
//! stages and state, supervises them and shuts them down; what a stage does is the stage's own crate.

mod answers;
mod cli;
mod commands;
mod config;
mod control;
mod demo;
mod erase;
mod failpoint;
mod http_state;
mod logging;
mod outcome;
mod pipeline;
mod service;
mod signals;
mod state;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    if let Some(code) = reexecute_with_passive_openmp() {
        return code;
    }
    let cli = cli::Cli::parse();
    logging::start(cli.common.verbose);
    match commands::execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => outcome::report(&error),
    }
}

/// FAISS's OpenMP threads spin while they wait unless this variable is set before the library loads, which costs more
/// than half of the processor when other stages want it. So the program starts itself once more with it set.
fn reexecute_with_passive_openmp() -> Option<ExitCode> {
    use std::os::unix::process::CommandExt;
    const VARIABLE: &str = "OMP_WAIT_POLICY";
    if std::env::var_os(VARIABLE).is_some() {
        return None;
    }
    let program = std::env::current_exe().ok()?;
    // Returns only if it fails; then running with spinning threads is slower but right.
    let _failed =
        std::process::Command::new(program).args(std::env::args_os().skip(1)).env(VARIABLE, "passive").exec();
    None
}
