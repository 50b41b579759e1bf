//! Photos, faces, links, log, dead letters and the state's own row, as bytes.

use std::collections::BTreeMap;

use bytes::Bytes;
use records::{
    AccountId, DeadLetter, FaceBox, FaceKey, FaceOrdinal, Landmarks, Origin, PackId, PartitionId, Pdq,
    PhotoId, Position, Quality, Timestamp,
};

use crate::account::decode_time;
use crate::codec::{Dec, Enc, Malformed, Row};

/// The schema of the whole state. A state with another one is refused.
pub(crate) const SCHEMA: u64 = 2;

/// How much the state holds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counts {
    /// Accounts, without deleted ones.
    pub accounts: u64,
    /// Pairs of account and photo shown now.
    pub ownerships: u64,
    /// Distinct pictures, orphans included.
    pub photos: u64,
    /// Those that nobody owns and that wait to be swept.
    pub orphans: u64,
    /// Faces, those of orphans included.
    pub faces: u64,
    /// Links between faces.
    pub links: u64,
    /// Dead letters kept.
    pub dead_letters: u64,
}

/// What became of every event ever read into this state. Part of each commit, so that a replay after a crash counts
/// nothing twice.
///
/// Invariant: `events = applied + superseded + dead`, as far as the source counted its events.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Tally {
    /// Events read, those included that could not be understood.
    pub events: u64,
    /// Events that counted, the same event again included.
    pub applied: u64,
    /// Events that were older than what the state knew.
    pub superseded: u64,
    /// Events given up as a whole. A photo that fails is given up alone, and its event counts as applied.
    pub dead: u64,
}

impl Tally {
    /// Whether every event is accounted for.
    pub fn adds_up(&self) -> bool {
        self.events == self.applied + self.superseded + self.dead
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, more: Self) -> Self {
        Self {
            events: self.events + more.events,
            applied: self.applied + more.applied,
            superseded: self.superseded + more.superseded,
            dead: self.dead + more.dead,
        }
    }
}

/// The state's own row.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Meta {
    pub schema: u64,
    pub commit: u64,
    pub pack: Option<PackId>,
    pub dimension: Option<u32>,
    pub next_ordinal: u64,
    pub log_start: u64,
    pub log_end: u64,
    pub next_dead: u64,
    pub greatest_observed_at: Option<Timestamp>,
    pub counts: Counts,
    pub dead_by_reason: BTreeMap<String, u64>,
    pub tally: Tally,
}

impl Row for Meta {
    const KEYSPACE: &'static str = "meta";
    const VERSION: u8 = 2;

    fn encode(&self, to: &mut Enc) {
        to.u64(self.schema);
        to.u64(self.commit);
        to.opt(self.pack.as_ref(), |to, pack| to.text(pack.as_str()));
        to.opt(self.dimension, |to, dimension| to.u64(dimension.into()));
        to.u64(self.next_ordinal);
        to.u64(self.log_start);
        to.u64(self.log_end);
        to.u64(self.next_dead);
        to.opt(self.greatest_observed_at, |to, time| to.i64(time.as_micros()));
        let Counts { accounts, ownerships, photos, orphans, faces, links, dead_letters } = self.counts;
        for count in [accounts, ownerships, photos, orphans, faces, links, dead_letters] {
            to.u64(count);
        }
        to.u64(self.dead_by_reason.len() as u64);
        for (reason, count) in &self.dead_by_reason {
            to.text(reason);
            to.u64(*count);
        }
        let Tally { events, applied, superseded, dead } = self.tally;
        for count in [events, applied, superseded, dead] {
            to.u64(count);
        }
    }

    fn decode(from: &mut Dec<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            schema: from.u64()?,
            commit: from.u64()?,
            pack: from.opt(|f| PackId::new(f.text()?).map_err(|_| Malformed("an id is not valid")))?,
            dimension: from.opt(Dec::u32)?,
            next_ordinal: from.u64()?,
            log_start: from.u64()?,
            log_end: from.u64()?,
            next_dead: from.u64()?,
            greatest_observed_at: from.opt(decode_time)?,
            counts: Counts {
                accounts: from.u64()?,
                ownerships: from.u64()?,
                photos: from.u64()?,
                orphans: from.u64()?,
                faces: from.u64()?,
                links: from.u64()?,
                dead_letters: from.u64()?,
            },
            dead_by_reason: (0..from.u64()?)
                .map(|_| Ok((from.text()?.to_owned(), from.u64()?)))
                .collect::<Result<_, _>>()?,
            tally: Tally {
                events: from.u64()?,
                applied: from.u64()?,
                superseded: from.u64()?,
                dead: from.u64()?,
            },
        })
    }
}

