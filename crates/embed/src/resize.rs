//! Resampling of RGB pictures, close to OpenCV's `INTER_AREA` (when both sides shrink or stay) and `INTER_LINEAR` (else).
//!
//! Both are separable: each output row and column is a weighted sum of a run of source rows and columns, with pixel
//! centres at one half.

use std::borrow::Cow;

/// An RGB picture lent for reading: `width * height * 3` bytes, rows from the top.
#[derive(Clone, Copy)]
pub struct Rgb<'a> {
    /// Width in pixels, at least 1.
    pub width: usize,
    /// Height in pixels, at least 1.
    pub height: usize,
    /// The bytes.
    pub data: &'a [u8],
}

/// The nearest whole number of a value from 0 to 255. Adding 2^23 leaves it in the lowest bits of the float, which is far
/// faster over many values than a cast that has to watch its range.
#[inline]
pub fn rounded(value: f32) -> u8 {
    (value + 8_388_608.0).to_bits() as u8
}

/// For each output place, where its run of source places starts and what each of them weighs.
struct Taps {
    runs: Vec<(usize, usize, usize)>,
    weights: Vec<f32>,
}

impl Taps {
    fn iter(&self) -> impl Iterator<Item = (usize, &[f32])> {
        self.runs.iter().map(|(start, from, to)| (*start, &self.weights[*from..*to]))
    }

    fn push(&mut self, start: usize, weights: impl IntoIterator<Item = f32>) {
        let from = self.weights.len();
        self.weights.extend(weights);
        self.runs.push((start, from, self.weights.len()));
    }

    /// Every source place counts by the share of it that the output place covers.
    fn area(source: usize, target: usize) -> Self {
        let scale = source as f64 / target as f64;
        let mut taps = Self { runs: Vec::with_capacity(target), weights: Vec::new() };
        for place in 0..target {
            let (from, to) = (place as f64 * scale, ((place + 1) as f64 * scale).min(source as f64));
            let first = (from + 1e-3).floor() as usize;
            let last = ((to - 1e-3).ceil() as usize).clamp(first + 1, source.max(first + 1));
            let covered = |at: usize| (to.min(at as f64 + 1.0) - from.max(at as f64)).max(0.0);
            let total: f64 = (first..last).map(covered).sum();
            taps.push(first, (first..last).map(|at| (covered(at) / total) as f32));
        }
        taps
    }

    /// Two neighbours by distance; the border repeats.
    fn linear(source: usize, target: usize) -> Self {
        let scale = source as f64 / target as f64;
        let mut taps = Self { runs: Vec::with_capacity(target), weights: Vec::with_capacity(2 * target) };
        for place in 0..target {
            let at = ((place as f64 + 0.5) * scale - 0.5).clamp(0.0, (source - 1) as f64);
            let start = (at.floor() as usize).min(source.saturating_sub(2));
            let beyond = (at - start as f64) as f32;
            if source == 1 {
                taps.push(0, [1.0]);
            } else {
                taps.push(start, [1.0 - beyond, beyond]);
            }
        }
        taps
    }
}

/// Resamples to `width x height` (each at least 1): `width * height * 3` bytes.
pub fn resize<'a>(picture: Rgb<'a>, width: usize, height: usize) -> Cow<'a, [u8]> {
    if (picture.width, picture.height) == (width, height) {
        return Cow::Borrowed(picture.data);
    }
    let mut out = vec![0; width * height * 3];
    if width <= picture.width && height <= picture.height {
        shrink(picture, &Taps::area(picture.width, width), &Taps::area(picture.height, height), &mut out);
    } else {
        grow(picture, &Taps::linear(picture.width, width), &Taps::linear(picture.height, height), &mut out);
    }
    Cow::Owned(out)
}

/// Rows first, since there are fewer afterwards.
fn shrink(picture: Rgb<'_>, columns: &Taps, rows: &Taps, out: &mut [u8]) {
    let stride = picture.width * 3;
    let mut sum = vec![0.0f32; stride];
    for (line, (start, weights)) in out.chunks_exact_mut(columns.runs.len() * 3).zip(rows.iter()) {
        sum.fill(0.0);
        for (row, weight) in picture.data[start * stride..].chunks_exact(stride).zip(weights) {
            for (total, value) in sum.iter_mut().zip(row) {
                *total += weight * f32::from(*value);
            }
        }
        for (pixel, value) in line.iter_mut().zip(across(&sum, columns).as_flattened()) {
            *pixel = rounded(*value);
        }
    }
}

/// Bits behind the point of a weight, as OpenCV's `INTER_LINEAR` has them for bytes.
const WEIGHT_BITS: u32 = 11;

