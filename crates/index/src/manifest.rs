//! `MANIFEST`: which files make up the index. Replaced as a whole, so that a crash leaves the old index or the new one.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::files::{Checksum, write_durably};
use crate::ordinals::OrdinalSet;
use crate::{IndexError, Metric};

const FORMAT: u32 = 1;
const NAME: &str = "MANIFEST";
const LOCK: &str = "LOCK";

/// A sealed segment.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SegmentEntry {
    /// File name in the folder.
    pub file: String,
    /// Checksum of the file, in hexadecimal (JSON numbers lose digits).
    pub checksum: String,
}

/// Rows of a file that became vectors of this index: what an ordinal stands for where there is no store.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SourceEntry {
    /// Name of the file the rows came from.
    pub name: String,
    /// Row of that file with which this run of rows begins.
    pub first_row: u64,
    /// Its ordinal here; the others follow.
    pub first_ordinal: u64,
    /// Rows of the run, those without a vector included.
    pub rows: u64,
    /// Checksum of the codes they became, in hexadecimal: tells the same rows from others of the same name.
    pub content: String,
    /// File with their exact vectors, if they were kept.
    #[serde(default)]
    pub vectors: Option<String>,
}

/// The durable index.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this layout.
    pub format: u32,
    /// Counts the manifests of this folder; names new files.
    pub generation: u64,
    /// Dimension of the vectors.
    pub dimension: usize,
    /// Metric.
    pub metric: Metric,
    /// The model's id; `None` for exact search.
    pub model: Option<String>,
    /// Sealed segments, oldest first.
    pub segments: Vec<SegmentEntry>,
    /// File with the ordinals ever added and those deleted; `None` while there are none.
    pub ordinals: Option<String>,
    /// How many of the deleted ones are no longer in any segment.
    pub purged: u64,
    /// Last entry of the store's index log that the segments and ordinals contain.
    pub applied: Option<u64>,
    /// Where the vectors came from, for an index that was filled from files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceEntry>,
}

impl Manifest {
    /// Of an index without vectors.
    pub fn empty(dimension: usize, metric: Metric) -> Self {
        Self {
            format: FORMAT,
            generation: 0,
            dimension,
            metric,
            model: None,
            segments: Vec::new(),
            ordinals: None,
            purged: 0,
            applied: None,
            sources: Vec::new(),
        }
    }

    /// Whether nothing was ever put into the index: no vector, no model.
    pub fn is_untouched(&self) -> bool {
        self.model.is_none()
            && self.segments.is_empty()
            && self.ordinals.is_none()
            && self.applied.is_none()
            && self.sources.is_empty()
    }

    /// Reads the folder's manifest; `None` if the folder holds no index.
    pub fn read(folder: &Path) -> Result<Option<Self>, IndexError> {
        let path = folder.join(NAME);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return match list(folder)?.iter().find(|name| name.starts_with("segment-")) {
                    Some(name) => Err(IndexError::damaged(&path, format!("it is missing beside {name}"))),
                    None => Ok(None),
                };
            }
            Err(error) => return Err(IndexError::io("reading", &path)(error)),
        };
        let manifest: Self =
            serde_json::from_slice(&text).map_err(|error| IndexError::damaged(&path, error.to_string()))?;
        if manifest.format != FORMAT {
            let text = format!("it has format {}, this version reads {FORMAT}", manifest.format);
            return Err(IndexError::damaged(&path, text));
        }
        let names = manifest.segments.iter().map(|entry| &entry.file).chain(&manifest.ordinals);
        let names = names.chain(manifest.sources.iter().filter_map(|source| source.vectors.as_ref()));
        for name in names.chain(&manifest.model) {
            if name.contains(['/', '\\']) || name.starts_with('.') {
                return Err(IndexError::damaged(&path, format!("`{name}` is no file name of an index")));
            }
        }
        Ok(Some(manifest))
    }

    /// Replaces the folder's manifest durably.
    pub fn write(&self, folder: &Path) -> Result<(), IndexError> {
        let path = folder.join(NAME);
        let text =
            serde_json::to_vec_pretty(self).map_err(|error| IndexError::damaged(&path, error.to_string()))?;
        failpoint::pass("manifest.before");
        write_durably(&path, |writer| writer.write_all(&text).map_err(IndexError::io("writing", &path)))?;
        failpoint::pass("manifest.after");
        Ok(())
    }

    fn names(&self, file: &str) -> bool {
        let model =
            |id: &String| [format!("model-{id}.faiss"), format!("model-{id}.json")].iter().any(|n| n == file);
        self.segments.iter().any(|entry| entry.file == file)
            || self.ordinals.as_deref() == Some(file)
            || self.sources.iter().any(|source| source.vectors.as_deref() == Some(file))
            || self.model.as_ref().is_some_and(model)
    }

    /// Removes files of the index that this manifest does not name: remains of a crash. Only when nothing is being
    /// written, at opening.
    pub fn remove_remains(&self, folder: &Path) -> Result<(), IndexError> {
        for name in list(folder)? {
            let ours = ["segment-", "ordinals-", "vectors-", "model", "MANIFEST.tmp"]
                .iter()
                .any(|p| name.starts_with(p));
            if ours && !self.names(&name) {
                remove(folder, &name);
            }
        }
        Ok(())
    }

    /// Removes the files that `old` named and this manifest does not.
    pub fn remove_replaced(&self, old: &Self, folder: &Path) {
        let model = old.model.iter().flat_map(|id| [format!("model-{id}.faiss"), format!("model-{id}.json")]);
        let files =
            old.segments.iter().map(|entry| entry.file.clone()).chain(old.ordinals.clone()).chain(model);
        let files = files.chain(old.sources.iter().filter_map(|source| source.vectors.clone()));
        for name in files.filter(|name| !self.names(name)) {
            remove(folder, &name);
        }
    }
}

