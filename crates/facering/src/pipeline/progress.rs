//! What a run has done so far: counted, logged, and summed up at its end.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use records::Checkpoint;
use serde::Serialize;
use store::{Committed, Tally};

/// Stages whose time is summed up.
#[derive(Clone, Copy, Debug)]
pub enum Stage {
    /// Fetching and decoding.
    Fetch = 0,
    /// Detecting and embedding.
    Embed = 1,
    /// Searching neighbours, committing, feeding the index.
    Commit = 2,
    /// Clustering and writing snapshots.
    Clusters = 3,
}

/// Counters of one run. All of them only grow.
#[derive(Default, Debug)]
pub struct Progress {
    moved: tokio::sync::Notify,
    rows_expected: AtomicU64,
    rows: AtomicU64,
    batches: AtomicU64,
    events: AtomicU64,
    applied: AtomicU64,
    superseded: AtomicU64,
    events_dead: AtomicU64,
    photos: AtomicU64,
    faces: AtomicU64,
    links: AtomicU64,
    dead_letters: AtomicU64,
    micros: [AtomicU64; 4],
}

/// What became of every event: `read = applied + superseded + dead`.
#[derive(Serialize, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ledger {
    /// Events read.
    pub read: u64,
    /// Events that counted.
    pub applied: u64,
    /// Events older than what the state had.
    pub superseded: u64,
    /// Events given up as a whole.
    pub dead: u64,
}

impl From<Tally> for Ledger {
    fn from(Tally { events, applied, superseded, dead }: Tally) -> Self {
        Self { read: events, applied, superseded, dead }
    }
}

/// What a run did, as it is printed at the end.
#[derive(Serialize, Debug, Clone, PartialEq)]
pub struct Summary {
    /// Events read.
    pub events: u64,
    /// Events applied.
    pub applied: u64,
    /// Events older than what the state had.
    pub superseded: u64,
    /// Events given up as a whole.
    pub events_dead: u64,
    /// New distinct pictures.
    pub photos: u64,
    /// New faces.
    pub faces: u64,
    /// New links.
    pub links: u64,
    /// New dead letters, those of single photos included.
    pub dead_letters: u64,
    /// The same of all runs on this state together.
    pub ever: Ledger,
    /// Seconds in each stage; stages work side by side, so they do not add up to the run's time.
    pub seconds: std::collections::BTreeMap<&'static str, f64>,
}

impl Progress {
    /// Notes how many rows there are, if the source has an end.
    pub fn expect(&self, rows: Option<u64>) {
        self.rows_expected.store(rows.unwrap_or(0), Ordering::Relaxed);
    }

    /// Notes how many rows the checkpoint has passed.
    pub fn passed(&self, checkpoint: &Checkpoint) {
        self.rows.store(checkpoint.iter().map(|(_, position)| position.0).sum(), Ordering::Relaxed);
    }

    /// Adds the time since `start` to a stage.
    pub fn spent(&self, stage: Stage, start: Instant) {
        let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.micros[stage as usize].fetch_add(micros, Ordering::Relaxed);
        metrics::histogram!("facering_stage_seconds", "stage" => name(stage)).record(start.elapsed());
    }

    /// Adds a commit.
    pub fn committed(&self, done: &Committed) {
        for (counter, name, more) in [
            (&self.batches, "facering_batches_total", 1),
            (&self.events, "facering_events_total", done.tally.events),
            (&self.applied, "facering_events_applied_total", done.tally.applied),
            (&self.superseded, "facering_events_superseded_total", done.tally.superseded),
            (&self.events_dead, "facering_events_dead_total", done.tally.dead),
            (&self.photos, "facering_photos_total", done.photos),
            (&self.faces, "facering_faces_total", done.faces),
            (&self.links, "facering_links_total", done.links),
            (&self.dead_letters, "facering_dead_letters_total", done.dead_letters),
        ] {
            counter.fetch_add(more, Ordering::Relaxed);
            metrics::counter!(name).increment(more);
        }
        self.moved.notify_one();
    }

    /// Waits for the next commit, or returns at once if there was one since the last call. For one waiter.
    pub async fn moved(&self) {
        self.moved.notified().await;
    }

    /// Events that were decided about, for rates.
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// One line for the log.
    pub fn line(&self, since: Duration) -> String {
        let summary = self.summary(Tally::default());
        let rate = self.events() as f64 / since.as_secs_f64().max(1e-3);
        let rows = match (self.rows_expected.load(Ordering::Relaxed), self.rows.load(Ordering::Relaxed)) {
            (0, _) => String::new(),
            (all, done) => {
                let left = since.as_secs_f64() * all.saturating_sub(done) as f64 / done.max(1) as f64;
                format!("{done} of {all} rows, about {left:.0} s left: ")
            }
        };
        format!(
            "{rows}{} events ({rate:.0}/s), {} new photos, {} faces, {} links, {} dead letters",
            self.events(),
            summary.photos,
            summary.faces,
            summary.links,
            summary.dead_letters
        )
    }

    /// The counters as they stand; `ever` is the state's own count.
    pub fn summary(&self, ever: Tally) -> Summary {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let stages = [Stage::Fetch, Stage::Embed, Stage::Commit, Stage::Clusters];
        Summary {
            events: get(&self.events),
            applied: get(&self.applied),
            superseded: get(&self.superseded),
            events_dead: get(&self.events_dead),
            photos: get(&self.photos),
            faces: get(&self.faces),
            links: get(&self.links),
            dead_letters: get(&self.dead_letters),
            ever: ever.into(),
            seconds: stages
                .into_iter()
                .map(|s| (name(s), get(&self.micros[s as usize]) as f64 / 1e6))
                .collect(),
        }
    }
}

const fn name(stage: Stage) -> &'static str {
    match stage {
        Stage::Fetch => "fetch",
        Stage::Embed => "embed",
        Stage::Commit => "commit",
        Stage::Clusters => "clusters",
    }
}

impl Summary {
    /// A few lines for a person.
    pub fn text(&self) -> String {
        let mut text = format!(
            "events: {} read = {} applied + {} superseded + {} given up\nnew: {} photos, {} faces, {} links\ndead letters: {}\nseconds:",
            self.events,
            self.applied,
            self.superseded,
            self.events_dead,
            self.photos,
            self.faces,
            self.links,
            self.dead_letters
        );
        for (stage, seconds) in &self.seconds {
            let _infallible = write!(text, " {stage} {seconds:.1}");
        }
        text
    }
}