/// The stored form of a picture.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct PhotoRow {
    pub size: (u32, u32),
    pub hashed: bool,
    pub pdq: Option<Pdq>,
    pub pdq_mirrored: Option<Pdq>,
    /// Whether the picture itself was examined; otherwise its faces were given and more may come.
    pub complete: bool,
    /// Pairs of account and photo id that show it now.
    pub owners: u64,
    /// The commit in which the last owner went.
    pub orphaned_at: Option<u64>,
}

impl Row for PhotoRow {
    const KEYSPACE: &'static str = "photos";

    fn encode(&self, to: &mut Enc) {
        to.u64(self.size.0.into());
        to.u64(self.size.1.into());
        to.bool(self.hashed);
        to.opt(self.pdq, encode_pdq);
        to.opt(self.pdq_mirrored, encode_pdq);
        to.bool(self.complete);
        to.u64(self.owners);
        to.opt(self.orphaned_at, Enc::u64);
    }

    fn decode(from: &mut Dec<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            size: (from.u32()?, from.u32()?),
            hashed: from.bool()?,
            pdq: from.opt(decode_pdq)?,
            pdq_mirrored: from.opt(decode_pdq)?,
            complete: from.bool()?,
            owners: from.u64()?,
            orphaned_at: from.opt(Dec::u64)?,
        })
    }
}

fn encode_pdq(to: &mut Enc, pdq: Pdq) {
    to.fixed(&pdq.bits);
    to.u8(pdq.quality);
}

fn decode_pdq(from: &mut Dec<'_>) -> Result<Pdq, Malformed> {
    Ok(Pdq { bits: from.fixed()?, quality: from.u8()? })
}

/// A face in the state, without its vector.
#[derive(Clone, PartialEq, Debug)]
pub struct StoredFace {
    /// Its number in the index.
    pub ordinal: FaceOrdinal,
    /// Where it is; `None` for faces that came already embedded.
    pub place: Option<(FaceBox, Landmarks)>,
    /// What it is worth.
    pub quality: Quality,
    /// Largest face of its picture. For faces given one by one this is kept up to date as more of them come.
    pub main: bool,
    /// Distance of the eyes from where generated portraits put them.
    pub eye_alignment: Option<f32>,
    /// PDQ of the aligned face.
    pub pdq: Option<Pdq>,
    /// PDQ of the same, mirrored.
    pub pdq_mirrored: Option<Pdq>,
    /// For a face that came already embedded, the latest event that gave it.
    pub given_at: Option<Timestamp>,
}

/// What a link needs to know of a face, by the face's number: one look instead of three.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NumberedFace {
    /// Its key.
    pub key: FaceKey,
    /// Whether it may make a link.
    pub linkable: bool,
    /// PDQ of the picture, and of the mirrored picture.
    pub photo_pdq: (Option<Pdq>, Option<Pdq>),
    /// PDQ of the aligned face, and of the same mirrored.
    pub pdq: (Option<Pdq>, Option<Pdq>),
}

impl NumberedFace {
    pub(crate) fn new(key: FaceKey, face: &StoredFace, photo: &PhotoRow) -> Self {
        Self {
            key,
            linkable: face.quality.linkable,
            photo_pdq: (photo.pdq, photo.pdq_mirrored),
            pdq: (face.pdq, face.pdq_mirrored),
        }
    }
}

impl Row for NumberedFace {
    const KEYSPACE: &'static str = "ordinals";

    fn encode(&self, to: &mut Enc) {
        to.fixed(&self.key.to_bytes());
        to.bool(self.linkable);
        for pdq in [self.photo_pdq.0, self.photo_pdq.1, self.pdq.0, self.pdq.1] {
            to.opt(pdq, encode_pdq);
        }
    }

