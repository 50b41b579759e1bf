//! What a run has done so far: counted, logged, and summed up at its end.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use records::CheckpointDelta;
use serde::Serialize;
use store::{Committed, Reader, Tally};

/// Stages whose time is summed up.
#[derive(Clone, Copy, Debug)]
pub enum Stage {
    /// Fetching and decoding.
    Fetch = 0,
    /// Detecting and embedding.
    Embed = 1,
    /// Working out what a batch changes, committing it, feeding the index.
    Commit = 2,
    /// Clustering and writing snapshots.
    Clusters = 3,
    /// Searching the neighbours of new faces.
    Search = 4,
    /// Training the index before the first row.
    Train = 5,
}

const STAGES: [Stage; 6] =
    [Stage::Train, Stage::Fetch, Stage::Embed, Stage::Search, Stage::Commit, Stage::Clusters];

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
    dead_by_reason: Mutex<BTreeMap<String, u64>>,
    micros: [AtomicU64; STAGES.len()],
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
    /// Rows or messages read.
    pub rows: u64,
    /// Accounts in the state now, without deleted ones.
    pub accounts: u64,
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
    /// The same by reason.
    pub dead_letters_by_reason: BTreeMap<String, u64>,
    /// Clusters in the last snapshot; `None` if none was written.
    pub clusters: Option<usize>,
    /// The events of all runs on this state together.
    pub ever: Ledger,
    /// Seconds in each stage; stages work side by side, so they do not add up to the run's time.
    pub seconds: BTreeMap<&'static str, f64>,
    /// Seconds from the start to the end.
    pub elapsed: f64,
}

impl Progress {
    /// Notes how many rows are still to be read, if the source has an end.
    pub fn expect(&self, rows: Option<u64>) {
        let all = rows.map_or(0, |left| self.rows.load(Ordering::Relaxed) + left);
        self.rows_expected.store(all, Ordering::Relaxed);
    }

    /// Notes the rows of a batch that was committed.
    pub fn passed(&self, delta: &CheckpointDelta) {
        let rows = delta.iter().map(|(_, span)| span.to.0.saturating_sub(span.from.0)).sum();
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }

    /// Notes dead letters by reason.
    pub fn given_up<'a>(&self, reasons: impl Iterator<Item = &'a str>) {
        let mut counts = self.dead_by_reason.lock().unwrap_or_else(PoisonError::into_inner);
        reasons.for_each(|reason| *counts.entry(reason.to_owned()).or_default() += 1);
    }

    /// Rows done and rows in all; `None` for a source without an end.
    pub fn rows(&self) -> Option<(u64, u64)> {
        let all = self.rows_expected.load(Ordering::Relaxed);
        (all > 0).then(|| (self.rows.load(Ordering::Relaxed), all))
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
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let seconds = since.as_secs_f64().max(1e-3);
        let counts = format!(
            "{} new photos, {} faces, {} links, {} dead letters",
            get(&self.photos),
            get(&self.faces),
            get(&self.links),
            get(&self.dead_letters)
        );
        match self.rows() {
            None => format!("{} events ({:.0}/s), {counts}", self.events(), self.events() as f64 / seconds),
            Some((done, all)) => {
                let left = seconds * all.saturating_sub(done) as f64 / done.max(1) as f64;
                let rate = done as f64 / seconds;
                format!("{done} of {all} rows ({rate:.0}/s), about {left:.0} s left: {counts}")
            }
        }
    }

    /// The counters as they stand, with what the state holds.
    pub fn summary(&self, state: &Reader, clusters: Option<usize>, elapsed: Duration) -> Summary {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let reasons = self.dead_by_reason.lock().unwrap_or_else(PoisonError::into_inner);
        Summary {
            rows: get(&self.rows),
            accounts: state.counts().accounts,
            events: get(&self.events),
            applied: get(&self.applied),
            superseded: get(&self.superseded),
            events_dead: get(&self.events_dead),
            photos: get(&self.photos),
            faces: get(&self.faces),
            links: get(&self.links),
            dead_letters: get(&self.dead_letters),
            dead_letters_by_reason: reasons.clone(),
            clusters,
            ever: state.tally().into(),
            seconds: STAGES
                .into_iter()
                .map(|s| (name(s), get(&self.micros[s as usize]) as f64 / 1e6))
                .collect(),
            elapsed: elapsed.as_secs_f64(),
        }
    }
}

const fn name(stage: Stage) -> &'static str {
    match stage {
        Stage::Fetch => "fetch",
        Stage::Embed => "embed",
        Stage::Commit => "commit",
        Stage::Clusters => "clusters",
        Stage::Search => "search",
        Stage::Train => "train",
    }
}

impl Summary {
    /// A few lines for a person.
    pub fn text(&self) -> String {
        let mut text = format!(
            "rows: {} in {:.1} s ({:.0}/s)\naccounts: {}\n\
             events: {} read = {} applied + {} superseded + {} given up\n\
             new: {} photos, {} faces, {} links\ndead letters: {}",
            self.rows,
            self.elapsed,
            self.rows as f64 / self.elapsed.max(1e-3),
            self.accounts,
            self.events,
            self.applied,
            self.superseded,
            self.events_dead,
            self.photos,
            self.faces,
            self.links,
            self.dead_letters
        );
        for (at, (reason, count)) in self.dead_letters_by_reason.iter().enumerate() {
            let _infallible = write!(text, "{}{reason} {count}", if at == 0 { " (" } else { ", " });
        }
        text.push_str(if self.dead_letters_by_reason.is_empty() { "" } else { ")" });
        text.push_str("\nseconds:");
        for (stage, seconds) in &self.seconds {
            let _infallible = write!(text, " {stage} {seconds:.1}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use records::{PartitionId, Position, Span};

    use super::*;

    #[test]
    fn rows_are_those_of_this_run() {
        let progress = Progress::default();
        progress.expect(Some(80));
        let mut delta = CheckpointDelta::default();
        // A run that goes on in the middle of a file.
        let span = Span { from: Position(20), to: Position(60) };
        delta.extend(PartitionId::file("a.parquet"), span).unwrap();
        progress.passed(&delta);
        progress.given_up(["invalid_vector", "invalid_vector", "missing_field"].into_iter());
        let line = progress.line(Duration::from_secs(4));
        assert!(line.starts_with("40 of 80 rows (10/s), about 4 s left: "), "{line}");
        let folder = tempfile::tempdir().unwrap();
        let store = store::Store::open(&store::StoreConfig::at(folder.path())).unwrap();
        let text = progress.summary(&store.reader(), Some(3), Duration::from_secs(4)).text();
        assert!(text.contains("rows: 40 in 4.0 s (10/s)"), "{text}");
        assert!(text.contains("dead letters: 0 (invalid_vector 2, missing_field 1)"), "{text}");
    }
}
