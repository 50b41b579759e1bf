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
    /// The cosines of strangers are close to normal: drawn against the normal quantile of their false-match rate, the points
    /// measured on real portraits lie on a line (1.7e-3 at .35, 3.8e-4 at .40 and 6.6e-5 at .45 have quantiles 2.93, 3.37 and
    /// 3.82). Between points that line is followed, and past the last one it goes on with the steeper of the last slope and
    /// the slope through all points, so that a rate that falls more slowly at the end raises tau. At least `link_floor`, at
    /// most 1; 1 where the pack has no tail.
    pub fn tau(&self, faces: u64, budget: f64) -> f32 {
        let wanted = normal_quantile(budget / faces.max(1) as f64);
        let points: Vec<(f64, f64)> =
            self.tail.iter().map(|p| (f64::from(p.cosine), normal_quantile(p.false_match_rate))).collect();
        let cosine = match points.as_slice() {
            [] => 1.0,
            // One point gives no slope; a deviation of .12 is the widest of the packs that were measured.
            [only] => only.0 + (wanted - only.1) * 0.12,
            [first, .., _] if wanted <= first.1 => first.0,
            [first, .., before, last] if wanted > last.1 => {
                let whole = (last.0 - first.0) / (last.1 - first.1);
                let end = (last.0 - before.0) / (last.1 - before.1);
                last.0 + (wanted - last.1) * whole.max(end)
            }
            [first, last] if wanted > last.1 => {
                last.0 + (wanted - last.1) * (last.0 - first.0) / (last.1 - first.1)
            }
            _ => {
                let segment =
                    points.windows(2).find(|w| wanted <= w[1].1).unwrap_or(&points[points.len() - 2..]);
                let ((c0, z0), (c1, z1)) = (segment[0], segment[1]);
                c0 + (wanted - z0) * (c1 - c0) / (z1 - z0)
            }
        };
        (cosine as f32).clamp(self.link_floor.max(-1.0), 1.0)
    }

    /// Measures an impostor tail from cosines of faces of two random accounts each (for data whose embedder is unknown).
    ///
    /// Points are taken at false-match rates of 3%, 1%, 0.3%, … down to 1e-5, as long as 20 pairs lie above. Some pairs of
    /// accounts do share a person; they show as a bend on the scale of normal quantiles, and there the measurement ends. NaN
    /// is ignored.
    pub fn tail_of(cosines: &[f32]) -> Vec<TailPoint> {
        let mut sorted: Vec<f32> = cosines.iter().copied().filter(|c| c.is_finite()).collect();
        sorted.sort_by(|a, b| b.total_cmp(a));
        let mut tail: Vec<TailPoint> = Vec::new();
        let mut flattest = f64::INFINITY;
        for rate in [3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5] {
            let above = (sorted.len() as f64 * rate) as usize;
            if above < FEWEST_EXCEEDANCES {
                break;
            }
            let point = TailPoint { cosine: sorted[above], false_match_rate: rate };
            if let Some(last) = tail.last() {
                let rise = f64::from(point.cosine - last.cosine);
                // On the scale of normal quantiles a tail of strangers is a line, and pairs of one person bend it.
                let slope = rise / (normal_quantile(rate) - normal_quantile(last.false_match_rate));
                if rise <= 0.0 || slope > 1.25 * flattest {
                    break;
                }
                flattest = flattest.min(slope);
            }
            tail.push(point);
        }
        tail
    }
}

/// The normal quantile of an upper tail: the z above which a share `p` of a standard normal distribution lies.
///
/// P. J. Acklam's rational approximation (2003), relative error below 1.2e-9. `p` is kept off 0 and 1 by 1e-300.
pub(crate) fn normal_quantile(p: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969_683_028_665_376e1,
        2.209_460_984_245_205e2,
        -2.759_285_104_469_687e2,
        1.383_577_518_672_69e2,
        -3.066_479_806_614_716e1,
        2.506_628_277_459_239,
    ];
    const B: [f64; 6] = [
        -5.447_609_879_822_406e1,
        1.615_858_368_580_409e2,
        -1.556_989_798_598_866e2,
        6.680_131_188_771_972e1,
        -1.328_068_155_288_572e1,
        1.0,
    ];
    const C: [f64; 6] = [
        -7.784_894_002_430_293e-3,
        -3.223_964_580_411_365e-1,
        -2.400_758_277_161_838,
        -2.549_732_539_343_734,
        4.374_664_141_464_968,
        2.938_163_982_698_783,
    ];
    const D: [f64; 5] = [
        7.784_695_709_041_462e-3,
        3.224_671_290_700_398e-1,
        2.445_134_137_142_996,
        3.754_408_661_907_416,
        1.0,
    ];
    let polynomial = |of: &[f64], x: f64| of.iter().fold(0.0, |sum, c| sum * x + c);
    let p = p.clamp(1e-300, 1.0 - 1e-16);
    let tail = |p: f64| {
        let q = (-2.0 * p.ln()).sqrt();
        -polynomial(&C, q) / polynomial(&D, q)
    };
    if p < 0.02425 {
        tail(p)
    } else if p > 1.0 - 0.02425 {
        -tail(1.0 - p)
    } else {
        let q = 0.5 - p;
        q * polynomial(&A, q * q) / polynomial(&B, q * q)
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
        assert!((0.64..0.67).contains(&million), "{million}");
        assert_eq!(PackCalibration { tail: vec![], ..pack }.tau(10, 0.01), 1.0);
    }

    #[test]
    fn a_normal_tail_is_extrapolated() {
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
        assert!(tau >= exact - 0.01 && tau < exact + 0.03, "{tau} for {exact}");
        let mut contaminated = sample.clone();
        contaminated.extend(std::iter::repeat_n(0.93, 60));
        let shoulder = PackCalibration {
            link_floor: 0.0,
            tail: PackCalibration::tail_of(&contaminated),
            ..mobilefacenet()
        };
        let moved = f64::from(shoulder.tau(1_000_000, 0.01));
        assert!(moved < exact + 0.1, "{moved}: 60 pairs of one person must not pass for strangers");
    }

    #[test]
    fn quantiles_agree_with_tables() {
        for (p, z) in
            [(0.5, 0.0), (0.025, 1.959_964), (0.975, -1.959_964), (1e-3, 3.090_232), (1e-8, 5.612_001)]
        {
            assert!((normal_quantile(p) - z).abs() < 1e-5, "{p}");
        }
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
