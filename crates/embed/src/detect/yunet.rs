//! YuNet (Wu et al., "YuNet: A Tiny Millisecond-level Face Detector", 2023), as libfacedetection.train exports it.
//!
//! Twelve outputs by name, `{cls,obj,bbox,kps}_{8,16,32}`, with a batch axis. One prior a cell at `(column, row)`; a box
//! is the offset of its centre in strides and the logarithm of its extent in strides, landmarks are offsets in strides;
//! the score is the geometric mean of class and objectness, each clipped to 0..1.

use inference::Port;

use super::candidates::Candidate;
use super::{Level, LevelOutputs, STRIDES, Scores};

/// Priors a cell.
pub const ANCHORS: usize = 1;

/// Finds the outputs of each level.
///
/// # Errors
/// A phrase saying what the model lacks.
pub fn order(outputs: &[Port]) -> Result<[LevelOutputs; 3], String> {
    let at = |kind: &str, stride: usize| {
        let name = format!("{kind}_{stride}");
        let place = outputs.iter().position(|port| port.name == name);
        place.ok_or_else(|| format!("has no output {name}, which YuNet gives"))
    };
    let level = |stride| -> Result<_, String> {
        Ok(LevelOutputs {
            scores: at("cls", stride)?,
            factors: Some(at("obj", stride)?),
            boxes: at("bbox", stride)?,
            landmarks: at("kps", stride)?,
        })
    };
    let [fine, middle, coarse] = STRIDES;
    Ok([level(fine)?, level(middle)?, level(coarse)?])
}

/// Reads one level; the candidates are in pixels of the canvas.
pub fn decode(level: &Level<'_>, threshold: f32, found: &mut Vec<Candidate>) {
    let Scores::Product(classes, objects) = level.scores else { return };
    let stride = level.stride as f32;
    let (boxes, _) = level.boxes.as_chunks::<4>();
    let (landmarks, _) = level.landmarks.as_chunks::<10>();
    let scores = classes.iter().zip(objects).map(|(c, o)| (c.clamp(0.0, 1.0) * o.clamp(0.0, 1.0)).sqrt());
    for (cell, ((score, values), offsets)) in scores.zip(boxes).zip(landmarks).enumerate() {
        if score.is_nan() || score < threshold {
            continue;
        }
        let (column, row) = ((cell % level.columns) as f32, (cell / level.columns) as f32);
        let (x, y) = ((column + values[0]) * stride, (row + values[1]) * stride);
        let (width, height) = (values[2].exp() * stride, values[3].exp() * stride);
        found.push(Candidate {
            corners: [x - width / 2.0, y - height / 2.0, x + width / 2.0, y + height / 2.0],
            landmarks: std::array::from_fn(|p| {
                [(offsets[2 * p] + column) * stride, (offsets[2 * p + 1] + row) * stride]
            }),
            score,
        });
    }
}
