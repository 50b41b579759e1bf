//! Pixels of a picture, turned and scaled.
//!
//! A row is made in three steps, of which the first and the last take many values at a time: where its pixels come from,
//! the four pixels around each of those places, and what they mix to.

use crate::align::Similarity;
use crate::resize::{Padded, Rgb, rounded};

/// Where the pixels of a row come from, and what stands there.
struct Row {
    left: Vec<i32>,
    top: Vec<i32>,
    /// How far beyond them, 0 to 1.
    beyond: Vec<[f32; 2]>,
    /// The same for every byte of a pixel.
    spread: Vec<[[f32; 4]; 2]>,
    /// Above left, above right, below left, below right.
    corners: [Vec<Padded>; 4],
    mixed: Vec<Padded>,
}

/// Places are cut off here, far beyond any picture, so that they fit an `i32`.
const FARTHEST: (f64, f64) = (-1e6, 1e9);

/// A whole number as an integer. Adding 1.5 * 2^52 leaves it in the lowest bits of the float; see [`rounded`].
fn whole(value: f64) -> i32 {
    (value + 6_755_399_441_055_744.0).to_bits() as i32
}

impl Row {
    fn new(side: usize) -> Self {
        Self {
            left: vec![0; side],
            top: vec![0; side],
            beyond: vec![[0.0; 2]; side],
            spread: vec![[[0.0; 4]; 2]; side],
            corners: std::array::from_fn(|_| vec![[0; 4]; side]),
            mixed: vec![[0; 4]; side],
        }
    }

    fn find(&mut self, back: &Similarity, row: usize) {
        let (across, down) = (back.b * row as f64, back.a * row as f64);
        let places = self.left.iter_mut().zip(&mut self.top).zip(&mut self.beyond);
        for (column, ((left, top), beyond)) in places.enumerate() {
            let column = f64::from(column as i32);
            let x = (back.a * column - across + back.tx).clamp(FARTHEST.0, FARTHEST.1);
            let y = (back.b * column + down + back.ty).clamp(FARTHEST.0, FARTHEST.1);
            (*left, *top) = (whole(x.floor()), whole(y.floor()));
            *beyond = [(x - x.floor()) as f32, (y - y.floor()) as f32];
        }
    }

    fn gather(&mut self, picture: Rgb<'_>) {
        let stride = picture.width * 3;
        let (last_column, last_row) = (picture.width as i32 - 1, picture.height as i32 - 1);
        // Two pixels at once, where there are two more bytes behind them.
        let pair =
            |at: usize| picture.data.get(at..at + 8)?.first_chunk().map(|eight| u64::from_le_bytes(*eight));
        let [above_left, above_right, below_left, below_right] = &mut self.corners;
        let above = above_left.iter_mut().zip(above_right);
        let below = below_left.iter_mut().zip(below_right);
        let places = self.left.iter().zip(&self.top).zip(self.beyond.iter().zip(&mut self.spread));
        for ((above, below), ((left, top), (beyond, spread))) in above.zip(below).zip(places) {
            *spread = beyond.map(|share| [share; 4]);
            let inside = *left >= 0 && *top >= 0 && *left < last_column && *top < last_row;
            let at = inside.then(|| *top as usize * stride + *left as usize * 3);
            if let Some((upper, lower)) = at.and_then(|at| pair(at).zip(pair(at + stride))) {
                (*above.0, *above.1) = ((upper as u32).to_le_bytes(), ((upper >> 24) as u32).to_le_bytes());
                (*below.0, *below.1) = ((lower as u32).to_le_bytes(), ((lower >> 24) as u32).to_le_bytes());
            } else {
                let (left, top) = (i64::from(*left), i64::from(*top));
                (*above.0, *above.1) = (pixel(picture, left, top), pixel(picture, left + 1, top));
                (*below.0, *below.1) = (pixel(picture, left, top + 1), pixel(picture, left + 1, top + 1));
            }
        }
    }

    fn mix(&mut self) {
        let [above_left, above_right, below_left, below_right] = &self.corners;
        let corners = above_left.iter().zip(above_right).zip(below_left.iter().zip(below_right));
        for ((mixed, ((a, b), (c, d))), [x, y]) in self.mixed.iter_mut().zip(corners).zip(&self.spread) {
            for byte in 0..4 {
                let (x, y) = (x[byte], y[byte]);
                let sum = (1.0 - x) * (1.0 - y) * f32::from(a[byte])
                    + x * (1.0 - y) * f32::from(b[byte])
                    + (1.0 - x) * y * f32::from(c[byte])
                    + x * y * f32::from(d[byte]);
                mixed[byte] = rounded(sum);
            }
        }
    }
}

