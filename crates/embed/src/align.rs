//! From five landmarks to an upright face of fixed size.

use records::Landmarks;

use crate::resize::{Rgb, rounded};

/// Where ArcFace embedders expect the landmarks in 112 x 112 pixels (Deng et al., "ArcFace", CVPR 2019, as published
/// with the InsightFace project).
pub const TEMPLATE: [[f64; 2]; 5] =
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]];

/// Side of the aligned face that embedders take, in pixels.
pub const FACE_SIDE: usize = 112;

/// Rotation, one scale and translation: `x' = a x - b y + tx`, `y' = b x + a y + ty`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Similarity {
    a: f64,
    b: f64,
    tx: f64,
    ty: f64,
}

impl Similarity {
    /// The least-squares similarity without reflection that takes the landmarks to `scale * TEMPLATE + shift`
    /// (Umeyama, "Least-squares estimation of transformation parameters between two point patterns", PAMI 1991; in the
    /// plane it has this closed form). `None` if all landmarks lie in one point or are not finite.
    pub fn to_template(landmarks: &Landmarks, scale: f64, shift: f64) -> Option<Self> {
        let source = landmarks.0.map(|[x, y]| [f64::from(x), f64::from(y)]);
        let target = TEMPLATE.map(|[x, y]| [x * scale + shift, y * scale + shift]);
        let mean = |points: &[[f64; 2]; 5]| {
            let sum = points.iter().fold([0.0, 0.0], |sum, [x, y]| [sum[0] + x, sum[1] + y]);
            [sum[0] / 5.0, sum[1] / 5.0]
        };
        let (from, to) = (mean(&source), mean(&target));
        let (mut dot, mut cross, mut spread) = (0.0, 0.0, 0.0);
        for ([sx, sy], [tx, ty]) in source.iter().zip(&target) {
            let (sx, sy, tx, ty) = (sx - from[0], sy - from[1], tx - to[0], ty - to[1]);
            dot += sx * tx + sy * ty;
            cross += sx * ty - sy * tx;
            spread += sx * sx + sy * sy;
        }
        let (a, b) = (dot / spread, cross / spread);
        let found =
            Self { a, b, tx: to[0] - a * from[0] + b * from[1], ty: to[1] - b * from[0] - a * from[1] };
        let usable = spread > 1e-6 && a.hypot(b) > 1e-9 && found.tx.is_finite() && found.ty.is_finite();
        usable.then_some(found)
    }

    fn inverse(&self) -> Self {
        let norm = self.a * self.a + self.b * self.b;
        let (a, b) = (self.a / norm, -self.b / norm);
        Self { a, b, tx: -(a * self.tx - b * self.ty), ty: -(b * self.tx + a * self.ty) }
    }

    #[cfg(test)]
    fn apply(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        [self.a * x - self.b * y + self.tx, self.b * x + self.a * y + self.ty]
    }
}

/// Cuts the `side x side` pixels that the similarity puts upright: bilinear, black beyond the picture.
/// Gives `side * side * 3` bytes.
pub fn warp(picture: Rgb<'_>, similarity: &Similarity, side: usize) -> Vec<u8> {
    let back = similarity.inverse();
    let (width, height) = (picture.width as i64, picture.height as i64);
    let pixel = |x: i64, y: i64| -> [f32; 3] {
        if x < 0 || y < 0 || x >= width || y >= height {
            return [0.0; 3];
        }
        let at = (y as usize * picture.width + x as usize) * 3;
        match picture.data.get(at..at + 3) {
            Some(&[r, g, b]) => [f32::from(r), f32::from(g), f32::from(b)],
            _ => [0.0; 3],
        }
    };
    let stride = picture.width * 3;
    let mut out = vec![0; side * side * 3];
    let (places, _) = out.as_chunks_mut::<3>();
    for (row, line) in places.chunks_exact_mut(side).enumerate() {
        for (column, place) in line.iter_mut().enumerate() {
            let (c, r) = (column as f64, row as f64);
            // Far beyond any picture the casts below must not overflow.
            let x = (back.a * c - back.b * r + back.tx).clamp(-1e6, 1e9);
            let y = (back.b * c + back.a * r + back.ty).clamp(-1e6, 1e9);
            let (left, top) = (x as i64 - i64::from(x < 0.0), y as i64 - i64::from(y < 0.0));
            let (fx, fy) = ((x - left as f64) as f32, (y - top as f64) as f32);
            let weights = [(1.0 - fx) * (1.0 - fy), fx * (1.0 - fy), (1.0 - fx) * fy, fx * fy];
            let inside = left >= 0 && top >= 0 && left + 1 < width && top + 1 < height;
            let pair = |at: usize| picture.data.get(at..at + 6).and_then(<[u8]>::first_chunk::<6>);
            let rows = inside.then(|| top as usize * stride + left as usize * 3);
            *place = match rows.and_then(|at| pair(at).zip(pair(at + stride))) {
                Some((above, below)) => std::array::from_fn(|channel| {
                    let sum = weights[0] * f32::from(above[channel])
                        + weights[1] * f32::from(above[channel + 3])
                        + weights[2] * f32::from(below[channel])
                        + weights[3] * f32::from(below[channel + 3]);
                    rounded(sum)
                }),
                None => {
                    let corners = [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(dx, dy)| pixel(left + dx, top + dy));
                    std::array::from_fn(|channel| {
                        rounded(corners.iter().zip(weights).map(|(corner, w)| corner[channel] * w).sum())
                    })
                }
            };
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A rotated, scaled and shifted template is taken back exactly.
        #[test]
        fn finds_the_similarity(angle in -3.1f64..3.1, scale in 0.2f64..9.0, x in -500f64..500.0, y in -500f64..500.0) {
            let (a, b) = (scale * angle.cos(), scale * angle.sin());
            let moved = Similarity { a, b, tx: x, ty: y };
            let landmarks = Landmarks(TEMPLATE.map(|p| moved.apply(p).map(|v| v as f32)));
            let found = Similarity::to_template(&landmarks, 1.0, 0.0).unwrap();
            for point in TEMPLATE {
                let there = found.apply(moved.apply(point));
                prop_assert!((there[0] - point[0]).abs() < 0.01 && (there[1] - point[1]).abs() < 0.01);
                let back = moved.inverse().apply(moved.apply(point));
                prop_assert!((back[0] - point[0]).abs() < 1e-6 && (back[1] - point[1]).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn one_point_is_no_face() {
        assert_eq!(Similarity::to_template(&Landmarks([[5.0, 5.0]; 5]), 1.0, 0.0), None);
        assert_eq!(Similarity::to_template(&Landmarks([[f32::NAN; 2]; 5]), 1.0, 0.0), None);
    }

    #[test]
    fn a_warp_by_whole_pixels_copies_and_is_black_outside() {
        let data: Vec<u8> = (0..4 * 4 * 3).map(|v| v as u8 + 1).collect();
        let picture = Rgb { width: 4, height: 4, data: &data };
        let shifted = warp(picture, &Similarity { a: 1.0, b: 0.0, tx: -2.0, ty: -1.0 }, 4);
        assert_eq!(shifted[..6], data[(4 + 2) * 3..(4 + 4) * 3]);
        assert_eq!(shifted[6..12], [0; 6]);
        assert_eq!(shifted[3 * 12..], [0; 12]);
    }
}
