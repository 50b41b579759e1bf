//! The end of a flow: batches go to the desk, positions back to the source, dead letters on their way.
//!
//! Invariants:
//! - A position is told to the source, and a dead letter sent, only after the commit that holds it.
//! - A stop is waited for no longer than configured: commits are atomic, so whatever is not committed by then is read
//!   again at the next start.

use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::beside::Beside;
use super::desk::{Desk, Embedded, Verdict};
use super::flow::{End, Order, Work};
use super::letters;
use super::progress::Progress;
use super::publishing::Publisher;

/// How long the last dead letters are waited for at the end of a source.
const LAST_LETTERS: Duration = Duration::from_secs(15);

/// The desk at work within a flow.
pub(super) struct Writing<'a> {
    pub desk: &'a mut Desk,
    pub publisher: Publisher,
    pub committed: watch::Sender<records::Checkpoint>,
    pub progress: &'a Progress,
    /// Where further files join.
    pub beside: Beside,
}

impl Writing<'_> {
    /// Takes work until there is none, a stop takes longer than `limit`, or something fails.
    pub async fn run(
        mut self,
        mut work: mpsc::Receiver<Work<Embedded>>,
        orders: &mut mpsc::Receiver<Order>,
        mut stop: watch::Receiver<bool>,
        limit: Duration,
    ) -> anyhow::Result<End> {
        // Letters of an earlier run that were committed but not published.
        self.publisher.offer(&self.desk.store().reader())?;
        // Set by a stop; until then so far away that it never comes.
        let mut deadline = tokio::time::Instant::now() + Duration::from_secs(100 * 365 * 86_400);
        let mut stopping = false;
        loop {
            tokio::select! {
                work = work.recv() => match work {
                    None => {
                        self.send_last_letters(deadline).await?;
                        return Ok(End::Done);
                    }
                    // Whoever waits for it may have gone.
                    Some(Work::Landmark(reached)) => drop(reached.send(())),
                    Some(Work::Batch(embedded)) => {
                        if !self.commit(embedded)? {
                            return Ok(End::Again);
                        }
                    }
                },
                sequences = self.publisher.taken() => self.published(&sequences)?,
                Some(order) = orders.recv() => match order {
                    Order::Backfill(source, answer) => self.beside.start(source, answer),
                    order => obey(self.desk, order)?,
                },
                Ok(_) = stop.wait_for(|stop| *stop), if !stopping => {
                    stopping = true;
                    deadline = tokio::time::Instant::now() + limit;
                }
                () = tokio::time::sleep_until(deadline) => {
                    tracing::warn!("work in flight was not finished in {limit:?} and is abandoned; the next start does it again");
                    return Ok(End::Abandoned);
                }
            }
        }
    }

    /// False if the batch has to be fetched again.
    fn commit(&mut self, mut embedded: Embedded) -> anyhow::Result<bool> {
        let batch = &mut embedded.batch;
        letters::bound_copies(&mut batch.dead);
        let delta = batch.delta.clone();
        let reasons: Vec<_> = batch.dead.iter().map(|letter| letter.reason).collect();
        let verdict = tokio::task::block_in_place(|| self.desk.commit(embedded, self.progress))?;
        let Verdict::Committed(done) = verdict else { return Ok(false) };
        self.progress.committed(&done);
        self.progress.passed(&delta);
        self.progress.given_up(reasons.iter().map(|reason| reason.as_str()));
        self.committed.send_replace(self.desk.store().reader().checkpoint().clone());
        if done.dead_letters > 0 {
            self.publisher.offer(&self.desk.store().reader())?;
        }
        Ok(true)
    }

    fn published(&mut self, sequences: &[u64]) -> anyhow::Result<()> {
        tokio::task::block_in_place(|| self.desk.mark_published(sequences))?;
        self.publisher.offer(&self.desk.store().reader())
    }

    /// At the end of a source nothing else offers them again, so they are waited for a little.
    async fn send_last_letters(&mut self, deadline: tokio::time::Instant) -> anyhow::Result<()> {
        let until = deadline.min(tokio::time::Instant::now() + LAST_LETTERS);
        self.publisher.offer(&self.desk.store().reader())?;
        while !self.publisher.is_idle() {
            match tokio::time::timeout_at(until, self.publisher.taken()).await {
                Ok(sequences) => self.published(&sequences)?,
                Err(_) => {
                    tracing::warn!("dead letters could not be published yet; the next start tries again");
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// Does what somebody outside of the flow asks for.
pub(super) fn obey(desk: &mut Desk, order: Order) -> anyhow::Result<()> {
    // Whoever asked may have gone by the time of the answer; what was asked for is done all the same.
    match order {
        Order::Forget(accounts, answer) => {
            drop(answer.send(tokio::task::block_in_place(|| desk.forget(&accounts))));
        }
        Order::Decide(author, deed, answer) => {
            drop(answer.send(tokio::task::block_in_place(|| desk.decide(&author, deed))));
        }
        Order::DropLetters(sequences, answer) => {
            drop(answer.send(tokio::task::block_in_place(|| desk.drop_letters(&sequences))));
        }
        Order::Backfill(_, answer) => {
            drop(
                answer.send(Err(anyhow::anyhow!(
                    "no pipeline is running here that could read beside its stream"
                ))),
            );
        }
        Order::TrimLog(before) => tokio::task::block_in_place(|| desk.trim_log(before))?,
    }
    Ok(())
}
