//! What the camera does to a drawing: white balance, exposure, contrast, saturation, blur, sensor noise.

use super::nuisance::Nuisance;
use super::stream::Stream;

/// Applies the camera of `nuisance` to interleaved RGB pixels.
pub(crate) fn develop(pixels: &mut [u8], width: usize, height: usize, nuisance: &Nuisance) {
    let tint = 0.085 * nuisance.warmth;
    grade(
        pixels,
        [
            nuisance.exposure * (1.0 + tint),
            nuisance.exposure * (1.0 + 0.15 * tint),
            nuisance.exposure * (1.0 - tint),
        ],
        nuisance.contrast,
        nuisance.saturation,
    );
    let radius = nuisance.blur * width.min(height) as f32;
    if radius > 0.25 {
        blur(pixels, width, height, radius);
    }
    if nuisance.noise > 0.3 {
        grain(pixels, nuisance.noise, nuisance.noise_seed);
    }
}

/// Gain per channel, contrast around middle grey, saturation around the pixel's own brightness.
pub(crate) fn grade(pixels: &mut [u8], gain: [f32; 3], contrast: f32, saturation: f32) {
    for pixel in pixels.chunks_exact_mut(3) {
        let mut values = [0.0_f32; 3];
        for channel in 0..3 {
            values[channel] = (f32::from(pixel[channel]) * gain[channel] - 128.0) * contrast + 128.0;
        }
        let grey = 0.299 * values[0] + 0.587 * values[1] + 0.114 * values[2];
        for channel in 0..3 {
            pixel[channel] = (grey + (values[channel] - grey) * saturation).clamp(0.0, 255.0) as u8;
        }
    }
}

/// A small blur: each pixel mixed with its four neighbours along both axes, weights from the radius.
pub(crate) fn blur(pixels: &mut [u8], width: usize, height: usize, radius: f32) {
    // A [s, 1 - 2s, s] kernel has variance 2s; wide blurs take several passes of it.
    let passes = (radius * radius / 0.5).ceil().clamp(1.0, 12.0);
    let share = (radius * radius / passes / 2.0).min(0.3);
    let (side, centre) = ((share * 256.0) as u32, 256 - 2 * (share * 256.0) as u32);
    let row = width * 3;
    let mut copy = vec![0_u8; pixels.len()];
    for _ in 0..passes as usize {
        for y in 0..height {
            let (source, target) = (&pixels[y * row..(y + 1) * row], &mut copy[y * row..(y + 1) * row]);
            for x in 0..row {
                let left = source[if x >= 3 { x - 3 } else { x }];
                let right = source[if x + 3 < row { x + 3 } else { x }];
                target[x] =
                    ((u32::from(left) * side + u32::from(source[x]) * centre + u32::from(right) * side + 128)
                        >> 8) as u8;
            }
        }
        for y in 0..height {
            let above = &copy[y.saturating_sub(1) * row..][..row];
            let below = &copy[(y + 1).min(height - 1) * row..][..row];
            let (source, target) = (&copy[y * row..(y + 1) * row], &mut pixels[y * row..(y + 1) * row]);
            for x in 0..row {
                target[x] = ((u32::from(above[x]) * side
                    + u32::from(source[x]) * centre
                    + u32::from(below[x]) * side
                    + 128)
                    >> 8) as u8;
            }
        }
    }
}

/// Noise of this standard deviation, partly common to the three channels of a pixel.
pub(crate) fn grain(pixels: &mut [u8], deviation: f32, seed: u64) {
    let mut stream = Stream::new(seed, 1);
    // One table of noise values and cheap random steps through it: a draw per channel would cost more
    // than the drawing itself.
    let table: Vec<i16> = (0..4096).map(|_| (stream.bell() * deviation * 0.8) as i16).collect();
    let mut state = stream.word() | 1;
    for pixel in pixels.chunks_exact_mut(3) {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let common = table[(state >> 52) as usize];
        for (channel, value) in pixel.iter_mut().enumerate() {
            let own = table[((state >> (40 - 12 * channel)) & 4095) as usize] / 2;
            *value = (i16::from(*value) + common + own).clamp(0, 255) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grading_with_ones_changes_nothing() {
        let before: Vec<u8> = (0..=254).collect();
        let mut after = before.clone();
        grade(&mut after, [1.0; 3], 1.0, 1.0);
        let worst = before.iter().zip(&after).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(worst <= 1, "{worst}");
    }

    #[test]
    fn a_blur_keeps_flat_areas_and_softens_edges() {
        let (width, height) = (9, 7);
        let mut flat = vec![77_u8; width * height * 3];
        blur(&mut flat, width, height, 1.0);
        assert!(flat.iter().all(|value| value.abs_diff(77) <= 1));
        let mut edge: Vec<u8> =
            (0..width * height * 3).map(|index| if index / 3 % width < 4 { 0 } else { 240 }).collect();
        blur(&mut edge, width, height, 1.0);
        let row = &edge[3 * width * 3..][..width * 3];
        assert!(row[3 * 3] > 20 && row[4 * 3] < 220, "{:?}", [row[9], row[12]]);
    }

    #[test]
    fn grain_has_the_deviation_asked_for() {
        let mut pixels = vec![128_u8; 30_000];
        grain(&mut pixels, 8.0, 4);
        let variance =
            pixels.iter().map(|value| (f64::from(*value) - 128.0).powi(2)).sum::<f64>() / pixels.len() as f64;
        assert!((5.0..9.0).contains(&variance.sqrt()), "{}", variance.sqrt());
    }
}
