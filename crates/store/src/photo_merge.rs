//! What is known of a picture, put together from everything that says something of it.
//!
//! Invariants, each independent of the order of arrival:
//! - A picture that was examined itself (*complete*) is settled: its faces replace given ones, and later ones change
//!   nothing, since equal bytes give equal faces.
//! - Given faces are united. One that is given twice keeps the wider of its two descriptions.
//! - Where nobody knows the bytes, the picture belongs to one account, and its faces are those given by adding events
//!   that count for that account, that is, later than its base.
//!
//! Two inputs that contradict each other about one picture (equal bytes with other faces; rows of one photo id with and
//! without a hash) are settled by what the state holds when they come, and so by order.

use std::collections::BTreeMap;

use bytes::Bytes;
use records::{Embedding, Face, FaceKey, FaceOrdinal, Pdq, PhotoContent, PhotoKey, Timestamp};

use crate::StoredFace;
use crate::codec::Row;
use crate::rows::PhotoRow;

/// What one event says of a picture.
#[derive(Clone, Copy)]
pub(crate) struct Said<'a> {
    pub at: Timestamp,
    pub content: &'a PhotoContent,
}

/// A face as it is to be. Until the plan numbers it, a new one has no ordinal of its own.
#[derive(Clone)]
pub(crate) struct FaceDraft {
    pub before: Option<StoredFace>,
    pub after: StoredFace,
    /// Of a new face.
    pub embedding: Option<Embedding>,
}

/// A picture as it is to be. `row.owners` and `row.orphaned_at` are left to the plan.
#[derive(Clone)]
pub(crate) struct PhotoDraft {
    pub key: PhotoKey,
    pub before: Option<PhotoRow>,
    pub row: PhotoRow,
    /// Faces that are there afterwards, as far as they were looked at.
    pub faces: BTreeMap<FaceKey, FaceDraft>,
    pub removed: Vec<(FaceKey, FaceOrdinal)>,
    pub thumbnail: Option<Bytes>,
}

impl PhotoDraft {
    /// The picture as it is.
    pub fn new(key: PhotoKey, before: Option<PhotoRow>) -> Self {
        let row = before.clone().unwrap_or_default();
        Self { key, before, row, faces: BTreeMap::new(), removed: Vec::new(), thumbnail: None }
    }

    /// Takes in what is said. `faces` are the picture's faces so far; `floor` is the base of the account that owns a
    /// picture without known bytes.
    pub fn merge(&mut self, faces: Vec<(FaceKey, StoredFace)>, said: &[Said<'_>], floor: Option<i64>) {
        if self.row.complete {
            return;
        }
        let counts = |at: Timestamp| floor.is_none_or(|floor| at.as_micros() > floor);
        let said: Vec<_> = said.iter().filter(|s| s.content.facts.hashed || counts(s.at)).collect();
        self.thumbnail = said.iter().find_map(|s| s.content.thumbnail.clone());
        let mut known: BTreeMap<FaceKey, StoredFace> = faces.into_iter().collect();
        if let Some(whole) = said.iter().find(|s| !s.content.partial) {
            let facts = &whole.content.facts;
            self.row = PhotoRow {
                size: facts.size,
                hashed: facts.hashed || self.row.hashed,
                pdq: facts.pdq,
                pdq_mirrored: facts.pdq_mirrored,
                complete: true,
                ..self.row.clone()
            };
            for face in &whole.content.faces {
                let key = FaceKey::new(self.key, &face.embedding);
                self.faces.entry(key).or_insert_with(|| drafted(known.remove(&key), face, None));
            }
            self.removed = known.into_iter().map(|(key, face)| (key, face.ordinal)).collect();
            return;
        }
        for said in said {
            let facts = &said.content.facts;
            self.row.size = self.row.size.max(facts.size);
            self.row.hashed |= facts.hashed;
            self.row.pdq = clearer(self.row.pdq, facts.pdq);
            self.row.pdq_mirrored = clearer(self.row.pdq_mirrored, facts.pdq_mirrored);
            for face in &said.content.faces {
                let key = FaceKey::new(self.key, &face.embedding);
                let drafted = drafted(known.remove(&key), face, Some(said.at));
                self.faces
                    .entry(key)
                    .and_modify(|old| old.after = wider(&old.after, &drafted.after))
                    .or_insert(drafted);
            }
        }
        for (key, face) in known {
            self.faces.insert(key, FaceDraft { before: Some(face.clone()), after: face, embedding: None });
        }
        if !self.row.hashed {
            let removed = &mut self.removed;
            self.faces.retain(|key, face| {
                let stays = face.after.given_at.is_none_or(counts);
                if let (false, Some(before)) = (stays, &face.before) {
                    removed.push((*key, before.ordinal));
                }
                stays
            });
        }
        self.mark_main();
    }

    /// The widest face is the main one; of equally wide ones that with the smallest key.
    fn mark_main(&mut self) {
        let main = self
            .faces
            .iter()
            .max_by(|(a, x), (b, y)| {
                let (x, y) = (x.after.quality.width_px, y.after.quality.width_px);
                x.total_cmp(&y).then(b.cmp(a))
            })
            .map(|(key, _)| *key);
        for (key, face) in &mut self.faces {
            face.after.main = Some(*key) == main;
        }
    }
}

/// The face as this event describes it, joined with what was known of it.
fn drafted(before: Option<StoredFace>, face: &Face, given_at: Option<Timestamp>) -> FaceDraft {
    let told = StoredFace {
        ordinal: before.as_ref().map_or(FaceOrdinal(u64::MAX), |known| known.ordinal),
        place: face.place,
        quality: face.quality,
        main: face.main,
        eye_alignment: face.eye_alignment,
        pdq: face.pdq,
        pdq_mirrored: face.pdq_mirrored,
        given_at,
    };
    let embedding = before.is_none().then(|| face.embedding.clone());
    let after = match (&before, given_at) {
        (Some(known), Some(_)) => wider(known, &told),
        _ => told,
    };
    FaceDraft { before, after, embedding }
}

/// The one of two descriptions of a face that comes from the wider view of it, with the later of the two times and the
/// ordinal of the first.
fn wider(a: &StoredFace, b: &StoredFace) -> StoredFace {
    let form = |face: &StoredFace| {
        StoredFace { ordinal: FaceOrdinal(0), main: false, given_at: None, ..face.clone() }.to_bytes()
    };
    let width = |face: &StoredFace| face.quality.width_px;
    let b_wins = width(a).total_cmp(&width(b)).then_with(|| form(a).cmp(&form(b))).is_lt();
    let winner = if b_wins { b } else { a };
    StoredFace { ordinal: a.ordinal, given_at: a.given_at.max(b.given_at), ..winner.clone() }
}

/// The hash of better quality; of equally good ones the larger.
fn clearer(a: Option<Pdq>, b: Option<Pdq>) -> Option<Pdq> {
    a.into_iter().chain(b).max_by_key(|pdq| (pdq.quality, pdq.bits))
}
