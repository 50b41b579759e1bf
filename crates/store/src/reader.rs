//! The state as of one commit, for everybody who only reads.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use fjall::{Keyspace, Readable, Snapshot};
use half::f16;
use half::slice::HalfFloatSliceExt;
use records::{
    AccountId, Checkpoint, FaceKey, FaceOrdinal, PackId, PhotoFacts, PhotoId, PhotoKey, Timestamp,
};

use crate::account::{AccountRow, OwnershipRow};
use crate::codec::{Malformed, Row};
use crate::engine::Keyspaces;
use crate::rows::{DeadRow, Meta, NumberedFace, PhotoRow};
use crate::{Account, Counts, LogEntry, Ownership, StoreError, StoredDeadLetter, StoredFace, Tally, keys};

/// Original bytes of dead letters that are held in memory at once, about.
const LETTERS_BYTES: usize = 16 << 20;

/// A picture in the state.
#[derive(Clone, PartialEq, Debug)]
pub struct StoredPhoto {
    /// What is known of the picture itself.
    pub facts: PhotoFacts,
    /// Whether the picture itself was examined; otherwise its faces came already embedded and more of them may come.
    pub complete: bool,
    /// How many pairs of account and photo id show it now; 0 for an orphan.
    pub owners: u64,
    /// For an orphan, the commit in which its last owner went.
    pub orphaned_at_commit: Option<u64>,
}

/// The state as of one commit. Clones are cheap and see the same.
#[derive(Clone)]
pub struct Reader {
    path: Arc<PathBuf>,
    pub(crate) snapshot: Snapshot,
    pub(crate) keyspaces: Arc<Keyspaces>,
    pub(crate) meta: Arc<Meta>,
    pub(crate) checkpoint: Arc<Checkpoint>,
    /// Shared by clones, so that the engine knows while one of them lives.
    pub(crate) alive: Arc<()>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reader({}, commit {})", self.path.display(), self.meta.commit)
    }
}

impl Reader {
    pub(crate) fn new(
        path: &Path,
        snapshot: Snapshot,
        keyspaces: Keyspaces,
        meta: Meta,
        checkpoint: impl Into<Arc<Checkpoint>>,
    ) -> Self {
        Self {
            path: Arc::new(path.to_owned()),
            snapshot,
            keyspaces: Arc::new(keyspaces),
            meta: Arc::new(meta),
            checkpoint: checkpoint.into(),
            alive: Arc::default(),
        }
    }

    /// The number of the commit this is the state of; the first is 1.
    pub fn commit(&self) -> u64 {
        self.meta.commit
    }

    /// How far each partition was processed.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// How much there is.
    pub fn counts(&self) -> Counts {
        self.meta.counts
    }

    /// What became of every event ever read.
    pub fn tally(&self) -> Tally {
        self.meta.tally
    }

    /// Dead letters kept, by reason.
    pub fn dead_letters_by_reason(&self) -> &std::collections::BTreeMap<String, u64> {
        &self.meta.dead_by_reason
    }

    /// The model pack of all faces, once there was a picture.
    pub fn pack(&self) -> Option<&PackId> {
        self.meta.pack.as_ref()
    }

    /// The dimension of all vectors, once there was a face.
    pub fn dimension(&self) -> Option<u32> {
        self.meta.dimension
    }

    /// The greatest `observed_at` of all events seen: the "now" of every score.
    pub fn greatest_observed_at(&self) -> Option<Timestamp> {
        self.meta.greatest_observed_at
    }

    /// The ordinal that the next face will get.
    pub fn next_ordinal(&self) -> FaceOrdinal {
        FaceOrdinal(self.meta.next_ordinal)
    }

    /// The sequence number of the oldest log entry kept, and the one that the next entry will get.
    pub fn log_range(&self) -> std::ops::Range<u64> {
        self.meta.log_start..self.meta.log_end
    }

    /// Whether this picture was examined already, so that it need not be decoded and embedded again. Pictures of which
    /// only given faces are known answer no: the picture itself says more. Orphans that are not yet swept answer yes.
    ///
    /// # Errors
    /// [`StoreError::Engine`] or [`StoreError::Malformed`], as for all reading methods.
    pub fn knows_photo(&self, photo: &PhotoKey) -> Result<bool, StoreError> {
        Ok(self.photo_row(photo)?.is_some_and(|row| row.complete))
    }

