//! A batch's way through the stages: source -> fetch -> embed -> desk, each a task of its own behind a small channel.
//!
//! Invariants:
//! - Batches keep their order; only within a batch things run side by side.
//! - Every channel is bounded, so a slow stage fills the ones before it and the source pauses.
//! - The first stage that fails ends the flow: the others notice that their neighbour is gone.
//! - When the desk is done, whatever the reason, nothing waits for what the others still have in flight: it is given up,
//!   and read again from the checkpoint.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use embed::{Embedder, StoredPhotos, embed_events};
use fetch::{Fetcher, KnownPhotos};
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use index::FaceIndex;
use ingest::{DeadLetters, ParquetConfig, Positions, Source, SourceConfig, SourceMessage};
use records::{Batch, FetchedEvent, PhotoKey};
use store::Store;
use tokio::sync::{mpsc, oneshot, watch};

use super::beside::Beside;
use super::bulk::FacesAhead;
use super::desk::{Desk, Embedded};
use super::progress::Progress;
use super::publishing::Publisher;
use super::writing::Writing;
use crate::config::Settings;
use crate::state::State;

/// Batches that may wait between two stages.
const WAITING: usize = 2;
/// Batches in the embed stage at once.
const EMBEDDED_AT_ONCE: usize = 2;

/// What goes from stage to stage.
pub(super) enum Work<T> {
    Batch(T),
    /// Told when everything before it is committed.
    Landmark(oneshot::Sender<()>),
}

/// How a flow ended.
#[derive(PartialEq, Eq, Debug)]
pub enum End {
    /// The source has ended or was told to, and everything it gave is committed.
    Done,
    /// Told to stop, and what was in flight took too long.
    Abandoned,
    /// A batch has to be fetched again: start the flow anew, from the checkpoint.
    Again,
}

/// Orders for the desk from outside the flow.
pub enum Order {
    /// Erase accounts; the answers go back.
    Forget(Vec<records::AccountId>, oneshot::Sender<anyhow::Result<Vec<store::Forgotten>>>),
    /// Take a decision of this author.
    Decide(String, records::Deed, oneshot::Sender<anyhow::Result<records::Decision>>),
    /// Remove dead letters that were sent again.
    DropLetters(Vec<u64>, oneshot::Sender<anyhow::Result<u64>>),
    /// Read these files beside the source; the rows read go back when all of them are committed.
    Backfill(ParquetConfig, oneshot::Sender<anyhow::Result<u64>>),
    /// Let go of the index log before this sequence number: the index has it on disk.
    TrimLog(u64),
}

/// What the fetch stage may ask of the state.
struct Known(Store);

impl KnownPhotos for Known {
    fn knows(&self, photo: &PhotoKey) -> bool {
        // One that nobody owns any more may be swept before this batch is committed. And a state that cannot be read stops
        // the desk soon; until then the picture is simply embedded again.
        self.0.reader().photo(photo).is_ok_and(|found| found.is_some_and(|photo| photo.owners > 0))
    }
}