/// Columns first, since there are fewer rows yet.
///
/// In OpenCV's fixed-point arithmetic, not in floating point: the two differ by one step in a tenth of the bytes, which is
/// enough for a detector to prefer the anchor beside, and that moves a box by pixels.
fn grow(picture: Rgb<'_>, columns: &Taps, rows: &Taps, out: &mut [u8]) {
    let fixed = |weight: f32| (weight * (1 << WEIGHT_BITS) as f32).round_ties_even() as i32;
    let wide = columns.runs.len() * 3;
    let columns: Vec<(usize, i32, i32)> =
        columns.iter().map(|(start, w)| (start * 3, fixed(w[0]), second(w, fixed))).collect();
    let stride = picture.width * 3;
    // A row is widened once and serves for as long as rows of the result lie beside it; what is one pixel wide has itself
    // for a neighbour.
    let widen = |row: usize, wide: &mut [i16]| {
        let Some(source) = picture.data.get(row * stride..(row + 1) * stride) else { return };
        let (pixels, _) = wide.as_chunks_mut::<3>();
        for (pixel, (start, first, beyond)) in pixels.iter_mut().zip(&columns) {
            let [left, right] = match source.get(*start..).and_then(<[u8]>::first_chunk::<6>) {
                Some([a, b, c, d, e, f]) => [[*a, *b, *c], [*d, *e, *f]],
                None => {
                    let lone = source.get(*start..).and_then(<[u8]>::first_chunk::<3>).copied();
                    [lone.unwrap_or_default(); 2]
                }
            };
            *pixel = std::array::from_fn(|c| {
                ((i32::from(left[c]) * first + i32::from(right[c]) * beyond) >> 4) as i16
            });
        }
    };
    let (mut above, mut below) = (vec![0i16; wide], vec![0i16; wide]);
    let mut at: Option<usize> = None;
    for (line, (start, weights)) in out.chunks_exact_mut(wide).zip(rows.iter()) {
        if at != Some(start) {
            if at.is_some_and(|at| at + 1 == start) {
                std::mem::swap(&mut above, &mut below);
            } else {
                widen(start, &mut above);
            }
            // The last row has none below it; its weight is 0 then.
            widen(start + 1, &mut below);
            at = Some(start);
        }
        // At most 2^11 each, so that everything fits 16 bits and the compiler takes eight values at a time.
        let (first, beyond) = (fixed(weights[0]) as i16, second(weights, fixed) as i16);
        let high = |weight: i16, value: i16| ((i32::from(weight) * i32::from(value)) >> 16) as i16;
        for ((pixel, a), b) in line.iter_mut().zip(&above).zip(&below) {
            let sum = high(first, *a) + high(beyond, *b);
            *pixel = ((sum + 2) >> 2).clamp(0, 255) as u8;
        }
    }
}

fn second(weights: &[f32], fixed: impl Fn(f32) -> i32) -> i32 {
    weights.get(1).map_or(0, |weight| fixed(*weight))
}

fn across(row: &[f32], columns: &Taps) -> Vec<[f32; 3]> {
    let (pixels, _) = row.as_chunks::<3>();
    let weigh = |(start, weights): (usize, &[f32])| {
        pixels[start..].iter().zip(weights).fold([0.0; 3], |sum, (pixel, weight)| {
            [sum[0] + weight * pixel[0], sum[1] + weight * pixel[1], sum[2] + weight * pixel[2]]
        })
    };
    columns.iter().map(weigh).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn grey(values: &[u8]) -> Vec<u8> {
        values.iter().flat_map(|v| [*v; 3]).collect()
    }

    fn first_channel(data: &[u8]) -> Vec<u8> {
        data.iter().step_by(3).copied().collect()
    }

    #[test]
    fn area_averages_what_is_covered() {
        let data = grey(&[0, 100, 200, 50, 60, 70]);
        let picture = Rgb { width: 6, height: 1, data: &data };
        assert_eq!(first_channel(&resize(picture, 3, 1)), [50, 125, 65]);
        // 6 -> 4: each covers one and a half: (0 + 100/2) / 1.5, (100/2 + 200) / 1.5, …
        assert_eq!(first_channel(&resize(picture, 4, 1)), [33, 167, 53, 67]);
    }

    #[test]
    fn linear_interpolates_between_centres() {
        let data = grey(&[0, 100]);
        let picture = Rgb { width: 2, height: 1, data: &data };
        assert_eq!(first_channel(&resize(picture, 4, 1)), [0, 25, 75, 100]);
        assert_eq!(first_channel(&resize(picture, 2, 3)), [0, 100, 0, 100, 0, 100]);
    }

    proptest! {
        /// Whatever the sizes, a plain picture stays plain and nothing is read out of bounds.
        #[test]
        fn plain_stays_plain(w in 1usize..70, h in 1usize..70, to_w in 1usize..90, to_h in 1usize..90, v: u8) {
            let data = vec![v; w * h * 3];
            let out = resize(Rgb { width: w, height: h, data: &data }, to_w, to_h);
            prop_assert_eq!(out.len(), to_w * to_h * 3);
            prop_assert!(out.iter().all(|byte| byte.abs_diff(v) <= 1));
        }
    }
}
