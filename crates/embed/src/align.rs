//! From five landmarks to an upright face of fixed size.

use records::Landmarks;

/// Where ArcFace embedders expect the landmarks in 112 x 112 pixels (Deng et al., "ArcFace", CVPR 2019, as published
/// with the InsightFace project).
pub const TEMPLATE: [[f64; 2]; 5] =
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]];

/// Side of the aligned face that embedders take, in pixels.
pub const FACE_SIDE: usize = 112;

/// Rotation, one scale and translation: `x' = a x - b y + tx`, `y' = b x + a y + ty`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Similarity {
    /// Scale times the cosine of the angle.
    pub a: f64,
    /// Scale times its sine.
    pub b: f64,
    /// How far to the right.
    pub tx: f64,
    /// How far down.
    pub ty: f64,
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

    /// The way back.
    pub fn inverse(&self) -> Self {
        let norm = self.a * self.a + self.b * self.b;
        let (a, b) = (self.a / norm, -self.b / norm);
        Self { a, b, tx: -(a * self.tx - b * self.ty), ty: -(b * self.tx + a * self.ty) }
    }

    #[cfg(test)]
    fn apply(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        [self.a * x - self.b * y + self.tx, self.b * x + self.a * y + self.ty]
    }
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
}
