//! PDQ, the perceptual hash ("The TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing Algorithm", Facebook 2019).
//!
//! Luminance, two passes of a box filter in both directions, 64 x 64 samples, the 16 x 16 lowest frequencies of the
//! cosine transform without the constant ones, one bit for each above their median. Mirroring a picture only turns the
//! sign of every second horizontal frequency, so the mirrored hash costs no second transform.

use std::f64::consts::PI;
use std::sync::LazyLock;

use records::Pdq;

use crate::resize::{Rgb, resize};

const SAMPLES: usize = 64;
const FREQUENCIES: usize = 16;
/// Larger pictures are shrunk to this first, as the authors' own tools do.
const LARGEST_SIDE: usize = 512;
/// Smaller pictures have nothing to hash.
const SMALLEST_SIDE: usize = 5;

/// `COSINES[f][x]`: frequency `f + 1` of the cosine transform of 64 samples.
static COSINES: LazyLock<[[f32; SAMPLES]; FREQUENCIES]> = LazyLock::new(|| {
    let scale = (2.0 / SAMPLES as f64).sqrt();
    std::array::from_fn(|f| {
        std::array::from_fn(|x| {
            let angle = PI / 2.0 / SAMPLES as f64 * (f + 1) as f64 * (2 * x + 1) as f64;
            (scale * angle.cos()) as f32
        })
    })
});

/// Hash of the picture and of its mirror image; `None` if a side is under 5 pixels.
pub fn hash(picture: Rgb<'_>) -> Option<(Pdq, Pdq)> {
    let (width, height) = (picture.width.min(LARGEST_SIDE), picture.height.min(LARGEST_SIDE));
    if width.min(height) < SMALLEST_SIDE {
        return None;
    }
    let data = resize(picture, width, height);
    let (pixels, _) = data.as_chunks::<3>();
    let luminance = pixels
        .iter()
        .map(|[r, g, b]| 0.299 * f32::from(*r) + 0.587 * f32::from(*g) + 0.114 * f32::from(*b))
        .collect();
    Some(hash_luminance(luminance, width, height))
}

fn hash_luminance(mut luminance: Vec<f32>, width: usize, height: usize) -> (Pdq, Pdq) {
    let mut other = vec![0.0; luminance.len()];
    if (width, height) != (SAMPLES, SAMPLES) {
        let window = |side: usize| side.div_ceil(2 * SAMPLES);
        for _ in 0..2 {
            for (from, to) in luminance.chunks_exact(width).zip(other.chunks_exact_mut(width)) {
                box_along_row(from, to, window(width));
            }
            box_along_columns(&other, &mut luminance, width, window(height));
        }
    }
    let sample = |place: usize, side: usize| (2 * place + 1) * side / (2 * SAMPLES);
    let small: [[f32; SAMPLES]; SAMPLES] = std::array::from_fn(|row| {
        std::array::from_fn(|column| luminance[sample(row, height) * width + sample(column, width)])
    });
    let quality = quality(&small);
    let mut frequencies = transform(&small);
    let bits = above_median(&frequencies);
    for row in &mut frequencies {
        row.iter_mut().step_by(2).for_each(|value| *value = -*value);
    }
    (Pdq { bits, quality }, Pdq { bits: above_median(&frequencies), quality })
}

/// Means over `window` neighbours along a row. At the ends fewer neighbours count.
fn box_along_row(from: &[f32], to: &mut [f32], window: usize) {
    let (behind, ahead) = (window - 1 - window / 2, window / 2);
    let count = from.len();
    let mean = |place: usize| {
        let run = &from[place.saturating_sub(behind)..(place + ahead + 1).min(count)];
        run.iter().sum::<f32>() / run.len() as f32
    };
    let inner = count.saturating_sub(window - 1);
    let (head, rest) = to.split_at_mut(behind.min(count));
    let (middle, tail) = rest.split_at_mut(inner.min(rest.len()));
    head.iter_mut().enumerate().for_each(|(place, value)| *value = mean(place));
    let ends = behind + middle.len();
    tail.iter_mut().enumerate().for_each(|(place, value)| *value = mean(ends + place));
    // Whole shifted rows are added, which the compiler turns into vector instructions.
    middle.fill(0.0);
    for shift in 0..window {
        for (sum, value) in middle.iter_mut().zip(&from[shift..]) {
            *sum += value;
        }
    }
    let share = 1.0 / window as f32;
    middle.iter_mut().for_each(|sum| *sum *= share);
}

