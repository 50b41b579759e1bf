//! From RGB bytes to the numbers a network takes.

use inference::f16;
use serde::{Deserialize, Serialize};

/// A number that networks take.
pub trait Number: Copy {
    /// The nearest one.
    fn of(value: f32) -> Self;
}

impl Number for f32 {
    fn of(value: f32) -> Self {
        value
    }
}

impl Number for f16 {
    fn of(value: f32) -> Self {
        Self::from_f32(value)
    }
}

/// The order in which a network takes the colours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    /// Red first.
    Rgb,
    /// Blue first.
    Bgr,
}

/// `(value - mean) / std` for values 0 to 255, both in the order of the channels.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Normalisation {
    /// The order of the channels.
    pub channels: Channels,
    /// Subtracted from 0..255.
    pub mean: [f32; 3],
    /// Divided by.
    pub std: [f32; 3],
}

impl Normalisation {
    /// Whether every figure is finite and nothing is divided by zero.
    pub fn is_sound(&self) -> bool {
        self.mean.iter().chain(&self.std).all(|v| v.is_finite()) && self.std.iter().all(|v| *v != 0.0)
    }

    /// Writes RGB rows of `width` pixels into a planar `[3, side, side]` block, with the top left corner at `(x, y)`;
    /// all around it the block holds what black becomes.
    pub fn write<T: Number>(
        &self,
        rgb: &[u8],
        width: usize,
        (x, y): (usize, usize),
        side: usize,
        block: &mut [T],
    ) {
        for (channel, plane) in block.chunks_exact_mut(side * side).take(3).enumerate() {
            let from = match self.channels {
                Channels::Rgb => channel,
                Channels::Bgr => 2 - channel,
            };
            let (mean, scale) = (self.mean[channel], 1.0 / self.std[channel]);
            if rgb.len() != side * side * 3 {
                plane.fill(T::of(-mean * scale));
            }
            for (row, line) in rgb.chunks_exact(width * 3).zip(plane.chunks_exact_mut(side).skip(y)) {
                let (pixels, _) = row.as_chunks::<3>();
                for (value, pixel) in line[x..].iter_mut().zip(pixels) {
                    *value = T::of((f32::from(pixel[from]) - mean) * scale);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_mean_and_place_are_kept() {
        let mut normalisation =
            Normalisation { channels: Channels::Bgr, mean: [10.0, 20.0, 30.0], std: [2.0, 4.0, 5.0] };
        let mut block = vec![f32::NAN; 3 * 4];
        normalisation.write(&[30, 60, 110], 1, (1, 1), 2, &mut block);
        assert_eq!(block, [-5.0, -5.0, -5.0, 50.0, -5.0, -5.0, -5.0, 10.0, -6.0, -6.0, -6.0, 0.0]);
        normalisation.channels = Channels::Rgb;
        normalisation.write(&[30, 60, 110], 1, (1, 1), 2, &mut block);
        assert_eq!([block[3], block[7], block[11]], [10.0, 10.0, 16.0]);
    }
}
