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

/// A pixel in a word of its own; the last byte is empty.
pub type Padded = [u8; 4];

/// Resamples to `width x height` (each at least 1) and gives each row from the top, so that it can be worked on while it
/// is in the cache.
pub fn resized_rows(picture: Rgb<'_>, width: usize, height: usize, mut each: impl FnMut(&[Padded])) {
    if (picture.width, picture.height) == (width, height) {
        let mut line = vec![[0; 4]; width];
        for row in picture.data.chunks_exact(width * 3) {
            pad(row, &mut line);
            each(&line);
        }
    } else if width <= picture.width && height <= picture.height {
        shrink(picture, &Taps::area(picture.width, width), &Taps::area(picture.height, height), each);
    } else {
        grow(picture, &Taps::linear(picture.width, width), &Taps::linear(picture.height, height), each);
    }
}

/// Resamples to `width x height` (each at least 1): `width * height * 3` bytes.
pub fn resize<'a>(picture: Rgb<'a>, width: usize, height: usize) -> Cow<'a, [u8]> {
    if (picture.width, picture.height) == (width, height) {
        return Cow::Borrowed(picture.data);
    }
    let mut out = vec![0; width * height * 3];
    let mut lines = out.as_chunks_mut::<3>().0.chunks_exact_mut(width);
    resized_rows(picture, width, height, |row| {
        let line = lines.next().unwrap_or_default();
        line.iter_mut().zip(row).for_each(|(pixel, [r, g, b, _])| *pixel = [*r, *g, *b]);
    });
    Cow::Owned(out)
}

fn pad(row: &[u8], line: &mut [Padded]) {
    let (pixels, _) = row.as_chunks::<3>();
    line.iter_mut().zip(pixels).for_each(|(place, [r, g, b])| *place = [*r, *g, *b, 0]);
}

/// Rows first, since there are fewer afterwards.
fn shrink(picture: Rgb<'_>, columns: &Taps, rows: &Taps, mut each: impl FnMut(&[Padded])) {
    let stride = picture.width * 3;
    let mut sum = vec![0.0f32; stride];
    let mut line = vec![[0; 4]; columns.runs.len()];
    for (start, weights) in rows.iter() {
        sum.fill(0.0);
        for (row, weight) in picture.data[start * stride..].chunks_exact(stride).zip(weights) {
            for (total, value) in sum.iter_mut().zip(row) {
                *total += weight * f32::from(*value);
            }
        }
        for (pixel, [r, g, b]) in line.iter_mut().zip(across(&sum, columns)) {
            *pixel = [rounded(r), rounded(g), rounded(b), 0];
        }
        each(&line);
    }
}

/// Bits behind the point of a weight, as OpenCV's `INTER_LINEAR` has them for bytes.
const WEIGHT_BITS: u32 = 11;

/// The two neighbours of each place of a widened row, and what they weigh. A pixel takes four places, of which the last is
/// empty: so it is one word to pick up, and the compiler takes many of the products at a time.
struct Widening {
    starts: Vec<usize>,
    first: Vec<i16>,
    beyond: Vec<i16>,
    /// The source row; its last pixel once more behind it, for what has no neighbour there.
    source: Vec<Padded>,
    left: Vec<Padded>,
    right: Vec<Padded>,
}

impl Widening {
    fn new(columns: &Taps, source: usize) -> Self {
        let width = columns.runs.len();
        let weights = |which: usize| columns.iter().flat_map(|(_, w)| [fixed(w, which); 4]).collect();
        Self {
            starts: columns.iter().map(|(start, _)| start).collect(),
            first: weights(0),
            beyond: weights(1),
            source: vec![[0; 4]; source + 1],
            left: vec![[0; 4]; width],
            right: vec![[0; 4]; width],
        }
    }

    /// Widens a row of RGB pixels. Values are left with [`WEIGHT_BITS`] - 4 bits behind the point, which fits 16 bits.
    fn widen(&mut self, row: &[u8], wide: &mut [i16]) {
        pad(row, &mut self.source);
        if let [.., last, behind] = self.source.as_mut_slice() {
            *behind = *last;
        }
        let both = self.left.iter_mut().zip(&mut self.right);
        for ((left, right), start) in both.zip(&self.starts) {
            if let Some([one, next]) = self.source.get(*start..).and_then(<[Padded]>::first_chunk) {
                (*left, *right) = (*one, *next);
            }
        }
        let values = self.left.as_flattened().iter().zip(self.right.as_flattened());
        let weights = self.first.iter().zip(&self.beyond);
        for ((place, (left, right)), (first, beyond)) in wide.iter_mut().zip(values).zip(weights) {
            let sum = i32::from(*left) * i32::from(*first) + i32::from(*right) * i32::from(*beyond);
            *place = (sum >> 4) as i16;
        }
    }
}

