//! What `facering run` does: the stages wired together over one opened state.

mod beside;
mod bulk;
mod calibration;
mod changes;
mod decisions;
mod desk;
mod flow;
mod input;
mod letters;
mod neighbours;
mod progress;
mod publishing;
mod snapshots;
mod touched;
mod vector_cache;
mod writing;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use embed::Embedder;
use index::FaceIndex;
use store::Store;
use tokio::sync::{mpsc, watch};

use calibration::Floor;
pub use decisions::recalibrate;
pub use desk::Desk;
pub use flow::{End, Order, Parts};
pub use neighbours::{CurrentVectors, StoredVectors, stored_form};
use progress::Stage;
pub use progress::{Progress, Summary};
pub use snapshots::{Snapshots, Written};
pub use touched::Touched;

use crate::config::Settings;
use crate::sealing::ThumbnailKey;
use crate::signals;
use crate::state::State;
use crate::terminal;

/// How often a line about the progress is logged.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// How often a progress bar is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(250);

/// How often the index is looked at without a commit: whether it has to be sealed, promoted or compacted.
const TIDY_EVERY: Duration = Duration::from_secs(20);

/// A pipeline over an opened state.
pub struct Pipeline {
    state: State,
    parts: Parts,
    snapshots: Arc<Snapshots>,
    orders: (mpsc::Sender<Order>, mpsc::Receiver<Order>),
}

/// What a run left behind.
#[derive(Debug)]
pub struct Outcome {
    /// Counts and times.
    pub summary: Summary,
    /// The last snapshot written, if any.
    pub snapshot: Option<Written>,
    /// Whether work in flight was given up, since a stop took too long.
    pub abandoned: bool,
}

impl Pipeline {
    /// Opens the state, loads the models, prepares the stages. Nothing is read yet.
    pub fn open(settings: &Settings) -> anyhow::Result<Self> {
        let runtime = inference::Runtime::start(&settings.inference)?;
        // First the models: a pack that is refused leaves no state behind.
        let pack = embed::load_pack(&settings.models)?;
        let embedder = Embedder::new(&runtime, &pack, settings.embed.clone())?;
        let state = State::open(settings, Some(&runtime))?;
        let parts = Parts::new(settings, &state, embedder)?;
        let snapshots =
            Snapshots::new(settings, state.store.clone(), &state.pack, Arc::clone(&parts.progress))?;
        Ok(Self { state, parts, snapshots: Arc::new(snapshots), orders: mpsc::channel(4) })
    }

    /// The state, for those who only read.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The stages, for searches by picture.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Writes the snapshots.
    pub fn snapshots(&self) -> Arc<Snapshots> {
        Arc::clone(&self.snapshots)
    }

    /// Reads no source: takes orders, and writes a snapshot that often if they changed anything, until `stop` becomes
    /// true.
    pub async fn attend(&mut self, every: Duration, mut stop: watch::Receiver<bool>) -> anyhow::Result<()> {
        let mut desk = self.desk()?;
        self.snapshots.trust_newest()?;
        let tidying = tokio::spawn(tidy_regularly(
            self.state.store.clone(),
            Arc::clone(&self.state.index),
            Arc::clone(&self.parts.progress),
            self.orders.0.clone(),
        ));
        let writing =
            tokio::spawn(write_regularly(Arc::clone(&self.snapshots), every, Snapshots::write_if_changed));
        while !*stop.borrow() {
            tokio::select! {
                Some(order) = self.orders.1.recv() => writing::obey(&mut desk, order)?,
                changed = stop.changed() => if changed.is_err() { break },
            }
        }
        tidying.abort();
        writing.abort();
        // What was decided since the last snapshot is in the tables before this ends.
        let snapshots = Arc::clone(&self.snapshots);
        tokio::task::spawn_blocking(move || snapshots.write_if_changed())
            .await
            .context("writing the snapshot panicked")??;
        Ok(())
    }

    /// Where orders to the running pipeline go.
    pub fn orders(&self) -> mpsc::Sender<Order> {
        self.orders.0.clone()
    }

    /// The desk of this state; there can be one at a time.
    pub fn desk(&self) -> anyhow::Result<Desk> {
        desk_of(&self.parts.settings, &self.state, self.snapshots.touched())
    }

    /// Writes a snapshot of the state as it is; `None` if the state is empty.
    pub fn write_snapshot(&self) -> anyhow::Result<Option<Written>> {
        self.snapshots.write()
    }

