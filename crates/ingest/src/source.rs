//! What the pipeline sees of a source, whichever it is.
//!
//! Invariants:
//! - A source reads on a thread of its own and hands messages through a bounded channel, in order.
//! - Partitions may go while batches of them are in flight: those are committed as all others. Should a partition come
//!   back before that, it is read on from where the last batch handed out ended, whatever the state says by then.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use records::{Batch, Checkpoint, PartitionId, Position, ProfileEvent};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{SourceConfig, SourceError, kafka, parquet};

/// What a source needs of the state: how far a partition was processed. Asked at every (re)assignment.
pub trait Positions: Send + Sync {
    /// The next place to read; `None` if the partition was never read.
    fn position(&self, partition: &PartitionId) -> Option<Position>;
}

impl<F: Fn(&PartitionId) -> Option<Position> + Send + Sync> Positions for F {
    fn position(&self, partition: &PartitionId) -> Option<Position> {
        self(partition)
    }
}

/// What a source says.
#[derive(Debug)]
pub enum SourceMessage {
    /// Events, and how far they reach.
    Batch(Batch<ProfileEvent>),
    /// These partitions are read from now on.
    Assigned(Vec<PartitionId>),
    /// These partitions are read by somebody else from now on. Batches handed out before are still to be committed.
    Revoked(Vec<PartitionId>),
}

/// Longest wait for the consumer group to be left.
const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// What the pipeline tells the reading thread.
#[derive(Default)]
pub(crate) struct Control {
    /// Positions to commit to Kafka; only the newest matters.
    commit: Mutex<Option<Checkpoint>>,
    /// Set when the source is closed or dropped.
    closing: AtomicBool,
    /// Set when the reading thread ended as it should; a panic closes the channel without it.
    ended: AtomicBool,
}

impl Control {
    pub(crate) fn take_commit(&self) -> Option<Checkpoint> {
        self.commit.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// To be called before the reading thread drops its sender.
    pub(crate) fn ended(&self) {
        self.ended.store(true, Ordering::Release);
    }
}

/// The reading thread's end of the channel.
pub(crate) type Sender = mpsc::Sender<Result<SourceMessage, SourceError>>;

/// An opened source.
pub struct Source {
    messages: mpsc::Receiver<Result<SourceMessage, SourceError>>,
    control: Arc<Control>,
    /// Closes when the reading thread has left the consumer group.
    left: oneshot::Receiver<()>,
    rows: Option<u64>,
    dimension: Option<usize>,
}

impl Source {
    /// Opens what `config` names and starts reading. Set `stop` to true to end the reading: what was handed out can
    /// still be committed, then comes the end.
    ///
    /// # Errors
    /// [`SourceError`]: broker unreachable, topic missing, folder empty, file damaged or of another schema.
    pub async fn open(
        config: &SourceConfig,
        positions: Arc<dyn Positions>,
        stop: watch::Receiver<bool>,
    ) -> Result<Self, SourceError> {
        let config = config.clone();
        let opening = tokio::task::spawn_blocking(move || Self::open_blocking(&config, positions, stop));
        opening.await.map_err(|e| SourceError::Thread { detail: e.to_string() })?
    }

    fn open_blocking(
        config: &SourceConfig,
        positions: Arc<dyn Positions>,
        stop: watch::Receiver<bool>,
    ) -> Result<Self, SourceError> {
        let control = Arc::new(Control::default());
        let waiting = match config {
            SourceConfig::Kafka(kafka) => kafka.channel_batches,
            SourceConfig::Parquet(parquet) => parquet.channel_batches,
        };
        let (sender, messages) = mpsc::channel(waiting.max(1));
        let builder = std::thread::Builder::new().name("source".into());
        let failed = |e: std::io::Error| SourceError::Thread { detail: e.to_string() };
        let (leaving, left) = oneshot::channel::<()>();
        let (rows, dimension) = match config {
            SourceConfig::Kafka(kafka) => {
                let reader = kafka::Reader::open(kafka, positions, sender, Arc::clone(&control), stop)?;
                let run = move || {
                    reader.run();
                    drop(leaving);
                };
                builder.spawn(run).map_err(failed)?;
                (None, None)
            }
            SourceConfig::Parquet(parquet) => {
                let reader = parquet::Reader::open(parquet, positions, sender, Arc::clone(&control), stop)?;
                let facts = (Some(reader.rows()), reader.dimension());
                let run = move || {
                    reader.run();
                    drop(leaving);
                };
                builder.spawn(run).map_err(failed)?;
                facts
            }
        };
        Ok(Self { messages, control, left, rows, dimension })
    }

    /// Rows of all files together that are still to be read, for a progress bar; `None` where there is no end.
    pub fn rows(&self) -> Option<u64> {
        self.rows
    }

    /// The dimension of all embeddings of the source, where its files' schema fixes one for one model pack.
    pub fn embedding_dimension(&self) -> Option<usize> {
        self.dimension
    }

    /// The next message; `None` at the end of the files or after a stop.
    ///
    /// # Errors
    /// [`SourceError`]; nothing comes after it.
    pub async fn next(&mut self) -> Result<Option<SourceMessage>, SourceError> {
        match self.messages.recv().await {
            Some(Ok(SourceMessage::Batch(mut batch))) => {
                // The one place where events are counted in: nothing has happened to any of them yet.
                batch.delta.count((batch.items.len() + batch.dead.len()) as u64);
                Ok(Some(SourceMessage::Batch(batch)))
            }
            Some(Ok(message)) => Ok(Some(message)),
            Some(Err(error)) => Err(error),
            None if self.control.ended.load(Ordering::Acquire) => Ok(None),
            // That must not pass for the end of the data.
            None => Err(SourceError::Thread { detail: "it broke off".into() }),
        }
    }

    /// Tells Kafka how far the state got. Advisory: nothing is ever read back from it, but lag monitors look at it.
    /// Does nothing for files.
    pub fn commit(&self, checkpoint: &Checkpoint) {
        *self.control.commit.lock().unwrap_or_else(PoisonError::into_inner) = Some(checkpoint.clone());
    }

    /// Leaves the consumer group after a last commit and waits for that, but not for long: where no broker answers,
    /// librdkafka would wait for one for ever, and the thread is left to end with the process.
    pub async fn close(mut self) {
        self.release();
        if tokio::time::timeout(CLOSE_WAIT, &mut self.left).await.is_err() {
            tracing::warn!("the consumer group could not be left in time; the broker will notice by itself");
        }
    }

    fn release(&mut self) {
        self.control.closing.store(true, Ordering::Release);
        self.messages.close();
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.release();
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("rows", &self.rows).finish_non_exhaustive()
    }
}
