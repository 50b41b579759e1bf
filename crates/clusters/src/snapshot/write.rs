//! Writing a snapshot.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use records::tables::{RunInfo, TABLES_VERSION, Tables};
use records::{PhotoKey, Timestamp};

use super::{LATEST, PREFIX, columns, schema};
use crate::ClustersError;

/// Rows of a row group.
const ROW_GROUP: usize = 122_880;

/// An encrypted thumbnail of a picture in evidence, with the picture's key. What is inside is the caller's business.
pub type Thumbnail = (PhotoKey, Vec<u8>);

/// Which older snapshots stay; the newest always does.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Keep {
    /// At most so many, the newest included; `None` keeps any number.
    pub count: Option<usize>,
    /// None written before this; `None` keeps them whatever their age.
    pub since: Option<Timestamp>,
}

/// Writes a snapshot and makes it the latest; gives its folder.
///
/// `run.snapshot` is the wanted name (`yyyymmddThhmmssZ`, see `Timestamp::compact`); where it is taken, `-2`, `-3`, … is added
/// and stands in the `run.json` written. Thumbnails become `thumbnails/<picture>.sealed`. Of older snapshots those
/// stay that `keep` names.
///
/// # Errors
/// [`ClustersError::Io`] or [`ClustersError::Table`]; `LATEST` and earlier snapshots are then as they were.
pub fn write_snapshot(
    output: &Path,
    tables: &Tables,
    run: &RunInfo,
    thumbnails: impl IntoIterator<Item = Thumbnail>,
    keep: Keep,
) -> Result<PathBuf, ClustersError> {
    let home = output.join("clusters");
    fs::create_dir_all(&home).map_err(io(&home))?;
    let mut name = run.snapshot.clone();
    let mut count = 1;
    while home.join(format!("{PREFIX}{name}")).exists() {
        count += 1;
        name = format!("{}-{count}", run.snapshot);
    }
    let place = home.join(format!("{PREFIX}{name}"));
    let draft = home.join(format!(".draft-{name}"));
    remove_drafts(&home)?;
    fs::create_dir_all(&draft).map_err(io(&draft))?;

    table(&draft.join("clusters.parquet"), columns::clusters(&tables.clusters))?;
    table(&draft.join("members.parquet"), columns::members(&tables.members))?;
    table(&draft.join("evidence.parquet"), columns::evidence(&tables.evidence))?;
    table(&draft.join("accounts.parquet"), columns::accounts(&tables.accounts))?;
    let run = RunInfo { snapshot: name, ..run.clone() };
    let path = draft.join("run.json");
    let json = serde_json::to_vec_pretty(&run).map_err(|e| io(&path)(e.into()))?;
    durable(&path, &json)?;
    let folder = draft.join("thumbnails");
    for (key, jpeg) in thumbnails {
        if !folder.exists() {
            fs::create_dir(&folder).map_err(io(&folder))?;
        }
        durable(&folder.join(format!("{key}.sealed")), &jpeg)?;
    }
    if folder.exists() {
        flush_folder(&folder)?;
    }
    flush_folder(&draft)?;
    failpoint::pass("snapshot.written");
    fs::rename(&draft, &place).map_err(io(&place))?;
    flush_folder(&home)?;
    failpoint::pass("snapshot.renamed");

    let (latest, next) = (home.join(LATEST), home.join(".LATEST.next"));
    let folder_name = format!("{PREFIX}{}\n", run.snapshot);
    durable(&next, folder_name.as_bytes())?;
    fs::rename(&next, &latest).map_err(io(&latest))?;
    flush_folder(&home)?;
    failpoint::pass("snapshot.named");
    remove_old(&home, &place, keep)?;
    Ok(place)
}

/// Removes what a crash left half-written. Only one snapshot is written at a time, so no draft is anybody's.
fn remove_drafts(home: &Path) -> Result<(), ClustersError> {
    for entry in fs::read_dir(home).map_err(io(home))? {
        let path = entry.map_err(io(home))?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".draft-")) {
            fs::remove_dir_all(&path).map_err(io(&path))?;
        }
    }
    Ok(())
}

/// Removes what is not to be kept, never the one just written. Names sort by time.
fn remove_old(home: &Path, newest: &Path, keep: Keep) -> Result<(), ClustersError> {
    let mut old: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(home).map_err(io(home))? {
        let path = entry.map_err(io(home))?.path();
        let named = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with(PREFIX));
        if named && path != newest {
            old.push(path);
        }
    }
    old.sort();
    let surplus = keep.count.map_or(0, |count| (old.len() + 1).saturating_sub(count.max(1)));
    let oldest = keep.since.map(|since| home.join(format!("{PREFIX}{}", since.compact())));
    let too_old = |path: &PathBuf| oldest.as_ref().is_some_and(|oldest| path < oldest);
    for (_, path) in old.into_iter().enumerate().filter(|(at, path)| *at < surplus || too_old(path)) {
        fs::remove_dir_all(&path).map_err(io(&path))?;
    }
    Ok(())
}

/// Attaches a path to an I/O error.
pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> ClustersError + '_ {
    move |source| ClustersError::Io { path: path.to_owned(), source }
}

fn durable(path: &Path, bytes: &[u8]) -> Result<(), ClustersError> {
    let mut file = File::create(path).map_err(io(path))?;
    file.write_all(bytes).map_err(io(path))?;
    file.sync_all().map_err(io(path))
}

fn flush_folder(path: &Path) -> Result<(), ClustersError> {
    File::open(path).and_then(|f| f.sync_all()).map_err(io(path))
}

fn table(path: &Path, batch: Result<RecordBatch, ArrowError>) -> Result<(), ClustersError> {
    let failed =
        |e: &dyn std::fmt::Display| ClustersError::Table { path: path.to_owned(), detail: e.to_string() };
    let batch = batch.map_err(|e| failed(&e))?;
    let version = KeyValue::new(schema::VERSION_KEY.to_owned(), TABLES_VERSION.to_owned());
    let level = ZstdLevel::try_new(3).map_err(|e| failed(&e))?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        // Readers share a file among threads by row groups; DuckDB's own are of this size.
        .set_max_row_group_row_count(Some(ROW_GROUP))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_created_by("facering".to_owned())
        .set_key_value_metadata(Some(vec![version]))
        .build();
    let file = File::create(path).map_err(io(path))?;
    let mut writer = ArrowWriter::try_new(&file, batch.schema(), Some(properties)).map_err(|e| failed(&e))?;
    writer.write(&batch).map_err(|e| failed(&e))?;
    writer.close().map_err(|e| failed(&e))?;
    file.sync_all().map_err(io(path))
}
