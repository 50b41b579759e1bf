//! Files in an object store, read in blocks as they are needed.
//!
//! Invariants:
//! - Of each file at most [`KEPT`] blocks are in memory, whatever the size of its row groups.
//! - What the store refuses is remembered, so that a lost connection is not reported as a damaged file.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, ObjectStoreScheme, parse_url_opts};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};
use tokio::runtime::Handle;
use url::Url;

use super::files::{Place, SourceFile, matches};
use crate::Properties;

/// Bytes asked for at once.
const BLOCK: u64 = 2 << 20;
/// Blocks kept: each column is read at a place of its own, and there are at most two dozen of them.
const KEPT: usize = 32;
/// Variables of the environment that the object stores know.
const KNOWN_VARIABLES: [&str; 3] = ["AWS_", "GOOGLE_", "AZURE_"];

/// A file in an object store.
#[derive(Clone)]
pub(super) struct RemoteFile {
    store: Arc<dyn ObjectStore>,
    location: Path,
    size: u64,
    runtime: Handle,
    /// Newest last: number of the block and its bytes.
    kept: Arc<Mutex<VecDeque<(u64, Bytes)>>>,
    /// What the store last refused.
    pub(super) trouble: Arc<OnceLock<String>>,
}

impl std::fmt::Debug for RemoteFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RemoteFile({})", self.location)
    }
}

/// Finds the objects that a URL means; what stands before the first wildcard must be a prefix.
///
/// # Errors
/// A sentence: no such object, no access, not a URL of an object store.
pub(super) fn find(text: &str, settings: &Properties) -> std::result::Result<Vec<SourceFile>, String> {
    let runtime = Handle::try_current().map_err(|e| e.to_string())?;
    let (base, pattern) = split(text);
    let url = Url::parse(&base).map_err(|e| format!("{base} is no URL ({e})"))?;
    let (scheme, _) = ObjectStoreScheme::parse(&url).map_err(|e| e.to_string())?;
    if matches!(scheme, ObjectStoreScheme::Http | ObjectStoreScheme::Memory) {
        return Err("only s3://, gs://, az://, abfss:// and file:// name an object store".into());
    }
    let environment =
        std::env::vars().filter(|(name, _)| KNOWN_VARIABLES.iter().any(|k| name.starts_with(k)));
    let given = settings.0.iter().map(|(key, value)| (key.clone(), value.clone()));
    let (store, prefix) = parse_url_opts(&url, environment.chain(given)).map_err(|e| e.to_string())?;
    let store: Arc<dyn ObjectStore> = store.into();
    let place = |location: &Path, size| {
        Place::Remote(RemoteFile {
            store: Arc::clone(&store),
            location: location.clone(),
            size,
            runtime: runtime.clone(),
            kept: Arc::default(),
            trouble: Arc::default(),
        })
    };
    if pattern.is_empty()
        && prefix.as_ref().ends_with(".parquet")
        && let Ok(meta) = runtime.block_on(store.head(&prefix))
    {
        let name = prefix.filename().unwrap_or_default().to_owned();
        return Ok(vec![SourceFile { name, place: place(&meta.location, meta.size) }]);
    }
    let listed = runtime.block_on(store.list(Some(&prefix)).try_collect::<Vec<_>>());
    let pattern: Vec<&str> = pattern.iter().map(String::as_str).collect();
    let mut files = Vec::new();
    for meta in listed.map_err(|e| e.to_string())? {
        let Some(parts) = meta.location.prefix_match(&prefix) else { continue };
        let parts: Vec<String> = parts.map(|part| part.as_ref().to_owned()).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let hidden = parts.iter().any(|part| part.starts_with(['.', '_']));
        let wanted = if pattern.is_empty() {
            parts.last().is_some_and(|name| name.ends_with(".parquet"))
        } else {
            matches(&pattern, &parts)
        };
        if wanted && !hidden {
            files.push(SourceFile { name: parts.join("/"), place: place(&meta.location, meta.size) });
        }
    }
    match files.is_empty() {
        false => Ok(files),
        true if pattern.is_empty() => Err("the prefix holds no object named *.parquet".into()),
        true => Err("no object fits the pattern".into()),
    }
}

/// The URL before the first part with a wildcard, and the parts from there on.
fn split(text: &str) -> (String, Vec<String>) {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let parts: Vec<&str> = rest.split('/').collect();
    let wild = parts.iter().position(|part| part.contains(['*', '?'])).unwrap_or(parts.len());
    let base = format!("{scheme}://{}", parts[..wild].join("/"));
    (base, parts[wild..].iter().map(|part| (*part).to_owned()).collect())
}

