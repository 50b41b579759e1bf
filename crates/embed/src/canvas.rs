//! A picture on the canvas that a detector looks at: a square, or the part of it that the picture takes.
//!
//! A picture on its canvas has one scale and an offset ([`Placement`]); what the network finds is mapped back to pixels
//! of the picture.

use std::borrow::Cow;

use bytes::Bytes;
use records::Pixels;

use crate::EmbedError;
use crate::normalise::{Normalisation, Number};
use crate::resize::{Rgb, resize, resized_rows};

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

/// A picture for a canvas, and where it lies there.
pub struct Canvas {
    content: Content,
    size: (usize, usize),
    corner: (usize, usize),
    /// Width and height of the whole.
    pub extent: (usize, usize),
    /// How to get back to the picture.
    pub placement: Placement,
}

enum Content {
    /// The picture, whose pixels fill its size; it is scaled row by row while it is written.
    Picture(Pixels),
    /// Its bytes, scaled.
    Scaled(Bytes),
}

impl Canvas {
    /// A picture that will be scaled to fit a canvas of `side` pixels, with `border` times its size left free on every
    /// side. Without a border it lies in the top left corner, and with `cells`, columns and rows beyond it are left out up to
    /// whole cells of so many pixels.
    pub fn new(pixels: &Pixels, side: usize, border: f64, cells: Option<usize>) -> Result<Self, EmbedError> {
        let picture = lend(pixels)?;
        let (width, height) = (picture.width as f64, picture.height as f64);
        let around = 1.0 + 2.0 * border;
        let scale = (side as f64 / (width * around)).min(side as f64 / (height * around));
        let fitted = |length: f64| ((length * scale).round_ties_even().max(1.0) as usize).min(side);
        let (w, h) = (fitted(width), fitted(height));
        let taken = |length: usize| match cells {
            Some(cells) if border == 0.0 => length.next_multiple_of(cells).min(side),
            _ => side,
        };
        let extent = (taken(w), taken(h));
        let corner = if border > 0.0 { ((side - w) / 2, (side - h) / 2) } else { (0, 0) };
        let offset = [corner.0 as f32, corner.1 as f32];
        let placement = Placement { scale: scale as f32, offset };
        Ok(Self { content: Content::Picture(pixels.clone()), size: (w, h), corner, extent, placement })
    }

    /// Scales it now, where whoever writes it should not spend time on it.
    pub fn scaled(self) -> Self {
        let (w, h) = self.size;
        let content = match &self.content {
            Content::Picture(pixels) => match lend(pixels).map(|picture| resize(picture, w, h)) {
                Ok(Cow::Owned(resized)) => Content::Scaled(resized.into()),
                Ok(Cow::Borrowed(_)) | Err(_) => Content::Scaled(pixels.rgb.clone()),
            },
            Content::Scaled(bytes) => Content::Scaled(bytes.clone()),
        };
        Self { content, ..self }
    }

    /// Writes the canvas as the network takes it, `[3, height, width]`.
    pub fn write<T: Number>(&self, normalisation: &Normalisation, block: &mut [T]) {
        let ((w, h), (x, mut y), (width, _)) = (self.size, self.corner, self.extent);
        match &self.content {
            Content::Scaled(bytes) => normalisation.write(bytes, w, self.corner, width, block),
            Content::Picture(pixels) => {
                if self.size != self.extent {
                    normalisation.blacken(block);
                }
                // `new` has made sure of it.
                let Ok(picture) = lend(pixels) else { return };
                resized_rows(picture, w, h, |row| {
                    normalisation.write_row(row, (x, y), width, block);
                    y += 1;
                });
            }
        }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::normalise::Channels;

    proptest! {
        /// Scaled before or while it is written, a picture lies on the canvas alike, and all around it is black; left out is
        /// nothing but black, and the scale stays.
        #[test]
        fn early_or_late_on_all_of_the_square_or_a_part_it_is_the_same(
            w in 1u32..60, h in 1u32..60, side in 20usize..70, border in prop::sample::select(vec![0.0, 0.1, 0.25]), seed: u32,
            cells in prop::option::of(1usize..20),
        ) {
            let rgb: Vec<u8> = (0..w * h * 3).map(|at| 1 | ((at + 1).wrapping_mul(seed | 1) >> 17) as u8).collect();
            let pixels = Pixels { width: w, height: h, rgb: rgb.into() };
            let normalisation = Normalisation { channels: Channels::Bgr, mean: [9.0, 0.0, 5.0], std: [3.0, 1.0, 2.0] };
            let write = |canvas: Canvas| {
                let mut block = vec![f32::NAN; 3 * canvas.extent.0 * canvas.extent.1];
                canvas.write(&normalisation, &mut block);
                block
            };
            let new = |cells| Canvas::new(&pixels, side, border, cells).unwrap();
            let (late, whole) = (new(cells), new(None));
            prop_assert_eq!(late.placement.scale, whole.placement.scale);
            prop_assert_eq!((late.size, whole.extent), (whole.size, (side, side)));
            let ((width, height), size, corner) = (late.extent, late.size, late.corner);
            for (taken, length) in [(width, size.0), (height, size.1)] {
                let cell = cells.filter(|_| border == 0.0).unwrap_or(side);
                prop_assert!(taken == side || (taken < side && taken % cell == 0));
                prop_assert!((length..length + cell).contains(&taken));
            }
            let (late, early) = (write(late), write(new(cells).scaled()));
            prop_assert!(late.iter().all(|value| value.is_finite()));
            for (at, value) in late[width * height..2 * width * height].iter().enumerate() {
                let (x, y) = (at % width, at / width);
                let inside = (corner.0..corner.0 + size.0).contains(&x) && (corner.1..corner.1 + size.1).contains(&y);
                prop_assert_eq!(*value > 0.0, inside, "at {} {}", x, y);
            }
            prop_assert_eq!(late, early);
        }
    }
}
