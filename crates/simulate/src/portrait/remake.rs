//! What bots do to a stolen photo before they use it again: re-encode, resize, crop, mirror, recolour.
//!
//! Invariant: boxes and landmarks follow the pixels, so the truth about a remade picture stays true.

use super::finish;
use super::picture::{FaceTruth, Picture, PictureError};
use super::stream::Stream;
use image::imageops::{self, FilterType};
use image::{ImageBuffer, Rgb};

/// Which stream of the seed a recipe is drawn from.
const PURPOSE: u64 = 3;

/// One way to remake a photo; the steps run in the order of the fields.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Remake {
    /// Shares cut away at the left, top, right and bottom, each 0..0.4.
    pub crop: [f32; 4],
    /// Swapped left and right.
    pub mirror: bool,
    /// Longer side after scaling, in pixels; None keeps the size.
    pub longer_side: Option<u32>,
    /// Gain of red, green and blue; 1 keeps them.
    pub gain: [f32; 3],
    /// Contrast factor; 1 keeps it.
    pub contrast: f32,
    /// JPEG quality it is saved with, 1..=100.
    pub jpeg_quality: u8,
}

impl Remake {
    /// Only saved again as JPEG.
    pub fn reencoded(jpeg_quality: u8) -> Self {
        Self { crop: [0.0; 4], mirror: false, longer_side: None, gain: [1.0; 3], contrast: 1.0, jpeg_quality }
    }

    /// A recipe as bots mix them: usually re-encoded and resized, often cropped a little, sometimes
    /// mirrored or recoloured. `longer_side` is that of the original.
    pub fn from_seed(seed: u64, longer_side: u32) -> Self {
        let mut s = Stream::new(seed, PURPOSE);
        let crop = if s.chance(0.5) {
            [s.between(0.0, 0.07), s.between(0.0, 0.05), s.between(0.0, 0.07), s.between(0.0, 0.10)]
        } else {
            [0.0; 4]
        };
        let mirror = s.chance(0.25);
        let resized = s.chance(0.6).then(|| (longer_side as f32 * s.between(0.6, 1.15)).max(16.0) as u32);
        let recoloured = s.chance(0.4);
        let mut gain = || if recoloured { s.between(0.92, 1.08) } else { 1.0 };
        let gain = [gain(), gain(), gain()];
        let contrast = if recoloured { s.between(0.92, 1.1) } else { 1.0 };
        Self { crop, mirror, longer_side: resized, gain, contrast, jpeg_quality: s.between(55.0, 92.0) as u8 }
    }

    /// The remade pixels, before they are saved as JPEG.
    ///
    /// # Errors
    /// [`PictureError::Size`] when nothing would be left.
    pub fn pixels(&self, picture: &Picture) -> Result<Picture, PictureError> {
        let mut made = picture.clone();
        if self.crop != [0.0; 4] {
            made = crop(&made, self.crop)?;
        }
        if self.mirror {
            made = mirror(&made);
        }
        if let Some(longer) = self.longer_side {
            let scale = longer as f32 / made.width.max(made.height) as f32;
            let side = |pixels: u32| ((pixels as f32 * scale).round() as u32).max(1);
            made = resize(&made, side(made.width), side(made.height))?;
        }
        if self.gain != [1.0; 3] || self.contrast != 1.0 {
            made = recolour(&made, self.gain, self.contrast);
        }
        Ok(made)
    }

    /// The remade picture as the JPEG file a bot would upload.
    ///
    /// # Errors
    /// [`PictureError`] when nothing would be left or the encoder fails.
    pub fn jpeg(&self, picture: &Picture) -> Result<Vec<u8>, PictureError> {
        self.pixels(picture)?.to_jpeg(self.jpeg_quality)
    }
}

/// The picture after being saved as JPEG of this quality and opened again.
///
/// # Errors
/// [`PictureError::Codec`] when the codec fails.
pub fn reencode(picture: &Picture, quality: u8) -> Result<Picture, PictureError> {
    picture.through_jpeg(quality)
}

/// Scaled to `width` x `height` (smooth filter; sides may change their ratio).
///
/// # Errors
/// [`PictureError::Size`] for a side of zero.
pub fn resize(picture: &Picture, width: u32, height: u32) -> Result<Picture, PictureError> {
    let error = PictureError::Size { width, height };
    if width == 0 || height == 0 {
        return Err(error);
    }
    let Some(buffer) =
        ImageBuffer::<Rgb<u8>, _>::from_raw(picture.width, picture.height, &picture.pixels[..])
    else {
        return Err(error);
    };
    let scaled = imageops::resize(&buffer, width, height, FilterType::CatmullRom);
    let (x, y) = (width as f32 / picture.width as f32, height as f32 / picture.height as f32);
    Ok(Picture {
        pixels: scaled.into_raw(),
        width,
        height,
        faces: moved(&picture.faces, |[a, b]| [a * x, b * y]),
    })
}

