//! SIGTERM and Ctrl-C: the first asks for a clean end, the second ends at once. Nothing is lost either way, since every
//! commit is atomic.

use std::sync::OnceLock;
use std::time::Instant;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

static ASKED: OnceLock<Instant> = OnceLock::new();

/// When the process was asked to stop.
pub fn asked_at() -> Option<Instant> {
    ASKED.get().copied()
}

/// Becomes true when the process is asked to stop. Needs a running tokio runtime.
pub fn stop_on_signal() -> anyhow::Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be listened for")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be listened for")?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tracing::info!("stopping: finishing the batches in flight; a second signal stops at once");
        ASKED.get_or_init(Instant::now);
        stop.send_replace(true);
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tracing::warn!("stopped at once; the next start goes on from the last commit");
        // 130 is what shells expect of a program that Ctrl-C ended.
        std::process::exit(130);
    });
    Ok(stopped)
}
