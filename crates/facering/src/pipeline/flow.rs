//! A batch's way through the stages: source -> fetch -> embed -> desk, each a task of its own behind a small channel.
//!
//! Invariants:
//! - Batches keep their order; only within a batch things run side by side.
//! - Every channel is bounded, so a slow stage fills the ones before it and the source pauses.
//! - The first stage that fails ends the flow: the others notice that their neighbour is gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use embed::{Embedder, embed_events};
use fetch::{Fetcher, KnownPhotos};
use ingest::{DeadLetters, Positions, Revoked, Source, SourceMessage};
use records::{Batch, EmbeddedEvent, FetchedEvent, PhotoKey};
use store::Store;
use tokio::sync::{mpsc, watch};

use super::desk::{Desk, Verdict};
use super::progress::Progress;
use crate::config::Settings;
use crate::failpoint;
use crate::state::State;

/// Batches that may wait between two stages.
const WAITING: usize = 2;
/// Dead letters published at once.
const LETTERS: usize = 500;

/// What goes from stage to stage.
enum Work<T> {
    Batch(Batch<T>),
    /// Partitions were taken away; dropped at the desk, when everything before it is committed.
    Revoked(Revoked),
}

/// How a flow ended.
#[derive(PartialEq, Eq, Debug)]
pub enum End {
    /// The source has ended or was told to.
    Done,
    /// A batch has to be fetched again: start the flow anew, from the checkpoint.
    Again,
}

/// Orders for the desk from outside the flow.
pub enum Order {
    /// Erase an account; the answer goes back.
    Forget(records::AccountId, tokio::sync::oneshot::Sender<anyhow::Result<store::Forgotten>>),
    /// Take a decision of this author.
    Decide(String, records::Deed, tokio::sync::oneshot::Sender<anyhow::Result<records::Decision>>),
    /// Remove dead letters that were sent again.
    DropLetters(Vec<u64>, tokio::sync::oneshot::Sender<anyhow::Result<u64>>),
}

/// What the fetch stage may ask of the state.
struct Known(Store);

impl KnownPhotos for Known {
    fn knows(&self, photo: &PhotoKey) -> bool {
        // A state that cannot be read stops the desk soon; until then the picture is simply embedded again.
        self.0.reader().knows_photo(photo).unwrap_or(false)
    }
}

/// How far the state has read each partition.
fn positions(store: &Store) -> Arc<dyn Positions> {
    let store = store.clone();
    Arc::new(move |partition: &records::PartitionId| store.reader().checkpoint().position(partition))
}

/// Everything a flow works with that outlives it.
pub struct Parts {
    /// The stages' settings.
    pub settings: Settings,
    /// Reads pictures.
    pub fetcher: Arc<Fetcher>,
    /// Knows which pictures the state has.
    known: Arc<Known>,
    /// Finds and embeds faces.
    pub embedder: Arc<Embedder>,
    /// Counts what passed.
    pub progress: Arc<Progress>,
}

impl Parts {
    /// Prepares the stages for this state.
    pub fn new(settings: &Settings, state: &State, runtime: &inference::Runtime) -> anyhow::Result<Self> {
        let embedder = Embedder::new(runtime, &state.pack, settings.embed.clone())?;
        let fetcher = Fetcher::new(&settings.fetch)?;
        Ok(Self {
            settings: settings.clone(),
            fetcher: Arc::new(fetcher),
            known: Arc::new(Known(state.store.clone())),
            embedder: Arc::new(embedder),
            progress: Arc::new(Progress::default()),
        })
    }

