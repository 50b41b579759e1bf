//! Small formulas.

/// `part / whole`, or `empty` if there is no whole.
pub(super) fn share(part: usize, whole: usize, empty: f64) -> f64 {
    if whole == 0 { empty } else { part as f64 / whole as f64 }
}

/// Harmonic mean of two shares; 0 if both are.
pub(super) fn harmonic(p: f64, r: f64) -> f64 {
    if p + r > 0.0 { 2.0 * p * r / (p + r) } else { 0.0 }
}

/// Wilson's 95% score interval of a proportion ("Probable inference, the law of succession, and statistical inference",
/// 1927). [0, 1] if nothing was tried.
pub(super) fn wilson_interval(hits: usize, tries: usize) -> [f64; 2] {
    const Z: f64 = 1.959_963_984_540_054;
    if tries == 0 {
        return [0.0, 1.0];
    }
    let n = tries as f64;
    let p = hits as f64 / n;
    let middle = (p + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
    let half = Z / (1.0 + Z * Z / n) * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    // Exact at the ends, where rounding would leave a tiny number.
    let low = if hits == 0 { 0.0 } else { (middle - half).max(0.0) };
    let high = if hits == tries { 1.0 } else { (middle + half).min(1.0) };
    [low, high]
}

/// Expected calibration error in ten bins of equal width: the mean over bins, weighted by how many fall in, of the
/// distance between the mean score and the share that is true. Scores that are NaN are left out; none if no score is
/// left.
pub(super) fn calibration_error(scored: impl Iterator<Item = (f64, bool)>) -> Option<f64> {
    const BINS: usize = 10;
    let mut bins: [Vec<(f64, bool)>; BINS] = Default::default();
    for (score, is_true) in scored.filter(|(score, _)| !score.is_nan()) {
        let score = score.clamp(0.0, 1.0);
        let bin = ((score * BINS as f64) as usize).min(BINS - 1);
        if let Some(bin) = bins.get_mut(bin) {
            bin.push((score, is_true));
        }
    }
    let all: usize = bins.iter().map(Vec::len).sum();
    let mut error = 0.0;
    for bin in &mut bins {
        // Sums depend on their order, which comes from a map.
        bin.sort_by(|a, b| a.0.total_cmp(&b.0));
        let said: f64 = bin.iter().map(|(score, _)| score).sum();
        let right = bin.iter().filter(|(_, is_true)| *is_true).count() as f64;
        error += (said - right).abs();
    }
    (all > 0).then(|| error / all as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_agrees_with_published_values() {
        // Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662; 1 of 29 gives 0.0061 to 0.1718.
        let near = |hits, tries, low: f64, high: f64| {
            let [a, b] = wilson_interval(hits, tries);
            assert!((a - low).abs() < 5e-5 && (b - high).abs() < 5e-5, "{a} {b}");
        };
        near(81, 263, 0.2553, 0.3662);
        near(15, 148, 0.0624, 0.1605);
        near(0, 20, 0.0, 0.1611);
        near(1, 29, 0.0061, 0.1718);
        assert_eq!(wilson_interval(0, 0), [0.0, 1.0]);
        assert_eq!(wilson_interval(7, 7)[1], 1.0);
    }

    #[test]
    fn calibration_by_hand() {
        // Bin 0.9 to 1: scores .9 and 1, one true: |1.9 - 1| = .9. Bin 0.1 to 0.2: score .1, false: .1. Sum 1 over 3.
        let scored = [(0.9, true), (1.0, false), (0.1, false), (f64::NAN, true)];
        assert!((calibration_error(scored.into_iter()).unwrap() - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(calibration_error(std::iter::empty()), None);
        let right = (0..100).map(|n| (0.85, n < 85));
        assert!(calibration_error(right).unwrap() < 1e-12);
    }
}