/// Without these shares (0..0.5) at the left, top, right and bottom.
///
/// # Errors
/// [`PictureError::Size`] when nothing would be left.
pub fn crop(picture: &Picture, shares: [f32; 4]) -> Result<Picture, PictureError> {
    let cut = |share: f32, side: u32| (share.clamp(0.0, 1.0) * side as f32).round() as u32;
    let (left, top) = (cut(shares[0], picture.width), cut(shares[1], picture.height));
    let width = picture.width.saturating_sub(left + cut(shares[2], picture.width));
    let height = picture.height.saturating_sub(top + cut(shares[3], picture.height));
    if width == 0 || height == 0 {
        return Err(PictureError::Size { width, height });
    }
    let mut pixels = Vec::with_capacity((width * height * 3) as usize);
    for y in top..top + height {
        let start = ((y * picture.width + left) * 3) as usize;
        pixels.extend_from_slice(&picture.pixels[start..start + width as usize * 3]);
    }
    let (dx, dy) = (left as f32, top as f32);
    Ok(Picture { pixels, width, height, faces: moved(&picture.faces, |[a, b]| [a - dx, b - dy]) })
}

/// Left and right swapped; eyes and mouth corners change sides, so the landmarks keep their order.
pub fn mirror(picture: &Picture) -> Picture {
    let row = picture.width as usize * 3;
    let mut pixels = Vec::with_capacity(picture.pixels.len());
    for line in picture.pixels.chunks_exact(row.max(1)) {
        for pixel in line.chunks_exact(3).rev() {
            pixels.extend_from_slice(pixel);
        }
    }
    let width = picture.width as f32;
    let mut faces = moved(&picture.faces, |[a, b]| [width - a, b]);
    for face in &mut faces {
        face.landmarks.swap(0, 1);
        face.landmarks.swap(3, 4);
    }
    Picture { pixels, width: picture.width, height: picture.height, faces }
}

/// Other gains for red, green and blue and another contrast.
pub fn recolour(picture: &Picture, gain: [f32; 3], contrast: f32) -> Picture {
    let mut made = picture.clone();
    finish::grade(&mut made.pixels, gain, contrast, 1.0);
    made
}

/// The faces after a map of the plane.
fn moved(faces: &[FaceTruth], map: impl Fn([f32; 2]) -> [f32; 2]) -> Vec<FaceTruth> {
    faces
        .iter()
        .map(|face| {
            let [x1, y1, x2, y2] = face.face_box;
            let (a, b) = (map([x1, y1]), map([x2, y2]));
            FaceTruth {
                identity: face.identity,
                face_box: [a[0].min(b[0]), a[1].min(b[1]), a[0].max(b[0]), a[1].max(b[1])],
                landmarks: face.landmarks.map(&map),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::portrait::{Nuisance, PortraitIdentity, render};

    fn portrait() -> Picture {
        render(&PortraitIdentity::from_seed(3), &Nuisance::from_seed(4), 120).unwrap()
    }

    #[test]
    fn mirroring_twice_gives_the_original() {
        let original = portrait();
        let once = mirror(&original);
        assert_ne!(once.pixels, original.pixels);
        assert!(once.faces[0].landmarks[0][0] < once.faces[0].landmarks[1][0]);
        let twice = mirror(&once);
        assert_eq!(twice.pixels, original.pixels);
        for (a, b) in twice.faces[0].landmarks.iter().zip(&original.faces[0].landmarks) {
            assert!((a[0] - b[0]).abs() < 1e-3 && a[1] == b[1]);
        }
    }

    #[test]
    fn a_crop_keeps_pixels_and_moves_the_truth() {
        let original = portrait();
        let cut = crop(&original, [0.1, 0.05, 0.0, 0.25]).unwrap();
        assert_eq!((cut.width, cut.height), (108, 84));
        assert_eq!(cut.pixels[..3], original.pixels[(6 * 120 + 12) * 3..][..3]);
        assert_eq!(cut.faces[0].landmarks[2][0], original.faces[0].landmarks[2][0] - 12.0);
        assert!(matches!(crop(&original, [0.5, 0.0, 0.5, 0.0]), Err(PictureError::Size { .. })));
    }

    #[test]
    fn a_resize_scales_the_truth() {
        let original = portrait();
        let small = resize(&original, 60, 40).unwrap();
        assert_eq!(small.pixels.len(), 60 * 40 * 3);
        assert!((small.faces[0].face_box[2] - original.faces[0].face_box[2] / 2.0).abs() < 1e-3);
        assert!(resize(&original, 0, 10).is_err());
    }

    #[test]
    fn recipes_are_reproducible_and_stay_close_to_the_photo() {
        let original = portrait();
        for seed in 0..40 {
            let recipe = Remake::from_seed(seed, 120);
            assert_eq!(recipe, Remake::from_seed(seed, 120));
            let made = recipe.pixels(&original).unwrap();
            assert_eq!(made.pixels.len(), (made.width * made.height * 3) as usize);
            assert!(made.width >= 50 && made.height >= 50, "{}x{}", made.width, made.height);
            assert!(recipe.jpeg(&original).unwrap().starts_with(&[0xff, 0xd8]));
        }
        let again = reencode(&original, 80).unwrap();
        let apart: u64 =
            again.pixels.iter().zip(&original.pixels).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        assert!(apart > 0 && apart < 8 * original.pixels.len() as u64);
    }
}
