//! Portraits of people who do not exist: parametric faces, drawn flat, with the truth about every face.
//!
//! A photo of a person is a pair of seeds: a [`PortraitIdentity`] (shape, eyes, nose, mouth, skin, hair) and
//! a [`Nuisance`] (pose, expression, light, background, glasses, camera). Invariants:
//! * the same seeds give the same pixels, in every process on one platform;
//! * what stands in [`FaceTruth`] is where the ink went: both come from one projection;
//! * face-free pictures contain no face.
//!
//! ```
//! use simulate::portrait::{Nuisance, PortraitIdentity, render};
//!
//! let (person, photo) = (PortraitIdentity::from_seed(7), Nuisance::from_seed(1));
//! let picture = render(&person, &photo, 256)?;
//! assert_eq!(picture.faces.len(), 1);
//! let file: Vec<u8> = picture.to_jpeg(photo.jpeg_quality)?;
//! # assert!(!file.is_empty());
//! # Ok::<(), simulate::portrait::PictureError>(())
//! ```

mod attire;
mod background;
mod canvas;
mod colour;
mod decoy;
mod features;
mod finish;
mod hair;
mod head;
mod identity;
mod nuisance;
mod picture;
mod pose;
pub mod remake;
mod stream;

pub use identity::PortraitIdentity;
pub use nuisance::{Framing, Glasses, GlassesShape, Nuisance};
pub use picture::{FaceTruth, Picture, PictureError};

use canvas::{Canvas, Spot, closed};
use colour::Rgb;
use pose::Pose;
use stream::Stream;

/// Largest side that is drawn.
const LARGEST_SIDE: u32 = 16_384;

/// Half the width of an average face in face units, cheek to cheek.
const HALF_FACE: f32 = 0.96;

/// One person in a square photo of `size` pixels, as it leaves the camera (before JPEG).
///
/// # Errors
/// [`PictureError::Size`] when `size` is 0 or above 16384.
pub fn render(identity: &PortraitIdentity, nuisance: &Nuisance, size: u32) -> Result<Picture, PictureError> {
    render_in(identity, nuisance, size, size)
}

/// One person in a photo of any shape; `nuisance.face_width` counts against the shorter side.
///
/// # Errors
/// [`PictureError::Size`] when a side is 0 or above 16384.
pub fn render_in(
    identity: &PortraitIdentity,
    nuisance: &Nuisance,
    width: u32,
    height: u32,
) -> Result<Picture, PictureError> {
    let mut canvas = blank(width, height)?;
    background::paint(&mut canvas, nuisance.background);
    let shorter = width.min(height) as f32;
    let centre = (nuisance.place.0 * width as f32, nuisance.place.1 * height as f32);
    let unit = nuisance.face_width * shorter / (2.0 * HALF_FACE);
    let face = person(&mut canvas, identity, nuisance, centre, unit);
    Ok(developed(canvas, nuisance, width, height, vec![face]))
}

/// Several people side by side in one photo, in the order given from left to right.
///
/// Everyone keeps pose and expression of their own nuisance; the scene's seed gives background, light,
/// camera and places. Faces may be hidden a little by a neighbour, never by more than a shoulder.
///
/// # Errors
/// [`PictureError::Size`] when a side is 0 or above 16384.
pub fn render_group(
    people: &[(PortraitIdentity, Nuisance)],
    scene: u64,
    width: u32,
    height: u32,
) -> Result<Picture, PictureError> {
    let mut canvas = blank(width, height)?;
    let mut stream = Stream::new(scene, 20);
    let camera = Nuisance::from_seed(stream.word());
    background::paint(&mut canvas, camera.background);
    let (w, h) = (width as f32, height as f32);
    let slot = w / people.len().max(1) as f32;
    let largest = (slot * 0.62).min(h * 0.5);
    let level = h * stream.between(0.38, 0.58);
    let mut places: Vec<(usize, Spot, f32)> = (0..people.len())
        .map(|index| {
            let face = largest * stream.between(0.68, 1.0);
            let x = slot * (index as f32 + 0.5) + slot * stream.between(-0.07, 0.07);
            let y = level + face * stream.between(-0.35, 0.35);
            (index, (x, y.max(face * 0.75)), face / (2.0 * HALF_FACE))
        })
        .collect();
    // Who is smaller stands farther back and is drawn first.
    places.sort_by(|a, b| a.2.total_cmp(&b.2));
    let mut faces: Vec<(usize, FaceTruth)> = places
        .into_iter()
        .map(|(index, centre, unit)| {
            let (identity, own) = &people[index];
            let lit = Nuisance {
                light_angle: camera.light_angle,
                light_strength: camera.light_strength,
                ..own.clone()
            };
            (index, person(&mut canvas, identity, &lit, centre, unit))
        })
        .collect();
    faces.sort_by_key(|(index, _)| *index);
    Ok(developed(canvas, &camera, width, height, faces.into_iter().map(|(_, face)| face).collect()))
}