/// A pixel, black beyond the picture.
fn pixel(picture: Rgb<'_>, x: i64, y: i64) -> Padded {
    if x < 0 || y < 0 || x >= picture.width as i64 || y >= picture.height as i64 {
        return [0; 4];
    }
    let at = (y as usize * picture.width + x as usize) * 3;
    match picture.data.get(at..at + 3) {
        Some(&[r, g, b]) => [r, g, b, 0],
        _ => [0; 4],
    }
}

/// Cuts the `side x side` pixels that the similarity puts upright: bilinear, black beyond the picture.
/// Gives `side * side * 3` bytes.
pub fn warp(picture: Rgb<'_>, similarity: &Similarity, side: usize) -> Vec<u8> {
    let back = similarity.inverse();
    let mut out = vec![0; side * side * 3];
    let mut row = Row::new(side);
    for (number, line) in out.as_chunks_mut::<3>().0.chunks_exact_mut(side).enumerate() {
        row.find(&back, number);
        row.gather(picture);
        row.mix();
        line.iter_mut().zip(&row.mixed).for_each(|(place, [r, g, b, _])| *place = [*r, *g, *b]);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every pixel by itself, as the formula says.
    fn plain(picture: Rgb<'_>, similarity: &Similarity, side: usize) -> Vec<u8> {
        let back = similarity.inverse();
        let mut out = Vec::new();
        for (row, column) in
            (0..side).flat_map(|row| (0..side).map(move |column| (row as f64, column as f64)))
        {
            let x = (back.a * column - back.b * row + back.tx).clamp(FARTHEST.0, FARTHEST.1);
            let y = (back.b * column + back.a * row + back.ty).clamp(FARTHEST.0, FARTHEST.1);
            let (fx, fy) = ((x - x.floor()) as f32, (y - y.floor()) as f32);
            let weights = [(1.0 - fx) * (1.0 - fy), fx * (1.0 - fy), (1.0 - fx) * fy, fx * fy];
            let around = [(0, 0), (1, 0), (0, 1), (1, 1)]
                .map(|(dx, dy)| pixel(picture, x.floor() as i64 + dx, y.floor() as i64 + dy));
            for channel in 0..3 {
                let [a, b, c, d] = around.map(|pixel| f32::from(pixel[channel]));
                let sum = weights[0] * a + weights[1] * b + weights[2] * c + weights[3] * d;
                out.push((sum.round_ties_even()) as u8);
            }
        }
        out
    }

    proptest! {
        #[test]
        fn rows_at_a_time_and_pixel_by_pixel_are_the_same(
            (width, height) in (1usize..40, 1usize..40), side in 1usize..30, seed: u32,
            (angle, scale) in (-3.1f64..3.1, 0.05f64..9.0), (x, y) in (-200f64..200.0, -200f64..200.0), far: bool,
        ) {
            let data: Vec<u8> =
                (0..(width * height * 3) as u32).map(|at| ((at + 1).wrapping_mul(seed | 1) >> 17) as u8).collect();
            let picture = Rgb { width, height, data: &data };
            // Half of them have the picture's middle in the middle.
            let (a, b, half) = (scale * angle.cos(), scale * angle.sin(), side as f64 / 2.0);
            let (cx, cy) = (width as f64 / 2.0, height as f64 / 2.0);
            let (tx, ty) = if far { (x, y) } else { (half - a * cx + b * cy, half - b * cx - a * cy) };
            let similarity = Similarity { a, b, tx, ty };
            prop_assert_eq!(warp(picture, &similarity, side), plain(picture, &similarity, side));
        }
    }

    #[test]
    fn by_whole_pixels_it_copies_and_is_black_outside() {
        let data: Vec<u8> = (0..4 * 4 * 3).map(|v| v as u8 + 1).collect();
        let picture = Rgb { width: 4, height: 4, data: &data };
        let shifted = warp(picture, &Similarity { a: 1.0, b: 0.0, tx: -2.0, ty: -1.0 }, 4);
        assert_eq!(shifted[..6], data[(4 + 2) * 3..(4 + 4) * 3]);
        assert_eq!(shifted[6..12], [0; 6]);
        assert_eq!(shifted[3 * 12..], [0; 12]);
    }

    #[test]
    fn what_lies_nowhere_is_black() {
        let picture = Rgb { width: 2, height: 1, data: &[9; 6] };
        for far in [1e12, -1e12, 1e300] {
            let shifted = warp(picture, &Similarity { a: 1.0, b: 0.0, tx: far, ty: 0.0 }, 3);
            assert_eq!(shifted, [0; 27]);
        }
    }
}
