//! SCRFD (Guo et al., "Sample and Computation Redistribution for Efficient Face Detection", ICLR 2022), as InsightFace
//! exports it.
//!
//! Nine outputs by position, since their names vary: scores of the three strides, then boxes, then landmarks; with or
//! without a batch axis. Two interleaved anchors a cell at `(column, row) * stride`; box values are the distances to
//! left, top, right and bottom and landmark values the offsets, both in strides; scores are probabilities already.

use inference::Port;

use super::candidates::Candidate;
use super::{Level, LevelOutputs, Scores};

/// Anchors a cell.
pub const ANCHORS: usize = 2;

/// Finds the outputs of each level.
///
/// # Errors
/// A phrase saying what the model gives instead.
pub fn order(outputs: &[Port]) -> Result<[LevelOutputs; 3], String> {
    if outputs.len() != 9 {
        return Err(format!("gives {} outputs where SCRFD with landmarks gives 9", outputs.len()));
    }
    for (at, port) in outputs.iter().enumerate() {
        let expected = [1, 4, 10][at / 3];
        if let Some(Some(width)) = port.shape.last()
            && *width != expected
        {
            return Err(format!("gives rows of {width} as output {at} where SCRFD gives {expected}"));
        }
    }
    Ok(std::array::from_fn(|level| LevelOutputs {
        scores: level,
        factors: None,
        boxes: level + 3,
        landmarks: level + 6,
    }))
}

/// Reads one level; the candidates are in pixels of the canvas.
pub fn decode(level: &Level<'_>, threshold: f32, found: &mut Vec<Candidate>) {
    let Scores::Plain(scores) = level.scores else { return };
    let stride = level.stride as f32;
    let (boxes, _) = level.boxes.as_chunks::<4>();
    let (landmarks, _) = level.landmarks.as_chunks::<10>();
    for (row, ((score, distances), offsets)) in scores.iter().zip(boxes).zip(landmarks).enumerate() {
        if score.is_nan() || *score < threshold {
            continue;
        }
        let cell = row / ANCHORS;
        let (x, y) = ((cell % level.columns) as f32 * stride, (cell / level.columns) as f32 * stride);
        let [left, top, right, bottom] = distances.map(|distance| distance * stride);
        found.push(Candidate {
            corners: [x - left, y - top, x + right, y + bottom],
            landmarks: std::array::from_fn(|p| {
                [x + offsets[2 * p] * stride, y + offsets[2 * p + 1] * stride]
            }),
            score: *score,
        });
    }
}
