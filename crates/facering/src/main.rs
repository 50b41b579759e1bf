//! facering: finds networks of fake accounts by the faces they share.
//!
//! The only binary and the only place that knows the order of the stages. It reads the configuration, wires sources,
//! stages and state, supervises them and shuts them down; what a stage does is the stage's own crate.

mod answers;
mod cli;
mod clock;
mod commands;
mod config;
mod control;
mod deciding;
mod demo;
mod erase;
mod forgetting;
mod http_state;
mod logging;
mod outcome;
mod pipeline;
mod receipts;
mod sealing;
mod service;
mod signals;
mod standing;
mod state;
mod state_folders;
mod terminal;

use std::process::ExitCode;

use clap::Parser;

/// What our own code takes: rows, batches and pictures come and go by the million on every thread, and with glibc's
/// allocator a backfill spent a tenth of its time on them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if let Some(code) = reexecute_with_library_settings() {
        return code;
    }
    let cli = cli::Cli::parse();
    logging::start(cli.common.verbose);
    if let Err(sentence) = failpoint::arm() {
        return outcome::report(&outcome::Misconfigured::usage("environment", sentence));
    }
    match commands::execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => outcome::report(&error),
    }
}

/// OpenMP's threads sleep while they wait; few arenas, and blocks of 2 MiB and more straight from the system: a soak took
/// twice the memory without. With less, every canvas would be mapped anew, which took a tenth of the time of embedding. And
/// no huge pages for our own rows and pictures: what was given back came back 2 MiB at a time, cleared for nothing.
const LIBRARIES: [(&str, &str); 4] = [
    ("OMP_WAIT_POLICY", "passive"),
    ("MALLOC_ARENA_MAX", "4"),
    ("MALLOC_MMAP_THRESHOLD_", "2097152"),
    ("MIMALLOC_ALLOW_THP", "0"),
];
/// Set once that is done.
const SETTLED: &str = "FACERING_LIBRARIES_SET";

/// Some variables count only if they are set before libraries load, so the program starts itself once more with them:
/// FAISS's OpenMP threads spin while they wait unless told not to, which costs more than half of the processor when other
/// stages want it; an OpenBLAS that is older than the processor takes slow kernels unless told which to take; and glibc
/// keeps what a decoded picture took in one of many arenas for ever, unless large blocks are given back at once.
fn reexecute_with_library_settings() -> Option<ExitCode> {
    use std::os::unix::process::CommandExt;
    let set = |variable: &str| std::env::var_os(variable).is_some();
    if set(SETTLED) {
        return None;
    }
    let program = std::env::current_exe().ok()?;
    let blas = if set("OPENBLAS_CORETYPE") { None } else { index::blas_core_type() };
    // Returns only if it fails; then running with spinning threads is slower but right.
    let _failed = std::process::Command::new(program)
        .args(std::env::args_os().skip(1))
        .env(SETTLED, "1")
        .envs(LIBRARIES.into_iter().filter(|(variable, _)| !set(variable)))
        .envs(blas.map(|kernels| ("OPENBLAS_CORETYPE", kernels)))
        .exec();
    None
}
