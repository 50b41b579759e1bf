//! How a score comes about: each reason a bar that starts where the last one ended.

use records::tables::Reason;
use serde::Serialize;

use crate::words;

/// A score's reasons as bars.
#[derive(Serialize, Debug)]
pub(crate) struct Waterfall {
    /// One bar a reason, in the table's order.
    pub bars: Vec<Bar>,
    /// Sum of the log-odds, with a sign.
    pub total: String,
    /// What the sum means as a probability.
    pub probability: String,
    /// The bar from zero to the sum.
    pub total_bar: Extent,
    /// Where zero lies, 0 to 100.
    pub zero: f64,
}

/// One reason.
#[derive(Serialize, Debug)]
pub(crate) struct Bar {
    pub signal: String,
    pub detail: String,
    /// With a sign.
    pub log_odds: String,
    /// Whether it speaks for the accounts.
    pub negative: bool,
    pub extent: Extent,
}

/// From where to where a bar reaches, in percent of the width.
#[derive(Serialize, Debug)]
pub(crate) struct Extent {
    pub x: f64,
    pub width: f64,
}

/// Lays out the bars of a row.
pub(crate) fn waterfall(reasons: &[Reason]) -> Waterfall {
    let mut edges = vec![0.0];
    for reason in reasons {
        edges.push(edges.last().copied().unwrap_or(0.0) + reason.log_odds);
    }
    let total = edges.last().copied().unwrap_or(0.0);
    let low = edges.iter().copied().fold(0.0, f64::min);
    let high = edges.iter().copied().fold(0.0, f64::max);
    let percent = |value: f64| ((value - low) / (high - low).max(1e-9) * 1000.0).round() / 10.0;
    let extent = |from: f64, to: f64| {
        let (left, right) = (percent(from.min(to)), percent(from.max(to)));
        // Even a reason of next to nothing leaves a visible tick.
        Extent { x: left.min(99.3), width: ((right - left) * 10.0).round().max(7.0) / 10.0 }
    };
    let bars = reasons
        .iter()
        .zip(edges.windows(2))
        .map(|(reason, edge)| Bar {
            signal: words::signal(&reason.signal),
            detail: reason.detail.clone(),
            log_odds: words::signed(reason.log_odds),
            negative: reason.log_odds < 0.0,
            extent: extent(edge.first().copied().unwrap_or(0.0), edge.last().copied().unwrap_or(0.0)),
        })
        .collect();
    Waterfall {
        bars,
        total: words::signed(total),
        probability: words::probability(words::logistic(total)),
        total_bar: extent(0.0, total),
        zero: percent(0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_join_and_end_at_the_score() {
        let reason = |log_odds| Reason { signal: "same_photo".into(), log_odds, detail: String::new() };
        let chart = waterfall(&[reason(-4.0), reason(6.0), reason(-1.0)]);
        let ends: Vec<(f64, f64)> = chart.bars.iter().map(|b| (b.extent.x, b.extent.width)).collect();
        assert_eq!(ends, [(0.0, 66.7), (0.0, 100.0), (83.3, 16.7)]);
        assert_eq!((chart.total.as_str(), chart.probability.as_str()), ("+1.00", "0.73"));
        assert_eq!((chart.total_bar.x, chart.total_bar.width, chart.zero), (66.7, 16.6, 66.7));
        assert!(chart.bars[2].negative && !chart.bars[1].negative);
        assert_eq!(waterfall(&[]).probability, "0.50");
    }
}