    /// The account, deleted ones included; `None` if no event named it.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn account(&self, account: &AccountId) -> Result<Option<Account>, StoreError> {
        self.account_row(account)?.map(|row| row.into_account().map_err(malformed::<AccountRow>)).transpose()
    }

    /// The photos that the account shows now, by photo id.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn photos_of(&self, account: &AccountId) -> Result<Vec<Ownership>, StoreError> {
        let rows = self.scan_prefix(&self.keyspaces.ownerships, &keys::account_prefix(account));
        current_ownerships(rows).collect()
    }

    /// The accounts that show the picture now, with their names for it, by account. May be long: some pictures have
    /// thousands of owners.
    pub fn owners_of(
        &self,
        photo: &PhotoKey,
    ) -> impl Iterator<Item = Result<(AccountId, PhotoId), StoreError>> + Send + use<> {
        self.scan_prefix(&self.keyspaces.owners, photo.as_bytes()).map(|row| {
            let (_, account, photo_id) = keys::parse_owner(&row?.0)?;
            Ok((account, photo_id))
        })
    }

    /// The picture.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn photo(&self, photo: &PhotoKey) -> Result<Option<StoredPhoto>, StoreError> {
        self.photo_row(photo)?.map(|row| stored_photo(row, self.pack())).transpose()
    }

    /// The small JPEG of the picture, if it was kept.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn thumbnail(&self, photo: &PhotoKey) -> Result<Option<Bytes>, StoreError> {
        let value = self.get(&self.keyspaces.thumbnails, photo.as_bytes())?;
        Ok(value.map(|jpeg| Bytes::copy_from_slice(&jpeg)))
    }

    /// The faces of the picture, by key.
    pub fn faces_of(
        &self,
        photo: PhotoKey,
    ) -> impl Iterator<Item = Result<(FaceKey, StoredFace), StoreError>> + Send + use<> {
        self.scan_prefix(&self.keyspaces.faces, photo.as_bytes()).map(parse_face)
    }

    /// The face.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn face(&self, face: FaceKey) -> Result<Option<StoredFace>, StoreError> {
        self.get(&self.keyspaces.faces, face.to_bytes())?.map(|row| StoredFace::from_bytes(&row)).transpose()
    }

    /// The face with this number; `None` if there is none or it was removed.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn face_at(&self, ordinal: FaceOrdinal) -> Result<Option<FaceKey>, StoreError> {
        Ok(self.numbered(ordinal)?.map(|face| face.key))
    }

    /// What a link needs to know of the face with this number; `None` if there is none or it was removed.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn numbered(&self, ordinal: FaceOrdinal) -> Result<Option<NumberedFace>, StoreError> {
        let value = self.get(&self.keyspaces.ordinals, ordinal.0.to_be_bytes())?;
        value.map(|row| NumberedFace::from_bytes(&row)).transpose()
    }

    /// The vector of the face with this number, as f32 read from fp16; of length 1 within fp16's rounding.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn vector_of(&self, ordinal: FaceOrdinal) -> Result<Option<Vec<f32>>, StoreError> {
        let mut vector = vec![0.0; self.dimension().unwrap_or(0) as usize];
        Ok(self.read_vector(ordinal, &mut vector)?.then_some(vector))
    }

    /// The same, written to `out`, which has the state's dimension; false, and `out` as it was, if there is none.
    ///
    /// # Errors
    /// If the store cannot be read, or the state has another dimension.
    pub fn read_vector(&self, ordinal: FaceOrdinal, out: &mut [f32]) -> Result<bool, StoreError> {
        let Some(bytes) = self.get(&self.keyspaces.vectors, ordinal.0.to_be_bytes())? else {
            return Ok(false);
        };
        let (values, rest) = bytes.as_chunks::<2>();
        if !rest.is_empty() || values.len() != out.len() {
            let what = "it has another dimension than the state";
            return Err(StoreError::Malformed { keyspace: "vectors", what });
        }
        // In pieces, so that nothing has to be allocated: this is done by the million.
        let mut halves = [f16::ZERO; 64];
        for (out, values) in out.chunks_mut(64).zip(values.chunks(64)) {
            let halves = &mut halves[..values.len()];
            halves.iter_mut().zip(values).for_each(|(half, value)| *half = f16::from_le_bytes(*value));
            halves.convert_to_f32_slice(out);
        }
        Ok(true)
    }

    /// The vector of the face.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn vector(&self, face: FaceKey) -> Result<Option<Vec<f32>>, StoreError> {
        self.face(face)?.map_or(Ok(None), |face| self.vector_of(face.ordinal))
    }

    /// The vectors of many faces, in the order asked; `None` for those that are not there.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn vectors(&self, ordinals: &[FaceOrdinal]) -> Result<Vec<Option<Vec<f32>>>, StoreError> {
        ordinals.iter().map(|ordinal| self.vector_of(*ordinal)).collect()
    }

    /// All accounts by id, deleted ones included.
    pub fn accounts(&self) -> impl Iterator<Item = Result<(AccountId, Account), StoreError>> + Send + use<> {
        self.scan(&self.keyspaces.accounts).map(|row| {
            let (key, value) = row?;
            let id = std::str::from_utf8(&key).ok().and_then(|id| AccountId::new(id).ok());
            let id = id.ok_or(StoreError::Malformed { keyspace: "accounts", what: "its key is no id" })?;
            let account = AccountRow::from_bytes(&value)?.into_account().map_err(malformed::<AccountRow>)?;
            Ok((id, account))
        })
    }

    /// All photos that accounts show now, by account and photo id.
    pub fn ownerships(&self) -> impl Iterator<Item = Result<Ownership, StoreError>> + Send + use<> {
        current_ownerships(self.scan(&self.keyspaces.ownerships))
    }

    /// All pictures by key, orphans included.
    pub fn photos(&self) -> impl Iterator<Item = Result<(PhotoKey, StoredPhoto), StoreError>> + Send + use<> {
        let pack = self.pack().cloned();
        self.scan(&self.keyspaces.photos).map(move |row| {
            let (key, value) = row?;
            let photo = stored_photo(PhotoRow::from_bytes(&value)?, pack.as_ref())?;
            Ok((keys::parse_photo(&key, "photos")?, photo))
        })
    }

    /// All faces by key, those of orphans included.
    pub fn faces(&self) -> impl Iterator<Item = Result<(FaceKey, StoredFace), StoreError>> + Send + use<> {
        self.scan(&self.keyspaces.faces).map(parse_face)
    }

    /// All faces from this ordinal on, by ordinal: what an index is rebuilt from.
    pub fn faces_from(
        &self,
        ordinal: FaceOrdinal,
    ) -> impl Iterator<Item = Result<(FaceOrdinal, FaceKey), StoreError>> + Send + use<> {
        self.scan_from(&self.keyspaces.ordinals, &ordinal.0.to_be_bytes()).map(|row| {
            let (key, value) = row?;
            let ordinal = FaceOrdinal(keys::parse_number(&key, "ordinals")?);
            Ok((ordinal, NumberedFace::from_bytes(&value)?.key))
        })
    }

    /// What the index has to do from this sequence number on, in order. It goes on at the last number plus one.
    ///
    /// # Errors
    /// [`StoreError::LogTrimmed`] if entries from there on are gone, [`StoreError::LogAhead`] if the log does not reach
    /// that far: the store has then lost commits that the index has seen.
    pub fn log_since(
        &self,
        sequence: u64,
    ) -> Result<impl Iterator<Item = Result<(u64, LogEntry), StoreError>> + Send + use<>, StoreError> {
        let range = self.log_range();
        if sequence < range.start {
            return Err(StoreError::LogTrimmed { asked: sequence, first: range.start });
        }
        if sequence > range.end {
            return Err(StoreError::LogAhead { asked: sequence, end: range.end });
        }
        Ok(self.scan_from(&self.keyspaces.log, &sequence.to_be_bytes()).map(|row| {
            let (key, value) = row?;
            Ok((keys::parse_number(&key, "log")?, LogEntry::from_bytes(&value)?))
        }))
    }

    /// All dead letters from this sequence number on, in order.
    pub fn dead_letters(
        &self,
        from: u64,
    ) -> impl Iterator<Item = Result<StoredDeadLetter, StoreError>> + Send + use<> {
        self.scan_from(&self.keyspaces.dead, &from.to_be_bytes()).map(|row| {
            let (key, value) = row?;
            let DeadRow { published, letter } = DeadRow::from_bytes(&value)?;
            Ok(StoredDeadLetter { sequence: keys::parse_number(&key, "dead_letters")?, published, letter })
        })
    }

    /// At most so many of the dead letters that were not yet published, oldest first; fewer if they are large.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn unpublished_dead_letters(&self, at_most: usize) -> Result<Vec<StoredDeadLetter>, StoreError> {
        let mut letters = Vec::new();
        let mut bytes = 0;
        for row in self.scan(&self.keyspaces.unpublished).take(at_most) {
            let letter = self.dead_letter(keys::parse_number(&row?.0, "unpublished")?)?;
            bytes += letter.as_ref().map_or(0, |letter| letter.letter.origin.payload.len());
            letters.extend(letter);
            if bytes >= LETTERS_BYTES {
                break;
            }
        }
        Ok(letters)
    }

    /// The dead letter with this number.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn dead_letter(&self, sequence: u64) -> Result<Option<StoredDeadLetter>, StoreError> {
        let Some(row) = self.get(&self.keyspaces.dead, sequence.to_be_bytes())? else { return Ok(None) };
        let DeadRow { published, letter } = DeadRow::from_bytes(&row)?;
        Ok(Some(StoredDeadLetter { sequence, published, letter }))
    }

    pub(crate) fn account_row(&self, account: &AccountId) -> Result<Option<AccountRow>, StoreError> {
        let row = self.get(&self.keyspaces.accounts, account.as_str())?;
        row.map(|row| AccountRow::from_bytes(&row)).transpose()
    }

    pub(crate) fn photo_row(&self, photo: &PhotoKey) -> Result<Option<PhotoRow>, StoreError> {
        let row = self.get(&self.keyspaces.photos, photo.as_bytes())?;
        row.map(|row| PhotoRow::from_bytes(&row)).transpose()
    }

    pub(crate) fn get(
        &self,
        keyspace: &Keyspace,
        key: impl AsRef<[u8]>,
    ) -> Result<Option<fjall::Slice>, StoreError> {
        self.snapshot.get(keyspace, key).map_err(|source| StoreError::engine(&self.path, source))
    }

    /// All rows, without the stamp.
    pub(crate) fn scan(&self, keyspace: &Keyspace) -> impl Iterator<Item = RawRow> + Send + use<> {
        self.rows(self.snapshot.iter(keyspace))
    }

    pub(crate) fn scan_prefix(
        &self,
        keyspace: &Keyspace,
        prefix: &[u8],
    ) -> impl Iterator<Item = RawRow> + Send + use<> {
        self.rows(self.snapshot.prefix(keyspace, prefix))
    }

    fn scan_from(&self, keyspace: &Keyspace, key: &[u8]) -> impl Iterator<Item = RawRow> + Send + use<> {
        self.rows(self.snapshot.range(keyspace, key..))
    }

    pub(crate) fn rows<R: Iterator<Item = fjall::Guard> + Send>(
        &self,
        rows: R,
    ) -> impl Iterator<Item = RawRow> + Send + use<R> {
        let path = self.path.clone();
        rows.map(move |row| row.into_inner().map_err(|source| StoreError::engine(&path, source)))
            .filter(|row| !matches!(row, Ok((key, _)) if **key == keys::STAMP))
    }
}

