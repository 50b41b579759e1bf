//! Pictures from bytes that nobody vouches for.
//!
//! Invariants:
//! - The format is told by the first bytes, never by a name or a header of the host.
//! - Width times height is judged by the picture's own header before anything of that size is allocated.
//! - Whatever the bytes, the answer is pixels or a [`Failure`]; a decoder that panics is a damaged picture.
//! - The result is the first frame, turned as EXIF says, alpha laid on white, 8 bits of RGB.

mod avif;
mod jpeg;
mod raster;
mod webp;

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};
use records::{DeadLetterReason as Reason, Pixels};

use crate::Failure;

/// The formats that can be decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// JPEG: RGB, grey, CMYK and YCCK; baseline and progressive.
    Jpeg,
    /// PNG: every colour type and depth.
    Png,
    /// WebP: lossy, lossless, first frame of animations.
    WebP,
    /// GIF: first frame.
    Gif,
    /// AVIF: still pictures of 8 to 12 bits.
    Avif,
}

impl Format {
    /// Tells the format by the first bytes.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::WebP),
            _ if avif::is_avif(bytes) => Some(Self::Avif),
            _ => None,
        }
    }
}

/// Decodes a picture of at most `max_pixels` pixels.
///
/// # Errors
/// `not_an_image`, `corrupt_image` or `too_many_pixels`.
pub fn decode(bytes: &[u8], max_pixels: u64) -> Result<Pixels, Failure> {
    let Some(format) = Format::of(bytes) else {
        let detail = "the bytes are no JPEG, PNG, WebP, GIF or AVIF";
        return Err(Failure::new(Reason::NotAnImage, detail));
    };
    let decoding = std::panic::AssertUnwindSafe(|| match format {
        Format::Jpeg => jpeg::decode(bytes, max_pixels),
        Format::Png | Format::WebP | Format::Gif => raster::decode(bytes, format, max_pixels),
        Format::Avif => avif::decode(bytes, max_pixels),
    });
    // The last resort against a fault in a decoder: one picture must not end the run.
    match std::panic::catch_unwind(decoding) {
        Ok(decoded) => decoded.and_then(|image| pixels(image, max_pixels)),
        Err(_) => Err(corrupt(format, "the decoder broke on it")),
    }
}

fn corrupt(format: Format, why: impl std::fmt::Display) -> Failure {
    Failure::new(Reason::CorruptImage, format!("the {format:?} is damaged: {why}"))
}

fn check_size(width: u64, height: u64, max_pixels: u64) -> Result<(), Failure> {
    if width == 0 || height == 0 {
        return Err(Failure::new(Reason::CorruptImage, "the picture has no pixels"));
    }
    if width.saturating_mul(height) > max_pixels {
        let detail = format!("the picture has {width} x {height} pixels, {max_pixels} are allowed");
        return Err(Failure::new(Reason::TooManyPixels, detail));
    }
    Ok(())
}

/// Turns a picture as its EXIF says. Some writers put the marker of JPEG's EXIF segment before it in WebP as well.
fn turned(mut image: DynamicImage, exif: Option<&[u8]>) -> DynamicImage {
    let exif = exif.map(|exif| exif.strip_prefix(b"Exif\0\0").unwrap_or(exif));
    if let Some(orientation) = exif.and_then(Orientation::from_exif_chunk) {
        image.apply_orientation(orientation);
    }
    image
}

fn pixels(image: DynamicImage, max_pixels: u64) -> Result<Pixels, Failure> {
    let (width, height) = (image.width(), image.height());
    check_size(width.into(), height.into(), max_pixels)?;
    let rgb = if image.color().has_alpha() { on_white(&image) } else { image.into_rgb8() };
    Ok(Pixels { width, height, rgb: rgb.into_raw().into() })
}

/// Lays a picture on white: `c * a + 255 * (1 - a)`, rounded.
fn on_white(image: &DynamicImage) -> RgbImage {
    let image = image.to_rgba8();
    let mut rgb = RgbImage::new(image.width(), image.height());
    for (to, from) in rgb.pixels_mut().zip(image.pixels()) {
        let [r, g, b, alpha] = from.0.map(u32::from);
        to.0 = [r, g, b].map(|c| ((c * alpha + 255 * (255 - alpha) + 127) / 255) as u8);
    }
    rgb
}

#[cfg(test)]
mod tests;
