//! From RGB bytes to the numbers a network takes.

use inference::{FromBytes, f16};
use serde::{Deserialize, Serialize};

/// A number that networks take.
pub trait Number: Copy {
    /// What a byte of a picture becomes: `(byte - mean) * factor`, unless the network does that itself.
    fn of(byte: u8, mean: f32, factor: f32) -> Self;
}

impl Number for f32 {
    fn of(byte: u8, mean: f32, factor: f32) -> Self {
        (Self::from(byte) - mean) * factor
    }
}

impl Number for f16 {
    fn of(byte: u8, mean: f32, factor: f32) -> Self {
        Self::from_f32(f32::of(byte, mean, factor))
    }
}

impl Number for u8 {
    fn of(byte: u8, _mean: f32, _factor: f32) -> Self {
        byte
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

    /// Whether black becomes zero.
    pub fn black_is_zero(&self) -> bool {
        self.mean == [0.0; 3]
    }

    /// Which of a pixel's bytes goes into a channel's plane, and what it is subtracted and multiplied with there.
    fn channel(&self, channel: usize) -> (usize, f32, f32) {
        let from = match self.channels {
            Channels::Rgb => channel,
            Channels::Bgr => 2 - channel,
        };
        (from, self.mean[channel], 1.0 / self.std[channel])
    }

    /// What a network has to do with bytes that are given to it as they are.
    pub fn from_bytes(&self) -> FromBytes {
        let [(_, first, a), (_, second, b), (_, third, c)] = [0, 1, 2].map(|channel| self.channel(channel));
        FromBytes { mean: [first, second, third], factor: [a, b, c] }
    }

    /// Fills a planar `[3, height, width]` block with what black becomes.
    pub fn blacken<T: Number>(&self, block: &mut [T]) {
        let plane = block.len() / 3;
        for (channel, plane) in block.chunks_exact_mut(plane.max(1)).take(3).enumerate() {
            let (_, mean, factor) = self.channel(channel);
            plane.fill(T::of(0, mean, factor));
        }
    }

    /// Writes a row of pixels into a planar `[3, height, width]` block, from the place `(x, y)` on. Pixels may have more
    /// bytes than red, green and blue.
    pub fn write_row<T: Number, const N: usize>(
        &self,
        pixels: &[[u8; N]],
        (x, y): (usize, usize),
        width: usize,
        block: &mut [T],
    ) {
        let plane = block.len() / 3;
        for (channel, plane) in block.chunks_exact_mut(plane.max(1)).take(3).enumerate() {
            let (from, mean, factor) = self.channel(channel);
            for (value, pixel) in plane[y * width + x..(y + 1) * width].iter_mut().zip(pixels) {
                *value = T::of(pixel[from], mean, factor);
            }
        }
    }

    /// Writes RGB rows of `columns` pixels into a planar `[3, height, width]` block, with the top left corner at `(x, y)`;
    /// all around it the block holds what black becomes.
    pub fn write<T: Number>(
        &self,
        rgb: &[u8],
        columns: usize,
        (x, y): (usize, usize),
        width: usize,
        block: &mut [T],
    ) {
        if rgb.len() != block.len() {
            self.blacken(block);
        }
        for (row, pixels) in rgb.chunks_exact(columns * 3).enumerate() {
            self.write_row(pixels.as_chunks::<3>().0, (x, y + row), width, block);
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
