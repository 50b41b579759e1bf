//! Snapshots: the detector run over one published state, written as tables, then shown in a report if configured.
//!
//! Invariants:
//! - A snapshot shows one commit: its tables, counts and checkpoint belong together.
//! - One is written at a time, and only if the state has moved on since the last, or the last was an update.
//! - A stream that goes on writes updates; the first one of a process, the one at rest, the one at the end and every one that
//!   is asked for are full. So what stands there in the end is a function of the events alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::Context;
use clusters::{ClustersConfig, Detection, Incremental, Keep, PreviousCluster};
use records::tables::{RunInfo, SnapshotKind, TABLES_VERSION, Tables};
use records::{PhotoKey, Standing, Timestamp};
use store::{Reader, Store, Touches};

use super::progress::{Progress, Stage};
use super::touched::Touched;
use super::{calibration, changes, decisions, input};
use crate::clock;
use crate::commands::write_html;
use crate::config::{OutputConfig, Settings};
use crate::sealing::{self, ThumbnailKey};

/// A snapshot that was written.
#[derive(Clone, Debug)]
pub struct Written {
    /// Its folder.
    pub folder: PathBuf,
    /// Clusters in it.
    pub clusters: usize,
    /// Suspected accounts in it.
    pub members: usize,
}

/// Writes snapshots of a state.
pub struct Snapshots {
    store: Store,
    output: OutputConfig,
    clusters: ClustersConfig,
    calibration: embed::Calibration,
    pack: String,
    link_floor: f32,
    progress: Arc<Progress>,
    thumbnails: Option<ThumbnailKey>,
    touched: Arc<Touched>,
    last: Mutex<Last>,
}

/// Updates after which the next snapshot of a stream is a full one in any case.
const MOST_UPDATES: u32 = 100;

#[derive(Default)]
struct Last {
    commit: u64,
    /// When the next allowance ends, which changes a snapshot without a commit.
    expiry: Option<Timestamp>,
    written: Option<Written>,
    kind: SnapshotKind,
    /// Updates since the last full one.
    updates: u32,
    /// The population as of the last one, for the next update.
    detector: Option<Incremental>,
}

