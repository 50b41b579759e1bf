//! Rows of a *faces* file: one row is one face, or a photo without one.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use records::{
    AccountId, DeadLetter, DeadLetterReason, Embedding, EventBody, GivenFace, Origin, PackId, PartitionId,
    Pdq, PhotoKey, Position, ProfileEvent, ProfileFacts, Timestamp, VectorError,
};

use super::columns::{Bytestrings, Facts, Texts, Times, Vectors, Widths};
use crate::profile::{self, Refusal};

/// Quality of a perceptual hash that came with the file, which has no column for it: whoever gives a hash vouches for
/// it, so it is usable.
const GIVEN_PDQ_QUALITY: u8 = 100;

/// Events and letters in the order of the rows. Neighbouring rows of one account, time and profile become one event at
/// the position of the first of them.
pub(super) fn events(
    batch: &RecordBatch,
    partition: &PartitionId,
    first: u64,
) -> Result<Vec<Result<ProfileEvent, Box<DeadLetter>>>, ArrowError> {
    let columns = Columns::of(batch)?;
    let mut events: Vec<Result<ProfileEvent, Box<DeadLetter>>> = Vec::new();
    for row in 0..batch.num_rows() {
        let origin = Origin::row(partition.clone(), Position(first + row as u64));
        match columns.row(row) {
            Ok(face) => join(&mut events, face, origin),
            Err((refusal, of)) => {
                let letter = refusal.letter(&origin);
                let letter = match of {
                    Some((account, time)) => letter.of_event(account, time),
                    None => letter,
                };
                events.push(Err(Box::new(letter)));
            }
        }
    }
    Ok(events)
}

struct Row {
    account: AccountId,
    observed_at: Timestamp,
    face: GivenFace,
    facts: Option<ProfileFacts>,
}

fn join(events: &mut Vec<Result<ProfileEvent, Box<DeadLetter>>>, row: Row, origin: Origin) {
    if let Some(Ok(last)) = events.last_mut()
        && last.account == row.account
        && last.observed_at == row.observed_at
        && let EventBody::Faces { faces, facts } = &mut last.body
        && *facts == row.facts
    {
        faces.push(row.face);
        return;
    }
    let body = EventBody::Faces { faces: vec![row.face], facts: row.facts };
    events.push(Ok(ProfileEvent { account: row.account, observed_at: row.observed_at, body, origin }));
}

struct Columns {
    accounts: Texts,
    photos: Texts,
    times: Times,
    embeddings: Vectors,
    widths: Widths,
    hashes: Bytestrings,
    pdqs: Bytestrings,
    packs: Texts,
    facts: Facts,
}

/// A refusal, and whose row it was where that could be read.
type Refused = (Refusal, Option<(AccountId, Timestamp)>);

impl Columns {
    fn of(batch: &RecordBatch) -> Result<Self, ArrowError> {
        Ok(Self {
            accounts: Texts::of(batch, "account_id")?,
            photos: Texts::of(batch, "photo_id")?,
            times: Times::of(batch, "observed_at")?,
            embeddings: Vectors::of(batch, "embedding")?,
            widths: Widths::of(batch, "face_width_px")?,
            hashes: Bytestrings::of(batch, "photo_sha256")?,
            pdqs: Bytestrings::of(batch, "photo_pdq")?,
            packs: Texts::of(batch, "pack")?,
            facts: Facts::of(batch)?,
        })
    }

    fn row(&self, row: usize) -> Result<Row, Refused> {
        let account = profile::account(self.accounts.get(row)).map_err(|r| (r, None))?;
        let time = self.times.get("observed_at", row).and_then(|t| profile::required("observed_at", t));
        let observed_at = time.map_err(|r| (r, None))?;
        let found = self.face(row).and_then(|face| {
            let facts = if self.facts.any() { Some(self.facts.get(row)?) } else { None };
            Ok((face, facts))
        });
        match found {
            Ok((face, facts)) => Ok(Row { account, observed_at, face, facts }),
            Err(refusal) => Err((refusal, Some((account, observed_at)))),
        }
    }

    fn face(&self, row: usize) -> Result<GivenFace, Refusal> {
        let embedding = self.embeddings.get(row).map(|values| Embedding::normalised(&values)).transpose();
        let pack = self.packs.get(row).map(PackId::new).transpose();
        Ok(GivenFace {
            photo_id: profile::photo_id("photo_id", self.photos.get(row))?,
            photo_sha256: self.hashes.hash("photo_sha256", row)?.map(PhotoKey::from_sha256),
            photo_pdq: self.pdqs.hash("photo_pdq", row)?.map(|bits| Pdq { bits, quality: GIVEN_PDQ_QUALITY }),
            face_width_px: self.widths.get("face_width_px", row)?,
            embedding: embedding.map_err(|e| vector_refusal(&e))?,
            pack: pack.map_err(|e| Refusal::invalid("pack", e))?,
        })
    }
}

fn vector_refusal(error: &VectorError) -> Refusal {
    let reason = match error {
        VectorError::Dimension(_) => DeadLetterReason::WrongDimension,
        VectorError::NotFinite(_) | VectorError::Zero => DeadLetterReason::InvalidVector,
    };
    Refusal { reason, detail: format!("embedding: {error}") }
}