/// A picture without any face: a background, usually with objects, sometimes people from behind.
///
/// # Errors
/// [`PictureError::Size`] when a side is 0 or above 16384.
pub fn render_empty(seed: u64, width: u32, height: u32) -> Result<Picture, PictureError> {
    let mut canvas = blank(width, height)?;
    let mut stream = Stream::new(seed, 30);
    let camera = Nuisance::from_seed(stream.word());
    background::paint(&mut canvas, camera.background);
    let shorter = width.min(height) as f32;
    for _ in 0..stream.below(6) {
        let size = shorter * stream.between(0.1, 0.8);
        let centre = (width as f32 * stream.unit(), height as f32 * stream.unit());
        decoy::draw(&mut canvas, &mut stream, centre, size);
    }
    Ok(developed(canvas, &camera, width, height, Vec::new()))
}

fn blank(width: u32, height: u32) -> Result<Canvas, PictureError> {
    let error = PictureError::Size { width, height };
    if width > LARGEST_SIDE || height > LARGEST_SIDE {
        return Err(error);
    }
    Canvas::new(width, height, Rgb::hex(0x808080)).ok_or(error)
}

fn developed(canvas: Canvas, camera: &Nuisance, width: u32, height: u32, faces: Vec<FaceTruth>) -> Picture {
    let mut pixels = canvas.into_rgb();
    finish::develop(&mut pixels, width as usize, height as usize, camera);
    Picture { pixels, width, height, faces }
}

/// Draws one person; `unit` is pixels per face unit, `centre` the point between the eyes.
fn person(
    canvas: &mut Canvas,
    identity: &PortraitIdentity,
    nuisance: &Nuisance,
    centre: Spot,
    unit: f32,
) -> FaceTruth {
    let pose = Pose::new(centre, unit, nuisance.yaw, nuisance.pitch, nuisance.roll);
    let (outline, face_box) = head::drawn_outline(identity, &pose, head::jaw_drop(nuisance));
    let shape = closed(&outline);
    hair::back(canvas, identity, &pose);
    head::neck(canvas, identity, &pose);
    attire::clothes(canvas, identity, nuisance, &pose);
    head::ears(canvas, identity, &pose);
    let mask = canvas.mask(shape.as_ref());
    head::face(canvas, identity, nuisance, &pose, shape.as_ref(), mask.as_ref());
    features::nose(canvas, identity, nuisance, &pose);
    features::mouth(canvas, identity, nuisance, &pose);
    features::eyes(canvas, identity, nuisance, &pose);
    features::brows(canvas, identity, nuisance, &pose);
    head::light(canvas, nuisance, &pose, shape.as_ref());
    if let Some(glasses) = &nuisance.glasses {
        attire::glasses(canvas, identity, glasses, &pose);
    }
    hair::front(canvas, identity, &pose);
    FaceTruth {
        identity: identity.seed(),
        face_box,
        landmarks: features::landmarks(identity, nuisance, &pose),
    }
}

#[cfg(test)]
mod tests;