    /// Runs until the source ends or `stop` becomes true. With `every`, a snapshot is written that often if anything
    /// changed; at the end of a source that has an end, one is written in any case.
    pub async fn run(
        &mut self,
        every: Option<Duration>,
        at_end: bool,
        stop: watch::Receiver<bool>,
    ) -> anyhow::Result<Outcome> {
        let started = Instant::now();
        bulk::train_first(&self.parts.settings, &self.state).await?;
        self.parts.progress.spent(Stage::Train, started);
        let mut desk = self.desk()?;
        // Nothing is in flight yet, so nothing can refer to a picture without owners.
        desk.sweep_all()?;
        let logging = tokio::spawn(log_progress(Arc::clone(&self.parts.progress), started));
        let tidying = tokio::spawn(tidy_regularly(
            self.state.store.clone(),
            Arc::clone(&self.state.index),
            Arc::clone(&self.parts.progress),
            self.orders.0.clone(),
        ));
        let writing = every.map(|every| {
            tokio::spawn(write_regularly(Arc::clone(&self.snapshots), every, Snapshots::write_next))
        });
        let result = loop {
            match self.parts.run(&mut desk, &mut self.orders.1, stop.clone()).await {
                Ok(End::Again) => tracing::debug!("the flow starts again from the checkpoint"),
                other => break other,
            }
        };
        logging.abort();
        tidying.abort();
        if let Some(writing) = writing {
            // One being written goes on, on a thread of its own; the end of the process waits for it or leaves a draft.
            writing.abort();
        }
        let abandoned = result? == End::Abandoned;
        let stopped = *stop.borrow();
        let snapshots = Arc::clone(&self.snapshots);
        let snapshot = if at_end && !stopped {
            tokio::task::spawn_blocking(move || snapshots.write())
                .await
                .context("writing the snapshot panicked")??
        } else {
            self.settle().await?;
            self.snapshots.last()
        };
        let clusters = snapshot.as_ref().map(|snapshot| snapshot.clusters);
        let summary = self.parts.progress.summary(&self.state.store.reader(), clusters, started.elapsed());
        Ok(Outcome { summary, snapshot, abandoned })
    }

    /// At a stop: a newest snapshot that is an update is followed by a full one, if that is done in time.
    async fn settle(&self) -> anyhow::Result<()> {
        let limit = Duration::from_secs(self.parts.settings.pipeline.stop_timeout_s);
        let left = signals::asked_at().map_or(limit, |asked| limit.saturating_sub(asked.elapsed()));
        let snapshots = Arc::clone(&self.snapshots);
        let writing = tokio::task::spawn_blocking(move || snapshots.settle());
        match tokio::time::timeout(left, writing).await {
            Ok(written) => written.context("writing the snapshot panicked")?.map(drop),
            Err(_) => {
                tracing::warn!(
                    "the newest snapshot stays an update: a full one was not made in {limit:?}; the next start begins with one"
                );
                Ok(())
            }
        }
    }
}

/// The desk of an opened state, which notes what it touches. Finishes an erasure that was interrupted.
pub fn desk_of(settings: &Settings, state: &State, touched: Arc<Touched>) -> anyhow::Result<Desk> {
    let (index, clusters) = (&settings.index, &settings.clusters);
    let calibration = state.pack.calibration();
    let floor = Floor::new(calibration, index.link_floor, clusters.copy_cosine, clusters.false_neighbours);
    let thumbnails = ThumbnailKey::find(&settings.privacy.thumbnail_key_file)?;
    let cache = settings.pipeline.vector_cache_mib;
    let mut desk =
        Desk::new(state.store.clone(), Arc::clone(&state.index), floor, thumbnails, touched, cache)?;
    desk.finish_erasing()?;
    Ok(desk)
}

/// Tells how far the run is: a bar on a terminal, lines elsewhere.
async fn log_progress(progress: Arc<Progress>, started: Instant) {
    if terminal::has_one() {
        let mut bar = None;
        loop {
            tokio::time::sleep(DRAW_EVERY).await;
            if let Some((done, all)) = progress.rows() {
                let bar = bar.get_or_insert_with(|| terminal::Bar::new(all));
                bar.show(done, all, &progress.line(started.elapsed()));
            }
        }
    }
    let mut seen = 0;
    loop {
        tokio::time::sleep(LOG_EVERY).await;
        if progress.events() != seen {
            seen = progress.events();
            tracing::info!("{}", progress.line(started.elapsed()));
        }
    }
}

/// Seals, promotes and compacts the index when it is due, beside the work; then lets go of what the index has on disk.
async fn tidy_regularly(
    store: Store,
    index: Arc<FaceIndex>,
    progress: Arc<Progress>,
    orders: mpsc::Sender<Order>,
) {
    loop {
        tokio::select! {
            () = progress.moved() => {}
            () = tokio::time::sleep(TIDY_EVERY) => {}
        }
        let log = store.reader().log_range();
        let (store, tidied) = (store.clone(), Arc::clone(&index));
        let tidied = tokio::task::spawn_blocking(move || {
            // Training takes minutes, and faces that come meanwhile must be found too.
            let exact = CurrentVectors::new(&store, tidied.dimension());
            let promoted = tidied.maintain(&exact, &|step| tracing::debug!(?step, "training the index"))?;
            Ok::<_, index::IndexError>((promoted, tidied.applied_sequence()?))
        });
        match tidied.await {
            Ok(Ok((promoted, durable))) => {
                if promoted {
                    tracing::info!("the face index was promoted");
                }
                let before = durable.map_or(0, |last| last + 1);
                if before > log.start && orders.send(Order::TrimLog(before)).await.is_err() {
                    return;
                }
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "the face index was not tidied; it goes on as it is");
                tokio::time::sleep(TIDY_EVERY).await;
            }
            Err(error) => {
                tracing::error!(%error, "tidying the face index panicked; it goes on as it is");
                tokio::time::sleep(TIDY_EVERY).await;
            }
        }
    }
}

async fn write_regularly(
    snapshots: Arc<Snapshots>,
    every: Duration,
    write: fn(&Snapshots) -> anyhow::Result<Option<Written>>,
) {
    loop {
        tokio::time::sleep(every).await;
        let snapshots = Arc::clone(&snapshots);
        match tokio::task::spawn_blocking(move || write(&snapshots)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::error!("no snapshot was written: {error:#}"),
            Err(error) => tracing::error!("no snapshot was written: {error}"),
        }
    }
}
