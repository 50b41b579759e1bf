//! The embedded key-value store: its keyspaces, opening it, and the snapshot that readers get.
//!
//! Invariant: `Database::snapshot` is called by the committer only, between two commits. A snapshot opened while a batch
//! is being committed can show half of it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use fjall::config::CompressionPolicy;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, Readable, Snapshot};
use records::{Checkpoint, PartitionId, Position};

use crate::codec::Row;
use crate::commit::Committer;
use crate::rows::{Meta, SCHEMA};
use crate::writes::Writes;
use crate::{Reader, StoreConfig, StoreError, check, keys};

/// The rows, by what they are.
#[derive(Clone)]
pub(crate) struct Keyspaces {
    /// One row: [`Meta`].
    pub meta: Keyspace,
    /// Partition -> next position.
    pub checkpoint: Keyspace,
    /// Account -> `AccountRow`.
    pub accounts: Keyspace,
    /// Account, photo id, photo -> `OwnershipRow`.
    pub ownerships: Keyspace,
    /// Photo, account, photo id -> nothing; only what is shown now.
    pub owners: Keyspace,
    /// Photo -> `PhotoRow`.
    pub photos: Keyspace,
    /// Photo -> JPEG.
    pub thumbnails: Keyspace,
    /// Commit, photo -> nothing.
    pub orphans: Keyspace,
    /// Face -> `StoredFace`.
    pub faces: Keyspace,
    /// Ordinal -> fp16, little-endian.
    pub vectors: Keyspace,
    /// Ordinal -> `NumberedFace`.
    pub ordinals: Keyspace,
    /// Newer face -> `LinkList`.
    pub links: Keyspace,
    /// Older face, first newer face -> `BackList`.
    pub links_back: Keyspace,
    /// Sequence -> `LogEntry`.
    pub log: Keyspace,
    /// Sequence -> `DeadRow`.
    pub dead: Keyspace,
    /// Sequence -> nothing; dead letters not yet published.
    pub unpublished: Keyspace,
    /// Number -> `DecisionRow`.
    pub decisions: Keyspace,
    /// Holds nothing; written through when the journal has to turn over (see `compact`).
    pub filler: Keyspace,
}

/// Parts into which the memory for rows is divided; `open` gives away all but a few.
const SHARES: u64 = 48;

impl Keyspaces {
    /// `buffer` bytes of rows may wait in memory until they are folded into tables. Each kind of row has its share of
    /// them: about as much as it takes in a batch, so that none is folded much more often than the others.
    fn open(db: &Database, buffer: u64) -> fjall::Result<Self> {
        let share = |parts: u64| {
            let bytes = buffer / SHARES * parts;
            move || KeyspaceCreateOptions::default().max_memtable_size(bytes)
        };
        // Vectors are not separated from their keys: blobs are only rewritten when a third of a file is stale, so that a
        // forgotten face would stay on disk. Ordinals count up, so tables of vectors do not overlap and are moved down
        // the levels without being rewritten, which is what the separation would be for.
        let vectors = || {
            share(8)()
                .data_block_compression_policy(CompressionPolicy::disabled())
                .expect_point_read_hits(true)
        };
        Ok(Self {
            meta: db.keyspace("meta", share(1))?,
            checkpoint: db.keyspace("checkpoint", share(1))?,
            accounts: db.keyspace("accounts", share(2))?,
            ownerships: db.keyspace("ownerships", share(4))?,
            owners: db.keyspace("owners", share(4))?,
            photos: db.keyspace("photos", share(4))?,
            thumbnails: db.keyspace("thumbnails", share(2))?,
            orphans: db.keyspace("orphans", share(1))?,
            faces: db.keyspace("faces", share(4))?,
            vectors: db.keyspace("vectors", vectors)?,
            ordinals: db.keyspace("ordinals", || share(2)().expect_point_read_hits(true))?,
            links: db.keyspace("links", share(4))?,
            links_back: db.keyspace("links_back", share(4))?,
            log: db.keyspace("log", share(1))?,
            dead: db.keyspace("dead_letters", share(2))?,
            unpublished: db.keyspace("unpublished", share(1))?,
            decisions: db.keyspace("decisions", share(1))?,
            filler: db.keyspace("filler", KeyspaceCreateOptions::default)?,
        })
    }

    /// All that hold rows.
    pub fn all(&self) -> [(&'static str, &Keyspace); 17] {
        [
            ("meta", &self.meta),
            ("checkpoint", &self.checkpoint),
            ("accounts", &self.accounts),
            ("ownerships", &self.ownerships),
            ("owners", &self.owners),
            ("photos", &self.photos),
            ("thumbnails", &self.thumbnails),
            ("orphans", &self.orphans),
            ("faces", &self.faces),
            ("vectors", &self.vectors),
            ("ordinals", &self.ordinals),
            ("links", &self.links),
            ("links_back", &self.links_back),
            ("log", &self.log),
            ("dead_letters", &self.dead),
            ("unpublished", &self.unpublished),
            ("decisions", &self.decisions),
        ]
    }
}

/// The key of the state's own row.
pub(crate) const META_KEY: &[u8] = b"state";

pub(crate) struct Engine {
    pub path: PathBuf,
    pub db: Database,
    pub keyspaces: Keyspaces,
    published: RwLock<Reader>,
    /// Of readers published before, those that somebody may still hold.
    older: Mutex<Vec<Weak<()>>>,
    pub committer_taken: AtomicBool,
}

/// The state folder, open. Clones share it; it closes when the last clone, reader and committer are gone.
#[derive(Clone)]
pub struct Store(pub(crate) Arc<Engine>);

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.0.path.display())
    }
}