    fn decode(from: &mut Dec<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            key: FaceKey::from_bytes(&from.fixed::<40>()?).ok_or(Malformed("it names no face"))?,
            linkable: from.bool()?,
            photo_pdq: (from.opt(decode_pdq)?, from.opt(decode_pdq)?),
            pdq: (from.opt(decode_pdq)?, from.opt(decode_pdq)?),
        })
    }
}

impl Row for StoredFace {
    const KEYSPACE: &'static str = "faces";

    fn encode(&self, to: &mut Enc) {
        to.u64(self.ordinal.0);
        to.opt(self.place, |to, (place, landmarks)| {
            for value in [place.x1, place.y1, place.x2, place.y2] {
                to.f32(value);
            }
            landmarks.0.iter().flatten().for_each(|value| to.f32(*value));
        });
        let Quality { width_px, sharpness, turned, score, figure, linkable } = self.quality;
        for value in [width_px, sharpness, turned, score, figure] {
            to.f32(value);
        }
        to.bool(linkable);
        to.bool(self.main);
        to.opt(self.eye_alignment, Enc::f32);
        to.opt(self.pdq, encode_pdq);
        to.opt(self.pdq_mirrored, encode_pdq);
        to.opt(self.given_at, |to, time| to.i64(time.as_micros()));
    }

    fn decode(from: &mut Dec<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            ordinal: FaceOrdinal(from.u64()?),
            place: from.opt(|f| {
                let place = FaceBox { x1: f.f32()?, y1: f.f32()?, x2: f.f32()?, y2: f.f32()? };
                let mut landmarks = Landmarks([[0.0; 2]; 5]);
                for value in landmarks.0.iter_mut().flatten() {
                    *value = f.f32()?;
                }
                Ok((place, landmarks))
            })?,
            quality: Quality {
                width_px: from.f32()?,
                sharpness: from.f32()?,
                turned: from.f32()?,
                score: from.f32()?,
                figure: from.f32()?,
                linkable: from.bool()?,
            },
            main: from.bool()?,
            eye_alignment: from.opt(Dec::f32)?,
            pdq: from.opt(decode_pdq)?,
            pdq_mirrored: from.opt(decode_pdq)?,
            given_at: from.opt(decode_time)?,
        })
    }
}

/// What the index has to do, in the order of commits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogEntry {
    /// Add the face with this ordinal; its vector is [`crate::Reader::vector_of`]. It may have been removed since, which a
    /// later entry then says.
    Added {
        /// The face.
        ordinal: FaceOrdinal,
    },
    /// Remove it.
    Removed {
        /// The face.
        ordinal: FaceOrdinal,
    },
}

impl Row for LogEntry {
    const KEYSPACE: &'static str = "log";

    fn encode(&self, to: &mut Enc) {
        let (kind, ordinal) = match self {
            Self::Added { ordinal } => (1, ordinal),
            Self::Removed { ordinal } => (2, ordinal),
        };
        to.u8(kind);
        to.u64(ordinal.0);
    }

    fn decode(from: &mut Dec<'_>) -> Result<Self, Malformed> {
        let kind = from.u8()?;
        let ordinal = FaceOrdinal(from.u64()?);
        match kind {
            1 => Ok(Self::Added { ordinal }),
            2 => Ok(Self::Removed { ordinal }),
            _ => Err(Malformed("its kind is not known")),
        }
    }
}

/// A dead letter in the state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredDeadLetter {
    /// Its number: counts up in the order of commits and is never reused.
    pub sequence: u64,
    /// Whether it was sent to the dead-letter topic.
    pub published: bool,
    /// The letter.
    pub letter: DeadLetter,
}

/// The stored form of a dead letter; its number stands in the key.
pub(crate) struct DeadRow {
    pub published: bool,
    pub letter: DeadLetter,
}

impl Row for DeadRow {
    const KEYSPACE: &'static str = "dead_letters";