impl Snapshots {
    /// For this state and these settings.
    pub fn new(
        settings: &Settings,
        store: Store,
        pack: &embed::ModelPack,
        progress: Arc<Progress>,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            store,
            output: settings.output.clone(),
            clusters: settings.clusters.clone(),
            calibration: pack.calibration().clone(),
            pack: pack.id().to_string(),
            link_floor: settings.index.link_floor,
            progress,
            thumbnails: ThumbnailKey::find(&settings.privacy.thumbnail_key_file)?,
            touched: Arc::default(),
            last: Mutex::default(),
        })
    }

    /// Where the desk notes what it touches.
    pub fn touched(&self) -> Arc<Touched> {
        Arc::clone(&self.touched)
    }

    /// The last one written by this process.
    pub fn last(&self) -> Option<Written> {
        self.locked().written.clone()
    }

    fn locked(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the newest snapshot for one of the state as it is, so that only what changes from now on makes another:
    /// for whoever opens a state that somebody else left behind. An update that was left behind is not taken for one.
    pub fn trust_newest(&self) -> anyhow::Result<()> {
        if let Some(folder) = clusters::latest(&self.output.path)?
            && clusters::read_run(&folder)?.kind == SnapshotKind::Full
        {
            self.locked().commit = self.store.reader().commit();
        }
        Ok(())
    }

    /// Writes one out of everything if the state has moved on since the last.
    pub fn write_if_changed(&self) -> anyhow::Result<Option<Written>> {
        let mut last = self.locked();
        if self.store.reader().commit() == last.commit && !last.expired() {
            return Ok(None);
        }
        self.full(&mut last, "the state has changed", false)
    }

    /// Writes the next one of a stream, if there is anything to say: an update where one will do, else a full one.
    pub fn write_next(&self) -> anyhow::Result<Option<Written>> {
        let mut last = self.locked();
        let why = if last.expired() {
            "an allowance has ended"
        } else if self.store.reader().commit() != last.commit {
            match last.detector.take() {
                None if last.written.is_none() => "it is the first of this run",
                None => "nothing is kept in memory",
                Some(detector) => match self.update(&mut last, detector)? {
                    Ok(written) => return Ok(Some(written)),
                    Err(why) => why,
                },
            }
        } else if last.kind == SnapshotKind::Update {
            "the stream is at rest"
        } else {
            return Ok(None);
        };
        self.full(&mut last, why, true)
    }

    /// At the end of a stream: writes a full one if the last was an update.
    pub fn settle(&self) -> anyhow::Result<Option<Written>> {
        let mut last = self.locked();
        if last.kind == SnapshotKind::Update {
            self.full(&mut last, "the stream ends", false)
        } else {
            Ok(None)
        }
    }

    /// Writes one out of everything; `None` if the state holds nothing.
    pub fn write(&self) -> anyhow::Result<Option<Written>> {
        self.full(&mut self.locked(), "it was asked for", false)
    }

    /// Writes one out of everything. With `keep`, the population stays in memory for the updates that follow, if it is not
    /// too large for that.
    fn full(&self, last: &mut Last, why: &'static str, keep: bool) -> anyhow::Result<Option<Written>> {
        let start = Instant::now();
        last.detector = None;
        let accounts = self.store.reader().counts().accounts;
        if accounts == 0 {
            return Ok(None);
        }
        let keep = keep && accounts <= self.output.incremental_accounts;
        // Noted from here on, so that nothing is missed between this reader and the next.
        self.touched.follow(if keep { usize::try_from(accounts).unwrap_or(usize::MAX) } else { 0 });
        let reader = self.store.reader();
        let pack = calibration::of_state(&reader, &self.calibration, self.link_floor)?;
        let input = input::read(&reader, pack, self.previous()?)?;
        let failed = "the clusters cannot be computed";
        let (detector, found) = if keep {
            let (detector, found) = Incremental::new(input, &self.clusters).context(failed)?;
            // More changes than these would be a full run anyway.
            self.touched.follow(detector.most_changes());
            (Some(detector), found)
        } else {
            (None, clusters::detect(input, &self.clusters).context(failed)?)
        };
        self.touched.forget(reader.commit());
        let written = self.put(last, &reader, found, (SnapshotKind::Full, why), start)?;
        (last.detector, last.updates) = (detector, 0);
        Ok(Some(written))
    }

    /// Puts what was touched into the last one; else says why a full one is due.
    fn update(
        &self,
        last: &mut Last,
        mut detector: Incremental,
    ) -> anyhow::Result<Result<Written, &'static str>> {
        let start = Instant::now();
        if last.updates >= MOST_UPDATES {
            return Ok(Err("the last full one is long ago"));
        }
        let reader = self.store.reader();
        let many = "much of the population has changed";
        let Some(touches) = self.touched.take(reader.commit()) else { return Ok(Err(many)) };
        if touches.accounts.len() > detector.most_changes() {
            return Ok(Err(many));
        }
        let changes = changes::read(&reader, detector.pack().clone(), self.previous()?, &touches)?;
        if detector.is_due(&changes) {
            return Ok(Err("much of the population or a decision has changed"));
        }
        let found = detector.update(changes).context("the clusters cannot be brought up to date")?;
        // Commits that touch nobody, as those of housekeeping, leave a full one what it is.
        let made = if touches == Touches::default() && last.kind == SnapshotKind::Full {
            (SnapshotKind::Full, "nothing that counts has changed")
        } else {
            (SnapshotKind::Update, "a stream goes on")
        };
        let written = self.put(last, &reader, found, made, start)?;
        last.detector = Some(detector);
        last.updates += u32::from(made.0 == SnapshotKind::Update);
        Ok(Ok(written))
    }

    fn previous(&self) -> anyhow::Result<Vec<PreviousCluster>> {
        clusters::previous(&self.output.path).context("the previous snapshot cannot be read")
    }

    /// Writes what was found in the state that this reader shows.
    fn put(
        &self,
        last: &mut Last,
        reader: &Reader,
        found: Detection,
        (kind, why): (SnapshotKind, &'static str),
        start: Instant,
    ) -> anyhow::Result<Written> {
        for (picture, held_back) in &found.suppressed {
            tracing::debug!(?picture, ?held_back, "shown so widely that it links little");
        }
        if let Some((_, widest)) = found.suppressed.first() {
            tracing::info!(
                photos_and_people = found.suppressed.len(),
                owners_of_the_widest = widest.owners,
                "some are shown so widely that they link little"
            );
        }
        for flood in &found.quarantined {
            tracing::warn!(
                signal = flood.signal,
                held_back = flood.held_back,
                new = flood.new,
                "a signal suddenly decides most new clusters; they are held back until it is named in clusters.released"
            );
        }
        let log = reader.decisions()?;
        let (mut tables, run) = (found.tables, self.run_info(reader, found.thresholds, kind));
        decisions::tell_returns(&mut tables, &log);
        let pictures: BTreeSet<PhotoKey> =
            tables.evidence.iter().flat_map(|row| [row.picture_a, row.picture_b]).collect();
        let thumbnails = thumbnails(reader, &pictures)?;
        failpoint::pass("snapshot.before");
        let folder = clusters::write_snapshot(&self.output.path, &tables, &run, thumbnails, self.keep())
            .with_context(|| format!("no snapshot can be written below {}", self.output.path.display()))?;
        failpoint::pass("snapshot.after");
        self.progress.spent(Stage::Clusters, start);
        let written = Written { folder, clusters: tables.clusters.len(), members: members(&tables) };
        let took = start.elapsed().as_secs_f64();
        metrics::counter!("facering_snapshots_total", "kind" => kind.as_str()).increment(1);
        metrics::histogram!("facering_snapshot_seconds", "kind" => kind.as_str()).record(took);
        tracing::info!(
            folder = %written.folder.display(),
            clusters = written.clusters,
            accounts = written.members,
            kind = kind.as_str(),
            why,
            "snapshot written in {took:.1} s"
        );
        if self.output.report {
            let snapshot = sealing::opened(report::read_snapshot(&written.folder)?, self.thumbnails.clone());
            write_html(&snapshot, None, &self.output.path.join("report.html"))?;
        }
        let expiry = Standing::of(&log).next_expiry(clock::now());
        (last.commit, last.expiry, last.kind) = (reader.commit(), expiry, kind);
        last.written = Some(written.clone());
        Ok(written)
    }

    fn keep(&self) -> Keep {
        let age = i64::from(self.output.keep_days) * 24 * 3600 * 1_000_000;
        let since = crate::clock::now().as_micros() - age;
        Keep {
            count: Some(self.output.keep),
            since: (age > 0).then(|| Timestamp::from_micros(since).unwrap_or(Timestamp::EPOCH)),
        }
    }

    fn run_info(&self, reader: &Reader, thresholds: BTreeMap<String, f64>, kind: SnapshotKind) -> RunInfo {
        let counts = reader.counts();
        RunInfo {
            tables_version: TABLES_VERSION.into(),
            facering_version: env!("CARGO_PKG_VERSION").into(),
            // The name is when it was written; everything in it is event time.
            snapshot: clock::now().compact(),
            kind,
            as_of: reader.greatest_observed_at().unwrap_or(Timestamp::EPOCH),
            pack: self.pack.clone(),
            accounts: counts.accounts,
            photos: counts.photos,
            faces: counts.faces,
            links: counts.links,
            dead_letters: reader.dead_letters_by_reason().clone(),
            checkpoint: reader.checkpoint().clone(),
            thresholds,
        }
    }
}

impl Last {
    fn expired(&self) -> bool {
        self.expiry.is_some_and(|expiry| expiry <= clock::now())
    }
}

fn members(tables: &Tables) -> usize {
    tables.members.iter().filter(|row| row.role == records::tables::Role::Member).count()
}

/// Thumbnails of the pictures in evidence, where the state keeps any.
fn thumbnails(reader: &Reader, pictures: &BTreeSet<PhotoKey>) -> anyhow::Result<Vec<clusters::Thumbnail>> {
    let mut found = Vec::new();
    for picture in pictures {
        found.extend(reader.thumbnail(picture)?.map(|jpeg| (*picture, jpeg.to_vec())));
    }
    Ok(found)
}