    /// Runs until the source ends, `stop` becomes true, or something fails.
    pub async fn run(
        &self,
        desk: &mut Desk,
        orders: &mut mpsc::Receiver<Order>,
        stop: watch::Receiver<bool>,
    ) -> anyhow::Result<End> {
        let source = Source::open(&self.settings.source, positions(desk.store()), stop.clone()).await?;
        self.progress.expect(source.rows());
        let letters = DeadLetters::open(&self.settings.dead_letters, &self.settings.source)?;
        let (to_fetch, from_source) = mpsc::channel(WAITING);
        let (to_embed, from_fetch) = mpsc::channel(WAITING);
        let (to_desk, from_embed) = mpsc::channel(WAITING);
        let (committed, positions) = watch::channel(records::Checkpoint::default());

        let reading = tokio::spawn(read(source, to_fetch, positions));
        let (fetcher, known, progress) =
            (Arc::clone(&self.fetcher), Arc::clone(&self.known), Arc::clone(&self.progress));
        // On a thread of its own: the stage drives its requests itself and need not move between threads.
        let runtime = tokio::runtime::Handle::current();
        let fetching = tokio::task::spawn_blocking(move || {
            runtime.block_on(fetch(&fetcher, &known, &progress, from_source, to_embed))
        });
        let embedding =
            tokio::spawn(embed(Arc::clone(&self.embedder), Arc::clone(&self.progress), from_fetch, to_desk));
        let limit = Duration::from_secs(self.settings.pipeline.stop_timeout_s);
        let writing = Writing { desk, letters, committed, progress: &self.progress };
        let written = writing.run(from_embed, orders, stop, limit).await;
        // Once the desk is gone the others end by themselves; the first real error is what is told.
        let (read, fetched, embedded) = tokio::join!(reading, fetching, embedding);
        let end = written?;
        for stage in [read, fetched, embedded] {
            stage.context("a stage of the pipeline panicked")??;
        }
        Ok(end)
    }
}

/// Reads the source and passes Kafka's positions back to it.
async fn read(
    mut source: Source,
    next: mpsc::Sender<Work<records::ProfileEvent>>,
    mut committed: watch::Receiver<records::Checkpoint>,
) -> anyhow::Result<()> {
    loop {
        let message = tokio::select! {
            message = source.next() => message?,
            Ok(()) = committed.changed() => {
                source.commit(&committed.borrow_and_update().clone());
                continue;
            }
        };
        let work = match message {
            Some(SourceMessage::Batch(batch)) => Work::Batch(batch),
            Some(SourceMessage::Revoked(revoked)) => Work::Revoked(revoked),
            Some(SourceMessage::Assigned(partitions)) => {
                tracing::info!(?partitions, "reading");
                continue;
            }
            None => break,
        };
        if next.send(work).await.is_err() {
            break;
        }
    }
    drop(next);
    // The desk goes on with what is in flight; its last position is told to Kafka before the consumer leaves.
    while committed.changed().await.is_ok() {
        source.commit(&committed.borrow_and_update().clone());
    }
    source.close().await;
    Ok(())
}

async fn fetch(
    fetcher: &Fetcher,
    known: &Known,
    progress: &Progress,
    mut work: mpsc::Receiver<Work<records::ProfileEvent>>,
    next: mpsc::Sender<Work<FetchedEvent>>,
) -> anyhow::Result<()> {
    while let Some(work) = work.recv().await {
        let done = match work {
            Work::Batch(batch) => {
                let start = Instant::now();
                let batch = fetcher.fetch(batch, known).await?;
                progress.spent(super::progress::Stage::Fetch, start);
                Work::Batch(batch)
            }
            Work::Revoked(revoked) => Work::Revoked(revoked),
        };
        if next.send(done).await.is_err() {
            break;
        }
    }
    Ok(())
}