    fn encode(&self, to: &mut Enc) {
        let DeadLetter { origin, stage, reason, detail, account, photo, observed_at } = &self.letter;
        to.bool(self.published);
        to.text(origin.partition.as_str());
        to.u64(origin.position.0);
        to.opt(origin.key.as_deref(), Enc::bytes);
        to.bytes(&origin.payload);
        to.u64(origin.headers.len() as u64);
        for (name, value) in &origin.headers {
            to.text(name);
            to.bytes(value);
        }
        to.text(stage.as_str());
        to.text(reason.as_str());
        to.text(detail);
        to.opt(account.as_ref(), |to, id| to.text(id.as_str()));
        to.opt(photo.as_ref(), |to, id| to.text(id.as_str()));
        to.opt(*observed_at, |to, time| to.i64(time.as_micros()));
    }

    fn decode(from: &mut Dec<'_>) -> Result<Self, Malformed> {
        let copied = |f: &mut Dec<'_>| f.bytes().map(Bytes::copy_from_slice);
        Ok(Self {
            published: from.bool()?,
            letter: DeadLetter {
                origin: Origin {
                    partition: PartitionId::from_stored(from.text()?),
                    position: Position(from.u64()?),
                    key: from.opt(copied)?,
                    payload: copied(from)?,
                    headers: (0..from.u64()?)
                        .map(|_| Ok((from.text()?.to_owned(), copied(from)?)))
                        .collect::<Result<_, Malformed>>()?,
                },
                stage: from.text()?.parse().map_err(|_| Malformed("its stage is not known"))?,
                reason: from.text()?.parse().map_err(|_| Malformed("its reason is not known"))?,
                detail: from.text()?.to_owned(),
                account: from
                    .opt(|f| AccountId::new(f.text()?).map_err(|_| Malformed("an id is not valid")))?,
                photo: from.opt(|f| PhotoId::new(f.text()?).map_err(|_| Malformed("an id is not valid")))?,
                observed_at: from.opt(decode_time)?,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use records::{DeadLetterReason, Stage};

    use super::*;

    #[test]
    fn rows_are_read_back() {
        let pdq = Pdq { bits: [7; 32], quality: 93 };
        let face = StoredFace {
            ordinal: FaceOrdinal(1 << 40),
            place: Some((FaceBox { x1: -1.5, y1: 2.0, x2: 3.0, y2: 4.0 }, Landmarks([[0.5; 2]; 5]))),
            quality: Quality {
                width_px: 80.0,
                sharpness: 0.1,
                turned: 0.2,
                score: 0.3,
                figure: 0.4,
                linkable: true,
            },
            main: true,
            eye_alignment: Some(0.01),
            pdq: Some(pdq),
            pdq_mirrored: None,
            given_at: Some(Timestamp::EPOCH),
        };
        assert_eq!(StoredFace::from_bytes(&face.to_bytes()).unwrap(), face);
        let photo = PhotoRow { size: (640, 480), pdq: Some(pdq), owners: 5000, ..PhotoRow::default() };
        let key = FaceKey { photo: records::PhotoKey::of_bytes(b"p"), tag: 7 };
        let numbered = NumberedFace::new(key, &face, &photo);
        assert_eq!(NumberedFace::from_bytes(&numbered.to_bytes()).unwrap(), numbered);
        assert_eq!(PhotoRow::from_bytes(&photo.to_bytes()).unwrap(), photo);
        for entry in
            [LogEntry::Added { ordinal: FaceOrdinal(3) }, LogEntry::Removed { ordinal: FaceOrdinal(4) }]
        {
            assert_eq!(LogEntry::from_bytes(&entry.to_bytes()).unwrap(), entry);
        }
    }

    #[test]
    fn dead_letters_keep_their_bytes() {
        let origin = Origin {
            partition: PartitionId::kafka("profiles", 3),
            position: Position(99),
            key: Some(Bytes::from_static(b"\xff\x00key")),
            payload: Bytes::from_static(b"{not json"),
            headers: vec![("h".into(), Bytes::from_static(b"\x01"))],
        };
        let letter = origin
            .dead_letter(Stage::Ingest, DeadLetterReason::MalformedJson, "the message is no JSON")
            .of_event(AccountId::new("a").unwrap(), Timestamp::EPOCH);
        let row = DeadRow { published: true, letter: letter.clone() };
        let back = DeadRow::from_bytes(&row.to_bytes()).unwrap();
        assert!(back.published);
        assert_eq!(back.letter, letter);
    }
}