impl StoredPhotos for Known {
    fn stores(&self, key: &PhotoKey) -> bool {
        self.knows(key)
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
    /// Knows the lists of faces.
    index: Arc<FaceIndex>,
    /// Counts what passed.
    pub progress: Arc<Progress>,
}

impl Parts {
    /// Prepares the stages for this state.
    pub fn new(settings: &Settings, state: &State, embedder: Embedder) -> anyhow::Result<Self> {
        let fetcher = Fetcher::new(&settings.fetch)?;
        Ok(Self {
            settings: settings.clone(),
            fetcher: Arc::new(fetcher),
            known: Arc::new(Known(state.store.clone())),
            embedder: Arc::new(embedder),
            index: Arc::clone(&state.index),
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
        if let (Some(found), wanted) = (source.embedding_dimension(), desk.dimension())
            && found != wanted
            && let SourceConfig::Parquet(files) = &self.settings.source
        {
            // Otherwise every single row would become a dead letter.
            bail!(
                "the embeddings in {} have {found} dimensions, those of the model pack {} have {wanted}; name the pack that made them as models.pack",
                files.path.display(),
                self.settings.models.pack
            );
        }
        self.progress.expect(source.rows());
        let letters = DeadLetters::open(&self.settings.dead_letters, &self.settings.source)?;
        let (to_fetch, from_source) = mpsc::channel(WAITING);
        let beside =
            Beside { to_fetch: to_fetch.downgrade(), positions: positions(desk.store()), stop: stop.clone() };
        let (to_embed, from_fetch) = mpsc::channel(WAITING);
        let (to_desk, from_embed) = mpsc::channel(WAITING);
        let (committed, positions) = watch::channel(records::Checkpoint::default());
        let (give_up, given_up) = watch::channel(false);

        let reading = tokio::spawn(read(source, to_fetch, positions, given_up.clone()));
        let (fetcher, known, progress) =
            (Arc::clone(&self.fetcher), Arc::clone(&self.known), Arc::clone(&self.progress));
        // On a thread of its own: the stage drives its requests itself and need not move between threads.
        let (runtime, stopped) = (tokio::runtime::Handle::current(), given_up.clone());
        let at_once = self.settings.fetch.batches.max(1);
        let fetching = tokio::task::spawn_blocking(move || {
            runtime.block_on(fetch(&fetcher, &known, &progress, from_source, to_embed, stopped, at_once))
        });
        let (embedder, progress) = (Arc::clone(&self.embedder), Arc::clone(&self.progress));
        let (known, index) = (Arc::clone(&self.known), Arc::clone(&self.index));
        let embedding = tokio::spawn(embed(embedder, known, index, progress, from_fetch, to_desk, given_up));
        let limit = Duration::from_secs(self.settings.pipeline.stop_timeout_s);
        let writing = Writing {
            desk,
            publisher: Publisher::start(letters),
            committed,
            progress: &self.progress,
            beside,
        };
        let written = writing.run(from_embed, orders, stop, limit).await;
        give_up.send_replace(true);
        let (read, fetched, embedded) = tokio::join!(reading, fetching, embedding);
        // The first real error is what is told.
        let end = written?;
        for stage in [read, fetched, embedded] {
            stage.context("a stage of the pipeline panicked")??;
        }
        Ok(end)
    }
}

/// Waits until the desk is done and wants nothing more.
async fn desk_is_done(given_up: &mut watch::Receiver<bool>) {
    // A desk that is gone wants nothing more either.
    drop(given_up.wait_for(|given_up| *given_up).await);
}

/// Reads the source and passes Kafka's positions back to it.
async fn read(
    mut source: Source,
    next: mpsc::Sender<Work<Batch<records::ProfileEvent>>>,
    mut committed: watch::Receiver<records::Checkpoint>,
    mut given_up: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    loop {
        let message = tokio::select! {
            message = source.next() => message?,
            Ok(()) = committed.changed() => {
                source.commit(&committed.borrow_and_update().clone());
                continue;
            }
            () = desk_is_done(&mut given_up) => break,
        };
        let batch = match message {
            Some(SourceMessage::Batch(batch)) => batch,
            Some(SourceMessage::Revoked(partitions)) => {
                // What is in flight of them is committed as everything else; another member may do it once more for itself.
                tracing::debug!(?partitions, "somebody else reads them now");
                continue;
            }
            Some(SourceMessage::Assigned(partitions)) => {
                tracing::info!(?partitions, "reading");
                continue;
            }
            None => break,
        };
        if next.send(Work::Batch(batch)).await.is_err() {
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

/// Fetches up to `at_once` batches side by side and hands them on in order, so that a slow host holds up its own batch but
/// not the work on the next ones.
async fn fetch(
    fetcher: &Fetcher,
    known: &Known,
    progress: &Progress,
    mut work: mpsc::Receiver<Work<Batch<records::ProfileEvent>>>,
    next: mpsc::Sender<Work<Batch<FetchedEvent>>>,
    mut given_up: watch::Receiver<bool>,
    at_once: usize,
) -> anyhow::Result<()> {
    let one = |work: Work<Batch<records::ProfileEvent>>| async move {
        match work {
            Work::Batch(batch) => {
                let start = Instant::now();
                let batch = fetcher.fetch(batch, known).await?;
                progress.spent(super::progress::Stage::Fetch, start);
                anyhow::Ok(Work::Batch(batch))
            }
            Work::Landmark(reached) => Ok(Work::Landmark(reached)),
        }
    };
    let mut under_way = FuturesOrdered::new();
    let mut ready = VecDeque::new();
    let mut ended = false;
    // Requests are driven here, also while the next stage has no room: they would time out if nobody looked after them.
    while !(ended && under_way.is_empty() && ready.is_empty()) {
        tokio::select! {
            work = work.recv(), if !ended && under_way.len() + ready.len() < at_once => match work {
                Some(work) => under_way.push_back(one(work)),
                None => ended = true,
            },
            Some(done) = under_way.next() => ready.push_back(done?),
            room = next.reserve(), if !ready.is_empty() => match (room, ready.pop_front()) {
                (Ok(room), Some(done)) => room.send(done),
                _ => break,
            },
            () = desk_is_done(&mut given_up) => break,
        }
    }
    Ok(())
}

/// While one batch is finished the next is begun, so that the networks do not run dry between them; they leave in order.
async fn embed(
    embedder: Arc<Embedder>,
    known: Arc<Known>,
    index: Arc<FaceIndex>,
    progress: Arc<Progress>,
    mut work: mpsc::Receiver<Work<Batch<FetchedEvent>>>,
    next: mpsc::Sender<Work<Embedded>>,
    mut given_up: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let one = |work: Work<Batch<FetchedEvent>>| {
        let (embedder, known) = (Arc::clone(&embedder), Arc::clone(&known));
        let (progress, index) = (Arc::clone(&progress), Arc::clone(&index));
        async move {
            match work {
                Work::Batch(batch) => {
                    let start = Instant::now();
                    let embedding = move || embed_events(&embedder, batch, &*known);
                    let (batch, uncommitted) =
                        tokio::task::spawn_blocking(embedding).await.context("embedding panicked")?;
                    progress.spent(super::progress::Stage::Embed, start);
                    let working = tokio::task::spawn_blocking(move || {
                        let ahead = FacesAhead::of(&batch, &index)?;
                        anyhow::Ok(Embedded { batch, ahead, uncommitted: Some(uncommitted) })
                    });
                    anyhow::Ok(Work::Batch(working.await.context("working ahead panicked")??))
                }
                Work::Landmark(reached) => Ok(Work::Landmark(reached)),
            }
        }
    };
    let mut under_way = FuturesOrdered::new();
    let mut ended = false;
    while !(ended && under_way.is_empty()) {
        let done = tokio::select! {
            work = work.recv(), if !ended && under_way.len() < EMBEDDED_AT_ONCE => {
                match work {
                    Some(work) => under_way.push_back(one(work)),
                    None => ended = true,
                }
                continue;
            }
            Some(done) = under_way.next() => done?,
            () = desk_is_done(&mut given_up) => break,
        };
        if next.send(done).await.is_err() {
            break;
        }
    }
    Ok(())
}
