//! A picture on the square that a detector looks at.
//!
//! A picture on its canvas has one scale and an offset ([`Placement`]); what the network finds is mapped back to pixels
//! of the picture.

use std::borrow::Cow;

use bytes::Bytes;
use records::Pixels;

use crate::EmbedError;
use crate::normalise::{Normalisation, Number};
use crate::resize::{Rgb, resize};

/// Where a picture lies on the canvas: `canvas = picture * scale + offset`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Placement {
    pub(crate) scale: f32,
    pub(crate) offset: [f32; 2],
}

impl Placement {
    /// A place on the canvas as one in the picture.
    pub fn back(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        [(x - self.offset[0]) / self.scale, (y - self.offset[1]) / self.scale]
    }
}

/// A picture scaled for a canvas, and where it lies there.
pub struct Canvas {
    rgb: Bytes,
    width: usize,
    corner: (usize, usize),
    /// How to get back to the picture.
    pub placement: Placement,
}

impl Canvas {
    /// Scales the picture to fit a canvas of `side` pixels, with `border` times its size left free on every side.
    /// Without a border it lies in the top left corner.
    pub fn new(pixels: &Pixels, side: usize, border: f64) -> Result<Self, EmbedError> {
        let picture = lend(pixels)?;
        let (width, height) = (picture.width as f64, picture.height as f64);
        let around = 1.0 + 2.0 * border;
        let scale = (side as f64 / (width * around)).min(side as f64 / (height * around));
        let fitted = |length: f64| ((length * scale).round_ties_even().max(1.0) as usize).min(side);
        let (w, h) = (fitted(width), fitted(height));
        let (x, y) = if border > 0.0 { ((side - w) / 2, (side - h) / 2) } else { (0, 0) };
        let rgb = match resize(picture, w, h) {
            Cow::Borrowed(_) => pixels.rgb.clone(),
            Cow::Owned(resized) => resized.into(),
        };
        let placement = Placement { scale: scale as f32, offset: [x as f32, y as f32] };
        Ok(Self { rgb, width: w, corner: (x, y), placement })
    }

    /// Writes the canvas as the network takes it, `[3, side, side]`.
    pub fn write<T: Number>(&self, normalisation: &Normalisation, side: usize, block: &mut [T]) {
        normalisation.write(&self.rgb, self.width, self.corner, side, block);
    }
}

/// A picture for reading, if its pixels fill its size.
pub fn lend(picture: &Pixels) -> Result<Rgb<'_>, EmbedError> {
    let (width, height) = (picture.width as usize, picture.height as usize);
    let bytes = width.checked_mul(height).and_then(|pixels| pixels.checked_mul(3));
    if bytes != Some(picture.rgb.len()) || picture.rgb.is_empty() {
        return Err(EmbedError::Pixels {
            width: picture.width,
            height: picture.height,
            bytes: picture.rgb.len(),
        });
    }
    Ok(Rgb { width, height, data: &picture.rgb })
}
