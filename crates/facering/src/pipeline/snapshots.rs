//! Snapshots: the detector run over one published state, written as tables, then shown in a report if configured.
//!
//! Invariants:
//! - A snapshot shows one commit: its tables, counts and checkpoint belong together.
//! - One is written at a time, and only if the state has moved on since the last.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context;
use clusters::{ClustersConfig, Keep};
use records::tables::{RunInfo, TABLES_VERSION, Tables};
use records::{PhotoKey, Standing, Timestamp};
use store::{Reader, Store};

use super::progress::{Progress, Stage};
use super::{calibration, decisions, input};
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
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    commit: u64,
    /// When the next allowance ends, which changes a snapshot without a commit.
    expiry: Option<Timestamp>,
    written: Option<Written>,
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
            last: Mutex::default(),
        })
    }

    /// The last one written by this process.
    pub fn last(&self) -> Option<Written> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).written.clone()
    }

    /// Takes the newest snapshot for one of the state as it is, so that only what changes from now on makes another:
    /// for whoever opens a state that somebody else left behind.
    pub fn trust_newest(&self) -> anyhow::Result<()> {
        if clusters::latest(&self.output.path)?.is_some() {
            self.last.lock().unwrap_or_else(PoisonError::into_inner).commit = self.store.reader().commit();
        }
        Ok(())
    }

    /// Writes one if the state has moved on since the last.
    pub fn write_if_changed(&self) -> anyhow::Result<Option<Written>> {
        let (seen, expiry) = {
            let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            (last.commit, last.expiry)
        };
        let expired = expiry.is_some_and(|expiry| expiry <= clock::now());
        if self.store.reader().commit() == seen && !expired { Ok(None) } else { self.write() }
    }

    /// Writes one; `None` if the state holds nothing.
    pub fn write(&self) -> anyhow::Result<Option<Written>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let start = Instant::now();
        let reader = self.store.reader();
        if reader.counts().accounts == 0 {
            return Ok(None);
        }
        let pack = calibration::of_state(&reader, &self.calibration, self.link_floor)?;
        let previous =
            clusters::previous(&self.output.path).context("the previous snapshot cannot be read")?;
        let input = input::read(&reader, pack, previous)?;
        let found = clusters::detect(input, &self.clusters).context("the clusters cannot be computed")?;
        for (picture, held_back) in &found.suppressed {
            tracing::info!(?picture, ?held_back, "shown so widely that it links little");
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
        let (mut tables, run) = (found.tables, self.run_info(&reader, found.thresholds));
        decisions::tell_returns(&mut tables, &log);
        let pictures: BTreeSet<PhotoKey> =
            tables.evidence.iter().flat_map(|row| [row.picture_a, row.picture_b]).collect();
        let thumbnails = thumbnails(&reader, &pictures)?;
        failpoint::pass("snapshot.before");
        let folder = clusters::write_snapshot(&self.output.path, &tables, &run, thumbnails, self.keep())
            .with_context(|| format!("no snapshot can be written below {}", self.output.path.display()))?;
        failpoint::pass("snapshot.after");
        self.progress.spent(Stage::Clusters, start);
        let written = Written { folder, clusters: tables.clusters.len(), members: members(&tables) };
        tracing::info!(
            folder = %written.folder.display(),
            clusters = written.clusters,
            accounts = written.members,
            "snapshot written in {:.1} s",
            start.elapsed().as_secs_f64()
        );
        if self.output.report {
            let snapshot = sealing::opened(report::read_snapshot(&written.folder)?, self.thumbnails.clone());
            write_html(&snapshot, None, &self.output.path.join("report.html"))?;
        }
        let expiry = Standing::of(&log).next_expiry(clock::now());
        *last = Last { commit: reader.commit(), expiry, written: Some(written.clone()) };
        Ok(Some(written))
    }

    fn keep(&self) -> Keep {
        let age = i64::from(self.output.keep_days) * 24 * 3600 * 1_000_000;
        let since = crate::clock::now().as_micros() - age;
        Keep {
            count: Some(self.output.keep),
            since: (age > 0).then(|| Timestamp::from_micros(since).unwrap_or(Timestamp::EPOCH)),
        }
    }

    fn run_info(&self, reader: &Reader, thresholds: BTreeMap<String, f64>) -> RunInfo {
        let counts = reader.counts();
        RunInfo {
            tables_version: TABLES_VERSION.into(),
            facering_version: env!("CARGO_PKG_VERSION").into(),
            // The name is when it was written; everything in it is event time.
            snapshot: clock::now().compact(),
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
