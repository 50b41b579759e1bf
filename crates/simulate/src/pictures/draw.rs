//! From the facts of a picture to its JPEG.

use rand::RngExt;

use crate::population::{Content, Kinship, Original, Person, Treatment};
use crate::portrait::remake::Remake;
use crate::portrait::{self, Framing, Nuisance, PictureError, PortraitIdentity};
use crate::seeding::{generator, mix};

/// Where generators put the eyes: distance from the left and right edge, and from the top, as shares of the side, by the
/// alignment of the FFHQ data set (Karras et al., CVPR 2019, appendix A).
const GENERATED_EYES: (f32, f32) = (0.376, 0.471);
/// Pixels a person gets in the width of a group photo.
const PIXELS_A_PERSON: u32 = 130;

/// The picture before anybody copied it.
pub(super) fn original(picture: &Original, side: u32) -> Result<portrait::Picture, PictureError> {
    match (picture.content, picture.faces.as_slice()) {
        (Content::DefaultAvatar, []) => Ok(silhouette(picture.seed, side)),
        (_, []) => portrait::render_empty(picture.seed, side, side),
        (Content::Generated, [face, ..]) => generated(picture.seed, &identity(face.person), side),
        (_, [face]) => {
            let share = face.width_px / side as f32;
            let mut nuisance = Nuisance::from_seed(picture.seed);
            if share < 0.25 {
                nuisance = Nuisance::framed(picture.seed, Framing::Wide);
                nuisance.face_width = share.max(12.0 / side as f32);
            }
            portrait::render(&identity(face.person), &nuisance, side)
        }
        (_, faces) => {
            let people: Vec<_> = faces
                .iter()
                .map(|face| {
                    let nuisance = Nuisance::from_seed(mix(picture.seed, face.person.seed));
                    (identity(face.person), nuisance)
                })
                .collect();
            let width = (PIXELS_A_PERSON * people.len() as u32).clamp(side, side * 3);
            portrait::render_group(&people, picture.seed, width, side.max(width / 2))
        }
    }
}

/// Twins are drawn as one person; brothers and sisters have nothing drawn in common.
fn identity(person: Person) -> PortraitIdentity {
    match person.family {
        Some((family, Kinship::Twins)) => PortraitIdentity::from_seed(family),
        _ => PortraitIdentity::from_seed(person.seed),
    }
}

/// A copy of a picture as a JPEG file.
pub(super) fn copy(
    picture: &Original,
    treatment: Treatment,
    drawn: &portrait::Picture,
) -> Result<Vec<u8>, PictureError> {
    let saved = Nuisance::from_seed(picture.seed).jpeg_quality.max(70);
    if treatment == Treatment::NONE {
        return drawn.to_jpeg(saved);
    }
    let mut rng = generator(mix(picture.seed, treatment.variant));
    let mut remake = Remake::reencoded(rng.random_range(58..93));
    remake.mirror = treatment.mirrored;
    // Group photos are cropped less, so that nobody is cut off.
    let most = if picture.faces.len() > 1 { 0.03 } else { 0.09 };
    let shares: [f32; 4] = std::array::from_fn(|_| rng.random_range(0.0..most));
    if treatment.cropped {
        remake.crop = shares;
    }
    if treatment.resized {
        remake.longer_side = Some((drawn.width.max(drawn.height) as f32 * treatment.scale().max(0.6)) as u32);
    }
    let mut made = remake.pixels(drawn)?;
    if treatment.greyed {
        for pixel in made.pixels.chunks_exact_mut(3) {
            // Luma by ITU-R BT.601, as image programs take out colours.
            let luma = pixel.iter().zip([0.299, 0.587, 0.114]).map(|(v, w)| f32::from(*v) * w).sum::<f32>();
            pixel.fill(luma.round() as u8);
        }
    }
    Ok(stamped(made.to_jpeg(remake.jpeg_quality)?, treatment.variant))
}

/// The file with a comment, as programs leave them, so that two copies made separately have bytes of their own even
/// where they were made in the same way.
fn stamped(file: Vec<u8>, stamp: u64) -> Vec<u8> {
    const START_OF_IMAGE: [u8; 2] = [0xff, 0xd8];
    // Marker COM, then the length with the length's own two bytes.
    const COMMENT: [u8; 4] = [0xff, 0xfe, 0, 10];
    match file.strip_prefix(&START_OF_IMAGE) {
        Some(rest) => [&START_OF_IMAGE[..], &COMMENT, &stamp.to_be_bytes(), rest].concat(),
        None => file,
    }
}

/// A face as generators draw it: looking into the camera, the eyes always at the same place.
fn generated(seed: u64, identity: &PortraitIdentity, side: u32) -> Result<portrait::Picture, PictureError> {
    let mut nuisance = Nuisance::from_seed(seed);
    (nuisance.yaw, nuisance.pitch, nuisance.roll) = (0.0, 0.0, 0.0);
    nuisance.face_width = 0.5;
    nuisance.place = (0.5, GENERATED_EYES.1);
    // The distance of the eyes belongs to the person, so the camera moves: one small sketch tells how far.
    let sketch = portrait::render(identity, &nuisance, 128)?;
    if let Some(face) = sketch.faces.first() {
        let [left, right, ..] = face.landmarks;
        let apart = (right[0] - left[0]) / 128.0;
        if apart > 0.01 {
            let scale = (1.0 - 2.0 * GENERATED_EYES.0) / apart;
            let middle = [(left[0] + right[0]) / 256.0, (left[1] + right[1]) / 256.0];
            nuisance.face_width *= scale;
            nuisance.place.0 -= (middle[0] - 0.5) * scale;
            nuisance.place.1 -= (middle[1] - GENERATED_EYES.1) * scale;
        }
    }
    portrait::render(identity, &nuisance, side)
}

/// The avatar of those who have none: a head and shoulders in one colour.
fn silhouette(seed: u64, side: u32) -> portrait::Picture {
    let tint = |shift: u32| 150 + (seed >> shift & 63) as u8;
    let (ground, figure) = ([tint(0), tint(8), tint(16)], [244, 244, 246]);
    let mut pixels = Vec::with_capacity((side * side * 3) as usize);
    for y in 0..side {
        for x in 0..side {
            let at = |value: u32| (value as f32 + 0.5) / side as f32;
            let (x, y) = (at(x) - 0.5, at(y));
            let head = x.powi(2) + (y - 0.38).powi(2) < 0.17_f32.powi(2);
            let shoulders = (x / 0.34).powi(2) + ((y - 0.98) / 0.36).powi(2) < 1.0;
            pixels.extend(if head || shoulders { figure } else { ground });
        }
    }
    portrait::Picture { pixels, width: side, height: side, faces: Vec::new() }
}
