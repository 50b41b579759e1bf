//! A snapshot read back from its folder.
//!
//! Invariant: nothing but the folder is read. Thumbnails stay on disk until a page asks for one, since a large snapshot
//! has far more of them than a page shows.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use records::tables::{RunInfo, Tables};
use records::{AccountId, PhotoKey};

use crate::columns::ColumnError;
use crate::rows;

/// Largest thumbnail that a page takes in, in bytes. What is larger was not written as a thumbnail.
const LARGEST_THUMBNAIL: u64 = 512 * 1024;

/// Why a snapshot could not be read. None of these goes away by trying again.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The folder is neither a snapshot nor an output folder.
    #[error(
        "{} holds neither clusters.parquet nor clusters/LATEST; name a snapshot folder or the output folder of a finished run", .0.display()
    )]
    NoSnapshot(PathBuf),
    /// `LATEST` names something that is no snapshot beside it.
    #[error("{} names {name:?}, which is no snapshot folder beside it; run facering again or name the snapshot itself", .path.display())]
    BadLatest {
        /// The file `LATEST`.
        path: PathBuf,
        /// What stands in it.
        name: String,
    },
    /// A file cannot be opened or read.
    #[error("{} cannot be read; check that the snapshot is complete and readable", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A table is damaged or no Parquet.
    #[error("{} is no readable Parquet file; write the snapshot again", .path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        source: parquet::errors::ParquetError,
    },
    /// A table lacks a column or holds a value that may not stand there.
    #[error("{} does not fit the tables this version reads: {source}; write the snapshot again with this version", .path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// Which column and why.
        source: ColumnError,
    },
    /// `run.json` is damaged.
    #[error("{} is no run description; write the snapshot again", .path.display())]
    Run {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
}

/// A whole snapshot: its tables, what it was made from, and where its thumbnails lie.
#[derive(Debug)]
pub struct Snapshot {
    /// The four tables.
    pub tables: Tables,
    /// `run.json`.
    pub run: RunInfo,
    /// The thumbnails, if any were stored.
    pub thumbnails: Thumbnails,
}

/// Opens a sealed thumbnail; `None` if it cannot.
pub type OpenSealed = Box<dyn Fn(&PhotoKey, &[u8]) -> Option<Vec<u8>> + Send + Sync>;
/// Finds the JPEG of a picture.
pub type FindPicture = Box<dyn Fn(&PhotoKey) -> Option<Vec<u8>> + Send + Sync>;

/// Where thumbnails come from.
#[derive(Default)]
pub struct Thumbnails(Source);

#[derive(Default)]
enum Source {
    #[default]
    None,
    Folder(PathBuf, Option<OpenSealed>),
    Memory(BTreeMap<PhotoKey, Vec<u8>>),
    Function(FindPicture),
}

impl fmt::Debug for Thumbnails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::None => f.write_str("Thumbnails(none)"),
            Source::Folder(..) => f.write_str("Thumbnails(in a folder)"),
            Source::Function(_) => f.write_str("Thumbnails(asked for)"),
            Source::Memory(pictures) => write!(f, "Thumbnails({})", pictures.len()),
        }
    }
}

impl Thumbnails {
    /// Thumbnails in a folder, read when asked for: `<picture key hex>.jpg`, or `<picture key hex>.sealed` once
    /// [`Thumbnails::opened_with`] said how to open them.
    pub fn in_folder(folder: PathBuf) -> Self {
        Self(Source::Folder(folder, None))
    }

    /// The same, sealed ones opened with this.
    pub fn opened_with(self, open: OpenSealed) -> Self {
        match self.0 {
            Source::Folder(folder, _) => Self(Source::Folder(folder, Some(open))),
            other => Self(other),
        }
    }

    /// Thumbnails that somebody else keeps.
    pub fn asked_of(find: FindPicture) -> Self {
        Self(Source::Function(find))
    }

    /// Thumbnails at hand as JPEG bytes.
    pub fn in_memory(pictures: BTreeMap<PhotoKey, Vec<u8>>) -> Self {
        Self(Source::Memory(pictures))
    }

