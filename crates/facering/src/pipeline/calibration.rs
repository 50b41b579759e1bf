//! What a cosine means in this state: the model pack's figures, or, where the faces came already embedded, figures
//! estimated from the data's own impostors.
//!
//! Invariants:
//! - The estimate is a function of the set of faces: sampled evenly in the order of their keys, which are hashes.
//! - The floor for links only ever lies at or below the threshold that clusters will use, so that no link is missed that
//!   would count in the end: tau(N) rises with N, and the floor keeps a margin.

use clusters::{PackCalibration, TailPoint};
use index::Reach;
use rayon::prelude::*;
use records::{FaceKey, FaceOrdinal};
use store::Reader;

/// Faces sampled for the estimate: two million pairs, enough for a point at a false-match rate of 1e-5.
const SAMPLE: usize = 2000;
/// Fewer faces than this say too little.
const FEWEST: usize = 200;
/// Same photo, re-cropped or mirrored, on real faces: cosine .90 and more (measured on 849 portraits).
const SAME_PHOTO: f32 = 0.9;
/// How far the floor lies below the threshold of a pack, whose figures are measured.
const MARGIN: f32 = 0.05;
/// How far it lies below an estimated threshold, which moves as the data grows.
const ESTIMATED_MARGIN: f32 = 0.1;
/// Faces from which the estimate raises the floor; below, the lowest floor costs little.
const ESTIMATE_FROM: u64 = 20_000;

/// The pack's own figures.
fn described(pack: &embed::Calibration, floor: f32) -> PackCalibration {
    let tail = pack
        .impostor_tail
        .iter()
        .filter(|point| point[1] > 0.0)
        .map(|point| TailPoint { cosine: point[0] as f32, false_match_rate: point[1] })
        .collect();
    let link_floor = floor.max(pack.same_person_floor);
    PackCalibration { link_floor, same_photo_cosine: pack.same_photo_cosine.max(link_floor), tail }
}

/// The figures that hold for this state.
pub fn of_state(reader: &Reader, pack: &embed::Calibration, floor: f32) -> anyhow::Result<PackCalibration> {
    let described = described(pack, floor);
    if !mostly_given(reader)? {
        return Ok(described);
    }
    let estimated = PackCalibration::tail_of(&impostors(reader)?);
    let tail = if estimated.is_empty() { described.tail } else { estimated };
    Ok(PackCalibration { link_floor: floor, same_photo_cosine: SAME_PHOTO, tail })
}

/// Whether most faces came already embedded, by whatever network.
fn mostly_given(reader: &Reader) -> anyhow::Result<bool> {
    let (mut given, mut seen) = (0, 0);
    for row in reader.photos().take(SAMPLE) {
        let (_, photo) = row?;
        given += usize::from(!photo.complete);
        seen += 1;
    }
    Ok(given * 2 > seen)
}

/// Cosines of pairs of faces taken evenly from all of them; pairs of one picture are left out.
fn impostors(reader: &Reader) -> anyhow::Result<Vec<f32>> {
    let faces = usize::try_from(reader.counts().faces).unwrap_or(usize::MAX);
    if faces < FEWEST {
        return Ok(Vec::new());
    }
    let step = faces.div_ceil(SAMPLE);
    let mut sample: Vec<(FaceKey, Vec<f32>)> = Vec::new();
    for row in reader.faces().step_by(step) {
        let (key, face) = row?;
        let ordinal: FaceOrdinal = face.ordinal;
        if face.quality.linkable
            && let Some(vector) = reader.vector_of(ordinal)?
        {
            sample.push((key, vector));
        }
    }
    let pairs = sample.par_iter().enumerate().flat_map_iter(|(at, (key, vector))| {
        sample[at + 1..]
            .iter()
            .filter(|(other, _)| other.photo != key.photo)
            .map(|(_, other)| vector.iter().zip(other).map(|(x, y)| x * y).sum::<f32>())
    });
    Ok(pairs.collect())
}

/// Keeps the floor for links while a state grows.
///
/// Where the pack's figures hold, the floor follows tau(N), which only rises. Where the figures are estimated, they move
/// with the data: below [`ESTIMATE_FROM`] faces the floor stays at its lowest, above it keeps a wide margin, so that how
/// the data was cut into batches changes no link that counts.
pub struct Floor {
    pack: embed::Calibration,
    lowest: f32,
    copy_cosine: f32,
    budget: f64,
    looked: Option<Looked>,
}

/// What a look at the state found, and at which size.
struct Looked {
    faces: u64,
    given: bool,
    calibration: PackCalibration,
}

impl Floor {
    /// `lowest` bounds the floor from below; `copy_cosine` from above, since copies are confirmed from there on.
    pub fn new(pack: &embed::Calibration, lowest: f32, copy_cosine: f32, budget: f64) -> Self {
        Self { pack: pack.clone(), lowest, copy_cosine, budget, looked: None }
    }

    /// From which cosine links are kept at the state's present size, and from which none may be missed: from tau(N) on,
    /// where clusters begin to count them. Looks at the state anew whenever it has doubled.
    pub fn at(&mut self, reader: &Reader) -> anyhow::Result<Reach> {
        let faces = reader.counts().faces;
        if faces == 0 {
            return Ok(self.lowest.into());
        }
        if self.looked.as_ref().is_none_or(|looked| faces >= looked.faces.saturating_mul(2)) {
            let given = mostly_given(reader)?;
            let estimated = given && faces >= ESTIMATE_FROM;
            let calibration = if given && !estimated {
                described(&self.pack, self.lowest)
            } else {
                of_state(reader, &self.pack, self.lowest)?
            };
            self.looked = Some(Looked { faces, given, calibration });
        }
        let Some(looked) = &self.looked else { return Ok(self.lowest.into()) };
        if looked.given && looked.faces < ESTIMATE_FROM {
            return Ok(self.lowest.into());
        }
        let margin = if looked.given { ESTIMATED_MARGIN } else { MARGIN };
        let tau = looked.calibration.tau(faces, self.budget);
        let highest = self.copy_cosine.max(self.lowest);
        let from = (tau - margin).clamp(self.lowest, highest);
        Ok(Reach { from, surely: tau.clamp(from, highest) })
    }
}