/// A weight in fixed point, at most 2^[`WEIGHT_BITS`]; 0 if there is none.
fn fixed(weights: &[f32], which: usize) -> i16 {
    weights.get(which).map_or(0, |weight| (weight * (1 << WEIGHT_BITS) as f32).round_ties_even() as i16)
}

/// Columns first, since there are fewer rows yet.
///
/// In OpenCV's fixed-point arithmetic, not in floating point: the two differ by one step in a tenth of the bytes, which is
/// enough for a detector to prefer the anchor beside, and that moves a box by pixels.
fn grow(picture: Rgb<'_>, columns: &Taps, rows: &Taps, mut each: impl FnMut(&[Padded])) {
    let (width, stride) = (columns.runs.len(), picture.width * 3);
    let mut widening = Widening::new(columns, picture.width);
    // A row is widened once and serves for as long as rows of the result lie beside it. The last row has none below it; its
    // weight is 0 then.
    let mut widen = |row: usize, wide: &mut [i16]| {
        if let Some(source) = picture.data.get(row * stride..(row + 1) * stride) {
            widening.widen(source, wide);
        }
    };
    let (mut above, mut below) = (vec![0i16; width * 4], vec![0i16; width * 4]);
    let mut mixed = vec![[0u8; 4]; width];
    let mut at: Option<usize> = None;
    for (start, weights) in rows.iter() {
        if at != Some(start) {
            if at.is_some_and(|at| at + 1 == start) {
                std::mem::swap(&mut above, &mut below);
            } else {
                widen(start, &mut above);
            }
            widen(start + 1, &mut below);
            at = Some(start);
        }
        let (first, beyond) = (fixed(weights, 0), fixed(weights, 1));
        let high = |weight: i16, value: i16| ((i32::from(weight) * i32::from(value)) >> 16) as i16;
        for ((value, a), b) in mixed.as_flattened_mut().iter_mut().zip(&above).zip(&below) {
            let sum = high(first, *a) + high(beyond, *b);
            *value = ((sum + 2) >> 2).clamp(0, 255) as u8;
        }
        each(&mixed);
    }
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

    /// A value of an enlarged picture by itself, as OpenCV's `INTER_LINEAR` has it for bytes.
    fn enlarged(picture: Rgb<'_>, (w, h): (usize, usize), [x, y, channel]: [usize; 3]) -> u8 {
        let taps = |source, target, at| {
            let taps = Taps::linear(source, target);
            let (start, weights) = taps.iter().nth(at).unwrap();
            let next = (start + 1).min(source - 1);
            [(start, i32::from(fixed(weights, 0))), (next, i32::from(fixed(weights, 1)))]
        };
        let value = |x, y| i32::from(picture.data[(y * picture.width + x) * 3 + channel]);
        let across =
            |y| taps(picture.width, w, x).iter().map(|(x, weight)| value(*x, y) * weight).sum::<i32>() >> 4;
        let sum: i32 = taps(picture.height, h, y).iter().map(|(y, weight)| (across(*y) * weight) >> 16).sum();
        ((sum + 2) >> 2) as u8
    }

    proptest! {
        #[test]
        fn every_value_of_an_enlarged_picture_is_right(
            w in 1usize..40, h in 1usize..40, more_w in 0usize..70, more_h in 1usize..70, seed: u32,
            at in (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0usize..3),
        ) {
            let data: Vec<u8> = (0..w * h * 3).map(|i| ((i as u32 + 1).wrapping_mul(seed | 1) >> 13) as u8).collect();
            let picture = Rgb { width: w, height: h, data: &data };
            let (to_w, to_h) = (w + more_w, h + more_h);
            let out = resize(picture, to_w, to_h);
            let (x, y) = (at.0.index(to_w), at.1.index(to_h));
            prop_assert_eq!(out[(y * to_w + x) * 3 + at.2], enlarged(picture, (to_w, to_h), [x, y, at.2]));
        }

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
