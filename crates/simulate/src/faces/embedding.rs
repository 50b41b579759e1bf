//! From a face on a copy of a picture to its embedding.
//!
//! An embedding is made in four steps, each with a cosine to the one before: the person (who may resemble relatives),
//! the photo (another photo of the same person: .51 to .88, median .76), the copy (re-encoded, cropped, mirrored, grey:
//! .90 to 1), and the loss by a small face (median cosine to the large one .11 below 20 pixels, .30 below 30, .65 below
//! 45, .86 below 60). Small faces lose towards a common direction, since blurred faces resemble each other.

use rand::RngExt;
use rand_distr::StandardNormal;
use records::Embedding;

use super::space::{Space, blend, direction, spread, turn};
use crate::population::{Kinship, Person, Picture, Shown, Treatment};
use crate::seeding::{generator, mix};

/// Median of 1 - (cosine of a photo to its person), and the standard deviation of its logarithm.
const PHOTO_SCATTER: (f32, f32) = (0.1265, 0.33);
/// Seed of the direction towards which blurred faces drift.
const BLUR: u64 = 0x0062_6c75_7221;
/// Share of that direction in what replaces a lost face.
const BLUR_COSINE: f32 = 0.6;

/// The embedding of a face on a picture. `None` only if the numbers could not be normalised, which does not happen for
/// finite ones.
pub fn face_embedding(space: Space, picture: &Picture, face: &Shown) -> Option<Embedding> {
    Embedding::normalised(&embedding(space, picture, face)).ok()
}

/// The same as plain numbers of unit length.
pub fn embedding(space: Space, picture: &Picture, face: &Shown) -> Vec<f32> {
    let original = mix(picture.original.seed, face.person.seed);
    let mut values = person(space, face.person);
    let mut rng = generator(mix(original, 1));
    let normal: f32 = rng.sample(StandardNormal);
    let likeness = 1.0 - PHOTO_SCATTER.0 * (PHOTO_SCATTER.1 * normal).exp();
    blend(&mut values, likeness.clamp(0.55, 0.975), &direction(space, mix(original, 2)));

    let treatment = picture.treatment;
    let copy = mix(original, treatment.code());
    if treatment != Treatment::NONE {
        turn(&mut values, copy_cosine(treatment, copy), direction(space, mix(copy, 3)));
    }
    let kept = kept_when_small(picture.face_width(face));
    if kept < 1.0 {
        // A copy of the same size loses the same; one made smaller loses in its own way.
        let lost = if treatment.resized { copy } else { original };
        let jitter: f32 = generator(mix(lost, 4)).random_range(-0.06..0.06);
        let mut drift = direction(space, mix(lost, 5));
        blend(&mut drift, (1.0 - BLUR_COSINE * BLUR_COSINE * (1.0 - kept)).sqrt(), &direction(space, BLUR));
        turn(&mut values, (kept + jitter * (1.0 - kept)).clamp(0.0, 1.0), drift);
    }
    spread(&mut values);
    values
}

/// The direction of a person. Relatives have a cosine such that their photos have .4 to .6 (siblings) or .6 to .8
/// (twins), which is that of one person's photos, median .76, times the cosine of the persons.
fn person(space: Space, person: Person) -> Vec<f32> {
    let own = direction(space, mix(person.seed, 0));
    let Some((family, kinship)) = person.family else { return own };
    let likeness: f32 = match kinship {
        Kinship::Siblings => generator(mix(family, 1)).random_range(0.63..0.69),
        Kinship::Twins => generator(mix(family, 1)).random_range(0.88..0.96),
    };
    let mut values = direction(space, mix(family, 0));
    blend(&mut values, likeness.sqrt(), &own);
    values
}

/// Cosine of a copy to its original.
fn copy_cosine(treatment: Treatment, copy: u64) -> f32 {
    let mut rng = generator(mix(copy, 2));
    let mut cosine = 1.0;
    for (done, least, most) in [
        (treatment.reencoded, 0.988, 0.9995),
        (treatment.resized, 0.982, 0.998),
        (treatment.cropped, 0.945, 0.99),
        (treatment.mirrored, 0.955, 0.995),
        (treatment.greyed, 0.945, 0.985),
    ] {
        let drawn: f32 = rng.random_range(least..most);
        if done {
            cosine *= drawn;
        }
    }
    cosine
}

/// Median cosine of a small face's embedding to that of the same face large: through the middles of the measured
/// ranges of width.
fn kept_when_small(width_px: f32) -> f32 {
    const MEASURED: [(f32, f32); 7] =
        [(8.0, 0.05), (15.0, 0.11), (25.0, 0.30), (37.5, 0.65), (52.5, 0.86), (80.0, 0.97), (112.0, 1.0)];
    let mut before = MEASURED[0];
    for point in MEASURED {
        if width_px <= point.0 {
            let part = if point.0 > before.0 {
                ((width_px - before.0) / (point.0 - before.0)).max(0.0)
            } else {
                1.0
            };
            return before.1 + part * (point.1 - before.1);
        }
        before = point;
    }
    1.0
}