/// A file that cannot be removed costs space but no correctness: the next opening tries again.
fn remove(folder: &Path, name: &str) {
    if let Err(error) = std::fs::remove_file(folder.join(name)) {
        tracing::warn!(name, %error, "a replaced file of the face index could not be removed");
    }
}

fn list(folder: &Path) -> Result<Vec<String>, IndexError> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(IndexError::io("listing", folder))? {
        let entry = entry.map_err(IndexError::io("listing", folder))?;
        names.extend(entry.file_name().into_string());
    }
    Ok(names)
}

/// Takes the folder for this process until the file is dropped.
pub fn lock(folder: &Path) -> Result<File, IndexError> {
    let path = folder.join(LOCK);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(IndexError::io("opening", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(IndexError::Locked(folder.to_owned())),
        Err(TryLockError::Error(error)) => Err(IndexError::io("locking", &path)(error)),
    }
}

const ORDINALS_MAGIC: &[u8; 8] = b"FACEORD1";

/// Writes the ordinals ever added and those deleted: magic, checksum of the rest, length of the first set, both sets.
pub fn write_ordinals(path: &Path, known: &OrdinalSet, gone: &OrdinalSet) -> Result<(), IndexError> {
    let known = known.to_bytes();
    let mut rest = (known.len() as u64).to_le_bytes().to_vec();
    rest.extend(known);
    rest.extend(gone.to_bytes());
    let mut checksum = Checksum::default();
    checksum.update(&rest);
    write_durably(path, |writer| {
        let parts = [ORDINALS_MAGIC.as_slice(), &checksum.finish().to_le_bytes(), &rest];
        parts.iter().try_for_each(|part| writer.write_all(part)).map_err(IndexError::io("writing", path))
    })
}

/// Reads what [`write_ordinals`] wrote.
pub fn read_ordinals(path: &Path) -> Result<(OrdinalSet, OrdinalSet), IndexError> {
    let bytes = std::fs::read(path).map_err(IndexError::io("reading", path))?;
    let parsed = (|| {
        let rest = bytes.strip_prefix(ORDINALS_MAGIC)?;
        let (wanted, rest) = rest.split_first_chunk::<8>()?;
        let mut checksum = Checksum::default();
        checksum.update(rest);
        if checksum.finish() != u64::from_le_bytes(*wanted) {
            return None;
        }
        let (length, rest) = rest.split_first_chunk::<8>()?;
        let (known, gone) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        Some((OrdinalSet::from_bytes(known)?, OrdinalSet::from_bytes(gone)?))
    })();
    parsed.ok_or_else(|| IndexError::damaged(path, "it is cut off or damaged"))
}
