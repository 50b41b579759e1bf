//! How alike two faces must be before they count as one person.
//!
//! Among N faces every query meets N strangers, so a fixed threshold gives more false neighbours the larger the data.
//! tau(N) rises instead, so that the expected false neighbours of one query stay under a budget.

use serde::{Deserialize, Serialize};

/// One measured point of a model pack's impostor tail.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct TailPoint {
    /// Cosine between faces of two different people, -1 to 1.
    pub cosine: f32,
    /// Share of such pairs that are at least this alike, 0 to 1.
    pub false_match_rate: f64,
}

/// What the meaning of a cosine depends on: measured once per model pack.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PackCalibration {
    /// Cosine below which the index stage stored no links.
    pub link_floor: f32,
    /// Cosine from which two faces stand in copies of one photo, where no hash says so.
    pub same_photo_cosine: f32,
    /// The impostor tail, by rising cosine. Empty: nothing is ever called the same person.
    pub tail: Vec<TailPoint>,
}

/// Fewest strangers above a cosine for it to become a point of the tail.
const FEWEST_EXCEEDANCES: usize = 20;

impl PackCalibration {
    /// What is wrong with the figures, as `(key, sentence)`.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut unless = |fine: bool, key: &str, what: &str| {
            if !fine {
                problems.push((key.to_owned(), what.to_owned()));
            }
        };
        let floor_fits = (-1.0..1.0).contains(&self.link_floor);
        unless(floor_fits, "link_floor", "must lie between -1 and 1");
        unless(
            (self.link_floor..=1.0).contains(&self.same_photo_cosine),
            "same_photo_cosine",
            "must lie between link_floor and 1",
        );
        unless(
            self.tail
                .iter()
                .all(|p| p.cosine.is_finite() && p.false_match_rate > 0.0 && p.false_match_rate <= 1.0),
            "tail",
            "every point needs a finite cosine and a false_match_rate above 0 and at most 1",
        );
        unless(
            self.tail
                .windows(2)
                .all(|w| w[0].cosine < w[1].cosine && w[0].false_match_rate > w[1].false_match_rate),
            "tail",
            "cosines must rise and false_match_rate must fall from point to point",
        );
        problems
    }

    /// tau(N): the cosine at which a query among `faces` faces meets `budget` strangers on average.
    ///
    /// Between the measured points the logarithm of the false-match rate is taken as linear in the cosine; past the last
    /// point it goes on with the slope of the last two. A real tail bends down faster (it is near to normal), so this
    /// errs on the safe side. At least `link_floor`, at most 1; 1 where the pack has no tail.
    pub fn tau(&self, faces: u64, budget: f64) -> f32 {
        let wanted = (budget / faces.max(1) as f64).ln();
        let points: Vec<(f64, f64)> =
            self.tail.iter().map(|p| (f64::from(p.cosine), p.false_match_rate.ln())).collect();
        let cosine = match points.as_slice() {
            [] => 1.0,
            // One point gives no slope; 30 nats a unit is what two unrelated packs have near their 1e-4 point.
            [only] => only.0 + (only.1 - wanted) / 30.0,
            [first, .., _] if wanted >= first.1 => first.0,
            _ => {
                let segment =
                    points.windows(2).find(|w| wanted >= w[1].1).unwrap_or(&points[points.len() - 2..]);
                let ((c0, f0), (c1, f1)) = (segment[0], segment[1]);
                c0 + (wanted - f0) * (c1 - c0) / (f1 - f0)
            }
        };
        (cosine as f32).clamp(self.link_floor.max(-1.0), 1.0)
    }

    /// Measures an impostor tail from cosines of faces of two random accounts each (for data whose embedder is unknown).
    ///
    /// Points are taken at false-match rates of 3%, 1%, 0.3%, … down to 1e-5, as long as 20 pairs lie above. Some pairs of
    /// accounts do share a person; they show as a shoulder where the tail, which should steepen, flattens, and there the
    /// measurement ends. NaN is ignored.
    pub fn tail_of(cosines: &[f32]) -> Vec<TailPoint> {
        let mut sorted: Vec<f32> = cosines.iter().copied().filter(|c| c.is_finite()).collect();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let mut tail: Vec<TailPoint> = Vec::new();
        let mut steepest = 0.0f64;
        for rate in [3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5] {
            let above = (sorted.len() as f64 * rate) as usize;
            if above < FEWEST_EXCEEDANCES {
                break;
            }
            let point = TailPoint { cosine: sorted[above], false_match_rate: rate };
            if let Some(last) = tail.last() {
                let rise = f64::from(point.cosine - last.cosine);
                let slope = (last.false_match_rate / rate).ln() / rise;
                if rise <= 0.0 || slope < 0.9 * steepest {
                    break;
                }
                steepest = steepest.max(slope);
            }
            tail.push(point);
        }
        tail
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mobilefacenet() -> PackCalibration {
        let point = |cosine, false_match_rate| TailPoint { cosine, false_match_rate };
        PackCalibration {
            link_floor: 0.4,
            same_photo_cosine: 0.9,
            tail: vec![point(0.35, 1.7e-3), point(0.40, 3.8e-4), point(0.45, 6.6e-5)],
        }
    }

    #[test]
    fn measured_points_are_met() {
        let pack = mobilefacenet();
        assert!(pack.problems().is_empty());
        assert!((pack.tau(1, 6.6e-5) - 0.45).abs() < 1e-4);
        assert!((pack.tau(100, 0.0066) - 0.45).abs() < 1e-4);
        let million = pack.tau(1_000_000, 0.01);
        assert!((0.68..0.73).contains(&million), "{million}");
        assert_eq!(PackCalibration { tail: vec![], ..pack }.tau(10, 0.01), 1.0);
    }

    #[test]
    fn a_normal_tail_is_extrapolated_on_the_safe_side() {
        // Quantiles of a normal distribution with deviation .1 at evenly spaced ranks, by its inverse (bisection on erfc).
        let upper = |z: f64| 0.5 * erfc(z / std::f64::consts::SQRT_2);
        let quantile = |p: f64| {
            let (mut low, mut high) = (-8.0, 8.0);
            for _ in 0..60 {
                let mid = f64::midpoint(low, high);
                if upper(mid) > p { low = mid } else { high = mid }
            }
            low
        };
        let sample: Vec<f32> =
            (0..100_000).map(|i| (0.1 * quantile((f64::from(i) + 0.5) / 1e5)) as f32).collect();
        let pack = PackCalibration { tail: PackCalibration::tail_of(&sample), ..mobilefacenet() };
        assert!(pack.tail.len() >= 5, "{:?}", pack.tail);
        assert!(pack.problems().is_empty());
        let tau = f64::from(PackCalibration { link_floor: 0.0, ..pack }.tau(1_000_000, 0.01));
        let exact = 0.1 * quantile(1e-8);
        assert!(tau >= exact && tau < exact + 0.15, "{tau} for {exact}");
        let mut contaminated = sample.clone();
        contaminated.extend(std::iter::repeat_n(0.93, 60));
        let shoulder = PackCalibration {
            link_floor: 0.0,
            tail: PackCalibration::tail_of(&contaminated),
            ..mobilefacenet()
        };
        let moved = f64::from(shoulder.tau(1_000_000, 0.01));
        assert!(moved < exact + 0.25, "{moved}: 60 pairs of one person must not pass for strangers");
    }

    /// Abramowitz and Stegun 7.1.26 carried to the tail by the continued fraction.
    fn erfc(x: f64) -> f64 {
        if x < 0.0 {
            return 2.0 - erfc(-x);
        }
        let t = 1.0 / (1.0 + 0.5 * x);
        let poly = [
            -1.265_512_23,
            1.000_023_68,
            0.374_091_96,
            0.096_784_18,
            -0.186_288_06,
            0.278_868_07,
            -1.135_203_98,
            1.488_515_87,
            -0.822_152_23,
            0.170_872_77,
        ];
        t * (-x * x + poly.iter().rev().fold(0.0, |sum, c| sum * t + c)).exp()
    }

    proptest! {
        #[test]
        fn tau_rises_with_faces_and_falls_with_budget(
            n in 1u64..1_000_000_000, more in 1u64..1_000_000_000, budget in 1e-4f64..0.1,
        ) {
            let pack = mobilefacenet();
            prop_assert!(pack.tau(n, budget) <= pack.tau(n + more, budget));
            prop_assert!(pack.tau(n, budget) >= pack.tau(n, budget * 2.0));
            prop_assert!((0.4..=1.0).contains(&pack.tau(n, budget)));
        }
    }
}