async fn embed(
    embedder: Arc<Embedder>,
    progress: Arc<Progress>,
    mut work: mpsc::Receiver<Work<FetchedEvent>>,
    next: mpsc::Sender<Work<EmbeddedEvent>>,
) -> anyhow::Result<()> {
    while let Some(work) = work.recv().await {
        let done = match work {
            Work::Batch(batch) => {
                let (embedder, start) = (Arc::clone(&embedder), Instant::now());
                let batch = tokio::task::spawn_blocking(move || embed_events(&embedder, batch))
                    .await
                    .context("embedding panicked")?;
                progress.spent(super::progress::Stage::Embed, start);
                Work::Batch(batch)
            }
            Work::Revoked(revoked) => Work::Revoked(revoked),
        };
        if next.send(done).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// The desk at work within a flow.
struct Writing<'a> {
    desk: &'a mut Desk,
    letters: DeadLetters,
    committed: watch::Sender<records::Checkpoint>,
    progress: &'a Progress,
}

impl Writing<'_> {
    async fn run(
        mut self,
        mut work: mpsc::Receiver<Work<EmbeddedEvent>>,
        orders: &mut mpsc::Receiver<Order>,
        mut stop: watch::Receiver<bool>,
        limit: Duration,
    ) -> anyhow::Result<End> {
        // Letters of an earlier run that were committed but not published.
        self.publish().await?;
        let mut deadline = None;
        loop {
            let until = deadline.unwrap_or_else(|| tokio::time::Instant::now() + Duration::from_secs(86_400));
            tokio::select! {
                work = work.recv() => match work {
                    None => return Ok(End::Done),
                    Some(Work::Revoked(revoked)) => drop(revoked),
                    Some(Work::Batch(batch)) => {
                        if !self.commit(batch).await? {
                            return Ok(End::Again);
                        }
                    }
                },
                Some(order) = orders.recv() => self.obey(order),
                Ok(()) = stop.changed(), if deadline.is_none() => {
                    deadline = Some(tokio::time::Instant::now() + limit);
                }
                () = tokio::time::sleep_until(until) => {
                    tracing::warn!("work in flight was not finished in {limit:?} and is abandoned; the next start does it again");
                    return Ok(End::Done);
                }
            }
        }
    }

    /// False if the batch has to be fetched again.
    async fn commit(&mut self, batch: Batch<EmbeddedEvent>) -> anyhow::Result<bool> {
        let start = Instant::now();
        let verdict = tokio::task::block_in_place(|| self.desk.commit(batch))?;
        self.progress.spent(super::progress::Stage::Commit, start);
        let Verdict::Committed(done) = verdict else { return Ok(false) };
        self.progress.committed(&done);
        let checkpoint = self.desk.store().reader().checkpoint().clone();
        self.progress.passed(&checkpoint);
        self.committed.send_replace(checkpoint);
        failpoint::pass("broker_commit.after");
        if done.dead_letters > 0 {
            self.publish().await?;
        }
        Ok(true)
    }

    /// Publishes the dead letters that were committed; a broker that does not take them is asked again with the next.
    async fn publish(&mut self) -> anyhow::Result<()> {
        loop {
            let waiting = self.desk.store().reader().unpublished_dead_letters(LETTERS)?;
            if waiting.is_empty() {
                return Ok(());
            }
            let (sequences, letters): (Vec<u64>, Vec<_>) =
                waiting.into_iter().map(|letter| (letter.sequence, letter.letter)).unzip();
            if let Err(error) = self.letters.publish(&letters).await {
                tracing::warn!(%error, letters = letters.len(), "dead letters stay in the state for now");
                return Ok(());
            }
            self.desk.mark_published(&sequences)?;
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Forget(account, answer) => {
                let forgotten = tokio::task::block_in_place(|| self.desk.forget(&account));
                // Whoever asked may have gone; the account is erased all the same.
                drop(answer.send(forgotten));
            }
            Order::Decide(author, deed, answer) => {
                let decided = tokio::task::block_in_place(|| self.desk.decide(&author, deed));
                drop(answer.send(decided));
            }
            Order::DropLetters(sequences, answer) => {
                let dropped = tokio::task::block_in_place(|| self.desk.drop_letters(&sequences));
                drop(answer.send(dropped));
            }
        }
    }
}