    /// The JPEG bytes of a picture's thumbnail; `None` if it was not stored, cannot be read, is larger than 512 KiB or
    /// does not begin like a JPEG.
    pub fn jpeg(&self, picture: &PhotoKey) -> Option<Vec<u8>> {
        let bytes = match &self.0 {
            Source::None => None,
            Source::Memory(pictures) => pictures.get(picture).cloned(),
            Source::Function(find) => find(picture),
            Source::Folder(folder, open) => {
                let read = |ending: &str| {
                    let path = folder.join(format!("{picture}.{ending}"));
                    let small = fs::metadata(&path).ok()?.len() <= LARGEST_THUMBNAIL;
                    if small { fs::read(path).ok() } else { None }
                };
                let sealed = || open.as_ref()?(picture, &read("sealed")?);
                read("jpg").or_else(sealed)
            }
        }?;
        bytes.starts_with(&[0xff, 0xd8, 0xff]).then_some(bytes)
    }
}

/// Reads a snapshot. `folder` is a snapshot folder, the `clusters` folder above it, or the output folder above that;
/// from the latter two the snapshot named by `LATEST` is taken.
///
/// # Errors
/// [`SnapshotError`] names the file and what to do.
pub fn read_snapshot(folder: &Path) -> Result<Snapshot, SnapshotError> {
    let folder = &resolve(folder)?;
    let run_path = folder.join("run.json");
    let run_text =
        fs::read(&run_path).map_err(|source| SnapshotError::Read { path: run_path.clone(), source })?;
    let run =
        serde_json::from_slice(&run_text).map_err(|source| SnapshotError::Run { path: run_path, source })?;
    let tables = Tables {
        clusters: rows::clusters(&folder.join("clusters.parquet"))?,
        members: rows::members(&folder.join("members.parquet"))?,
        evidence: rows::evidence(&folder.join("evidence.parquet"))?,
        accounts: rows::accounts(&folder.join("accounts.parquet"))?,
    };
    let pictures = folder.join("thumbnails");
    let thumbnails = if pictures.is_dir() { Thumbnails::in_folder(pictures) } else { Thumbnails::default() };
    Ok(Snapshot { tables, run, thumbnails })
}

/// The snapshot folder that `folder` means.
fn resolve(folder: &Path) -> Result<PathBuf, SnapshotError> {
    if folder.join("clusters.parquet").is_file() {
        return Ok(folder.to_owned());
    }
    let latest = [folder.join("clusters").join("LATEST"), folder.join("LATEST")]
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| SnapshotError::NoSnapshot(folder.to_owned()))?;
    let text =
        fs::read_to_string(&latest).map_err(|source| SnapshotError::Read { path: latest.clone(), source })?;
    let name = text.trim();
    // A name with a path in it would read from outside of the output folder.
    let plain = !name.is_empty() && !name.contains(['/', '\\']) && name != "..";
    let parent = latest.parent().unwrap_or(folder);
    [name.to_owned(), format!("snapshot={name}")]
        .into_iter()
        .filter(|_| plain)
        .map(|name| parent.join(name))
        .find(|path| path.join("clusters.parquet").is_file())
        .ok_or_else(|| SnapshotError::BadLatest { path: latest.clone(), name: name.to_owned() })
}

/// The tables' rows by cluster and account, for whoever walks over clusters.
pub(crate) struct Indexed<'a> {
    pub members: BTreeMap<&'a str, Vec<&'a records::tables::MemberRow>>,
    pub evidence: BTreeMap<&'a str, Vec<&'a records::tables::EvidenceRow>>,
    pub accounts: BTreeMap<&'a AccountId, &'a records::tables::AccountRow>,
}

impl<'a> Indexed<'a> {
    pub fn new(tables: &'a Tables) -> Self {
        let mut members: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for row in &tables.members {
            members.entry(&row.cluster_id).or_default().push(row);
        }
        for rows in members.values_mut() {
            rows.sort_by(|a, b| {
                a.role.cmp(&b.role).then(b.score.total_cmp(&a.score)).then(a.account_id.cmp(&b.account_id))
            });
        }
        let mut evidence: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for row in &tables.evidence {
            evidence.entry(&row.cluster_id).or_default().push(row);
        }
        let accounts = tables.accounts.iter().map(|row| (&row.account_id, row)).collect();
        Self { members, evidence, accounts }
    }

    pub fn members_of(&self, cluster: &str) -> &[&'a records::tables::MemberRow] {
        self.members.get(cluster).map_or(&[], Vec::as_slice)
    }

    pub fn evidence_of(&self, cluster: &str) -> &[&'a records::tables::EvidenceRow] {
        self.evidence.get(cluster).map_or(&[], Vec::as_slice)
    }
}
