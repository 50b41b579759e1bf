//! The embedded key-value store: its keyspaces, opening it, and the snapshot that readers get.
//!
//! Invariant: `Database::snapshot` is called by the committer only, between two commits. A snapshot opened while a batch
//! is being committed can show half of it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

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
    /// Ordinal -> face.
    pub ordinals: Keyspace,
    /// Smaller face, larger face -> `LinkRow`.
    pub links: Keyspace,
    /// Larger face, smaller face -> `LinkRow`.
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

impl Keyspaces {
    fn open(db: &Database) -> fjall::Result<Self> {
        let mib = |memtable: u64| move || KeyspaceCreateOptions::default().max_memtable_size(memtable << 20);
        // Vectors are not separated from their keys: blobs are only rewritten when a third of a file is stale, so that a
        // forgotten face would stay on disk. Ordinals count up, so tables of vectors do not overlap and are moved down
        // the levels without being rewritten, which is what the separation would be for.
        let vectors = || {
            mib(64)()
                .data_block_compression_policy(CompressionPolicy::disabled())
                .expect_point_read_hits(true)
        };
        Ok(Self {
            meta: db.keyspace("meta", mib(8))?,
            checkpoint: db.keyspace("checkpoint", mib(8))?,
            accounts: db.keyspace("accounts", mib(16))?,
            ownerships: db.keyspace("ownerships", mib(32))?,
            owners: db.keyspace("owners", mib(32))?,
            photos: db.keyspace("photos", mib(32))?,
            thumbnails: db.keyspace("thumbnails", mib(16))?,
            orphans: db.keyspace("orphans", mib(8))?,
            faces: db.keyspace("faces", mib(32))?,
            vectors: db.keyspace("vectors", vectors)?,
            ordinals: db.keyspace("ordinals", || mib(16)().expect_point_read_hits(true))?,
            links: db.keyspace("links", mib(32))?,
            links_back: db.keyspace("links_back", mib(32))?,
            log: db.keyspace("log", mib(8))?,
            dead: db.keyspace("dead_letters", mib(16))?,
            unpublished: db.keyspace("unpublished", mib(8))?,
            decisions: db.keyspace("decisions", mib(8))?,
            filler: db.keyspace("filler", mib(64))?,
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
        let keyspaces = Keyspaces::open(&db).map_err(fail)?;
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
        *self.published.write().unwrap_or_else(PoisonError::into_inner) = next;
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