impl RemoteFile {
    /// One block, from memory or from the store.
    fn block(&self, number: u64) -> Result<Bytes> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = kept.iter().position(|(of, _)| *of == number)
            && let Some(found) = kept.remove(at)
        {
            kept.push_back(found.clone());
            return Ok(found.1);
        }
        let range = number * BLOCK..((number + 1) * BLOCK).min(self.size);
        let asked = self.runtime.block_on(self.store.get_range(&self.location, range.clone()));
        let bytes = asked.map_err(|error| {
            let _only_the_first_counts = self.trouble.set(error.to_string());
            ParquetError::General("the object store failed".into())
        })?;
        if bytes.len() as u64 != range.end - range.start {
            return Err(ParquetError::EOF("the object is shorter than it was when it was listed".into()));
        }
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back((number, bytes.clone()));
        Ok(bytes)
    }

    /// What is in the block of this place from there on.
    fn from(&self, at: u64) -> Result<Bytes> {
        let block = self.block(at / BLOCK)?;
        Ok(block.slice((at % BLOCK) as usize..))
    }
}

/// A file as the reader of Parquet wants it.
pub(super) enum Opened {
    Local(File),
    Remote(RemoteFile),
}

/// Reads on from a place.
pub(super) enum Onward {
    Local(<File as ChunkReader>::T),
    Remote { file: RemoteFile, at: u64 },
}

impl Read for Onward {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Local(reader) => reader.read(out),
            Self::Remote { file, at } if *at < file.size => {
                let bytes = file.from(*at).map_err(std::io::Error::other)?;
                let length = bytes.len().min(out.len());
                out[..length].copy_from_slice(&bytes[..length]);
                *at += length as u64;
                Ok(length)
            }
            Self::Remote { .. } => Ok(0),
        }
    }
}

impl Length for Opened {
    fn len(&self) -> u64 {
        match self {
            Self::Local(file) => Length::len(file),
            Self::Remote(file) => file.size,
        }
    }
}

impl ChunkReader for Opened {
    type T = Onward;

    fn get_read(&self, start: u64) -> Result<Onward> {
        match self {
            Self::Local(file) => file.get_read(start).map(Onward::Local),
            Self::Remote(file) => Ok(Onward::Remote { file: file.clone(), at: start }),
        }
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let file = match self {
            Self::Local(file) => return file.get_bytes(start, length),
            Self::Remote(file) => file,
        };
        let end = start.checked_add(length as u64).filter(|end| *end <= file.size);
        let end = end.ok_or_else(|| ParquetError::EOF("a column reaches beyond the object".into()))?;
        if length == 0 {
            return Ok(Bytes::new());
        }
        if start / BLOCK == (end - 1) / BLOCK {
            return Ok(file.from(start)?.slice(..length));
        }
        let mut bytes = BytesMut::with_capacity(length);
        while bytes.len() < length {
            let more = file.from(start + bytes.len() as u64)?;
            bytes.extend_from_slice(&more[..more.len().min(length - bytes.len())]);
        }
        Ok(bytes.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_cut_before_the_first_wildcard() {
        let cut = |text| {
            let (base, pattern) = split(text);
            (base, pattern.join("/"))
        };
        assert_eq!(cut("s3://b/x/y"), ("s3://b/x/y".into(), String::new()));
        assert_eq!(cut("s3://b/x/*/y?.parquet"), ("s3://b/x".into(), "*/y?.parquet".into()));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_store_is_read_in_blocks() {
        let folder = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..5 * BLOCK as usize / 2).map(|n| (n % 251) as u8).collect();
        for name in ["a.parquet", "x/b.parquet", "x/_draft/c.parquet", "x/d.csv"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, &content).unwrap();
        }
        let url = format!("file://{}", folder.path().display());
        let done = tokio::task::spawn_blocking(move || {
            let names = |text: &str| -> Vec<String> {
                let mut found: Vec<_> =
                    find(text, &Properties::default()).unwrap().into_iter().map(|f| f.name).collect();
                found.sort();
                found
            };
            assert_eq!(names(&url), ["a.parquet", "x/b.parquet"]);
            assert_eq!(names(&format!("{url}/*.parquet")), ["a.parquet"]);
            assert_eq!(names(&format!("{url}/**/?.csv")), ["x/d.csv"]);
            assert!(find(&format!("{url}/none"), &Properties::default()).is_err());
            assert!(find("http://host/x", &Properties::default()).is_err());
            let files = find(&format!("{url}/a.parquet"), &Properties::default()).unwrap();
            let opened = files[0].open().unwrap();
            assert_eq!(opened.len(), content.len() as u64);
            for (start, length) in
                [(0, 10), (BLOCK - 5, 10), (7, content.len() - 7), (content.len() as u64, 0)]
            {
                let expected = &content[start as usize..start as usize + length];
                assert_eq!(opened.get_bytes(start, length).unwrap(), expected);
                let mut read = vec![0; length];
                opened.get_read(start).unwrap().read_exact(&mut read).unwrap();
                assert_eq!(read, expected);
            }
            assert!(opened.get_bytes(content.len() as u64 - 1, 2).is_err());
        });
        done.await.unwrap();
    }
}