impl Store {
    /// Opens the state folder, makes it where there is none, and checks that its parts fit together.
    ///
    /// # Errors
    /// [`StoreError::InUse`] if another process has it, [`StoreError::Folder`] if it cannot be used,
    /// [`StoreError::Damaged`] if the parts do not fit, [`StoreError::Schema`] if another version wrote it.
    pub fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        if let Some((key, problem)) = config.problems().into_iter().next() {
            return Err(StoreError::Config { key, problem });
        }
        let path = &config.path;
        std::fs::create_dir_all(path).map_err(|source| StoreError::engine(path, fjall::Error::Io(source)))?;
        let fail = |source| StoreError::engine(path, source);
        let db = Database::builder(path.join("store"))
            .cache_size(config.cache_mib << 20)
            .max_journaling_size(config.journal_mib << 20)
            .worker_threads(config.workers)
            .max_cached_files(Some(config.open_files))
            .open()
            .map_err(fail)?;
        let keyspaces = Keyspaces::open(&db, config.buffer_mib << 20).map_err(fail)?;
        // Nothing is being committed yet, so this snapshot is whole.
        let first = load(path, &db, &keyspaces)?;
        let fresh = first.is_none();
        let reader = match first {
            Some(reader) => reader,
            None => Reader::new(
                path,
                db.snapshot(),
                keyspaces.clone(),
                Meta { schema: SCHEMA, ..Meta::default() },
                Checkpoint::default(),
            ),
        };
        let engine = Arc::new(Engine {
            path: path.clone(),
            db,
            keyspaces,
            published: RwLock::new(reader),
            older: Mutex::default(),
            committer_taken: AtomicBool::new(false),
        });
        if fresh {
            Writes::new(&engine).commit()?;
        }
        let counts = engine.reader().counts();
        tracing::info!(path = %path.display(), commit = engine.reader().commit(), ?counts, "state opened");
        Ok(Self(engine))
    }

    /// The state as of the last commit. Cheap; does not change when further commits come. Holding one for long keeps
    /// what it can see from being removed from disk.
    pub fn reader(&self) -> Reader {
        self.0.reader()
    }

    /// The one that writes.
    ///
    /// # Errors
    /// [`StoreError::CommitterTaken`] while another one lives.
    pub fn committer(&self) -> Result<Committer, StoreError> {
        if self.0.committer_taken.swap(true, Ordering::AcqRel) {
            return Err(StoreError::CommitterTaken);
        }
        Ok(Committer::new(self.0.clone()))
    }

    /// The state folder.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Bytes on disk, journals included.
    ///
    /// # Errors
    /// [`StoreError::Engine`] if they cannot be counted.
    pub fn disk_space(&self) -> Result<u64, StoreError> {
        self.0.db.disk_space().map_err(|source| StoreError::engine(&self.0.path, source))
    }
}

impl Engine {
    pub fn reader(&self) -> Reader {
        self.published.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Opens a snapshot and publishes it. Only between commits.
    pub fn publish(&self, meta: Meta, checkpoint: Arc<Checkpoint>) {
        let next = Reader::new(&self.path, self.db.snapshot(), self.keyspaces.clone(), meta, checkpoint);
        let before =
            std::mem::replace(&mut *self.published.write().unwrap_or_else(PoisonError::into_inner), next);
        let mut older = self.older.lock().unwrap_or_else(PoisonError::into_inner);
        older.retain(|reader| reader.strong_count() > 0);
        older.push(Arc::downgrade(&before.alive));
    }

    /// Whether somebody still reads the state as it was before the last commit.
    pub fn has_older_readers(&self) -> bool {
        let older = self.older.lock().unwrap_or_else(PoisonError::into_inner);
        older.iter().any(|reader| reader.strong_count() > 0)
    }

    pub fn fail(&self, source: fjall::Error) -> StoreError {
        StoreError::engine(&self.path, source)
    }
}

/// Reads the state's own row and the checkpoint, and checks them; `None` if the folder is new.
fn load(path: &Path, db: &Database, keyspaces: &Keyspaces) -> Result<Option<Reader>, StoreError> {
    let fail = |source| StoreError::engine(path, source);
    let snapshot: Snapshot = db.snapshot();
    let Some(meta) = snapshot.get(&keyspaces.meta, META_KEY).map_err(fail)? else {
        check::is_empty(path, &snapshot, keyspaces)?;
        return Ok(None);
    };
    let meta = Meta::from_bytes(&meta)?;
    if meta.schema != SCHEMA {
        return Err(StoreError::Schema { path: path.to_owned(), found: meta.schema, known: SCHEMA });
    }
    let mut checkpoint = Checkpoint::default();
    for guard in snapshot.iter(&keyspaces.checkpoint) {
        let (key, value) = guard.into_inner().map_err(fail)?;
        if *key == keys::STAMP {
            continue;
        }
        let malformed = StoreError::Malformed { keyspace: "checkpoint", what: "its key is not UTF-8" };
        let partition = std::str::from_utf8(&key).map_err(|_| malformed)?;
        let position = keys::parse_number(&value, "checkpoint")?;
        checkpoint.restore(PartitionId::from_stored(partition), Position(position));
    }
    let reader = Reader::new(path, snapshot, keyspaces.clone(), meta, checkpoint);
    check::fits_together(path, &reader)?;
    Ok(Some(reader))
}
