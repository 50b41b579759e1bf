//! Log lines on standard error; results of commands go to standard output, so that the two never mix.

use tracing_subscriber::EnvFilter;

use crate::terminal::{self, Lines};

/// Starts logging. `RUST_LOG` overrides the verbosity given on the command line.
pub fn start(verbose: u8) {
    let default = match verbose {
        0 => "info,ort=warn,fjall=warn,lsm_tree=warn,librdkafka=warn",
        1 => "debug,ort=info,hyper_util=info,h2=info,lsm_tree=info,fjall=info",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let terminal = terminal::has_one();
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Lines)
        .with_ansi(terminal)
        .with_target(verbose > 0);
    // A second call (tests in one process) keeps the first logger.
    let _already_set = lines.try_init();
}