/// Means over `window` neighbouring rows of the given width. At the ends fewer neighbours count.
fn box_along_columns(from: &[f32], to: &mut [f32], width: usize, window: usize) {
    let (behind, ahead) = (window - 1 - window / 2, window / 2);
    let count = from.len() / width;
    for (place, line) in to.chunks_exact_mut(width).enumerate() {
        let (first, last) = (place.saturating_sub(behind), (place + ahead).min(count - 1));
        let share = 1.0 / (last - first + 1) as f32;
        line.fill(0.0);
        for source in from[first * width..(last + 1) * width].chunks_exact(width) {
            for (sum, value) in line.iter_mut().zip(source) {
                *sum += value;
            }
        }
        line.iter_mut().for_each(|sum| *sum *= share);
    }
}

/// 0 to 100 by how many and how strong gradients there are; the steps and the divisor are the authors'.
fn quality(small: &[[f32; SAMPLES]; SAMPLES]) -> u8 {
    let step = |a: f32, b: f32| ((a - b) * 100.0 / 255.0).trunc().abs() as u32;
    let down: u32 =
        small.windows(2).flat_map(|pair| pair[0].iter().zip(&pair[1])).map(|(a, b)| step(*a, *b)).sum();
    let right: u32 = small.iter().flat_map(|row| row.windows(2)).map(|pair| step(pair[0], pair[1])).sum();
    ((down + right) / 90).min(100) as u8
}

fn transform(small: &[[f32; SAMPLES]; SAMPLES]) -> [[f32; FREQUENCIES]; FREQUENCIES] {
    let cosines = &*COSINES;
    std::array::from_fn(|vertical| {
        let mut row = [0.0f32; SAMPLES];
        for (weight, line) in cosines[vertical].iter().zip(small) {
            for (sum, value) in row.iter_mut().zip(line) {
                *sum += weight * value;
            }
        }
        std::array::from_fn(|horizontal| cosines[horizontal].iter().zip(&row).map(|(w, v)| w * v).sum())
    })
}

