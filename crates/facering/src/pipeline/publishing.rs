//! Dead letters on their way to their topic or file, beside the commits.
//!
//! Invariants:
//! - A letter is marked as published only after its destination took it. Between the two a crash sends it once more, which
//!   is harmless: letters name where they come from.
//! - A destination that does not answer holds up neither commits nor a stop; the letters stay in the state meanwhile.

use std::time::Duration;

use ingest::DeadLetters;
use records::DeadLetter;
use store::Reader;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Letters sent at once, at most.
const AT_ONCE: usize = 500;
/// Wait before the first repetition; doubled each time.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Longest wait before a repetition.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Sends letters, one handful after the other.
pub struct Publisher {
    to: mpsc::Sender<Vec<DeadLetter>>,
    taken: mpsc::Receiver<()>,
    /// Numbers of the letters that are on their way.
    under_way: Vec<u64>,
    task: JoinHandle<()>,
}

impl Publisher {
    /// Nothing is sent yet.
    pub fn start(letters: DeadLetters) -> Self {
        let (to, work) = mpsc::channel(1);
        let (done, taken) = mpsc::channel(1);
        Self { to, taken, under_way: Vec::new(), task: tokio::spawn(deliver(letters, work, done)) }
    }

    /// Sends what waits in the state, unless some are on their way: their return brings the next.
    pub fn offer(&mut self, reader: &Reader) -> anyhow::Result<()> {
        if !self.is_idle() {
            return Ok(());
        }
        let waiting = reader.unpublished_dead_letters(AT_ONCE)?;
        if waiting.is_empty() {
            return Ok(());
        }
        failpoint::pass("dead_letters.before");
        let (sequences, letters) = waiting.into_iter().map(|l| (l.sequence, l.letter)).unzip();
        if self.to.try_send(letters).is_ok() {
            self.under_way = sequences;
        }
        Ok(())
    }

    /// Whether nothing is on its way.
    pub fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// The numbers of the letters on their way, once they were taken. Nothing is lost if this is dropped before.
    pub async fn taken(&mut self) -> Vec<u64> {
        match self.taken.recv().await {
            Some(()) => std::mem::take(&mut self.under_way),
            // Only if sending panicked; the letters wait for the next start.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn deliver(
    mut letters: DeadLetters,
    mut work: mpsc::Receiver<Vec<DeadLetter>>,
    done: mpsc::Sender<()>,
) {
    while let Some(batch) = work.recv().await {
        let mut wait = FIRST_WAIT;
        while let Err(error) = letters.publish(&batch).await {
            metrics::counter!("facering_dead_letter_retries_total").increment(1);
            tracing::warn!(%error, letters = batch.len(), "dead letters stay in the state for now");
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
        failpoint::pass("dead_letters.published");
        if done.send(()).await.is_err() {
            return;
        }
    }
}
