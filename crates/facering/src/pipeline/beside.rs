//! A backfill beside a running stream: the process that owns the state reads the files too, and their batches go the same
//! way as the stream's. Event time decides, so neither disturbs the other.

use std::sync::Arc;

use anyhow::{Context, bail};
use ingest::{ParquetConfig, Positions, Source, SourceConfig, SourceMessage};
use records::{Batch, ProfileEvent};
use tokio::sync::{mpsc, oneshot, watch};

use super::flow::Work;

/// Why a backfill beside a stream ends early; nothing is lost by it.
const GONE: &str =
    "the running pipeline ended or started anew meanwhile; run the backfill again: it goes on where it was";

/// Where a further source joins a running flow.
pub struct Beside {
    /// Does not keep the flow going: it ends when its own source does.
    pub to_fetch: mpsc::WeakSender<Work<Batch<ProfileEvent>>>,
    /// How far the state has read each file.
    pub positions: Arc<dyn Positions>,
    /// Set when the process is to stop.
    pub stop: watch::Receiver<bool>,
}

impl Beside {
    /// Reads the files of `source` into the flow; the rows read go back once all of them are committed.
    pub fn start(&self, source: ParquetConfig, answer: oneshot::Sender<anyhow::Result<u64>>) {
        let (to_fetch, positions, stop) =
            (self.to_fetch.upgrade(), Arc::clone(&self.positions), self.stop.clone());
        tokio::spawn(async move {
            let taken = match to_fetch {
                Some(to_fetch) => take_in(source, positions, to_fetch, stop).await,
                None => Err(anyhow::anyhow!(GONE)),
            };
            // Whoever asked may have gone; what was taken in stays.
            drop(answer.send(taken));
        });
    }
}

async fn take_in(
    source: ParquetConfig,
    positions: Arc<dyn Positions>,
    to_fetch: mpsc::Sender<Work<Batch<ProfileEvent>>>,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<u64> {
    tracing::info!(path = %source.path.display(), "a backfill begins beside the stream");
    let mut source = Source::open(&SourceConfig::Parquet(source), positions, stop.clone()).await?;
    let mut rows = 0;
    while let Some(message) = source.next().await? {
        if let SourceMessage::Batch(batch) = message {
            rows += batch.delta.iter().map(|(_, span)| span.to.0.saturating_sub(span.from.0)).sum::<u64>();
            to_fetch.send(Work::Batch(batch)).await.ok().context(GONE)?;
        }
    }
    source.close().await;
    let (reached, passed) = oneshot::channel();
    to_fetch.send(Work::Landmark(reached)).await.ok().context(GONE)?;
    drop(to_fetch);
    passed.await.ok().context(GONE)?;
    if *stop.borrow() {
        bail!(GONE);
    }
    tracing::info!(rows, "the backfill beside the stream is done");
    Ok(rows)
}