/// Bit `16 * vertical + horizontal`, counted from the end as the authors print it, for each above the lower median.
fn above_median(frequencies: &[[f32; FREQUENCIES]; FREQUENCIES]) -> [u8; 32] {
    let mut sorted = frequencies.as_flattened().to_vec();
    let middle = sorted.len() / 2 - 1;
    let (_, median, _) = sorted.select_nth_unstable_by(middle, f32::total_cmp);
    let mut bits = [0; 32];
    for (place, value) in frequencies.as_flattened().iter().enumerate() {
        if value > median {
            bits[31 - place / 8] |= 1 << (place % 8);
        }
    }
    bits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A picture of 40 standing waves, different for every seed, sampled at any size.
    fn waves(seed: u64, width: usize, height: usize) -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut random = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            ((state >> 11) % below) as f64
        };
        let mut grey = vec![0.0; width * height];
        for _ in 0..40 {
            let mut line = |length: usize| -> Vec<f64> {
                let (frequency, phase) = (PI * (random(16) + 1.0), random(6283) / 1000.0);
                (0..length).map(|at| (frequency * (at as f64 + 0.5) / length as f64 + phase).cos()).collect()
            };
            let (across, down) = (line(width), line(height));
            for (row, factor) in grey.chunks_exact_mut(width).zip(&down) {
                row.iter_mut().zip(&across).for_each(|(sum, value)| *sum += factor * value);
            }
        }
        grey.iter().flat_map(|value| [(value * 14.0 + 127.5).clamp(0.0, 255.0) as u8; 3]).collect()
    }

    fn hash_of(data: &[u8], width: usize, height: usize) -> (Pdq, Pdq) {
        hash(Rgb { width, height, data }).unwrap()
    }

    fn mirrored(data: &[u8], width: usize) -> Vec<u8> {
        data.chunks_exact(width * 3).flat_map(|row| row.chunks_exact(3).rev().flatten().copied()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Unrelated pictures are about 128 bits apart. A filter with an even window leans by half a pixel and samples are
        /// whole pixels, so a mirrored or resized picture of nothing but fine detail differs by many bits itself.
        #[test]
        fn mirrors_and_sizes_agree(seed in 0u64..500, width in 130usize..260, height in 130usize..260) {
            let data = waves(seed, width, height);
            let (plain, mirror) = hash_of(&data, width, height);
            let ones: u32 = plain.bits.iter().map(|byte| byte.count_ones()).sum();
            prop_assert_eq!(ones, 128, "half of the frequencies lie above their median");
            prop_assert!(plain.is_usable());
            let (flipped, back) = hash_of(&mirrored(&data, width), width, height);
            prop_assert!(mirror.distance(&flipped) <= 72, "{}", mirror.distance(&flipped));
            prop_assert!(back.distance(&plain) <= 72);
            let (larger, _) = hash_of(&waves(seed, width * 2, height * 2), width * 2, height * 2);
            prop_assert!(plain.distance(&larger) <= 72, "{}", plain.distance(&larger));
            let (other, _) = hash_of(&waves(seed + 1000, width, height), width, height);
            prop_assert!(plain.distance(&other) > 80 && mirror.distance(&other) > 80);
        }
    }

    /// The authors' own C++ code (ThreatExchange, `pdq/cpp`) gives these hashes, of the picture and of its mirror image,
    /// for the pattern below; sums in another order may turn a bit or two.
    #[test]
    fn agrees_with_the_authors_code() {
        let expected = [
            (
                64,
                64,
                "b5a96969da4936db6c9399333332e66798c671c6970e241c683c0bfa2ff0de80",
                "e0fc3c388f1c638e19c6cc666662b332cd932493c25b71493d295eaf7aa58ad5",
            ),
            (
                200,
                160,
                "ad694b49924b24d3c992b3326666cc6638c6e18e971e241e4afe1bfa6ff0de80",
                "f83c1e1cc71e71869cc7c666332399334c93b4dbc24971491fa94ead3aa58b55",
            ),
            (
                320,
                320,
                "a5294b69924924dbcd9299333776cc6698c6e18e970e241c68fe1bfa6ff0de80",
                "f07c1c1cc71c718618c7c46666239133cd9334dbc25b71493dab4eaf3aa58bd5",
            ),
            (
                97,
                411,
                "a5296b69924b24db4d9299333376c46698c6e18e970e241c68fe1bfa6ff0df80",
                "f07c1c1cc71e718618c7cc6666239133cd9334dbc25b71493da94eaf3aa58ad5",
            ),
            (
                512,
                300,
                "ad294b49924b24dbcd9293337676cc6618c6e18e970e241c4afe1bfa6ff0de80",
                "f07c1e1cc71c718698c7c466232399334d93b4dbc24b71491fab4eaf3aa58b55",
            ),
        ];
        let saw = |value: usize, period: usize| {
            let place = value % (2 * period);
            if place < period { place } else { 2 * period - place }
        };
        for (width, height, plain, mirror) in expected {
            let mut data = Vec::new();
            for row in 0..height {
                for column in 0..width {
                    let (u, v) = (column * 1024 / width, row * 1024 / height);
                    for channel in 0..3 {
                        let sum = saw(3 * u + v, 200 + 37 * channel)
                            + saw(2 * v + u / 3 + 100 * channel, 150)
                            + saw(u * v / 300, 173);
                        data.push((sum / 3) as u8);
                    }
                }
            }
            let (found, mirrored) = hash_of(&data, width, height);
            let distance = |found: &Pdq, text: &str| {
                let mut bits = [0; 32];
                hex::decode_to_slice(text, &mut bits).unwrap();
                found.distance(&Pdq { bits, quality: 100 })
            };
            assert!(distance(&found, plain) <= 2, "{width}x{height}: {}", distance(&found, plain));
            let unseen = found.mirrored().distance(&mirrored);
            assert!(unseen <= 16, "without the pixels: {width}x{height}: {unseen}");
            assert!(distance(&mirrored, mirror) <= 2, "{width}x{height}: {}", distance(&mirrored, mirror));
            assert_eq!(found.quality, 100);
        }
    }

    #[test]
    fn plain_and_tiny_pictures_have_no_quality() {
        assert_eq!(hash_of(&[200; 100 * 80 * 3], 100, 80).0.quality, 0);
        assert!(hash(Rgb { width: 4, height: 100, data: &[0; 4 * 100 * 3] }).is_none());
    }

    #[test]
    fn the_box_filter_is_the_authors() {
        let mut out = [0.0; 6];
        for (window, expected) in [
            (1, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]),
            (2, [1.5, 3.0, 6.0, 12.0, 24.0, 32.0]),
            (3, [1.5, 7.0 / 3.0, 14.0 / 3.0, 28.0 / 3.0, 56.0 / 3.0, 24.0]),
            (4, [7.0 / 3.0, 3.75, 7.5, 15.0, 56.0 / 3.0, 24.0]),
        ] {
            let line = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0];
            box_along_row(&line, &mut out, window);
            let mut upright = [0.0; 6];
            box_along_columns(&line, &mut upright, 1, window);
            for (found, expected) in upright.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-4, "window {window}: {upright:?}");
            }
            for (found, expected) in out.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-4, "window {window}: {out:?}");
            }
        }
    }
}
