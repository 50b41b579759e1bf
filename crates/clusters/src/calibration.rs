//! From a sum of signals to a probability.

use serde::{Deserialize, Serialize};

/// Platt's scaling: probability = logistic(scale x sum + offset).
///
/// It is applied to the contributions themselves, so that stored reasons go on adding up to the score's log-odds.
#[derive(Deserialize, Serialize, Clone, Copy, PartialEq, Debug)]
#[serde(deny_unknown_fields, default)]
pub struct Calibration {
    /// What every contribution is multiplied with; above 0.
    pub scale: f64,
    /// What is added to the `prior`.
    pub offset: f64,
}

impl Default for Calibration {
    fn default() -> Self {
        Self { scale: 1.0, offset: 0.0 }
    }
}

/// `ln(p / (1 - p))`, with p kept off 0 and 1 by 1e-9.
pub(crate) fn logit(p: f64) -> f64 {
    let p = p.clamp(1e-9, 1.0 - 1e-9);
    (p / (1.0 - p)).ln()
}

/// The inverse of [`logit`].
pub(crate) fn logistic(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}

impl Calibration {
    /// Fits to decisions: sums of signals as they are without any calibration, and whether the cluster was confirmed.
    ///
    /// J. Platt, "Probabilistic outputs for support vector machines" (1999), with the targets pulled in as he advises and
    /// a Newton iteration. A weak pull towards no change (as of two decisions) keeps a handful of decisions from moving
    /// the score far. `None` if there are fewer than 20 decisions or fewer than 3 of either kind.
    pub fn fit(decisions: &[(f64, bool)]) -> Option<Self> {
        let confirmed = decisions.iter().filter(|(_, bot)| *bot).count();
        let dismissed = decisions.len() - confirmed;
        if decisions.len() < 20 || confirmed < 3 || dismissed < 3 {
            return None;
        }
        let target = |bot: bool| {
            if bot {
                (confirmed as f64 + 1.0) / (confirmed as f64 + 2.0)
            } else {
                1.0 / (dismissed as f64 + 2.0)
            }
        };
        let pull = 2.0;
        let (mut scale, mut offset) = (1.0f64, 0.0f64);
        for _ in 0..100 {
            let (mut g0, mut g1) = (pull * (scale - 1.0), pull * offset * 0.25);
            let (mut h00, mut h01, mut h11) = (pull, 0.0, pull * 0.25);
            for (sum, bot) in decisions {
                let p = logistic(scale * sum + offset);
                let (error, spread) = (p - target(*bot), p * (1.0 - p));
                g0 += error * sum;
                g1 += error;
                h00 += spread * sum * sum;
                h01 += spread * sum;
                h11 += spread;
            }
            let det = h00 * h11 - h01 * h01;
            let (d0, d1) = ((h11 * g0 - h01 * g1) / det, (h00 * g1 - h01 * g0) / det);
            // Half steps keep the iteration from overshooting where nearly all probabilities are 0 or 1.
            let step = 1.0 / (1.0 + d0.abs().max(d1.abs()));
            scale = (scale - step * d0).max(0.05);
            offset -= step * d1;
            if d0.abs() + d1.abs() < 1e-9 {
                break;
            }
        }
        (scale.is_finite() && offset.is_finite()).then_some(Self { scale, offset })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_scale_and_offset_again() {
        // Decisions drawn at evenly spaced quantiles of logistic(0.5 x - 1).
        let mut decisions = Vec::new();
        for i in 0..200 {
            let sum = f64::from(i) * 0.06 - 4.0;
            for j in 0..20 {
                decisions.push((sum, (f64::from(j) + 0.5) / 20.0 < logistic(0.5 * sum - 1.0)));
            }
        }
        let fitted = Calibration::fit(&decisions).unwrap();
        assert!((fitted.scale - 0.5).abs() < 0.03 && (fitted.offset + 1.0).abs() < 0.1, "{fitted:?}");
        assert_eq!(Calibration::fit(&decisions[..10]), None);
    }

    #[test]
    fn logit_and_logistic_undo_each_other() {
        for x in [-8.0, -0.3, 0.0, 2.0] {
            assert!((logit(logistic(x)) - x).abs() < 1e-6);
        }
    }
}