pub(crate) type RawRow = Result<(fjall::Slice, fjall::Slice), StoreError>;

fn malformed<R: Row>(Malformed(what): Malformed) -> StoreError {
    StoreError::Malformed { keyspace: R::KEYSPACE, what }
}

fn stored_photo(row: PhotoRow, pack: Option<&PackId>) -> Result<StoredPhoto, StoreError> {
    let missing = StoreError::Malformed { keyspace: "photos", what: "the state names no model pack" };
    let PhotoRow { size, hashed, pdq, pdq_mirrored, complete, owners, orphaned_at } = row;
    let pack = pack.cloned().ok_or(missing)?;
    let facts = PhotoFacts { size, hashed, pdq, pdq_mirrored, pack };
    Ok(StoredPhoto { facts, complete, owners, orphaned_at_commit: orphaned_at })
}

fn parse_face(row: RawRow) -> Result<(FaceKey, StoredFace), StoreError> {
    let (key, value) = row?;
    Ok((keys::parse_face(&key, "faces")?, StoredFace::from_bytes(&value)?))
}

fn current_ownerships(
    rows: impl Iterator<Item = RawRow> + Send,
) -> impl Iterator<Item = Result<Ownership, StoreError>> + Send {
    rows.filter_map(|row| {
        let parse = || {
            let (key, value) = row?;
            let row = OwnershipRow::from_bytes(&value)?;
            if row.current.is_none() {
                return Ok(None);
            }
            row.into_ownership(keys::parse_ownership(&key)?).map(Some)
        };
        parse().transpose()
    })
}
